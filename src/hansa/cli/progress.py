"""A training's rounds as people follow them: one `Line` per attempt, and the table of lines.

Loss and accuracy are those the clients reported, weighted by examples: of their evaluations, if the plan evaluates at
all, else of their training. Which one is said under the table; the two are never mixed in one column.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from hansa.cli import output
from hansa.cli.output import Column, right
from hansa.cli.words import latecomers, moment, size
from hansa.client.plaintext import clean
from hansa.protocol.trainings import Round, RoundMetrics, Spread, Training
from hansa.rounds.states import FINAL_TRAINING_STATUSES, RoundState, TrainingStatus

ENDED_STATUSES = FINAL_TRAINING_STATUSES | {TrainingStatus.ERROR}
"""A training in one of these moves no more by itself; out of an error a person may resume it."""

_STATUS_STYLES = {
    TrainingStatus.COMPLETED: "green",
    TrainingStatus.ERROR: "red",
    TrainingStatus.CANCELLED: "red",
    TrainingStatus.PAUSED: "yellow",
}
_ROUND_STYLES = {RoundState.DONE: "green", RoundState.ABANDONED: "red"}


@dataclass(frozen=True, slots=True)
class Line:
    """One attempt at one round."""

    number: int
    attempt: int
    state: str
    reason: str
    reported: int
    cohort: int
    loss: Spread | None
    score: Spread | None
    """The metric beside the loss: accuracy, or whatever the trainers report."""
    bytes: int
    seconds: float | None
    """From the opening to the end; None while it runs."""
    late: int = 0
    """How many updates of earlier rounds count in it."""
    late_words: str = ""
    """Which, and by how much."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (RoundState.DONE, RoundState.ABANDONED)

    @property
    def title(self) -> str:
        """The round's number, with the attempt if it is not the first."""
        return f"{self.number}" if self.attempt == 1 else f"{self.number} try {self.attempt}"


@dataclass(frozen=True, slots=True)
class Progress:
    """A training's lines, oldest first, and what their figures are."""

    lines: tuple[Line, ...]
    score: str
    """The name of the metric beside the loss."""
    evaluated: bool
    """Whether the figures are the clients' evaluations, or else of their training."""


def progress(rounds: Sequence[Round], metrics: Sequence[RoundMetrics]) -> Progress:
    """The rounds and their metrics, put together."""
    evaluated = any(each.evaluate for each in metrics)
    values = {each.round: each.evaluate if evaluated else each.train for each in metrics}
    score = _score({name for spreads in values.values() for name in spreads})
    lines = (_line(each, values.get(each.number, {}), score) for each in rounds)
    return Progress(tuple(sorted(lines, key=lambda line: (line.number, line.attempt))), clean(score), evaluated)


def _score(names: set[str]) -> str:
    """Accuracy if there is one, else the first other metric that is not the loss."""
    return "accuracy" if "accuracy" in names or names <= {"loss"} else min(names - {"loss"})


def _line(found: Round, spreads: dict[str, Spread], score: str) -> Line:
    live_or_done = found.state != RoundState.ABANDONED
    end = found.done_at or (None if live_or_done else found.closed_at)
    return Line(
        number=found.number,
        attempt=found.attempt,
        state=found.state,
        reason=found.reason,
        reported=found.reported,
        cohort=found.cohort,
        loss=spreads.get("loss") if live_or_done else None,
        score=spreads.get(score) if live_or_done else None,
        bytes=found.bytes,
        seconds=(moment(end) - moment(found.opened_at)).total_seconds() if end else None,
        late=len(found.folded) if live_or_done else 0,
        late_words="; ".join(latecomers(found)),
    )


def rounds_table(shown: Progress, *, newest: int | None = None) -> RenderableType:
    """The lines as a table; `newest`: only so many of the last ones, and how many are left out."""
    lines = shown.lines if newest is None else shown.lines[-max(1, newest) :]
    columns = [
        right("round", style="bold"),
        Column("state"),
        right("clients"),
        right("loss"),
        right(shown.score[:12]),
        Column("over clients", align="right", give="cut"),
        right("received"),
        right("seconds"),
    ]
    parts: list[RenderableType] = [output.table(columns, [_cells(line) for line in lines])]
    if left_out := len(shown.lines) - len(lines):
        parts.insert(0, Text(f"({left_out} earlier not shown)", style="dim"))
    if any(line.loss or line.score for line in lines):
        source = "evaluations" if shown.evaluated else "training"
        parts.append(Text(f"loss, {shown.score}: of the clients' {source}; mean, lowest..highest", style="dim"))
    return Group(*parts)


def _cells(line: Line) -> tuple[str | Text, ...]:
    return (
        line.title,
        Text(line.state, style=_ROUND_STYLES.get(RoundState(line.state), "") if line.ended else "cyan"),
        f"{line.reported}/{line.cohort}" + (f" +{line.late} late" if line.late else ""),
        mean(line.loss),
        mean(line.score),
        spread(line.score),
        size(line.bytes) if line.bytes else "",
        "" if line.seconds is None else f"{line.seconds:.1f}",
    )


def number(value: float) -> str:
    """Four decimals, so that a column of them lines up; huge ones (a loss that ran away) by four digits."""
    return f"{value:.4f}" if abs(value) < 10_000 else f"{value:.4g}"


def spread(value: Spread | None) -> str:
    """The lowest and the highest client; participants are not told."""
    if value is None or value.minimum is None or value.maximum is None:
        return ""
    return f"{value.minimum:.3f}..{value.maximum:.3f}"


def mean(value: Spread | None) -> str:
    """The mean over the clients; participants are not told one of a single other."""
    return "" if value is None or value.mean is None else number(value.mean)


def headline(training: Training) -> Text:
    """Which training, how it stands, and how far it is."""
    status = Text(clean(training.status), style=_STATUS_STYLES.get(training.status, "cyan"))  # type: ignore[call-overload] # a str is looked up
    name = clean(training.name) or training.id[:8]
    return Text.assemble((name, "bold"), "  ", status, f"  {training.rounds_done} of {training.rounds} rounds done")


def sentence(line: Line, score: str) -> str:
    """An ended line in words, for logs."""
    parts = [f"{line.reported}/{line.cohort} clients", *([line.late_words] if line.late_words else [])]
    if loss := mean(line.loss):
        parts.append(f"loss {loss}")
    if middle := mean(line.score):
        ends = spread(line.score)
        parts.append(f"{score} {middle} ({ends} over clients)" if ends else f"{score} {middle}")
    if line.bytes:
        parts.append(size(line.bytes))
    if line.seconds is not None:
        parts.append(f"{line.seconds:.1f} s")
    why = f"; {line.reason}" if line.state == RoundState.ABANDONED else ""
    return clean(f"round {line.title} {line.state}: {', '.join(parts)}{why}")
