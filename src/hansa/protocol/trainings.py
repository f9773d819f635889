"""Trainings, their rounds, and what the record says of why they are where they are.

GET    /api/trainings/                       → list[Training]  those whose actor one is
GET    /api/users/trainings/                 → list[Training]  those one steers or takes part in
POST   /api/trainings/       TrainingCreate | TrainingCreateShort → TrainingCreated
GET    /api/trainings/<id>/?wait=30&revision=7 → TrainingDetail  waits until the revision is another one
DELETE /api/trainings/<id>/                  → Detail
POST   /api/trainings/<id>/start/            → Detail (202); also pause/, resume/, cancel/
PUT    /api/trainings/<id>/clients/  ClientList → Detail (202); DELETE removes
POST   /api/trainings/<id>/leave/            → 204  a participant takes itself out
GET    /api/trainings/<id>/models/           → list[Model]  the global model, then the local ones that are kept
GET    /api/trainings/<id>/models/latest/    → list[Model]  of every client its newest only
GET    /api/trainings/<id>/rounds/           → list[Round]
GET    /api/trainings/<id>/rounds/<n>/       → Round with its tasks
GET    /api/trainings/<id>/metrics/          → list[RoundMetrics]
GET    /api/plans/schema/                    → the plan's JSON Schema
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from hansa.protocol.base import Answer, Request

AggregationMethod = Literal["FedAvg", "FedDC", "FedProx"]
"""The older platform's names. FedDC is daisy chaining there (Kamp et al. 2023, arXiv:2110.03469)."""
UncertaintyMethod = Literal["NONE", "ENSEMBLE", "MC_DROPOUT", "SWAG"]
"""The older platform's names of where the epistemic uncertainty of an answer comes from."""


class TrainingCreate(Request, frozen=True):
    """A training of `model_id` by `clients` (user ids or user names, in join order) after `plan`."""

    model_id: str
    plan: dict[str, Any]
    """JSON object after the plan's schema; its types are checked by `hansa.rounds.plan.parse`."""
    clients: list[str] = []
    name: Annotated[str, Meta(max_length=200)] = ""


class TrainingCreateShort(Request, frozen=True):
    """A training in the older platform's words, from which `hansa.rounds.shorthands` makes the plan."""

    model_id: str
    target_num_updates: Annotated[int, Meta(ge=1, le=1_000_000)]
    """How many aggregations; the record shows it times the period where daisy chaining is asked for."""
    metric_names: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=1000)]
    """What the clients are to report. Kept and shown; clients may report others."""
    aggregation_method: AggregationMethod
    uncertainty_method: UncertaintyMethod = "NONE"
    options: dict[str, Any] = {}  # Any: any JSON
    """Any JSON object, kept and shown; `daisy_chain_period`, `uncertainty.N`, `uncertainty.softmax` and `proximal_mu`
    mean something."""
    clients: list[str] = []
    """User ids or user names, in join order."""


class TrainingCreated(Answer, frozen=True):
    """The contract's answer. Read the model from the training: one that is already trained is copied."""

    detail: str
    training_id: str
    model_id: str


class ClientList(Request, frozen=True):
    """User ids or user names."""

    clients: Annotated[list[str], Meta(min_length=1)]


class Participant(Answer, frozen=True):
    """One client of a training."""

    id: str
    username: str
    ordinal: int
    active: bool
    last_seen: str | None
    failures: int | None = None
    """Tasks in a row that it took and that failed or were lost; shown to itself and to the training's actor."""
    excluded: str | None = None
    """Why it is asked no more, until its actor adds it again; empty: it is asked. Shown as `failures`."""


class Selection(Answer, frozen=True):
    """How the cohort of a round was selected: enough to select again, and find the same clients."""

    rule: str
    size: int
    candidates: list[int]
    """The ordinals of those who could be selected, ascending."""
    weights: list[int]
    """by_examples: the weight of each candidate; else empty."""
    cursor: int | None
    """round_robin: the ordinal behind which it began; None: at the beginning."""
    seed: int
    """The training's. Purpose "selection", seed, round and attempt make the generator."""
    round: int
    attempt: int
    selected: list[int]
    """The ordinals of those who were, ascending."""


class Training(Answer, frozen=True):
    """The record of a training: where it is, why, and what comes next."""

    id: str
    name: str
    model: str
    actor: str
    status: str
    state: str
    """The older platform's letter: I, O, S (clients are asked for moments), C, E."""
    reason: str
    """Why it is where it is, in a sentence."""
    round: int
    """The newest round's number, 0 before the first."""
    rounds: int
    rounds_done: int
    version: int
    """The newest version's number."""
    plan: dict[str, Any]
    """The plan as it runs, defaults filled in; a JSON object after the plan's schema."""
    seed: int
    participants: list[str]
    """The ids of the clients that take part, in join order."""
    clients: list[Participant]
    """The same, with who has left, and when each was last seen."""
    revision: int
    """Another number after every change that this record shows."""
    created_at: str
    started_at: str | None
    finished_at: str | None
    last_update: str
    """When it last came to another state, or a round of it did."""
    target_num_updates: int
    """As `rounds`: the older platform's word."""
    aggregation_method: AggregationMethod
    """As it was asked for, or as the plan comes nearest to."""
    uncertainty_method: UncertaintyMethod
    options: dict[str, Any]  # Any: any JSON
    """As they were given, or those that say what the plan says."""
    metric_names: list[str]
    locked: bool
    """Whether a version, or its moments, are being computed just now."""


class TrainingDetail(Training, frozen=True):
    """One training's record, with how many of its local models are there."""

    local_models_arrived: int
    """Those whose bytes are kept, of all rounds."""
    local_models_expected: int
    """One of every participant."""


class TaskInfo(Answer, frozen=True):
    """How one client stands in one round.

    Participants see of each other who stands where, and when; what a client measured, sent or said is shown to itself
    and to the training's actor.
    """

    id: str
    client: str
    username: str
    ordinal: int
    kind: str
    state: str
    reason: str
    leased_at: str | None
    uploaded_at: str | None
    reported_at: str | None
    num_examples: int | None
    weight: float | None
    """How much of the update is in the aggregate: its share in a mean, 0 to 1; with other aggregators the factor that
    it was added with. None if it was not aggregated, or by an aggregator that goes by rank."""
    digest: str | None
    norm: float | None
    """L2 norm of (client params - base params), all params as one vector."""
    verdict: str | None
    bytes: int | None
    metrics: dict[str, float]
    progress: float | None = None
    """The client's own word for how far it is, 0 to 1."""
    late: bool = False
    """It was reported when its round had closed."""
    counts_in: int | None = None
    """The round in which a late one counts, once that has closed."""
    cosine: float | None = None
    """Of the angle between the update and what the round came to, both from its base version, all params as one vector;
    None until there is that."""
    downloaded_at: str | None = None
    """When the client had all of what the task begins from; None: not yet, or it is not known."""
    downloads: bool = False
    """The client has begun to fetch that, and has not all of it."""


class FoldedUpdate(Answer, frozen=True):
    """A late update that counts in a round: it was trained in an earlier one."""

    client: str
    username: str
    ordinal: int
    round: int
    """The one it was trained in."""
    staleness: int
    """How many rounds later it counts."""
    factor: float
    """By which that makes its weight less: (1 + staleness)^-a, with the plan's `late.exponent` for a."""
    weight: float | None
    """Share in the aggregate, 0 to 1; None where it is another client's, for whom may not steer the training."""
    digest: str | None
    """None likewise."""


class Round(Answer, frozen=True):
    """One round, or one attempt at it."""

    number: int
    attempt: int
    state: str
    reason: str
    base_version: int
    version: int | None
    """The version that came of it."""
    cohort: int
    """How many clients were asked."""
    reported: int
    bytes: int
    """Of all updates received."""
    opened_at: str
    closed_at: str | None
    aggregated_at: str | None
    done_at: str | None
    folded: list[FoldedUpdate] = []
    """The late updates of earlier rounds that count in this one, in the order in which they are added."""
    tasks: list[TaskInfo] = []
    wanted: int | None = None
    """How many reports close it, where more clients than that were asked."""
    selection: Selection | None = None
    """Shown of a single round, to the training's actor."""
    closing_reason: str = ""
    """Why it has closed, with the reports that it had; `reason` is that of its present state."""


class Spread(Answer, frozen=True):
    """One metric over the clients of one round."""

    mean: float | None
    """Weighted by examples. Null for a participant where two at most measured it, so that it tells another's value."""
    minimum: float | None
    """Null for participants, as is `maximum`: the ends of a spread are single clients' values."""
    maximum: float | None
    clients: int
    """How many measured it."""


class RoundMetrics(Answer, frozen=True):
    """All metrics of one round, over its clients."""

    round: int
    version: int
    train: dict[str, Spread]
    evaluate: dict[str, Spread]
