"""What clients tell of how far a version's confidence is borne out: whole numbers, never inputs or labels.

They come in the reports of two kinds of task, where the task asks for them (`CalibrationWish`):

    EVALUATE    `losses` on a grid of temperatures, and a `tally` of confidence and correctness
    CALIBRATE   `scores`: how many conformal scores lie in which cell of a fixed grid, under the version's temperature;
                and the `tally` under that temperature

What the numbers mean, and what they reveal, is in `hansa.uncertainty`: `temperature`, `calibration`, `sketches`.
"""

from typing import Annotated, Literal

from msgspec import Meta

from hansa.protocol.base import Answer, Request

ScoreRule = Literal["lac", "aps", "residual"]
"""lac: 1 - p of the right class; aps: the probability of all likelier classes, and a random part of its own; residual:
the distance of a number from the prediction. See `hansa.uncertainty.scores`."""

Whole = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1, max_length=32)]
MAX_TEMPERATURES, MAX_BINS, MAX_CELLS = 128, 64, 4200
"""More than there are of any grid; with as many as there are, a report is some 40 KB."""


class CalibrationWish(Answer, frozen=True):
    """What a task asks for beside its own result."""

    losses: bool = False
    """EVALUATE: the losses on the grid of temperatures, and the tally."""
    scores: ScoreRule | None = None
    """CALIBRATE: the scores by this rule."""
    temperature: float | None = None
    """CALIBRATE: logits are divided by it first; None: the version has none."""


class Losses(Request, frozen=True):
    """Σ -ln p_y of `count` examples at each temperature of the grid, in units of 2^-20 nats."""

    grid: Name
    sums: Annotated[list[Whole], Meta(max_length=MAX_TEMPERATURES)]
    count: Whole


class Tally(Request, frozen=True):
    """Examples by how sure the model was of its likeliest class: how many, how many right, and Σ confidence · 2^30."""

    counts: Annotated[list[Whole], Meta(max_length=MAX_BINS)]
    correct: Annotated[list[Whole], Meta(max_length=MAX_BINS)]
    confidences: Annotated[list[Whole], Meta(max_length=MAX_BINS)]
    brier: Whole


class Sketch(Request, frozen=True):
    """How many scores lie in which cells of a grid; cells ascending, those without scores left out."""

    grid: Name
    cells: Annotated[list[Whole], Meta(max_length=MAX_CELLS)]
    counts: Annotated[list[Whole], Meta(max_length=MAX_CELLS)]


class CalibrationReport(Request, frozen=True):
    """One client's part. Every part that is given was counted over the same examples."""

    losses: Losses | None = None
    tally: Tally | None = None
    scores: Sketch | None = None


class VersionCalibration(Answer, frozen=True):
    """What the clients' reports came to, all of them together."""

    temperature: float | None = None
    """By which the logits are divided; None: the version has none, and `reason` says why if one was asked for."""
    at_edge: bool = False
    """The temperature is an end of the grid, and the best may lie beyond."""
    examples: int = 0
    """That the temperature was found with."""
    clients: int = 0
    loss: float | None = None
    """The mean of -ln p_y over these examples, in nats, as the model gives them."""
    loss_tempered: float | None = None
    """The same with the temperature of the grid that is nearest to the version's."""
    ece: float | None = None
    """Expected calibration error over these examples, as the model gives them (Guo et al. 2017, with 15 bins)."""
    ece_tempered: float | None = None
    """The same with the temperature, over the examples of `score_examples`; None where no scores were asked for."""
    scores: ScoreRule | None = None
    """By which rule conformal scores were gathered; None: none were."""
    score_examples: int = 0
    score_clients: int = 0
    reason: str = ""
    """Why something that the plan asks for is missing."""
