"""What `decide` may answer, each with its reason for the training's record."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until`; None: until something happens."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenRound:
    """Select a cohort and offer its clients a TRAIN task each."""

    number: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class ExpireLeases:
    """LEASED → LOST where the lease has ended."""

    reason: str


@dataclass(frozen=True, slots=True)
class DropOffers:
    """OFFERED → LOST: the clients did not come for their tasks in time."""

    reason: str


@dataclass(frozen=True, slots=True)
class CloseRound:
    """COLLECTING → AGGREGATING, with the accepted list written in the same transaction."""

    reason: str


@dataclass(frozen=True, slots=True)
class RelayRound:
    """COLLECTING → DONE without a version: the accepted local models are dealt to the clients of the next round."""

    reason: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Claim the round and compute its version."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpenSwag:
    """AGGREGATED → SWAG, with a SWAG task for each client that reported."""

    reason: str


@dataclass(frozen=True, slots=True)
class CloseSwag:
    """SWAG → COMBINING, with the accepted list of moments written in the same transaction."""

    reason: str


@dataclass(frozen=True, slots=True)
class Combine:
    """Claim the round and average its moments."""

    reason: str


@dataclass(frozen=True, slots=True)
class SkipMoments:
    """SWAG → COMBINED: the version gets no moments, and the training goes on without them."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpenEvaluation:
    """AGGREGATED | COMBINED → EVALUATING, with an EVALUATE task for each client that reported."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpenCalibration:
    """EVALUATING → CALIBRATING, with a CALIBRATE task for each client that reported and can be asked."""

    reason: str


@dataclass(frozen=True, slots=True)
class FinishRound:
    """AGGREGATED | COMBINED | EVALUATING | CALIBRATING → DONE."""

    reason: str


@dataclass(frozen=True, slots=True)
class AbandonRound:
    """COLLECTING → ABANDONED; the next decision opens a new attempt or stops the training."""

    reason: str
    failure: bool = True
    """Whether it counts towards MAX_FAILURES; drawing another cohort because nobody came does not."""


@dataclass(frozen=True, slots=True)
class Pause:
    """ONGOING → PAUSED between two rounds, because too few clients are there."""

    reason: str


@dataclass(frozen=True, slots=True)
class GoOn:
    """PAUSED → ONGOING: enough clients are there for what was paused for want of them."""

    reason: str


@dataclass(frozen=True, slots=True)
class Complete:
    """The training is COMPLETED."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The training goes to ERROR; the reason says what a person can do."""

    reason: str


Decision = (
    Wait
    | OpenRound
    | ExpireLeases
    | DropOffers
    | CloseRound
    | RelayRound
    | Aggregate
    | OpenSwag
    | CloseSwag
    | Combine
    | SkipMoments
    | OpenEvaluation
    | OpenCalibration
    | FinishRound
    | AbandonRound
    | Pause
    | GoOn
    | Complete
    | Fail
)
