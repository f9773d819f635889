"""Where the uncertainty of an answer comes from: the request's word, else the plan's, else what the model is."""

from dataclasses import dataclass, replace

from hansa.protocol.inference import Method, Outputs, UncertaintyWish
from hansa.rounds.uncertainty import Uncertainty
from hansa.server.inference.errors import ImpossibleError
from hansa.server.inference.levels import Level, level_of
from hansa.server.registry import calibrations
from hansa.server.registry.models import Model, ModelKind, ModelVersion
from hansa.uncertainty.scores import Rule

DEFAULT = Uncertainty()
"""For models without a training."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a model is asked."""

    method: Method
    samples: int
    """Passes of mc_dropout and swag; versions of snapshots, at most."""
    outputs: Outputs | None
    temperature: float | None = None
    """By which logits are divided; only where outputs are logits."""
    at_edge: bool = False
    """Whether that is an end of the temperatures that were tried."""
    level: Level | None = None


def way_of(wish: UncertaintyWish, planned: Uncertainty | None, model: Model) -> Way:
    """How this model is asked. A mean without a word from anybody is an ensemble. Raises ImpossibleError."""
    plan = planned or DEFAULT
    method = wish.method or (plan.method if planned is not None else _of_kind(model))
    if method == "ensemble" and model.kind != ModelKind.MEAN:
        raise ImpossibleError(
            f"The model {model.id} is one model, and an ensemble is made of several. Make a mean of models (of type "
            "MEAN) and ask that, or ask its last versions with the method 'snapshots'."
        )
    if method in ("snapshots", "mc_dropout", "swag") and model.kind == ModelKind.MEAN:
        raise ImpossibleError(
            f"The model {model.id} is a mean, whose spread is that between its members: ask with ensemble or none, or "
            f"ask a member with {method}."
        )
    softmax = planned is not None and planned.softmax and method == "mc_dropout"
    return Way(method, wish.samples or plan.samples, wish.outputs or ("logits" if softmax else None))


def calibrated(way: Way, row: ModelVersion, asked: float | None, seed: int) -> Way:
    """The way with what the version's clients told of it. Raises ImpossibleError for a level that cannot be kept.

    Whoever calibrated it by temperature or by classes declared the outputs to be logits.
    """
    known = calibrations.at_hand(row)
    level = None if asked is None else level_of(row, known, asked, seed)
    if level is not None and way.method != "none":
        raise ImpossibleError(
            f"The version was calibrated by one pass, and {way.method} makes several: ask for a level with the method "
            "'none'.",
            about="level",
        )
    wanted: Outputs | None = None
    if level is not None:
        wanted = "values" if level.rule is Rule.RESIDUAL else "logits"
    elif way.method == "none" and known is not None and known.temperature is not None:
        wanted = "logits" if way.outputs is None else None
    if level is not None and way.outputs not in (None, wanted):
        raise ImpossibleError(
            f"The version was calibrated with outputs that are {wanted}; they were declared to be {way.outputs}. Leave "
            "the declaration out, or 'level'.",
            about="outputs",
        )
    outputs = wanted or way.outputs
    temperature = known.temperature if known is not None and outputs == "logits" else None
    at_edge = known is not None and temperature is not None and known.at_edge
    return replace(way, outputs=outputs, temperature=temperature, at_edge=at_edge, level=level)


def _of_kind(model: Model) -> Method:
    return "ensemble" if model.kind == ModelKind.MEAN else "none"
