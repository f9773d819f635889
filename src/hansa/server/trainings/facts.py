"""From rows to the facts that `decide` looks at. Reads only; O(1) memory in the number of clients."""

from datetime import datetime, timedelta

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet

from hansa.protocol.tasks import TaskKind
from hansa.rounds.facts import Facts, RoundFacts, TaskCounts
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from hansa.server.accounts import presence
from hansa.server.trainings.models import Participation, Round, Task, Training
from hansa.server.trainings.services import push

HANDOVER = timedelta(seconds=10)
"""How long a client that has reported a task may take to ask for its next: it must not be given up in between."""
NAMED_GONE = 5
"""How many lost clients a reason names before it counts the rest."""


def load(training: Training, now: datetime) -> Facts:
    """The facts of a training as the database has them."""
    live = training.rounds.filter(state__in=[state.value for state in LIVE_ROUND_STATES]).first()
    number = training.rounds_done + 1
    attempts = training.rounds.filter(number=number).order_by("-attempt")
    latest = attempts.values_list("attempt", "reason").first() if live is None else None
    return Facts(
        status=TrainingStatus(training.status),
        plan=training.parsed_plan,
        rounds_done=training.rounds_done,
        participants=training.participations.filter(active=True).count() if live is None else 0,
        failures=training.failures,
        last_failure=latest[1] if latest else "",
        next_attempt=latest[0] + 1 if latest else 1,
        round=None if live is None else _round_facts(live, now),
    )


def phase_kind(state: RoundState) -> TaskKind:
    """The kind of task that counts in a phase."""
    return TaskKind.EVALUATE if state is RoundState.EVALUATING else TaskKind.TRAIN


def _round_facts(live: Round, now: datetime) -> RoundFacts:
    state = RoundState(live.state)
    tasks = Task.objects.filter(round=live, kind=phase_kind(state).value)
    states = {name: Count("id", filter=Q(state=name)) for name in ("offered", "leased", "reported", "lost", "failed")}
    leases = Min("lease_until", filter=Q(state=TaskState.LEASED.value))
    absent = Count("id", filter=Q(state=TaskState.LOST.value, leased_at=None))
    counts = tasks.aggregate(next_expiry=leases, first_taken_at=Min("leased_at"), absent=absent, **states)
    next_expiry, first_taken_at = counts.pop("next_expiry"), counts.pop("first_taken_at")
    opened_at = live.aggregated_at if state is RoundState.EVALUATING and live.aggregated_at else live.opened_at
    counted = TaskCounts(**counts)
    return RoundFacts(
        number=live.number,
        attempt=live.attempt,
        state=state,
        opened_at=_later(opened_at, live.clock_from),
        tasks=counted,
        first_taken_at=first_taken_at and _later(first_taken_at, live.clock_from),
        busy=busy_offers(tasks, now).count() if counted.offered else 0,
        others_waiting=state is RoundState.COLLECTING and not counted.taken and _others_waiting(live),
        next_expiry=next_expiry,
        claimed_until=live.claimed_until,
        gone=_gone(tasks) if counted.lost or counted.failed else "",
    )


def busy_offers(tasks: QuerySet[Task], now: datetime) -> QuerySet[Task]:
    """Offers whose clients are at work on a task elsewhere, have just reported one, or are still being told.

    Their leases are looked at themselves: while a training is paused, nobody takes back those that have ended.
    """
    at_work = Q(state=TaskState.LEASED.value, lease_until__gt=now)
    just_reported = Q(state=TaskState.REPORTED.value, reported_at__gt=now - HANDOVER)
    elsewhere = Task.objects.filter(at_work | just_reported, participation__client=OuterRef("participation__client"))
    return tasks.filter(Exists(elsewhere) | Exists(push.being_told()), state=TaskState.OFFERED.value)


def _later(moment: datetime, other: datetime | None) -> datetime:
    return moment if other is None else max(moment, other)


def _others_waiting(live: Round) -> bool:
    """Whether a participant that was not selected has asked for work since the round opened: a hint is enough."""
    others = Participation.objects.filter(training_id=live.training_id, active=True).exclude(tasks__round=live)
    return any(presence.seen_since(client, live.opened_at) for client in others.values_list("client_id", flat=True))


_HOW = {TaskState.LOST.value: "was lost", TaskState.FAILED.value: "failed"}


def _gone(tasks: QuerySet[Task]) -> str:
    """Who is gone, without the clients' own words: all participants read it, and those words may tell of their data."""
    lost = tasks.filter(state__in=(TaskState.LOST.value, TaskState.FAILED.value))
    rows = lost.order_by("participation__ordinal").values_list("participation__client__username", "state")
    named = ", ".join(f"{username} {_HOW[state]}" for username, state in rows[:NAMED_GONE])
    more = lost.count() - NAMED_GONE
    return f"{named}, and {more} more" if more > 0 else named
