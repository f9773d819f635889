"""What came of a storm: figures for programs, and what is wrong, in words."""

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from hansa.rounds.states import RoundState, TaskState
from hansa.simulation.chaos.findings import Fault, Finding
from hansa.simulation.chaos.record import Record
from hansa.simulation.chaos.storm import Tally
from hansa.simulation.chaos.witness import Witness


class Seconds(msgspec.Struct, frozen=True):
    """How long the server was away, over its kills. NaN is not JSON: without any, all are 0."""

    median: float
    p95: float
    max: float


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What the storm went through: nothing is proven of what did not happen."""

    late_updates: int
    """That were folded into a later round."""
    moments: int
    """Versions that have them."""
    relayed: int
    """Tasks that began with another client's local model, and were reported."""
    abandoned_rounds: int
    pauses: int
    """That the server has made because too few clients were there, as far as the actor has seen them."""
    points: dict[str, int]
    """Crash points at which a process died, and how often."""
    answers: int
    """That were asked which process they come from."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run. Those from `lost` to `stale_answers` are 0, or something is wrong."""

    seed: int
    kills: int
    kills_by: dict[str, int]
    """`server`, `client` and `both` at a random moment; `point`: at a crash point."""
    restarts: int
    serving_seconds: Seconds
    """From the death of a server to the first answer of the next."""
    trainings: int
    rounds: int
    """That were carried through."""
    updates: int
    """That count in them."""
    lost: int
    duplicated: int
    differing_versions: int
    stuck: int
    orphans: int
    unreferenced: int
    stale_answers: int
    """Answers of a process that had been killed."""
    covered: Coverage
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.stale_answers or any(getattr(self, fault.value) for fault in Fault))


def report(
    *,
    seed: int,
    tally: Tally,
    restarts: int,
    record: Record,
    witness: Witness,
    findings: Sequence[Finding],
    seconds: float,
) -> Report:
    """Put the figures together."""
    done = [of for of in record.rounds.values() if of.state == RoundState.DONE.value]
    wrong = Counter(finding.fault for finding in findings)
    return Report(
        seed=seed,
        kills=tally.kills_by.total(),
        kills_by={name: tally.kills_by[name] for name in ("server", "client", "both", "point")},
        restarts=restarts,
        serving_seconds=_spread(tally.serving_seconds),
        trainings=len(record.trainings),
        rounds=len(done),
        updates=sum(len(of.accepted) + len(of.folded) for of in done),
        stale_answers=tally.stale_answers,
        covered=_coverage(tally, record, witness),
        seconds=round(seconds, 3),
        **{fault.value: wrong[fault] for fault in Fault},
    )


def _coverage(tally: Tally, record: Record, witness: Witness) -> Coverage:
    rounds = record.rounds.values()
    handed_on = [task for task in record.tasks.values() if task.source is not None]
    return Coverage(
        late_updates=sum(len(of.folded) for of in rounds if of.state == RoundState.DONE.value),
        moments=sum(version.moments is not None for version in record.versions.values()),
        relayed=sum(task.state == TaskState.REPORTED.value for task in handed_on),
        abandoned_rounds=sum(of.state == RoundState.ABANDONED.value for of in rounds),
        pauses=witness.pauses,
        points=dict(sorted(tally.points.items())),
        answers=tally.answers,
    )


def _spread(values: Sequence[float]) -> Seconds:
    if not values:
        return Seconds(0.0, 0.0, 0.0)
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)

    return Seconds(at(0.5), at(0.95), at(1.0))
