"""Trainings, their rounds, and what the record says of why they are where they are.

GET    /api/trainings/                       → list[Training]
POST   /api/trainings/       TrainingCreate  → TrainingCreated
GET    /api/trainings/<id>/?wait=30&revision=7 → Training     waits until the revision is another one
DELETE /api/trainings/<id>/                  → Detail
POST   /api/trainings/<id>/start/            → Detail (202); also pause/, resume/, cancel/
PUT    /api/trainings/<id>/clients/  ClientList → Detail (202); DELETE removes
GET    /api/trainings/<id>/rounds/           → list[Round]
GET    /api/trainings/<id>/rounds/<n>/       → Round with its tasks
GET    /api/trainings/<id>/metrics/          → list[RoundMetrics]
GET    /api/plan-schema/                     → the plan's JSON Schema
"""

from typing import Annotated, Any

from msgspec import Meta

from hansa.protocol.base import Answer, Request


class TrainingCreate(Request, frozen=True):
    """A training of `model_id` by `clients` (user ids or user names, in join order) after `plan`."""

    model_id: str
    plan: dict[str, Any]
    """JSON object after the plan's schema; its types are checked by `hansa.rounds.plan.parse`."""
    clients: list[str] = []
    name: Annotated[str, Meta(max_length=200)] = ""


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


class Training(Answer, frozen=True):
    """The record of a training: where it is, why, and what comes next."""

    id: str
    name: str
    model: str
    actor: str
    status: str
    state: str
    """The older platform's letter: I, O, S, C, E."""
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
    participants: list[Participant]
    revision: int
    """Another number after every change that this record shows."""
    created_at: str
    started_at: str | None
    finished_at: str | None


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
    """Share in the aggregate, 0 to 1; None if it was not aggregated."""
    digest: str | None
    norm: float | None
    """L2 norm of (client params - base params), all params as one vector."""
    verdict: str | None
    bytes: int | None
    metrics: dict[str, float]
    progress: float | None = None
    """The client's own word for how far it is, 0 to 1."""


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
    reported: int
    bytes: int
    """Of all updates received."""
    opened_at: str
    closed_at: str | None
    aggregated_at: str | None
    done_at: str | None
    tasks: list[TaskInfo] = []


class Spread(Answer, frozen=True):
    """One metric over the clients of one round."""

    mean: float
    """Weighted by examples."""
    minimum: float
    maximum: float
    clients: int


class RoundMetrics(Answer, frozen=True):
    """All metrics of one round, over its clients."""

    round: int
    version: int
    train: dict[str, Spread]
    evaluate: dict[str, Spread]
