"""What the log tells of a decision: what is done, and not why.

Reasons name clients, and what those wrote. They stand in the training's record, for whom they concern; the log may be
read by others.
"""

from collections.abc import Mapping
from typing import Final

from hansa.rounds import decisions
from hansa.rounds.decisions import Decision, OpenRound

_HEADLINES: Final[Mapping[type[Decision], str]] = {
    decisions.Wait: "it waits",
    decisions.ExpireLeases: "clients that fell silent lose their tasks",
    decisions.DropOffers: "clients that did not come lose their tasks",
    decisions.CloseRound: "its round is closed",
    decisions.RelayRound: "its round is closed, and the models are dealt",
    decisions.Aggregate: "its round is to be aggregated",
    decisions.OpenSwag: "its clients are asked for moments",
    decisions.CloseSwag: "its moments are complete",
    decisions.Combine: "its moments are to be combined",
    decisions.SkipMoments: "its version gets no moments",
    decisions.OpenEvaluation: "its version is tested",
    decisions.OpenCalibration: "its version is calibrated",
    decisions.FinishRound: "its round is done",
    decisions.AbandonRound: "its round is abandoned",
    decisions.Pause: "it pauses until enough clients are there",
    decisions.GoOn: "it goes on, since enough clients are there",
    decisions.Complete: "it is completed",
    decisions.Fail: "it stops, and a person is to look at its record",
}


def headline(decision: Decision) -> str:
    """In some words."""
    if isinstance(decision, OpenRound):
        return f"round {decision.number} begins, attempt {decision.attempt}"
    return _HEADLINES[type(decision)]
