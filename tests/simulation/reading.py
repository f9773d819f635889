"""The rows of a database as the values that are looked at: read after every change, so without the ORM's detours."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection

from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import RoundState, TaskState, TrainingStatus
from simulation.rows import RoundRow, Rows, TaskRow, TrainingRow, UpdateRow

TRAININGS = "SELECT id, status, reason, rounds_done, awaits_clients FROM trainings_training"
ROUNDS = """
    SELECT r.id, r.training_id, r.number, r.attempt, r.state, r.accepted, r.folded, r.moments_accepted, r.wanted,
           base.blob_id, made.blob_id, made.moments_id
    FROM trainings_round r JOIN registry_modelversion base ON base.id = r.base_id
         LEFT JOIN registry_modelversion made ON made.id = r.version_id
    ORDER BY r.opened_at, r.number, r.attempt"""
TASKS = """
    SELECT t.id, t.round_id, p.ordinal, t.kind, t.state, t.lease_until
    FROM trainings_task t JOIN trainings_participation p ON p.id = t.participation_id
    ORDER BY t.id"""
UPDATES = "SELECT task_id, digest, num_examples, folded_into_id FROM trainings_update ORDER BY task_id"

Row = tuple[Any, ...]  # Any: what the driver makes of a column


def read_rows() -> Rows:
    """All of them."""
    return Rows(
        trainings={
            _key(key): TrainingRow(TrainingStatus(status), reason, done, bool(awaits))
            for key, status, reason, done, awaits in _select(TRAININGS)
        },
        rounds={_key(row[0]): _round(row) for row in _select(ROUNDS)},
        tasks={
            _key(key): TaskRow(_key(of), ordinal, TaskKind(kind), TaskState(state), _moment(until))
            for key, of, ordinal, kind, state, until in _select(TASKS)
        },
        updates={
            _key(key): UpdateRow(digest, examples, None if into is None else _key(into))
            for key, digest, examples, into in _select(UPDATES)
        },
    )


def _select(query: str) -> Iterator[Row]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        yield from cursor.fetchall()


def _round(row: Row) -> RoundRow:
    _, training, number, attempt, state, accepted, folded, moments, wanted, base, version, averaged = row
    return RoundRow(
        training=_key(training),
        number=number,
        attempt=attempt,
        state=RoundState(state),
        accepted=_entries(accepted),
        folded=_entries(folded),
        moments=_entries(moments),
        wanted=wanted,
        base=base,
        version=version,
        averaged=averaged,
    )


def _key(value: UUID | str) -> str:
    return str(value) if isinstance(value, UUID) else str(UUID(value))


def _moment(value: datetime | str | None) -> datetime | None:
    """SQLite has no zones: all is UTC there."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _entries(value: str | list[Any] | None) -> tuple[Any, ...] | None:  # Any: JSON, as above
    listed = json.loads(value) if isinstance(value, str) else value
    return None if listed is None else tuple(tuple(entry) for entry in listed)
