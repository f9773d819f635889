"""What must be true of a server's data however often it was killed: `check(home)` names every breach.

Rows are read behind the server's back, and files as they lie on the disk, by code that shares nothing with the
server's own but the names of its tables. Run it when nothing is under way; `collected=True` when housekeeping has been
by, so that nothing unreferenced may be left.
"""

import hashlib
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from hansa.core.params import Array
from support import databases
from support.databases import Row

NEVER = {
    "a task is leased or on offer, and its round is over": """
        SELECT task.id FROM trainings_task AS task JOIN trainings_round AS round ON round.id = task.round_id
        WHERE task.state IN ('offered', 'leased', 'lost') AND round.state IN ('done', 'abandoned')""",
    "a round is live, and its training is over": """
        SELECT round.id FROM trainings_round AS round JOIN trainings_training AS training
        ON training.id = round.training_id WHERE round.state NOT IN ('done', 'abandoned')
        AND training.status IN ('completed', 'cancelled', 'error')""",
    "a task was reported with a file, and has no update": """
        SELECT task.id FROM trainings_task AS task LEFT JOIN trainings_update AS sent ON sent.task_id = task.id
        WHERE task.state = 'reported' AND task.kind IN ('train', 'swag') AND sent.id IS NULL""",
    "an update's task was not reported, neither in time nor late": """
        SELECT sent.id FROM trainings_update AS sent JOIN trainings_task AS task ON task.id = sent.task_id
        WHERE task.state <> 'reported' AND NOT (task.state = 'closed' AND task.kind = 'train')""",
    "a round is closed and was not abandoned, and its training counts fewer rounds": """
        SELECT round.id FROM trainings_round AS round JOIN trainings_training AS training
        ON training.id = round.training_id WHERE round.state = 'done' AND round.number > training.rounds_done""",
    "a training counts a round that is not done": """
        SELECT training.id FROM trainings_training AS training WHERE training.rounds_done > 0 AND training.rounds_done
        <> (SELECT count(*) FROM trainings_round AS round WHERE round.training_id = training.id
            AND round.state = 'done')
        AND EXISTS (SELECT 1 FROM trainings_round AS round WHERE round.training_id = training.id)""",
    "a round holds a claim, and there is nothing to compute": """
        SELECT id FROM trainings_round WHERE claim IS NOT NULL AND state NOT IN ('aggregating', 'combining')""",
    "a version came of no round": """
        SELECT version.id FROM registry_modelversion AS version LEFT JOIN trainings_round AS round
        ON round.version_id = version.id WHERE version.number > 0 AND round.id IS NULL AND version.lost = ''
        AND version.model_id IN (SELECT model_id FROM trainings_training)""",
    "what a server step remembers outlives the training": """
        SELECT version.id FROM registry_modelversion AS version JOIN trainings_training AS training
        ON training.model_id = version.model_id
        WHERE version.state_id IS NOT NULL AND training.status IN ('completed', 'cancelled')""",
    "what a server step remembers is kept of more than two versions": """
        SELECT model_id FROM registry_modelversion WHERE state_id IS NOT NULL GROUP BY model_id HAVING count(*) > 2""",
    "a model has no version 0": """
        SELECT model.id FROM registry_model AS model WHERE model.kind <> 'mean' AND NOT EXISTS
        (SELECT 1 FROM registry_modelversion AS version WHERE version.model_id = model.id AND version.number = 0)""",
    "a mean has no members": """
        SELECT model.id FROM registry_model AS model WHERE model.kind = 'mean' AND NOT EXISTS
        (SELECT 1 FROM registry_meanmember AS member WHERE member.mean_id = model.id)""",
    "a notification is of a training that is gone": """
        SELECT told.id FROM notifications_notification AS told LEFT JOIN trainings_training AS training
        ON training.id = told.queue WHERE training.id IS NULL""",
    "a notification waits, and its training is over": """
        SELECT told.id FROM notifications_notification AS told JOIN trainings_training AS training
        ON training.id = told.queue WHERE told.state = 'pending' AND training.status = 'cancelled'""",
}
"""What no row may ever be, and the query that finds those that are."""


def check(home: Path, *, collected: bool) -> None:
    """Raise AssertionError with every breach of every rule."""
    found = [*_rows(home), *_references(home), *_accepted_lists(home), *_versions(home), *_files(home)]
    if collected:
        found += unreferenced(home)
    assert not found, "\n".join(found)


def outcome(home: Path) -> list[Any]:  # Any: what two runs of one flow must have in common, as plain data
    """Of every training that did something: how it ended, its accepted lists, its versions and what was measured."""
    return [
        {
            "status": status,
            "rounds": [
                (number, state, json.loads(accepted or "null"), json.loads(moments or "null"), version)
                for number, state, accepted, moments, version in databases.rows(
                    home,
                    """SELECT round.number, round.state, CAST(round.accepted AS text),
                    CAST(round.moments_accepted AS text), version.blob_id FROM trainings_round AS round
                    LEFT JOIN registry_modelversion AS version ON version.id = round.version_id
                    WHERE round.training_id = ? AND round.state = 'done' ORDER BY round.number""",
                    [training],
                )
            ],
            "measured": databases.rows(
                home,
                """SELECT metric.kind, metric.step, person.username, metric.key, metric.value, metric.num_examples
                FROM registry_metric AS metric JOIN accounts_user AS person ON person.id = metric.reporter_id
                WHERE metric.model_id = ? ORDER BY 1, 2, 3, 4""",
                [model],
            ),
        }
        for training, status, model in databases.rows(
            home,
            "SELECT id, status, model_id FROM trainings_training WHERE started_at IS NOT NULL ORDER BY created_at",
        )
    ]


def path_of(home: Path, digest: str) -> Path:
    """Where the bytes of a blob are."""
    return home / "blobs" / digest[:2] / digest[2:4] / digest


def _rows(home: Path) -> Iterator[str]:
    for rule, query in NEVER.items():
        for row in databases.rows(home, query):
            yield f"{rule}: {row[0]}"


def _references(home: Path) -> Iterator[str]:
    """Foreign keys that lead nowhere. PostgreSQL never has any; SQLite is asked."""
    if not databases.on_postgresql():
        for table, row, parent, _ in databases.rows(home, "PRAGMA foreign_key_check"):
            yield f"row {row} of {table} refers to a row of {parent} that is not there"


def _accepted_lists(home: Path) -> Iterator[str]:
    """Every report that was acknowledged before its round closed counts in it, once, as it was sent."""
    closed = databases.rows(
        home, "SELECT id, CAST(accepted AS text), closed_at FROM trainings_round WHERE accepted IS NOT NULL"
    )
    for round_id, accepted, closed_at in closed:
        counted = [(ordinal, digest) for ordinal, digest, _ in json.loads(accepted)]
        acknowledged = databases.rows(
            home,
            """SELECT joined.ordinal, sent.digest FROM trainings_update AS sent
            JOIN trainings_task AS task ON task.id = sent.task_id
            JOIN trainings_participation AS joined ON joined.id = task.participation_id
            WHERE task.round_id = ? AND task.kind = 'train' AND sent.received_at <= ? ORDER BY joined.ordinal""",
            [round_id, closed_at],
        )
        if counted != acknowledged:
            yield f"round {round_id} counts {counted}; acknowledged were {acknowledged}"


def _versions(home: Path) -> Iterator[str]:
    """Every version that is to be the mean of its accepted list and the late updates folded in is that, to the last
    bit, where the updates are still kept.
    """
    made = databases.rows(
        home,
        """SELECT CAST(round.accepted AS text), CAST(round.folded AS text), version.blob_id, CAST(training.plan AS text)
        FROM trainings_round AS round JOIN registry_modelversion AS version ON version.id = round.version_id
        JOIN trainings_training AS training ON training.id = round.training_id""",
    )
    for accepted, folded, digest, plan in made:
        if json.loads(plan).get("server_step", {}).get("kind", "identity") != "identity":
            continue  # the outcome is compared with that of an undisturbed run
        listed = [*json.loads(accepted), *(json.loads(folded or "null") or [])]
        counted = [(sent, weight) for _, sent, weight, *_ in listed]
        if all(path_of(home, sent).exists() for sent, _ in counted):
            yield from _differences(home, counted, digest)


def _differences(home: Path, counted: list[tuple[str, float]], digest: str) -> Iterator[str]:
    """Σ nᵢ·xᵢ / Σ nᵢ, array by array in the order of the list, in float64; whole numbers by `_whole`."""
    version = load_file(path_of(home, digest))
    total = sum(np.float64(weight) for _, weight in counted)
    for name, seen in version.items():
        sources = [(load_file(path_of(home, sent))[name], weight) for sent, weight in counted]
        wanted = _whole(sources) if seen.dtype.kind in "iu" else _rounded(sources, total)
        if wanted.tobytes() != seen.tobytes():
            yield f"version {digest} is not the mean of its accepted list, in {name!r}"


def _rounded(sources: list[tuple[Array, float]], total: np.float64) -> Array:
    like = sources[0][0]
    added = np.zeros(like.shape, np.float64)
    for array, weight in sources:
        added += np.float64(weight) * array.astype(np.float64)
    return (added / total).astype(like.dtype)


def _whole(sources: list[tuple[Array, float]]) -> Array:
    """In fractions, of which nothing is lost, and cut off at the end."""
    like = sources[0][0]
    total = sum(Fraction(weight) for _, weight in sources)
    rows = zip(*(array.reshape(-1).tolist() for array, _ in sources), strict=True)
    added = [sum(Fraction(weight) * number for number, (_, weight) in zip(row, sources, strict=True)) for row in rows]
    return np.array([int(number / total) for number in added], like.dtype).reshape(like.shape)


def _files(home: Path) -> Iterator[str]:
    """Every blob that something refers to has its file, whole. A damaged one that nothing needs is set aside."""
    referred = _referred(home)
    for digest, size in databases.rows(home, "SELECT sha256, size FROM blobs_blob"):
        path = path_of(home, digest)
        if digest not in referred:
            continue
        if not path.exists():
            yield f"blob {digest} has a row and no file"
        elif path.stat().st_size != size or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield f"blob {digest} is not what it was"


def unreferenced(home: Path) -> Iterator[str]:
    """No blob that nothing refers to, no file without a row, and nothing half-written."""
    known = {digest for (digest,) in databases.rows(home, "SELECT sha256 FROM blobs_blob")}
    yield from (f"blob {digest} is referred to by nothing" for digest in sorted(known - _referred(home)))
    stored = {path.name for path in (home / "blobs").glob("??/??/*")}
    yield from (f"file {digest} has no row" for digest in sorted(stored - known))
    for folder in ("tmp", "partial"):
        yield from (f"{folder}/{path.name} is left over" for path in (home / folder).iterdir())


def _referred(home: Path) -> set[str]:
    referred = set[str]()
    for table, column in references():
        rows: list[Row] = databases.rows(home, f"SELECT DISTINCT {column} FROM {table}")  # noqa: S608  # our own names
        referred |= {digest for (digest,) in rows if digest is not None}
    return referred


def references() -> list[tuple[str, str]]:
    """Table and column of every foreign key to a blob."""
    from hansa.server.blobs.models import Blob

    return [(each.related_model._meta.db_table, each.field.column) for each in Blob._meta.related_objects]
