"""The plan of a training: everything that decides its result, as data.

A plan is a JSON object, stored with the training, shown to everybody who may see it, and enough to repeat it.
It names a cohort, a closing rule, the three seams through which every update goes (client transforms, aggregator,
server step), what clients are asked to do, and how versions are evaluated. `parse` reads one, `schema` describes
them, `expand` fills in what depends on the training.
"""

import math
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

PLAN_FORMAT: Final = 1

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Share = Annotated[float, Meta(gt=0, le=1)]


class UnsoundPlanError(ValueError):
    """The plan cannot be run as it stands; the message says which part, what was seen and what is wanted."""


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    """A part of a plan: unknown fields are refused, so that a typing error is told."""


class Cohort(Section, frozen=True):
    """Who is selected for a round: all participants, a fraction of them, or so many. At most one of the two."""

    fraction: Share | None = None
    size: Count | None = None


class Closing(Section, frozen=True):
    """When a round stops collecting: all required clients have reported, or the quorum has, or the deadline passed."""

    quorum: Count | None = None
    """Close as soon as so many have reported; None: wait for every client that is alive."""
    deadline_seconds: Annotated[float, Meta(gt=0, le=366 * 86400)] | None = None
    """From the moment the round's first client takes its task; None: no deadline."""
    min_reports: Count | None = None
    """A round with fewer reports is not aggregated; None: half the cohort, rounded up, or the quorum if it is less."""


class WeightedMean(Section, frozen=True, tag="weighted_mean", tag_field="kind"):
    """Σ nᵢ·xᵢ / Σ nᵢ (McMahan et al. 2017, arXiv:1602.05629, algorithm 1)."""

    weighting: Literal["examples", "equal"] = "examples"


class Identity(Section, frozen=True, tag="identity", tag_field="kind"):
    """The mean of the clients' params is the new version: FedAvg's server."""


class ClientConfig(Section, frozen=True):
    """What is asked of a client's own training; sent to it as `Task.config`."""

    epochs: Annotated[int, Meta(ge=1, le=100_000)] = 1
    client_lr: Annotated[float, Meta(gt=0)] | None = None
    """Learning rate of the client optimizer; None: the client's own."""
    momentum: Annotated[float, Meta(ge=0, lt=1)] | None = None
    proximal_mu: Annotated[float, Meta(ge=0)] = 0.0
    """FedProx's μ: each step minimises loss + μ/2·‖w - w_base‖² (Li et al. 2020, arXiv:1812.06127, eq. 2)."""
    extra: dict[str, float | int | str | bool | None] = {}
    """For the trainer's own use; handed over unread."""


class Evaluation(Section, frozen=True):
    """Evaluation of new versions by the clients on their own data."""

    every: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    """After every so many rounds, and after the last; 0: never."""


class Plan(Section, frozen=True):
    """A training, complete. The defaults are FedAvg over all participants."""

    rounds: Count
    format: Literal[1] = PLAN_FORMAT
    cohort: Cohort = Cohort()
    closing: Closing = Closing()
    aggregator: WeightedMean = WeightedMean()
    server_step: Identity = Identity()
    client: ClientConfig = ClientConfig()
    evaluation: Evaluation = Evaluation()
    keep_updates: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """For how many rounds after their own the clients' updates are kept; 0: until their round is done."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """Decides selections and the seeds of the clients; None: drawn when the training is made, and shown."""


def parse(data: object) -> Plan:
    """Read a plan from JSON-like data and refuse unsound ones.

    Raises UnsoundPlanError with the path of the field, the value seen and the value wanted.

    >>> parse({"rounds": 3}).aggregator.weighting
    'examples'
    """
    try:
        plan = msgspec.convert(data, Plan)
        _check_kinds(data)
    except msgspec.ValidationError as error:
        raise UnsoundPlanError(f"plan: {error}. See GET /api/plan-schema/ for what a plan may hold.") from error
    check(plan)
    return plan


def _check_kinds(data: object) -> None:
    """Refuse a seam without its kind. msgspec does without it where there is but one; the schema does not."""
    for seam in ("aggregator", "server_step"):
        section = data.get(seam) if isinstance(data, dict) else None
        if section is not None and "kind" not in section:
            raise msgspec.ValidationError(f"Object missing required field `kind` - at `$.{seam}`")


def check(plan: Plan) -> None:
    """Refuse a plan whose parts are valid each but do not go together, or that JSON could not carry."""
    cohort, closing, client = plan.cohort, plan.closing, plan.client
    numbers = {"client_lr": client.client_lr, "proximal_mu": client.proximal_mu}
    numbers |= {f"extra.{key}": value for key, value in client.extra.items() if isinstance(value, float)}
    for name, number in numbers.items():
        if number is not None and not math.isfinite(number):
            raise UnsoundPlanError(f"plan: client.{name} is {number}, which JSON cannot carry; give a finite number.")
    if cohort.fraction is not None and cohort.size is not None:
        raise UnsoundPlanError(
            f"plan: cohort has both fraction {cohort.fraction} and size {cohort.size}; give at most one of them."
        )
    for name, wanted in (("quorum", closing.quorum), ("min_reports", closing.min_reports)):
        if wanted is not None and cohort.size is not None and wanted > cohort.size:
            raise UnsoundPlanError(
                f"plan: closing.{name} is {wanted}, but the cohort has {cohort.size} clients, so no round could "
                f"close. Lower {name} or raise cohort.size."
            )
    if closing.quorum is not None and closing.min_reports is not None and closing.quorum < closing.min_reports:
        raise UnsoundPlanError(
            f"plan: closing.quorum is {closing.quorum}, below closing.min_reports {closing.min_reports}; a round "
            "that closes at the quorum would be too small to count. Raise quorum or lower min_reports."
        )


def check_against(plan: Plan, *, participants: int) -> None:
    """Refuse a plan that so many participants can never fulfil. Called when a training starts."""
    size = cohort_size(plan, participants=participants)
    if plan.cohort.size is not None and plan.cohort.size > participants:
        raise UnsoundPlanError(
            f"plan: cohort.size is {plan.cohort.size}, but the training has {participants} participants. "
            "Add clients or lower cohort.size."
        )
    for name, wanted in (("quorum", plan.closing.quorum), ("min_reports", plan.closing.min_reports)):
        if wanted is not None and wanted > size:
            raise UnsoundPlanError(
                f"plan: closing.{name} is {wanted}, but a round selects {size} of {participants} participants, so "
                f"no round could close. Add clients or lower {name}."
            )


def cohort_size(plan: Plan, *, participants: int) -> int:
    """How many clients a round selects of so many participants; at least one if there is one.

    >>> cohort_size(parse({"rounds": 1, "cohort": {"fraction": 0.25}}), participants=10)
    3
    """
    if plan.cohort.size is not None:
        return min(plan.cohort.size, participants)
    if plan.cohort.fraction is not None:
        # Of the decimal number that the plan shows: in binary, 0.07 of 100 would be a little more than 7.
        return min(participants, max(1, math.ceil(Fraction(str(plan.cohort.fraction)) * participants)))
    return participants


def min_reports(plan: Plan, *, cohort: int) -> int:
    """How many reports a round of so many clients needs to be aggregated."""
    if plan.closing.min_reports is not None:
        return plan.closing.min_reports
    half = max(1, (cohort + 1) // 2)
    return half if plan.closing.quorum is None else min(half, plan.closing.quorum)


def evaluates(plan: Plan, *, round_number: int) -> bool:
    """Whether the clients evaluate the version that comes of this round (counted from 1)."""
    every = plan.evaluation.every
    return every > 0 and (round_number % every == 0 or round_number == plan.rounds)


def to_data(plan: Plan) -> dict[str, Any]:  # Any: a JSON object
    """The plan as a JSON object with every default written out; `parse` reads it back.

    >>> parse(to_data(fedprox(rounds=2, mu=0.1))) == fedprox(rounds=2, mu=0.1)
    True
    """
    data: dict[str, Any] = msgspec.to_builtins(plan)  # Any: as above
    return data


def schema() -> dict[str, Any]:  # Any: a JSON Schema document
    """The JSON Schema (2020-12) of plans."""
    document: dict[str, Any] = msgspec.json.schema(Plan)  # Any: as above
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Plan", **document}


def fedavg(*, rounds: int, **client: Any) -> Plan:  # Any: ClientConfig checks each
    """FedAvg over all participants, weighted by examples (McMahan et al. 2017, arXiv:1602.05629)."""
    return Plan(rounds=rounds, client=ClientConfig(**client))


def fedprox(*, rounds: int, mu: float, **client: Any) -> Plan:  # Any: ClientConfig checks each
    """FedAvg whose clients add the proximal term (Li et al. 2020, arXiv:1812.06127, algorithm 2)."""
    return Plan(rounds=rounds, client=ClientConfig(proximal_mu=mu, **client))
