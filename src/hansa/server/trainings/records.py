"""The record of a training, and of many at once: as many queries for a thousand of them as for one."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import xxhash
from django.db.models import Max, OuterRef, Q, QuerySet, Subquery

from hansa.protocol import trainings as wire
from hansa.protocol.tasks import TaskKind
from hansa.rounds.decide import decide
from hansa.rounds.shorthands import Shorthand, nearest
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TrainingStatus
from hansa.server.accounts import presence
from hansa.server.accounts.models import User
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import facts
from hansa.server.trainings.models import Participation, Round, Training, Update

LETTERS = {
    TrainingStatus.INITIAL: "I",
    TrainingStatus.ONGOING: "O",
    TrainingStatus.PAUSED: "O",
    TrainingStatus.COMPLETED: "C",
    TrainingStatus.ERROR: "E",
    TrainingStatus.CANCELLED: "E",
}
"""The older platform's states."""

MOVING = Q(status=TrainingStatus.ONGOING.value) | Q(awaits_clients=True)
"""Trainings that go on by themselves, now or when clients are there."""
COMPUTING = frozenset({RoundState.AGGREGATING.value, RoundState.COMBINING.value})
ASKING_FOR_MOMENTS = frozenset({RoundState.SWAG.value, RoundState.COMBINING.value})
MOMENTS_OF_A_ROUND = ("opened_at", "clock_from", "closed_at", "aggregated_at", "combined_at", "done_at")


def records(of: QuerySet[Training], viewer: User, now: datetime) -> list[wire.Training]:
    """The records of these trainings as the viewer may see them, in the order of the query."""
    trainings = list(of)
    clients, live, past, versions = _clients(of, viewer), _live_states(of), _past(of), _versions(of)
    reasons = _reasons(trainings, of, now)
    return [
        _record(
            training,
            clients=clients[training.id],
            live=live.get(training.id),
            past=past.get(training.id),
            version=versions.get(training.model_id) or 0,
            reason=reasons.get(training.id, training.reason),
        )
        for training in trainings
    ]


def detail(of: QuerySet[Training], viewer: User, now: datetime) -> wire.TrainingDetail | None:
    """The one training's record, with the count of its local models; None if the query finds none."""
    for record in records(of, viewer, now):
        return wire.TrainingDetail(
            **{name: getattr(record, name) for name in record.__struct_fields__},
            local_models_arrived=local_models(of).count(),
            local_models_expected=len(record.participants),
        )
    return None


def local_models(of: QuerySet[Training]) -> QuerySet[Update]:
    """The local models of these trainings whose bytes are kept."""
    return Update.objects.filter(
        task__round__training__in=of.values("id"), task__kind=TaskKind.TRAIN.value, blob__isnull=False
    )


def _clients(of: QuerySet[Training], viewer: User) -> dict[UUID, list[wire.Participant]]:
    found: dict[UUID, list[wire.Participant]] = defaultdict(list)
    rows = Participation.objects.filter(training__in=of.values("id")).order_by("ordinal")
    columns = ("training_id", "training__actor_id", "client_id", "client__username", "client__last_seen")
    for training, actor, client, username, last_seen, ordinal, active, failures, excluded in rows.values_list(
        *columns, "ordinal", "active", "failures", "excluded"
    ):
        shown = viewer.is_superuser or viewer.id in (client, actor)
        found[training].append(
            wire.Participant(
                id=str(client),
                username=username,
                ordinal=ordinal,
                active=active,
                last_seen=presence.last_seen(client, last_seen),
                failures=failures if shown else None,
                excluded=excluded if shown else None,
            )
        )
    return found


def _live_states(of: QuerySet[Training]) -> dict[UUID, str]:
    live = Round.objects.filter(training__in=of.values("id"), state__in=[state.value for state in LIVE_ROUND_STATES])
    return dict(live.values_list("training_id", "state"))


def _past(of: QuerySet[Training]) -> dict[UUID, tuple[int, datetime]]:
    """The newest round's number, and when it last came to another state: no older one does any more."""
    newest = Round.objects.filter(training=OuterRef("pk")).order_by("-number", "-attempt").values("id")[:1]
    rows = Round.objects.filter(id__in=of.order_by().annotate(newest=Subquery(newest)).values("newest"))
    return {
        training_id: (number, max(moment for moment in moments if moment is not None))
        for training_id, number, *moments in rows.values_list("training_id", "number", *MOMENTS_OF_A_ROUND)
    }


def _versions(of: QuerySet[Training]) -> dict[UUID, int]:
    rows = ModelVersion.objects.filter(model__training__in=of.values("id"), lost="").order_by().values("model_id")
    return dict(rows.annotate(newest=Max("number")).values_list("model_id", "newest"))


def _reasons(trainings: Sequence[Training], of: QuerySet[Training], now: datetime) -> dict[UUID, str]:
    """Why those that run, or wait for clients to, are where they are: what `decide` says of each."""
    moving = [row for row in trainings if row.status == TrainingStatus.ONGOING.value or row.awaits_clients]
    found = facts.load_all(moving, of.filter(MOVING), now)
    return {training_id: decide(each, now).reason for training_id, each in found.items()}


def letter(status: TrainingStatus, live: str | None) -> str:
    """The older platform's word for a training's state; `live` is the state of the round that runs, if one does."""
    if status in (TrainingStatus.ONGOING, TrainingStatus.PAUSED) and live in ASKING_FOR_MOMENTS:
        return "S"
    return LETTERS[status]


def _record(  # what the queries for many found, put together for one
    training: Training,
    *,
    clients: list[wire.Participant],
    live: str | None,
    past: tuple[int, datetime] | None,
    version: int,
    reason: str,
) -> wire.Training:
    words = _words(training)
    newest, moved_at = past or (0, None)
    answer = wire.Training(
        id=str(training.id),
        name=training.name,
        model=str(training.model_id),
        actor=str(training.actor_id),
        status=training.status,
        state=letter(TrainingStatus(training.status), live),
        reason=reason,
        round=newest,
        rounds=training.plan["rounds"],
        rounds_done=training.rounds_done,
        version=version,
        plan=training.plan,
        seed=training.seed,
        participants=[client.id for client in clients if client.active],
        clients=clients,
        revision=0,
        created_at=training.created_at.isoformat(),
        started_at=_iso(training.started_at),
        finished_at=_iso(training.finished_at),
        last_update=_newest(training.created_at, training.started_at, training.finished_at, moved_at).isoformat(),
        target_num_updates=training.plan["rounds"],
        aggregation_method=words.aggregation_method,
        uncertainty_method=words.uncertainty_method,
        options=words.options,
        metric_names=words.metric_names,
        locked=live in COMPUTING,
    )
    return msgspec.structs.replace(answer, revision=_revision(answer))


def _newest(first: datetime, *others: datetime | None) -> datetime:
    return max([first, *(moment for moment in others if moment is not None)])


def _words(training: Training) -> Shorthand:
    if training.shorthand is None:
        return nearest(training.parsed_plan)
    return msgspec.convert(training.shorthand, Shorthand)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _revision(answer: wire.Training) -> int:
    """A number that differs after every change; 48 bits, exact in any JSON reader. Sightings are not changes."""
    still = [msgspec.structs.replace(client, last_seen=None) for client in answer.clients]
    shown = msgspec.json.encode(msgspec.structs.replace(answer, clients=still))
    return xxhash.xxh3_64_intdigest(shown) >> 16
