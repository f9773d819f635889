"""The learning curves on a training's page."""

from collections.abc import Mapping
from typing import Final

from hansa.protocol.tasks import TaskKind
from hansa.server.accounts.models import User
from hansa.server.dashboard import charts
from hansa.server.dashboard.page import Page, Shown
from hansa.server.dashboard.participants import SUGGESTED
from hansa.server.dashboard.series import OF_VERSIONS, Series, series
from hansa.server.trainings.summaries import COVERAGE, OF_UPDATES

GROUPS: Final[Mapping[str, frozenset[str]]] = {
    "Learning curves": frozenset({TaskKind.EVALUATE.value, TaskKind.TRAIN.value}),
    "Calibration": frozenset({TaskKind.CALIBRATE.value, OF_VERSIONS}),
    "Updates": frozenset({OF_UPDATES}),
}
"""Under which heading which kinds of metrics stand."""
WHENCE: Final[Mapping[str, str]] = {
    TaskKind.EVALUATE.value: "tested by the clients",
    TaskKind.TRAIN.value: "while training",
    TaskKind.CALIBRATE.value: "by client",
    OF_VERSIONS: "of the versions",
    OF_UPDATES: "of the updates",
}
"""What stands beside a metric's name, by the kind of what it is measured in."""
IN_WORDS: Final[Mapping[tuple[str, str], str]] = {
    (OF_VERSIONS, "temperature"): "temperature",
    (OF_VERSIONS, "ece"): "calibration error",
    (OF_VERSIONS, "ece_tempered"): "calibration error under the temperature",
    (OF_UPDATES, "cosine"): "cosine to the aggregate",
}
"""Metrics that are this server's, and not named by clients."""


def curves_part(page: Page, user: User, shown: Shown) -> Shown:
    """Every metric over the rounds: what the clients tested first. A participant's own values are drawn over them."""
    record = shown["record"]
    mine = user.username if any(client.id == str(user.id) for client in record.clients) else ""
    asked = page.request.query_params.get("highlight", mine)
    allowed = {client.username for client in record.clients if shown["steers"] or client.id == str(user.id)}
    highlight = asked if asked in allowed else ""
    stranger = "" if highlight == asked else asked
    found = series(user, shown["training"], highlight)
    groups = [(heading, [_drawn(each) for each in found if each.kind in kinds]) for heading, kinds in GROUPS.items()]
    return {
        "groups": [(heading, curves) for heading, curves in groups if curves],
        "highlight": highlight,
        "not_highlighted": stranger,
        "more_to_highlight": max(0, len(allowed) - SUGGESTED),
        "may_highlight": sorted(allowed)[:SUGGESTED],
    }


def _drawn(of: Series) -> tuple[str, str, str, charts.Curve]:
    """Its kind, what it is called, what that is measured in, and its picture."""
    return of.kind, _title(of), WHENCE[of.kind], charts.curve(of.key, of.points, of.own)


def _title(of: Series) -> str:
    """What its picture is called."""
    if of.kind == TaskKind.CALIBRATE.value and of.key.startswith(COVERAGE):
        return f"truth within sets of level {of.key.removeprefix(COVERAGE)}"
    return IN_WORDS.get((of.kind, of.key), of.key)
