"""All rows that are taken, written in one transaction: after a crash they are all here, or none is.

The files are in the store before: one that no row refers to in the end is waste, which the server collects.
"""

import secrets
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import Group
from django.core.management.color import no_style
from django.db import connection

from hansa.rounds import plan as plans
from hansa.rounds.states import RoundState, TrainingStatus
from hansa.server.accounts.models import Token, User
from hansa.server.accounts.secrets import digest
from hansa.server.blobs import services as blobs
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.models import Blob
from hansa.server.coming_over import rows as there
from hansa.server.coming_over.files import Files
from hansa.server.coming_over.standing import Standing
from hansa.server.coming_over.survey import input_shape
from hansa.server.registry.models import MeanMember, Metric, MetricKind, Model, ModelVersion, spec_as_json
from hansa.server.registry.statistics import structure_as_json
from hansa.server.trainings.models import Participation, Round, Training

BATCH = 500
TOKEN_NAME = "DLR platform"  # noqa: S105  # what it is called in the list of tokens
HELD_THERE = "Rounds 1 to {} were held on the DLR platform; what each client did in them is not known here."


def groups(found: Iterable[there.Group], numbers: Mapping[str, int]) -> dict[str, int]:
    """New groups, under their own numbers where these are free; the number of every group by its name."""
    known = dict(numbers)
    for row in found:
        free = row.id not in known.values()
        known[row.name] = Group.objects.create(name=row.name, **({"id": row.id} if free else {})).pk
    _count_on(Group)
    return known


def _count_on(table: type[Group]) -> None:
    """PostgreSQL numbers new rows from a sequence that does not see numbers that were given."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [table]):
            cursor.execute(statement)


def users(found: Iterable[there.User], keep_staff: Collection[str]) -> None:
    """New users with their passwords as they were kept; staff rights only for those named."""
    User.objects.bulk_create(
        [
            User(
                id=row.id,
                username=row.username,
                password=row.password,
                first_name=row.first_name,
                last_name=row.last_name,
                email=row.email,
                is_active=row.is_active,
                is_staff=row.is_staff and row.username in keep_staff,
                is_superuser=row.is_superuser and row.username in keep_staff,
                date_joined=row.date_joined,
                last_login=row.last_login,
                actor=row.actor,
                client=row.client,
                message_endpoint=row.message_endpoint,
            )
            for row in found
        ],
        batch_size=BATCH,
    )


def memberships(found: Iterable[tuple[UUID, int]]) -> None:
    """Users in groups, by the numbers that the groups have here."""
    through = User.groups.through
    rows = [through(user_id=user, group_id=group) for user, group in found]
    through._default_manager.bulk_create(rows, batch_size=BATCH)


def tokens(found: Iterable[there.Token]) -> None:
    """Of each token its digest. They do not expire, as they did not there."""
    Token.objects.bulk_create(
        [Token(user_id=row.user_id, name=TOKEN_NAME, digest=digest(row.key), created_at=row.created) for row in found],
        batch_size=BATCH,
    )


def model(row: there.Model, files: Files, first_round: int, now: datetime) -> None:
    """A model; with its version 0, unless it is a mean of others."""
    held = files.model
    made = Model.objects.create(
        id=row.id,
        owner_id=row.owner_id,
        name=row.name or "",
        description=row.description or "",
        kind=row.kind.value,
        input_shape=input_shape(row.input_shape),
        preprocessing=_blob(files.preprocessing, blobs.OCTETS, now),
        archive=_blob(held.archive if held else None, blobs.OCTETS, now),
        archive_params=held.digests.sha256 if held and held.archive else "",
        spec=spec_as_json(held.spec) if held else [],
        ties=held.ties if held else [],
        param_order=held.param_order if held else [],
        structure=structure_as_json(held.structure if held else None),
        first_round=first_round,
        created_at=now,
    )
    if held:
        version = blobs.record(digests=held.digests, media_type=blobs.SAFETENSORS, now=now)
        moments = _blob(files.moments, blobs.SAFETENSORS, now)
        ModelVersion.objects.create(model=made, number=0, blob=version, moments=moments, created_at=now)
    MeanMember.objects.bulk_create(
        [MeanMember(mean=made, member_id=member, position=at) for at, member in enumerate(row.members)]
    )


def _blob(digests: Digests | None, media_type: str, now: datetime) -> Blob | None:
    return None if digests is None else blobs.record(digests=digests, media_type=media_type, now=now)


def training(row: there.Training, at: Standing, name: str) -> None:
    """A training with its participants in their order, and one row for all the rounds that are done.

    It has no other moments than that of its last change, so that is when it was created, too.
    """
    ended = at.status in (TrainingStatus.COMPLETED, TrainingStatus.ERROR)
    made = Training.objects.create(
        id=row.id,
        name=name[:200],
        model_id=row.model_id,
        actor_id=row.actor_id,
        status=at.status.value,
        reason=at.reason,
        plan=plans.to_data(at.plan),
        shorthand=at.shorthand,
        seed=secrets.randbits(53),
        rounds_done=at.rounds_done,
        created_at=row.last_update,
        finished_at=row.last_update if ended else None,
    )
    Participation.objects.bulk_create(
        [Participation(training=made, client_id=client, ordinal=at) for at, client in enumerate(row.participants)]
    )
    if at.rounds_done:
        Round.objects.create(
            training=made,
            number=at.rounds_done,
            attempt=1,
            state=RoundState.DONE.value,
            reason=HELD_THERE.format(at.rounds_done),
            base=ModelVersion.objects.get(model_id=row.model_id, number=0),
            accepted=[],
            opened_at=row.last_update,
            done_at=row.last_update,
        )


def metrics(model_id: UUID, found: Iterable[there.Metric], first_round: int) -> None:
    """What was measured of a model. How many examples it was measured on is not known there; each weighs the same."""
    Metric.objects.bulk_create(
        [
            Metric(
                model_id=model_id,
                reporter_id=row.reporter_id,
                kind=MetricKind.EVALUATE,
                key=row.key,
                value=row.number,
                text=row.text,
                step=row.step - first_round,
                num_examples=1,
            )
            for row in found
        ],
        batch_size=BATCH,
    )
