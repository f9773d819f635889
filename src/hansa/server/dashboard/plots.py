"""The numbers behind the plots of a training's page, as CSV or JSON: each plot has its address.

/trainings/<id>/data/curves/   a row for each metric and round; `client` adds what that one measured, `points` has
                               neighbouring rounds put together until at most so many are left
/trainings/<id>/data/round/    a row for each task of one round: when, how much, norm, cosine, weight, and why its
                               update stands apart
/trainings/data/               a row for each round of the lines in the list of trainings, narrowed as that is

Who may see what is the API's rule, which the selectors keep.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from django.http.response import HttpResponse, HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request

from hansa.protocol import trainings as wire
from hansa.protocol.tasks import TaskKind
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.dashboard import charts
from hansa.server.dashboard.leaves import leaf_of
from hansa.server.dashboard.outliers import outliers
from hansa.server.dashboard.page import Page
from hansa.server.dashboard.rounds import whole
from hansa.server.dashboard.series import series
from hansa.server.dashboard.tables import Cell, as_csv
from hansa.server.dashboard.training_cards import cards, listed
from hansa.server.lifecycle.bridge import read
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.trainings import selectors, summaries

OF_A_TASK: Final = (
    *("username", "ordinal", "kind", "state", "reason", "leased_at", "downloaded_at", "uploaded_at", "reported_at"),
    *("num_examples", "weight", "bytes", "norm", "cosine", "late", "counts_in"),
)


class Plot(msgspec.Struct, frozen=True):
    """A table, and the same as an object for who draws it."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Cell]]
    drawn: object


class Data(Page):
    """What a plot shows."""

    async def get(self, request: Request, **asked: Any) -> HttpResponseBase:  # Any: the URL's arguments
        """As `format` says: csv, or json, which is what a script draws."""
        return await read(self._data, request, asked)

    def _data(self, request: Request, asked: Mapping[str, Any]) -> HttpResponse:  # Any: as above
        plots, form = list(_PLOTS), request.query_params.get("format", "json")
        if asked["plot"] not in plots or form not in ("json", "csv"):
            raise NotFoundError(
                f"There is no plot {asked['plot']!r} as {form!r}. There are {' and '.join(plots)}, as csv and json."
            )
        plot = _PLOTS[asked["plot"]](caller(request), asked["training_id"], request.query_params)
        return answered(plot, form, f"{asked['plot']}-{str(asked['training_id'])[:8]}")


class Lines(Page):
    """The lines in the list of trainings."""

    async def get(self, request: Request, **asked: Any) -> HttpResponseBase:  # Any: as above
        """Of the leaf that is asked for by the list's own `status` and `page`."""
        return await read(self._data, request)

    def _data(self, request: Request) -> HttpResponse:
        params, viewer = request.query_params, caller(request)
        leaf = leaf_of(listed(viewer, params.get("status", "")), params.get("page"))
        shown = [(card, card.line) for card in cards(leaf.object_list, viewer, timezone.now()) if card.line is not None]
        rows: list[Sequence[Cell]] = [
            (card.record.id, card.title, line.key, number, value)
            for card, line in shown
            for number, value in zip(line.rounds, line.values, strict=True)
        ]
        drawn = [{"id": card.record.id, "training": card.title, **_of_line(line)} for card, line in shown]
        plot = Plot(("id", "training", "metric", "round", "mean"), rows, {"lines": drawn})
        return answered(plot, params.get("format", "json"), "trainings")


def _of_line(line: summaries.Line) -> Mapping[str, object]:
    return {"metric": line.key, "round": line.rounds, "mean": line.values}


def answered(plot: Plot, form: str, name: str) -> HttpResponse:
    """As CSV to be kept under a name, or as JSON."""
    if form == "csv":
        answer = HttpResponse(as_csv(plot.columns, plot.rows), "text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    else:
        answer = HttpResponse(msgspec.json.encode(plot.drawn), "application/json")
    answer["Cache-Control"] = "no-store, private"
    return answer


def _curves(user: User, training_id: UUID, asked: Mapping[str, str]) -> Plot:
    client = asked.get("client", "")
    found = series(user, selectors.training_of(user, training_id), client)
    most = whole(asked.get("points", ""), 0)
    columns = [
        "kind",
        "metric",
        "round",
        "mean",
        "minimum",
        "maximum",
        "clients",
        *(["client", "value"] if client else []),
    ]
    rows, drawn = [], []
    for each in found:
        shown = charts.thinned(each.points, most) if most > 1 else each.points
        drawn.append(
            {
                "kind": each.kind,
                "metric": each.key,
                "round": [point.round for point in shown],
                "mean": [point.mean for point in shown],
                "minimum": [point.low if each.spread else None for point in shown],
                "maximum": [point.high if each.spread else None for point in shown],
                "clients": [point.clients for point in shown],
                "client": client or None,
                "value": [each.own.get(point.round) for point in shown] if client else None,
                "now": charts.number(shown[-1].mean),
                "summary": charts.summary(each.key, each.points),
            }
        )
        for point in shown:
            theirs: list[Cell] = [client, each.own.get(point.round)] if client else []
            spread = (point.low, point.high) if each.spread else (None, None)
            rows.append([each.kind, each.key, point.round, point.mean, *spread, point.clients, *theirs])
    return Plot(columns, rows, {"curves": drawn})


def _round(user: User, training_id: UUID, asked: Mapping[str, str]) -> Plot:
    number = whole(asked.get("round", ""), 0) or selectors.record(user, training_id).round
    found = selectors.round_detail(user, training_id, number)
    tasks: Sequence[wire.TaskInfo] = found.tasks
    of_updates = [task for task in tasks if task.kind == TaskKind.TRAIN]
    apart = outliers(
        {task.ordinal: task.norm for task in of_updates if task.norm is not None},
        {task.ordinal: task.cosine for task in of_updates if task.cosine is not None},
    )
    columns = (*OF_A_TASK, "apart")
    rows = [
        [*(getattr(task, name) for name in OF_A_TASK), apart.get(task.ordinal, "") if task in of_updates else ""]
        for task in tasks
    ]
    drawn = {"round": found.number, "tasks": [dict(zip(columns, row, strict=True)) for row in rows]}
    return Plot(columns, rows, drawn)


_PLOTS: Final[Mapping[str, Callable[[User, UUID, Mapping[str, str]], Plot]]] = {"curves": _curves, "round": _round}
