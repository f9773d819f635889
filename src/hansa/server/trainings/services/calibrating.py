"""Calibration of a version: what its clients are asked for, what they tell, and what all of it comes to.

A temperature comes of the losses that were reported with the evaluation, and is settled when that is over; conformal
scores are asked for under it, and settled when the round is done. Everything is whole numbers, and sums of them: the
same whoever came first. What a single client told is let go with the sum; its coverage stays, as a metric of its own.

Each of these is part of a change that its caller has opened.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from hansa.protocol import calibration as wire
from hansa.protocol.tasks import TaskKind, TaskReport
from hansa.rounds.states import RoundState, TaskState
from hansa.server.lifecycle.errors import InvalidError
from hansa.server.registry import calibrations
from hansa.server.registry.models import MetricKind
from hansa.server.registry.services import record_metrics
from hansa.server.trainings.models import Round, Task, Training
from hansa.uncertainty import calibration, conformal, sketches, temperature
from hansa.uncertainty.calibration import Tally
from hansa.uncertainty.conformal import Threshold
from hansa.uncertainty.reports import ReportError, check_same_examples
from hansa.uncertainty.scores import Rule
from hansa.uncertainty.sketches import Grid, Sketch
from hansa.uncertainty.temperature import TEMPERATURES, LossSums, Temperature

CALIBRATION_PROTOCOL: Final = 3
"""Clients of earlier ones do not know what it is to calibrate a version."""
LEVELS: Final = (0.8, 0.9, 0.95, 0.99)
"""Of which each client's coverage becomes a metric."""


def wish(of: Round) -> wire.CalibrationWish | None:
    """What the tasks of the round's phase ask for beside their own results; None: nothing."""
    wanted = of.training.parsed_plan.uncertainty.calibration
    if of.state == RoundState.EVALUATING.value and wanted.temperature:
        return wire.CalibrationWish(losses=True)
    if of.state == RoundState.CALIBRATING.value and of.version is not None:
        known = calibrations.of(of.version)
        return wire.CalibrationWish(scores=wanted.scores, temperature=None if known is None else known.temperature)
    return None


def note(task: Task, report: TaskReport) -> None:
    """Keep what a client tells with its report. Raises InvalidError for what was not asked for, or cannot be."""
    said = report.calibration
    if said is None:
        if task.kind == TaskKind.CALIBRATE.value:
            raise InvalidError("A calibration comes with its scores: 'calibration' is missing.")
        return
    try:
        _check(task, said, report.num_examples)
    except ReportError as error:
        raise InvalidError(f"calibration.{error}.") from error
    Task.objects.filter(id=task.id).update(calibration=msgspec.to_builtins(said))


def settle(of: Round, training: Training) -> str:
    """The phase that the round is in is over: keep what its reports came to. What is missing, or ""."""
    wanted = training.parsed_plan.uncertainty.calibration
    missing = ""
    if of.state == RoundState.EVALUATING.value and wanted.temperature:
        missing = _settle_temperature(of)
    elif of.state == RoundState.CALIBRATING.value and wanted.scores is not None:
        missing = _settle_scores(of, Rule(wanted.scores))
    of.tasks.filter(calibration__isnull=False).update(calibration=None)
    return missing


def _settle_temperature(of: Round) -> str:
    told = [said for _, said in _told(of, TaskKind.EVALUATE)]
    losses = temperature.merged(_losses(said.losses) for said in told if said.losses is not None)
    if not losses.count:
        return _missing(of, "the version has no temperature, since no client told its losses")
    found, one = temperature.best(losses), TEMPERATURES.index(1.0)
    _keep(
        of,
        {
            "temperature": found.value,
            "at_edge": found.at_edge,
            "examples": losses.count,
            "clients": len(told),
            "loss": losses.mean(one),
            "loss_tempered": losses.mean(_nearest(found)),
            "ece": _pooled_error(told),
        },
    )
    return ""


def _settle_scores(of: Round, rule: Rule) -> str:
    told = [(task, said, _sketch(said.scores)) for task, said in _told(of, TaskKind.CALIBRATE) if said.scores]
    if not told:
        return _missing(of, "the version has no sets or intervals, since no client told its scores")
    pooled = sketches.merged(sketch for *_, sketch in told)
    _keep(
        of,
        {
            "rule": rule.value,
            "scores": calibrations.stored(pooled),
            "score_examples": pooled.count,
            "score_clients": len(told),
            "ece_tempered": _pooled_error([said for _, said, _ in told]),
        },
    )
    limits = {level: conformal.pooled_threshold(pooled, len(told), 1 - level) for level in LEVELS}
    for task, _, own in told:
        _note_coverage(of, task, own, limits)
    return ""


def _note_coverage(of: Round, task: Task, own: Sketch, limits: Mapping[float, Threshold]) -> None:
    """How often sets of a level hold the truth for this client, counted over the scores that it was calibrated with."""
    covered = {
        level: conformal.sketched_coverage(own, limit).share
        for level, limit in limits.items()
        if limit.value is not None
    }
    values = {f"coverage_{level:g}": share for level, share in covered.items() if share is not None}
    record_metrics(
        model_id=of.training.model_id,
        reporter_id=task.participation.client_id,
        kind=MetricKind.EVALUATE,
        step=of.number,
        num_examples=max(own.count, 1),
        values=values,
    )


def _told(of: Round, kind: TaskKind) -> list[tuple[Task, wire.CalibrationReport]]:
    """What was reported, in canonical order."""
    came = of.tasks.filter(kind=kind.value, state=TaskState.REPORTED.value, calibration__isnull=False)
    rows = came.select_related("participation").order_by("participation__ordinal")
    return [(row, msgspec.convert(row.calibration, wire.CalibrationReport)) for row in rows]


def _keep(of: Round, found: Mapping[str, object]) -> None:
    if of.version is not None:
        calibrations.keep(of.version, found)


def _missing(of: Round, why: str) -> str:
    known = None if of.version is None else calibrations.of(of.version)
    _keep(of, {"reason": f"{known.reason}; {why}" if known is not None and known.reason else why})
    return why


def _pooled_error(told: Sequence[wire.CalibrationReport]) -> float | None:
    whole = calibration.merged(_tally(said.tally) for said in told if said.tally is not None)
    return calibration.calibration_error(whole) if whole.count else None


def _nearest(found: Temperature) -> int:
    """The place on the grid whose temperature is nearest to it, in proportion."""
    return min(range(len(TEMPERATURES)), key=lambda place: abs(TEMPERATURES[place] / found.value - 1))


def _check(task: Task, said: wire.CalibrationReport, num_examples: int) -> None:
    """Raises InvalidError for parts that were not asked for, ReportError for what cannot be true of any examples."""
    wanted = task.round.training.parsed_plan.uncertainty.calibration
    asked = {
        "losses": task.kind == TaskKind.EVALUATE.value and wanted.temperature,
        "scores": task.kind == TaskKind.CALIBRATE.value and wanted.scores is not None,
    }
    for part, is_asked in asked.items():
        if (getattr(said, part) is not None) != is_asked:
            what = "is missing" if is_asked else "was not asked for: leave it out"
            raise InvalidError(f"calibration.{part} {what}.")
    if said.scores is not None and wanted.scores is not None:
        grid = Rule(wanted.scores).grid
        if said.scores.grid != grid.value:
            raise ReportError("scores.grid", f"is {said.scores.grid!r}; {wanted.scores} is counted on {grid.value!r}")
    counts = {
        "losses": None if said.losses is None else _losses(said.losses).count,
        "tally": None if said.tally is None else _tally(said.tally).count,
        "scores": None if said.scores is None else _sketch(said.scores).count,
    }
    examples = max(count for count in counts.values() if count is not None)
    check_same_examples(examples, **counts)
    if not 1 <= examples <= num_examples:
        raise ReportError("examples", f"are {examples}; the report is of {num_examples}, and wanted is at least 1")


def _losses(said: wire.Losses) -> LossSums:
    return LossSums(tuple(said.sums), said.count, said.grid)


def _tally(said: wire.Tally) -> Tally:
    return Tally(tuple(said.counts), tuple(said.correct), tuple(said.confidences), said.brier)


def _sketch(said: wire.Sketch) -> Sketch:
    try:
        grid = Grid(said.grid)
    except ValueError as error:
        raise ReportError("scores.grid", f"is {said.grid!r}; the grids are {', '.join(Grid)}") from error
    return Sketch(grid, tuple(said.cells), tuple(said.counts))
