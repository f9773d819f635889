"""Where the uncertainty of an answer comes from: the request's word, else the plan's, else what the model is."""

from dataclasses import dataclass

from hansa.protocol.inference import Method, Outputs, UncertaintyWish
from hansa.rounds.plan import Uncertainty
from hansa.server.inference.errors import ImpossibleError
from hansa.server.registry.models import Model, ModelKind

DEFAULT = Uncertainty()
"""For models without a training."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a model is asked."""

    method: Method
    samples: int
    """Passes of mc_dropout and swag."""
    outputs: Outputs | None


def way_of(wish: UncertaintyWish, planned: Uncertainty | None, model: Model) -> Way:
    """How this model is asked. A mean without a word from anybody is an ensemble. Raises ImpossibleError."""
    plan = planned or DEFAULT
    method = wish.method or (plan.method if planned is not None else _of_kind(model))
    if method == "ensemble" and model.kind != ModelKind.MEAN:
        raise ImpossibleError(
            f"The model {model.id} is one model, and an ensemble is made of several. Make a mean of models "
            '(POST /api/models/ with type MEAN) and ask that, or ask with "uncertainty": {"method": "none"}.'
        )
    if method in ("mc_dropout", "swag") and model.kind == ModelKind.MEAN:
        raise ImpossibleError(
            f"The model {model.id} is a mean, whose spread is that between its members: ask with ensemble or none, or "
            f"ask a member with {method}."
        )
    softmax = planned is not None and planned.softmax and method == "mc_dropout"
    return Way(method, wish.samples or plan.samples, wish.outputs or ("logits" if softmax else None))


def _of_kind(model: Model) -> Method:
    return "ensemble" if model.kind == ModelKind.MEAN else "none"
