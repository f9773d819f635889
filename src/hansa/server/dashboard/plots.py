"""The numbers behind the plots of a training's page, as CSV or JSON: each plot has its address.

/trainings/<id>/data/curves/   a row for each metric and round; `client` adds what that one measured, `points` has
                               neighbouring rounds put together until at most so many are left
/trainings/<id>/data/round/    a row for each task of one round: when, how much, norm, cosine, weight

Who may see what is the API's rule, which the selectors keep.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from django.http.response import HttpResponse, HttpResponseBase
from rest_framework.request import Request

from hansa.protocol import trainings as wire
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.dashboard import charts
from hansa.server.dashboard.page import Page
from hansa.server.dashboard.rounds import whole
from hansa.server.dashboard.series import series
from hansa.server.lifecycle.bridge import read
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.trainings import selectors

Cell = str | int | float | bool | None
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula. Names of clients and metrics are other people's."""
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
        if form == "json":
            answer = HttpResponse(msgspec.json.encode(plot.drawn), "application/json")
        else:
            answer = HttpResponse(as_csv(plot.columns, plot.rows), "text/csv; charset=utf-8")
            name = f"{asked['plot']}-{str(asked['training_id'])[:8]}.csv"
            answer["Content-Disposition"] = f'attachment; filename="{name}"'
        answer["Cache-Control"] = "no-store, private"
        return answer


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table for a spreadsheet, in which no text is a formula.

    >>> as_csv(["client", "norm"], [["=1+1", -0.5], ["anna", None]])
    "client,norm\\r\\n'=1+1,-0.5\\r\\nanna,\\r\\n"
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(columns)
    table.writerows(
        [f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in row] for row in rows
    )
    return text.getvalue()


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
    rows = [[getattr(task, name) for name in OF_A_TASK] for task in tasks]
    drawn = {"round": found.number, "tasks": [dict(zip(OF_A_TASK, row, strict=True)) for row in rows]}
    return Plot(OF_A_TASK, rows, drawn)


_PLOTS: Final[Mapping[str, Callable[[User, UUID, Mapping[str, str]], Plot]]] = {"curves": _curves, "round": _round}
