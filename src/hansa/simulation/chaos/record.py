"""What a server leaves when everything is over, as plain values: of its tables and its files, not by the server's code.

Ids are hexadecimal, without dashes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from hansa.simulation.chaos import tables
from hansa.simulation.chaos.tables import Tables, unpacked

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Training:
    """A row of trainings."""

    id: str
    name: str
    status: str
    reason: str
    plan: Mapping[str, Any]  # Any: JSON
    seed: int
    model: str
    participants: int


@dataclass(frozen=True, slots=True)
class Version:
    """A row of model versions."""

    id: int
    model: str
    number: int
    digest: str
    moments: str | None


@dataclass(frozen=True, slots=True)
class Round:
    """A row of rounds; lists as they were written down."""

    id: str
    training: str
    number: int
    attempt: int
    state: str
    base: int
    version: int | None
    accepted: Sequence[Sequence[Any]]  # Any: ordinal, digest, weight
    folded: Sequence[Sequence[Any]]  # Any: ordinal, digest, weight, round
    moments_accepted: Sequence[Sequence[Any]]  # Any: as `accepted`
    claimed: bool

    @property
    def title(self) -> str:
        """For people."""
        return f"round {self.number}.{self.attempt} of training {self.training}"


@dataclass(frozen=True, slots=True)
class Task:
    """A row of tasks, with what its client's place in the training is."""

    id: str
    round: str
    ordinal: int
    client: str
    kind: str
    state: str
    num_examples: int | None
    has_metrics: bool
    source: str | None
    """The task whose local model it began from; None: the round's base."""


@dataclass(frozen=True, slots=True)
class Update:
    """A row of updates."""

    task: str
    digest: str
    num_examples: int
    folded_into: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the event log that concerns a client's task."""

    training: str
    round: int
    attempt: int
    ordinal: int
    kind: str
    """An `EventKind`."""
    task: str
    """Of which kind."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A row of blobs."""

    digest: str
    size: int


@dataclass(frozen=True)
class Record:
    """Everything of one data folder. `orphans` are in words: rows that point to rows which are not there."""

    trainings: Mapping[str, Training]
    versions: Mapping[int, Version]
    rounds: Mapping[str, Round]
    tasks: Mapping[str, Task]
    updates: Mapping[str, Update]
    """By task."""
    events: Sequence[Event]
    """In the order in which they were noted."""
    metrics: frozenset[tuple[str, str, str, int]]
    """Model, client, kind, round."""
    blobs: Mapping[str, Blob]
    referenced: frozenset[str]
    """Digests that some row of some table refers to."""
    files: Mapping[str, Path]
    """Files of the store by name."""
    leftovers: Sequence[Path]
    """Files of uploads in progress and of temporary use."""
    damaged: Sequence[Path]
    """Files that the server has set aside, because their bytes were not those that were stored."""
    orphans: Sequence[str]

    @cached_property
    def rounds_of(self) -> Mapping[str, Sequence[Round]]:
        """The attempts of each training, in its order."""
        return _grouped(
            sorted(self.rounds.values(), key=lambda row: (row.number, row.attempt)), lambda row: row.training
        )

    @cached_property
    def tasks_of(self) -> Mapping[str, Sequence[Task]]:
        """The tasks of each attempt."""
        return _grouped(self.tasks.values(), lambda task: task.round)


def _grouped(rows: Iterable[T], key: Callable[[T], str]) -> defaultdict[str, list[T]]:
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def read(home: Path, database_url: str = "") -> Record:
    """The record of a server that has ended: of its data folder, and of its PostgreSQL, if it had one.

    Raises TablesError.
    """
    with tables.opened(home, database_url) as database:
        return Record(
            trainings={row.id: row for row in _trainings(database)},
            versions={row.id: row for row in _versions(database)},
            rounds={row.id: row for row in _rounds(database)},
            tasks={row.id: row for row in _tasks(database)},
            updates={row.task: row for row in _updates(database)},
            events=list(_events(database)),
            metrics=frozenset(
                (row["model_id"], row["reporter_id"], row["kind"], row["step"]) for row in database.rows(METRICS)
            ),
            blobs={row["digest"]: Blob(**row) for row in database.rows(BLOBS)},
            referenced=frozenset(database.references("blobs_blob")),
            files={path.name: path for path in (home / "blobs").glob("*/*/*")},
            leftovers=[path for name in ("partial", "tmp") for path in (home / name).iterdir()],
            damaged=list((home / "damaged").glob("*")),
            orphans=list(database.orphans()),
        )


BLOBS = "SELECT sha256 AS digest, size FROM blobs_blob"
METRICS = "SELECT model_id, reporter_id, kind, step FROM registry_metric"
TRAININGS = """
    SELECT id, name, status, reason, plan, seed, model_id AS model,
           (SELECT COUNT(*) FROM trainings_participation AS place WHERE place.training_id = training.id) AS participants
    FROM trainings_training AS training
"""
VERSIONS = "SELECT id, model_id AS model, number, blob_id AS digest, moments_id AS moments FROM registry_modelversion"
ROUNDS = """
    SELECT id, training_id AS training, number, attempt, state, base_id AS base, version_id AS version,
           accepted, folded, moments_accepted, claim IS NOT NULL AS claimed
    FROM trainings_round
"""
TASKS = """
    SELECT task.id, task.round_id AS round, place.ordinal, place.client_id AS client, task.kind, task.state,
           task.num_examples, task.metrics AS has_metrics, source.task_id AS source
    FROM trainings_task AS task
    JOIN trainings_participation AS place ON place.id = task.participation_id
    LEFT JOIN trainings_update AS source ON source.id = task.source_id
"""
UPDATES = "SELECT task_id AS task, digest, num_examples, folded_into_id AS folded_into FROM trainings_update"

EVENTS = """
    SELECT event.training_id AS training, event.round, event.attempt, place.ordinal, event.kind, event.data AS task
    FROM trainings_event AS event
    JOIN trainings_participation AS place ON place.id = event.participation_id
    WHERE event.round IS NOT NULL ORDER BY event.id
"""


def _trainings(database: Tables) -> Iterator[Training]:
    return (Training(**{**row, "plan": unpacked(row["plan"])}) for row in database.rows(TRAININGS))


def _versions(database: Tables) -> Iterator[Version]:
    return (Version(**row) for row in database.rows(VERSIONS))


def _rounds(database: Tables) -> Iterator[Round]:
    lists = ("accepted", "folded", "moments_accepted")
    for row in database.rows(ROUNDS):
        read_lists = {name: unpacked(row[name]) if row[name] else [] for name in lists}
        yield Round(**{**row, **read_lists, "claimed": bool(row["claimed"])})


def _tasks(database: Tables) -> Iterator[Task]:
    for row in database.rows(TASKS):
        yield Task(**{**row, "has_metrics": bool(row["has_metrics"] and unpacked(row["has_metrics"]))})


def _updates(database: Tables) -> Iterator[Update]:
    return (Update(**row) for row in database.rows(UPDATES))


def _events(database: Tables) -> Iterator[Event]:
    for row in database.rows(EVENTS):
        yield Event(**{**row, "task": unpacked(row["task"]).get("task", "")})
