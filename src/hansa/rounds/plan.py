"""The plan of a training: everything that decides its result, as data.

A plan is a JSON object, stored with the training, shown to everybody who may see it, and enough to repeat it.
It names a cohort, a closing rule, the three seams through which every update goes (client transforms, aggregator,
server step), what clients are asked to do, how versions are evaluated, whether local models travel between rounds, and
what is gathered to tell how uncertain a prediction is. `parse` reads one, `schema` describes them.
"""

import math
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from hansa.rounds.encoding import EncodingSection, check_encoding
from hansa.rounds.rules import (
    AggregatorSection,
    Transforms,
    WeightedMean,
    check_company,
    check_matrix,
    check_numbers_of_reports,
    described,
    numbers_of,
    rule_of,
)
from hansa.rounds.section import Count, Section, Share
from hansa.rounds.section import UnsoundPlanError as UnsoundPlanError  # noqa: PLC0414  # mypy: others may have it from here
from hansa.rounds.steps import Identity, ServerStepSection, check_server_step
from hansa.rounds.uncertainty import Uncertainty, check_calibration

PLAN_FORMAT: Final = 1


class Cohort(Section, frozen=True):
    """Who is selected for a round: all participants, a fraction of them, or so many. At most one of the two."""

    fraction: Share | None = None
    size: Count | None = None
    over_selection: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Invite so many more, as a share of the cohort, and close when as many as the cohort have reported: the slowest
    are not waited for (Bonawitz et al. 2019, arXiv:1902.01046, section 2.2)."""
    selection: Literal["uniform", "by_examples", "round_robin"] = "uniform"
    """uniform: each with the same chance. by_examples: in proportion to the examples a client last reported; with the
    aggregator's weighting "equal", or a client's examples count twice. round_robin: in join order, going on where the
    round before stopped."""


class Closing(Section, frozen=True):
    """When a round stops collecting: all required clients have reported, or the quorum has, or the deadline passed."""

    quorum: Count | None = None
    """Close as soon as so many have reported; None: wait for every client that is alive."""
    deadline_seconds: Annotated[float, Meta(gt=0, le=366 * 86400)] | None = None
    """From the moment the round's first client takes its task; None: no deadline."""
    min_reports: Count | None = None
    """A round with fewer reports is not aggregated; None: half the cohort, rounded up, or the quorum if it is less."""


class Discard(Section, frozen=True, tag="discard", tag_field="kind"):
    """An update that comes when its round has closed is refused: the client goes on with the next task."""


class Fold(Section, frozen=True, tag="fold", tag_field="kind"):
    """An update that comes when its round has closed counts in the next one, with its weight times (1 + τ)^-a, where τ,
    its staleness, is how many rounds later that is (Xie et al. 2019, arXiv:1903.03934, section 5.2, polynomial).
    """

    exponent: Annotated[float, Meta(ge=0, le=100)] = 0.5
    """a; 0: a late update weighs as much as any."""
    max_staleness: Annotated[int, Meta(ge=1, le=1000)] = 1
    """The largest τ; what is later still is refused."""


class Participation(Section, frozen=True):
    """How many clients it takes, and when one is no longer asked."""

    min_to_start: Count = 1
    """The first round is not opened before so many clients are there; until then the training is paused, and goes on
    by itself."""
    min_to_go_on: Count = 1
    """As `min_to_start`, for each later round."""
    exclude_after: Count | None = None
    """A client whose tasks have failed, or were lost after it had taken them, so many times in a row is asked no more,
    until the actor adds it again; None: never."""


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
    """After every so many versions, and after the last; 0: never."""


class DaisyChain(Section, frozen=True):
    """Local models travel from client to client between aggregations (Kamp et al. 2023, arXiv:2110.03469).

    Of `period` rounds the last is aggregated. After each of the others the accepted local models are dealt to the
    clients of the next round, which go on from them. The paper's daisy-chaining period is 1 and its averaging period
    this one. A model weighs in the mean as much as the client that had it last.
    """

    period: Annotated[int, Meta(ge=2, le=1_000_000)]


class Plan(Section, frozen=True):
    """A training, complete. The defaults are FedAvg over all participants."""

    rounds: Count
    """Every round counts, also those of a daisy chain that are not aggregated."""
    format: Literal[1] = PLAN_FORMAT
    cohort: Cohort = Cohort()
    closing: Closing = Closing()
    late: Discard | Fold = Discard()
    participation: Participation = Participation()
    transforms: Transforms = []
    aggregator: AggregatorSection = WeightedMean()
    server_step: ServerStepSection = Identity()
    client: ClientConfig = ClientConfig()
    evaluation: Evaluation = Evaluation()
    uncertainty: Uncertainty = Uncertainty()
    daisy_chain: DaisyChain | None = None
    encoding: EncodingSection = EncodingSection()
    keep_updates: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """For how many rounds after their own the clients' updates are kept; 0: until their round is done, or, where they
    travel, until no client needs them any more."""
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
        raise UnsoundPlanError(f"plan: {error}. See GET /api/plans/schema/ for what a plan may hold.") from error
    check(plan)
    return plan


def _check_kinds(data: object) -> None:
    """Refuse a seam without its kind. msgspec does without it where there is but one; the schema does not."""
    sections = {seam: data.get(seam) for seam in ("aggregator", "server_step")} if isinstance(data, dict) else {}
    transforms = data.get("transforms") or () if isinstance(data, dict) else ()
    sections |= {f"transforms[{place}]": transform for place, transform in enumerate(transforms)}
    for path, section in sections.items():
        if section is not None and "kind" not in section:
            raise msgspec.ValidationError(f"Object missing required field `kind` - at `$.{path}`")


def check(plan: Plan) -> None:
    """Refuse a plan whose parts are valid each but do not go together, or that JSON could not carry."""
    _check_numbers(plan)
    _check_cohort(plan)
    _check_closing(plan)
    _check_late(plan)
    _check_rule(plan)
    check_calibration(plan.uncertainty, every=plan.evaluation.every)
    check_encoding(plan.encoding, chained=plan.daisy_chain is not None)
    chain = plan.daisy_chain
    if chain is not None and plan.rounds % chain.period:
        below = plan.rounds - plan.rounds % chain.period
        raise UnsoundPlanError(
            f"plan: rounds is {plan.rounds} and daisy_chain.period {chain.period}, so what is trained in the last "
            f"{plan.rounds - below} would never be aggregated. Give rounds a multiple of the period, such as "
            f"{below + chain.period}."
        )


def _check_numbers(plan: Plan) -> None:
    client = plan.client
    numbers: dict[str, float | None] = {
        "cohort.over_selection": plan.cohort.over_selection,
        "late.exponent": plan.late.exponent if isinstance(plan.late, Fold) else None,
        "client.client_lr": client.client_lr,
        **numbers_of("aggregator", plan.aggregator),
        **numbers_of("server_step", plan.server_step),
        **(numbers_of("transforms[0]", plan.transforms[0]) if plan.transforms else {}),
        "client.proximal_mu": client.proximal_mu,
    }
    numbers |= {f"client.extra.{key}": value for key, value in client.extra.items() if isinstance(value, float)}
    for name, number in numbers.items():
        if number is not None and not math.isfinite(number):
            raise UnsoundPlanError(f"plan: {name} is {number}, which JSON cannot carry; give a finite number.")


def _check_cohort(plan: Plan) -> None:
    cohort = plan.cohort
    if cohort.fraction is not None and cohort.size is not None:
        raise UnsoundPlanError(
            f"plan: cohort has both fraction {cohort.fraction} and size {cohort.size}; give at most one of them."
        )
    if cohort.over_selection and cohort.fraction in (None, 1) and cohort.size is None:
        raise UnsoundPlanError(
            f"plan: cohort.over_selection is {cohort.over_selection:g}, but the cohort is all participants, so there "
            "is nobody more to invite. Give cohort.size or cohort.fraction, or closing.quorum to close before all have "
            "reported."
        )
    if cohort.over_selection and plan.daisy_chain is not None:
        raise UnsoundPlanError(
            f"plan: cohort.over_selection is {cohort.over_selection:g} in a daisy chain, where a round that does not "
            "wait for all it invited would lose the models that travel with the others. Leave one of the two out."
        )


def _check_closing(plan: Plan) -> None:
    cohort, closing = plan.cohort, plan.closing
    for name, wanted in (("quorum", closing.quorum), ("min_reports", closing.min_reports)):
        if wanted is not None and cohort.size is not None and wanted > cohort.size:
            invited = ""
            if cohort.over_selection:
                invited = f", however many more over_selection {cohort.over_selection:g} invites"
            raise UnsoundPlanError(
                f"plan: closing.{name} is {wanted}, but the cohort has {cohort.size} clients{invited}, so no round "
                f"could close. Lower {name} or raise cohort.size."
            )
    if closing.quorum is not None and closing.min_reports is not None and closing.quorum < closing.min_reports:
        raise UnsoundPlanError(
            f"plan: closing.quorum is {closing.quorum}, below closing.min_reports {closing.min_reports}; a round "
            "that closes at the quorum would be too small to count. Raise quorum or lower min_reports."
        )


def _check_late(plan: Plan) -> None:
    if isinstance(plan.late, Fold) and plan.daisy_chain is not None:
        raise UnsoundPlanError(
            "plan: late has kind 'fold' in a daisy chain, where a local model that comes late would stand beside one "
            "that has travelled on without it. Give late the kind 'discard', or leave daisy_chain out."
        )


def _check_rule(plan: Plan) -> None:
    cohort, closing = plan.cohort, plan.closing
    check_numbers_of_reports(
        plan.aggregator,
        [
            ("cohort.size", cohort.size),
            ("closing.quorum", closing.quorum),
            ("closing.min_reports", closing.min_reports),
        ],
    )
    check_company(
        plan.aggregator,
        plan.transforms,
        chained=plan.daisy_chain is not None,
        folds=isinstance(plan.late, Fold),
        moments=plan.uncertainty.method == "swag",
        drawn=cohort.selection,
    )
    check_server_step(plan.server_step, folds=isinstance(plan.late, Fold))
    if cohort.size is not None:
        check_matrix(plan.aggregator, cohort.size, "cohort.size is")


def check_against(plan: Plan, *, participants: int) -> None:
    """Refuse a plan that so many participants can never fulfil. Called when a training starts."""
    size = cohort_size(plan, participants=participants)
    if plan.cohort.size is not None and plan.cohort.size > participants:
        raise UnsoundPlanError(
            f"plan: cohort.size is {plan.cohort.size}, but the training has {participants} participants. "
            "Add clients or lower cohort.size."
        )
    if participants and size < (least := rule_of(plan.aggregator).least):
        raise UnsoundPlanError(
            f"plan: the aggregator {described(plan.aggregator)} needs {least} reports, but a round selects {size} of "
            f"{participants} participants. Add clients, raise the cohort, or take an aggregator that needs fewer."
        )
    check_matrix(plan.aggregator, size, f"of {participants:,} participants a round selects")
    for name, wanted in (("quorum", plan.closing.quorum), ("min_reports", plan.closing.min_reports)):
        if wanted is not None and wanted > size:
            raise UnsoundPlanError(
                f"plan: closing.{name} is {wanted}, but a round selects {size} of {participants} participants, so "
                f"no round could close. Add clients or lower {name}."
            )


def cohort_size(plan: Plan, *, participants: int) -> int:
    """How many reports a round of so many participants is after: its cohort; at least one if there is one.

    >>> cohort_size(parse({"rounds": 1, "cohort": {"fraction": 0.25}}), participants=10)
    3
    """
    if plan.cohort.size is not None:
        return min(plan.cohort.size, participants)
    if plan.cohort.fraction is not None:
        return min(participants, max(1, math.ceil(_decimal(plan.cohort.fraction) * participants)))
    return participants


def invitations(plan: Plan, *, participants: int) -> int:
    """How many clients a round selects: its cohort, and with over-selection so many more.

    >>> invitations(parse({"rounds": 1, "cohort": {"size": 10, "over_selection": 0.3}}), participants=100)
    13
    """
    target = cohort_size(plan, participants=participants)
    return min(participants, math.ceil(target * (1 + _decimal(plan.cohort.over_selection))))


def _decimal(number: float) -> Fraction:
    """The decimal number that the plan shows: in binary, 0.07 of 100 would be a little more than 7."""
    return Fraction(str(number))


def min_reports(plan: Plan, *, cohort: int) -> int:
    """How many reports a round needs to be aggregated, whose cohort (over-selection left aside) is so large.

    >>> min_reports(parse({"rounds": 1, "aggregator": {"kind": "krum", "byzantine": 2}}), cohort=10)
    7
    """
    if plan.closing.min_reports is not None:
        return plan.closing.min_reports
    half = max(1, (cohort + 1) // 2, rule_of(plan.aggregator).least)
    return half if plan.closing.quorum is None else min(half, plan.closing.quorum)


def min_there(plan: Plan, *, round_number: int) -> int:
    """How many clients have to be there before this round (counted from 1) is opened."""
    return plan.participation.min_to_start if round_number == 1 else plan.participation.min_to_go_on


def aggregates(plan: Plan, *, round_number: int) -> bool:
    """Whether a version comes of this round (counted from 1); if not, its local models are handed on.

    >>> [aggregates(parse({"rounds": 4, "daisy_chain": {"period": 2}}), round_number=n) for n in (1, 2, 3, 4)]
    [False, True, False, True]
    """
    return plan.daisy_chain is None or round_number % plan.daisy_chain.period == 0


def evaluates(plan: Plan, *, round_number: int) -> bool:
    """Whether the clients evaluate the version that comes of this round (counted from 1). `every` counts versions."""
    every = plan.evaluation.every
    if every == 0 or not aggregates(plan, round_number=round_number):
        return False
    period = 1 if plan.daisy_chain is None else plan.daisy_chain.period
    return round_number // period % every == 0 or round_number == plan.rounds


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
