"""The older platform's words for a training, and the plan that they stand for.

    aggregation_method   FedAvg   the mean weighted by examples
                         FedProx  the same, with a proximal term at the clients: `options.proximal_mu`, else DEFAULT_MU
                         FedDC    daisy chaining, if `options.daisy_chain_period` asks for it; without it FedAvg
    uncertainty_method   NONE, ENSEMBLE, MC_DROPOUT, SWAG
    options              daisy_chain_period   local models travel, and every so many rounds are aggregated; whatever the
                                              method. The number of updates asked for is multiplied by it: a training
                                              counts every round
                         uncertainty.N        passes of an answer: MC_DROPOUT, SWAG
                         uncertainty.softmax  MC_DROPOUT: apply softmax to each pass
                         proximal_mu          FedProx's μ
                         deadline_seconds     when a round stops waiting, and a push client's lease ends; without it a
                                              push client has an hour

`uncertainty.N` may be nested (`{"uncertainty": {"N": 5}}`) or one dotted key. Other options mean nothing, and are kept.
"""

import math
from typing import Any, Final

from msgspec import Struct, json

from hansa.protocol.trainings import AggregationMethod, UncertaintyMethod
from hansa.rounds.plan import Plan, parse

DEFAULT_MU: Final = 0.01
"""The older platform left the proximal term to its clients; a plan must name one. The second smallest of those tried
in Li et al. 2020, arXiv:1812.06127 (0.001, 0.01, 0.1, 1)."""
MAX_COUNT: Final = 1_000_000
"""Of rounds, and of passes: what a plan may hold."""
MAX_DEADLINE: Final = 366 * 86400
MAX_DEPTH: Final = 32
"""Of options: what is nested deeper can be read by some readers of JSON and not by others."""

SHOWN: Final = 60
"""Characters of a value that a message repeats."""

Options = dict[str, Any]  # Any: any JSON


class ShorthandError(ValueError):
    """A field cannot be used: `field` is its dotted path, the message says what was seen and what is wanted."""

    def __init__(self, field: str, said: str) -> None:
        super().__init__(said)
        self.field = field


class Shorthand(Struct, frozen=True, kw_only=True):
    """What a training was asked for in the older platform's words; stored as it was given."""

    aggregation_method: AggregationMethod
    uncertainty_method: UncertaintyMethod = "NONE"
    options: Options = {}
    metric_names: list[str] = []


def expand(words: Shorthand, *, updates: int) -> Plan:
    """The plan that the words stand for, with so many aggregations; the clients evaluate after each of them.

    Raises ShorthandError for a value that cannot be used, UnsoundPlanError for values that do not go together.

    >>> expand(Shorthand(aggregation_method="FedProx"), updates=3).client.proximal_mu
    0.01
    """
    options = words.options
    if _depth(options) > MAX_DEPTH:
        raise ShorthandError("options", f"The options are nested more than {MAX_DEPTH} deep; make them flatter.")
    period = _count(options, "daisy_chain_period", default=1, most=MAX_COUNT)
    if updates * period > MAX_COUNT:
        raise ShorthandError(
            "target_num_updates",
            f"{updates} updates with a daisy_chain_period of {period} are {updates * period} rounds; a training has "
            f"at most {MAX_COUNT}. Lower one of them.",
        )
    spread = _uncertainty(options)
    return parse(
        {
            "rounds": updates * period,
            "client": {"proximal_mu": _mu(words)},
            "uncertainty": {"method": words.uncertainty_method.lower(), **spread},
            "daisy_chain": {"period": period} if period > 1 else None,
            "closing": {"deadline_seconds": _deadline(options)},
        }
    )


def nearest(plan: Plan) -> Shorthand:
    """The words that come nearest to a plan, for readers who know no others.

    >>> nearest(parse({"rounds": 4, "daisy_chain": {"period": 2}})).options
    {'daisy_chain_period': 2}
    """
    options: Options = {}
    method: AggregationMethod = "FedAvg"
    if plan.client.proximal_mu:
        method, options["proximal_mu"] = "FedProx", plan.client.proximal_mu
    if plan.daisy_chain is not None:
        method, options["daisy_chain_period"] = "FedDC", plan.daisy_chain.period
    if plan.closing.deadline_seconds is not None:
        options["deadline_seconds"] = plan.closing.deadline_seconds
    if plan.uncertainty.method in ("mc_dropout", "swag"):
        options["uncertainty"] = {"N": plan.uncertainty.samples, "softmax": plan.uncertainty.softmax}
    return Shorthand(aggregation_method=method, uncertainty_method=_METHODS[plan.uncertainty.method], options=options)


_METHODS: dict[str, UncertaintyMethod] = {
    "none": "NONE",
    "ensemble": "ENSEMBLE",
    "snapshots": "ENSEMBLE",  # the older word for several models that answer together
    "mc_dropout": "MC_DROPOUT",
    "swag": "SWAG",
}


def _mu(words: Shorthand) -> float:
    given = words.options.get("proximal_mu")
    if given is None:
        return DEFAULT_MU if words.aggregation_method == "FedProx" else 0.0
    if words.aggregation_method != "FedProx":
        raise ShorthandError(
            "options.proximal_mu", f"proximal_mu goes with FedProx, and the method is {words.aggregation_method}."
        )
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
        raise ShorthandError("options.proximal_mu", f"{_shown(given)} is not a number of at least 0.")
    return float(given)


def _deadline(options: Options) -> float | None:
    given = options.get("deadline_seconds")
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= MAX_DEADLINE:
        raise ShorthandError(
            "options.deadline_seconds", f"{_shown(given)} is not a number of seconds above 0, at most {MAX_DEADLINE}."
        )
    return float(given)


def _uncertainty(options: Options) -> dict[str, int | bool]:
    nested = options.get("uncertainty", {})
    if not isinstance(nested, dict):
        raise ShorthandError("options.uncertainty", f'{_shown(nested)} is not an object, such as {{"N": 10}}.')
    found = {}
    for name in ("N", "softmax"):
        dotted = f"uncertainty.{name}"
        if name in nested and dotted in options:
            raise ShorthandError(f"options.{dotted}", "It is given twice, nested and with a dot; give it once.")
        if name in nested or dotted in options:
            found[dotted] = nested.get(name, options.get(dotted))
    softmax = found.get("uncertainty.softmax", False)
    if not isinstance(softmax, bool):
        raise ShorthandError("options.uncertainty.softmax", f"{_shown(softmax)} is neither true nor false.")
    return {"samples": _count(found, "uncertainty.N", default=10, most=MAX_COUNT), "softmax": softmax}


def _count(options: Options, name: str, *, default: int, most: int) -> int:
    number = options.get(name, default)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise ShorthandError(f"options.{name}", f"{_shown(number)} is not a whole number from 1 to {most}.")
    return number


def _shown(value: object) -> str:
    """The value as JSON, or the beginning of it."""
    text = json.encode(value).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _depth(value: object) -> int:
    """How deep lists and objects are nested; stops counting beyond the limit, and never recurses."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [child for children in inner for child in children]
        depth += bool(inner)
    return depth
