"""From rows to the facts that `decide` looks at. Reads only; O(1) memory in the number of clients."""

from django.db.models import Count, Min, Q, QuerySet

from hansa.protocol.tasks import TaskKind
from hansa.rounds.facts import Facts, RoundFacts, TaskCounts
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from hansa.server.trainings.models import Round, Task, Training

NAMED_GONE = 5
"""How many lost clients a reason names before it counts the rest."""


def load(training: Training) -> Facts:
    """The facts of a training as the database has them now."""
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
        round=None if live is None else _round_facts(live),
    )


def phase_kind(state: RoundState) -> TaskKind:
    """The kind of task that counts in a phase."""
    return TaskKind.EVALUATE if state is RoundState.EVALUATING else TaskKind.TRAIN


def _round_facts(live: Round) -> RoundFacts:
    state = RoundState(live.state)
    tasks = Task.objects.filter(round=live, kind=phase_kind(state).value)
    states = {name: Count("id", filter=Q(state=name)) for name in ("offered", "leased", "reported", "lost", "failed")}
    leases = Min("lease_until", filter=Q(state=TaskState.LEASED.value))
    counts = tasks.aggregate(next_expiry=leases, first_taken_at=Min("leased_at"), **states)
    next_expiry, first_taken_at = counts.pop("next_expiry"), counts.pop("first_taken_at")
    opened_at = live.aggregated_at if state is RoundState.EVALUATING and live.aggregated_at else live.opened_at
    return RoundFacts(
        number=live.number,
        attempt=live.attempt,
        state=state,
        opened_at=opened_at,
        tasks=TaskCounts(**counts),
        first_taken_at=first_taken_at,
        next_expiry=next_expiry,
        claimed_until=live.claimed_until,
        gone=_gone(tasks) if counts["lost"] or counts["failed"] else "",
    )


def _gone(tasks: QuerySet[Task]) -> str:
    lost = tasks.filter(state__in=(TaskState.LOST.value, TaskState.FAILED.value))
    rows = lost.order_by("participation__ordinal").values_list("participation__client__username", "reason")
    named = "; ".join(f"{username}: {reason}" for username, reason in rows[:NAMED_GONE])
    more = lost.count() - NAMED_GONE
    return f"{named}; and {more} more" if more > 0 else named
