"""A question to a model, and its answer with a measure of how far to trust it.

POST /api/inference/   InferenceQuestion as JSON; or a form (multipart): the same names, `uncertainty` as JSON text, and
                       `model_input` as a file or a field, several of them being a batch
                       → InferenceAnswer; with return_format=binary its arrays by name, as safetensors

An input is nested numbers, a tensor that torch has saved, safetensors, .npy, or an image; files may be sent as base64
text. An image is a float tensor B x C x H x W within [0, 1]; a model with preprocessing gets it as uint8.
Nothing that is sent is unpickled.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hansa.protocol.base import Answer, Request
from hansa.protocol.calibration import ScoreRule

MAX_SAMPLES = 1000
MAX_PARTS = 1024
MAX_SEED = 2**53

Method = Literal["none", "ensemble", "snapshots", "mc_dropout", "swag"]
Outputs = Literal["probabilities", "logits", "values"]
Dtype = Literal["bool", "uint8", "int32", "int64", "float16", "float32", "float64"]


class UncertaintyWish(Request, frozen=True):
    """Where the uncertainty shall come from. What is left out is as the plan of the model's training has it."""

    method: Method | None = None
    """none: one pass. ensemble: a pass of each member of a mean. snapshots: a pass of each of the last versions (Huang
    et al. 2017, arXiv:1704.00109). mc_dropout: passes with dropout on (Gal and Ghahramani 2016, arXiv:1506.02142).
    swag: draws of the weights (Maddox et al. 2019, arXiv:1902.02476)."""
    samples: Annotated[int, Meta(ge=1, le=MAX_SAMPLES)] | None = None
    """Passes of mc_dropout and swag; of snapshots, how many versions, of which there may be fewer."""
    outputs: Outputs | None = None
    """What the model's outputs are along their second dimension: probabilities of classes, logits (to which softmax is
    applied), or values, for a regression. Left out, nothing is assumed but what the older contract does: outputs that
    all lie within [0, 1] are given entropies."""


class InferenceQuestion(Request, frozen=True):
    """What a model is asked."""

    model_id: str
    """Of a model, or of a local model."""
    model_input: Annotated[
        msgspec.Raw,
        Meta(description="Nested numbers, or text.", extra_json_schema={"type": ["array", "number", "string"]}),
    ]
    return_format: Literal["json", "binary"] = "json"
    """In a form: binary, unless it says otherwise."""
    version: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    """Left out: the newest; with swag, the newest that has moments."""
    uncertainty: UncertaintyWish = UncertaintyWish()
    level: Annotated[float, Meta(ge=0.5, le=0.999)] | None = None
    """How often the truth shall be in the set of classes, or the interval, that is then answered as well: of a version
    that clients have calibrated, left out the newest such. Goes with method none."""
    seed: Annotated[int, Meta(ge=0, le=MAX_SEED)] = 0
    """Of what is drawn: the same question with the same seed has the same answer."""
    dtype: Dtype | None = None
    """To which type the numbers are converted. Left out: numbers of JSON are float32, or int64 if all are whole and
    written so; files keep theirs."""


class Conformal(Answer, frozen=True, kw_only=True):
    """Sets of classes, or intervals, that hold the truth as often as was asked; see `hansa.uncertainty.conformal`."""

    level: float
    """As it was asked. Nothing is added to it for the grid that the scores were counted on: `excess` says what that
    costs."""
    rule: ScoreRule
    examples: int
    """Calibration examples of all clients."""
    clients: int
    threshold: float | None
    """Of the score; null: there is no end, and `unbounded` says why."""
    excess: int
    """So many more examples than asked are covered, because scores are counted in cells of a grid."""
    unbounded: str = ""
    sets: list[list[int]] | None = None
    """Of each input the numbers of its classes; some may be empty."""
    empty: list[int] = []
    """Which inputs have an empty set."""
    low: list | float | None = None  # type: ignore[type-arg]  # nested to the depth that the model's outputs have
    """The ends of the intervals; null within: there is none."""
    high: list | float | None = None  # type: ignore[type-arg]  # as above
    assumptions: list[str]
    """What the level rests on, and what is not promised."""


class Reckoned(Answer, frozen=True):
    """How an answer came about."""

    model: str
    version: int | None
    """null of a local model, and of a mean, whose members answered in their newest versions."""
    method: Method
    passes: int
    seed: int | None
    """null where nothing was drawn."""
    outputs: Outputs | None
    """As declared; null: nothing was."""
    seconds: float
    """From the question to the outputs."""
    probabilities: list | None = None  # type: ignore[type-arg]  # nested to the depth that the model's outputs have
    """Of classes, the mean over all passes; null unless outputs were declared to be probabilities or logits."""
    temperature: float | None = None
    """By which the logits were divided: that of the version, found by its clients; null: they were not."""
    conformal: Conformal | None = None
    """With a level."""
    not_finite: list[str] = []
    """Arrays of the answer with infinite or undefined numbers, which JSON cannot hold: there they are null."""
    notes: list[str] = []
    """What the numbers rest on, and what they do not tell."""


class InferenceAnswer(Answer, frozen=True):
    """The contract's answer; what Hansa adds stands under `hansa`."""

    inference: list | float  # type: ignore[type-arg]  # nested to the depth that the model's outputs have
    """With method none the numbers of the likeliest classes, or the values of a regression; else the mean."""
    uncertainty: dict[str, list | float]  # type: ignore[type-arg]  # as above
    """Empty with method none; else `variance` and `std` over the passes (unbiased), and for classes
    `predictive_entropy`, `expected_entropy` and `mutual_info` in nats."""
    hansa: Reckoned
