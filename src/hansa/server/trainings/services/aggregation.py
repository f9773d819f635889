"""Claiming a closed round, and committing what was computed; the arithmetic stands between, outside any transaction.

Twice in a round there may be something to compute, both as the mean of an accepted list: AGGREGATING makes its version,
COMBINING the moments of that version.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import BigIntegerField, CharField, DateTimeField, FloatField, QuerySet, UUIDField

from hansa.core.aggregators import Aggregator
from hansa.core.aggregators.mean import Mean
from hansa.core.params import ParamSpec
from hansa.core.server_steps import ServerStep
from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds.decide import CLAIM_SECONDS
from hansa.rounds.encoding import left_out
from hansa.rounds.rules import rule_of
from hansa.rounds.states import RoundState
from hansa.rounds.steps import step_of
from hansa.server.blobs import services as blobs
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.models import Blob
from hansa.server.changes import change
from hansa.server.prepared import Changed, Rows, Slot
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import moments
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Round, Update
from hansa.server.trainings.services import eventlog, memory
from hansa.server.trainings.services.turns import take_turn_at

MEAN: Final = Mean()

Line = tuple[int, str, float, int | None]
"""Ordinal, digest, weight, and for a late update the number of its round."""


@dataclass(frozen=True, slots=True)
class StoredUpdate:
    """One line of the accepted list, or of the late updates that count beside it, with what is needed to read it."""

    ordinal: int
    digest: str
    weight: float
    size: int
    checksums: bytes
    late_from: int | None = None
    """The number of the round that a late one was trained in."""
    base: Known | None = None
    """The version that a late one was trained from."""

    @property
    def line(self) -> Line:
        """As the round has it."""
        return self.ordinal, self.digest, self.weight, self.late_from


@dataclass(frozen=True, slots=True)
class Job:
    """All inputs of one aggregate: its result is a function of these, but for who claimed it for which round."""

    round_id: UUID
    training_id: UUID
    claim: UUID
    number: int
    spec: ParamSpec
    updates: tuple[StoredUpdate, ...]
    kind: TaskKind = TaskKind.TRAIN
    """TRAIN: the mean is the round's version; SWAG: that version's moments."""
    base: Known | None = None
    """The version that the round began from: what cosines are measured from, and what a rule takes differences to."""
    rule: Aggregator = MEAN
    left_out: frozenset[str] = frozenset()
    """Params that stay those of the version, whatever a client has sent."""
    clip: float | None = None
    """The norm to which longer updates are scaled before the rule sees them."""
    step: ServerStep | None = None
    """What becomes of the aggregate; None: it is the version."""
    memory: Known | None = None
    """What the step remembers at `base`; None: nothing yet."""

    @property
    def own(self) -> int:
        """How many of the updates are the round's own; the late ones come behind them."""
        return sum(update.late_from is None for update in self.updates)


COMPUTING: Final = {RoundState.AGGREGATING.value: TaskKind.TRAIN, RoundState.COMBINING.value: TaskKind.SWAG}
"""The states with something to compute, and the kind of the tasks whose results are its input."""


class Told(NamedTuple):
    """What was found of one update while the version was computed."""

    cosine: float | None
    factor: float | None


class MissingUpdateError(Exception):
    """An update of the accepted list is no longer in the store."""


class LateUpdateLostError(Exception):
    """A late update cannot be read. Its client is not asked again: the round that it was for is over."""

    def __init__(self, *, number: int, ordinal: int, why: str) -> None:
        super().__init__(f"the late update of client {ordinal} from round {number} cannot be read: {why}")
        self.number = number
        self.ordinal = ordinal


class LateUpdateUnreadableError(LateUpdateLostError):
    """Its row is there, and reading its file failed: the bytes may be lost, or only what the row says of them wrong."""

    def __init__(self, *, update: StoredUpdate, number: int, why: str) -> None:
        super().__init__(number=number, ordinal=update.ordinal, why=why)
        self.digest = update.digest


_CLOSED = Rows(
    lambda: (
        Round.objects.filter(training=Slot("training", UUIDField()), state__in=tuple(COMPUTING))
        .select_related("training__model", "base__blob")
        .order_by()
    )
)
_CLAIMED = Changed(
    lambda: Round.objects.filter(id=Slot("round", UUIDField())),
    claim=Slot("claim", UUIDField()),
    claimed_until=Slot("until", DateTimeField()),
)


def claim(*, training_id: UUID, now: datetime, token: UUID | None = None) -> Job | None:
    """Claim the training's closed round for a minute, under `token`; None if somebody has it, or there is none.

    The job is read in the same transaction: it is that of the round as it is claimed. Where some of it is no longer
    kept the claim stands all the same, so that its holder, and nobody else, says what becomes of the round; then
    MissingUpdateError, LateUpdateLostError or LostMemoryError is raised.
    """
    token = token or uuid4()
    with change("aggregation.claim"):
        take_turn_at(training_id)
        row = _CLOSED.first(training=training_id)
        if row is None or (row.claimed_until is not None and row.claimed_until > now):
            return None
        _CLAIMED(round=row.id, claim=token, until=now + timedelta(seconds=CLAIM_SECONDS))
        try:
            return job_of(row, COMPUTING[row.state], token)
        except (MissingUpdateError, LateUpdateLostError, memory.LostMemoryError) as error:
            lost: Exception = error
    raise lost


def job_of(row: Round, kind: TaskKind, claim: UUID | None = None) -> Job:
    """What a closed round's version, or its moments, are computed from, now or again.

    Raises MissingUpdateError, LateUpdateLostError or LostMemoryError where some of it is no longer kept.
    """
    model, plan = row.training.model, row.training.parsed_plan
    return Job(
        round_id=row.id,
        training_id=row.training_id,
        claim=claim or uuid4(),
        number=row.number,
        spec=model.param_spec if kind is TaskKind.TRAIN else moments.spec_of(model),
        updates=_stored(row, kind),
        kind=kind,
        base=Known.of(row.base.blob) if kind is TaskKind.TRAIN else None,
        rule=rule_of(plan.aggregator) if kind is TaskKind.TRAIN else MEAN,
        left_out=left_out(plan.encoding.params, model.param_spec) if kind is TaskKind.TRAIN else frozenset(),
        clip=plan.transforms[0].bound if plan.transforms and kind is TaskKind.TRAIN else None,
        step=step_of(plan.server_step) if kind is TaskKind.TRAIN else None,
        memory=memory.at_beginning_of(row) if kind is TaskKind.TRAIN else None,
    )


def _lines(row: Round, kind: TaskKind) -> list[Line]:
    """What the mean is of, in its order: the accepted list; for a version, after it the late updates that count."""
    accepted = row.accepted if kind is TaskKind.TRAIN else row.moments_accepted
    folded = row.folded if kind is TaskKind.TRAIN else None
    return [
        *((ordinal, digest, weight, None) for ordinal, digest, weight in accepted or []),
        *((ordinal, digest, weight, number) for ordinal, digest, weight, number in folded or []),
    ]


def _stored(row: Round, kind: TaskKind) -> tuple[StoredUpdate, ...]:
    own = _by_client(_OWN(round=row.id, kind=kind.value))
    late = _by_client(_readable(Update.objects.filter(folded_into=row), "blob", "base__blob")) if row.folded else {}
    return tuple(
        _stored_update(line, own.get((row.number, line[0])) if line[3] is None else late.get((line[3], line[0])))
        for line in _lines(row, kind)
    )


def _readable(updates: QuerySet[Update], *blobs: str) -> QuerySet[Update]:
    """With their round, their client and these of their blobs."""
    # Not the round's lists, which are as long as its cohort: they would be read once for each of it.
    parts = ("task__round", "task__participation", *blobs)
    columns = (
        *("task__round__number", "task__participation__ordinal"),
        *(f"{blob}__{column}" for blob in blobs for column in ("size", "checksums")),
    )
    return updates.select_related(*parts).only(*parts, *columns)


_OF_ROUND = Slot("round", UUIDField())
_OWN = Rows(
    lambda: _readable(
        Update.objects.filter(task__round=_OF_ROUND, task__kind=Slot("kind", CharField())).order_by(), "blob"
    )
)


def _by_client(updates: Iterable[Update]) -> dict[tuple[int, int], Update]:
    """By the number of their round and the ordinal of their client."""
    return {(row.task.round.number, row.task.participation.ordinal): row for row in updates}


def _stored_update(line: Line, update: Update | None) -> StoredUpdate:
    ordinal, digest, weight, late_from = line
    blob = None if update is None else update.blob
    if update is not None and blob is not None and blob.sha256 == digest:
        base = None if late_from is None else Known.of(update.base.blob)
        return StoredUpdate(ordinal, digest, weight, blob.size, bytes(blob.checksums), late_from, base)
    why = f"update {digest} of client {ordinal} is not in the store"
    if late_from is not None:
        raise LateUpdateLostError(number=late_from, ordinal=ordinal, why=why)
    raise MissingUpdateError(why)


def renew_claim(*, round_id: UUID, claim: UUID, now: datetime) -> bool:
    """The claim's heartbeat; False if the round went on without us."""
    with change("aggregation.renew_claim"):
        mine = Round.objects.filter(id=round_id, claim=claim, state__in=COMPUTING)
        return mine.update(claimed_until=now + timedelta(seconds=CLAIM_SECONDS)) == 1


_WANTED = Rows(
    lambda: (
        Round.objects.filter(id=Slot("round", UUIDField()), state=Slot("state", CharField()))
        .select_related("base", "training")
        .order_by()
    )
)
_TRAINED = Rows(
    lambda: (
        Update.objects.filter(task__round=_OF_ROUND, task__kind=TaskKind.TRAIN.value)
        .order_by()
        .values_list("id", "task__participation__ordinal")
    )
)
_TOLD = Changed(
    lambda: Update.objects.filter(id=Slot("update", BigIntegerField())),
    cosine=Slot("cosine", FloatField()),
    factor=Slot("factor", FloatField()),
)


def commit(
    *, job: Job, digests: Digests, now: datetime, told: Sequence[Told] = (), remembered: Digests | None = None
) -> bool:
    """AGGREGATING → AGGREGATED with the new version, or COMBINING → COMBINED with its moments.

    `told`: of the round's own updates, in the order of the accepted list. `remembered`: what the server step has to
    remember at the version.

    False if somebody was faster, whose bytes are the same, or if by now the round's lists are others.
    """
    wanted = RoundState.AGGREGATING if job.kind is TaskKind.TRAIN else RoundState.COMBINING
    with change("aggregation.commit"):
        take_turn_at(job.training_id)
        row = _WANTED.first(round=job.round_id, state=wanted.value)
        if row is None or _lines(row, job.kind) != [update.line for update in job.updates]:
            return False
        blob = blobs.record(digests=digests, media_type=blobs.SAFETENSORS, now=now)
        state = None
        if remembered is not None:
            state = blobs.record(digests=remembered, media_type=blobs.SAFETENSORS, now=now)
        done = _with_version(row, blob, state, now) if job.kind is TaskKind.TRAIN else _with_moments(row, blob, now)
        Round.objects.filter(id=row.id).update(**done, claim=None, claimed_until=None)
        _note(row, told)
        transaction.on_commit(lambda: HINTS.moved(job.training_id))
    return True


def _with_version(row: Round, blob: Blob, state: Blob | None, now: datetime) -> dict[str, object]:
    made = {"blob": blob, "state": state, "parent": row.base, "created_at": now}
    # In the place of one that was lost, if the round is begun anew because of that.
    version, _ = ModelVersion.objects.update_or_create(
        model_id=row.training.model_id,
        number=row.base.number + 1,
        lost__gt="",
        defaults={**made, "moments": None, "lost": ""},
        create_defaults=made,
    )
    memory.let_go_before(row.training.model_id, row.base.number)
    eventlog.note_round(EventKind.ROUND_AGGREGATED, row, data={"version": version.number})
    return {"state": RoundState.AGGREGATED.value, "version": version, "aggregated_at": now}


def _with_moments(row: Round, blob: Blob, now: datetime) -> dict[str, object]:
    ModelVersion.objects.filter(round_of=row).update(moments=blob)
    eventlog.note_round(EventKind.ROUND_MOMENTS, row, data={"version": row.base.number + 1})
    return {"state": RoundState.COMBINED.value, "combined_at": now}


def _note(row: Round, told: Sequence[Told]) -> None:
    if not told:  # nothing is told of moments
        return
    ordinals = [ordinal for ordinal, *_ in row.accepted or []]
    of_each = dict(zip(ordinals, told, strict=False))
    for update, ordinal in _TRAINED(round=row.id):
        cosine, factor = of_each.get(ordinal, (None, None))
        _TOLD(update=update, cosine=cosine, factor=factor)


def drop_claims(*, claim: UUID | None = None) -> int:
    """Let go of one's claim, or after a restart of all: one process is the whole server.

    Returns how many claims there were.
    """
    with change("aggregation.drop_claims"):
        held = Round.objects.filter(state__in=COMPUTING, claim__isnull=False)
        if claim is not None:
            held = held.filter(claim=claim)
        return held.update(claim=None, claimed_until=None)
