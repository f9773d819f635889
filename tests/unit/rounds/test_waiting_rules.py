"""For whom a round waits and until when: clients busy elsewhere, cohorts nobody comes from, clocks begun anew."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.rounds.decide import OFFER_SECONDS, decide
from hansa.rounds.decisions import AbandonRound, Decision, DropOffers, Fail, FinishRound, OpenRound, Wait
from hansa.rounds.facts import Facts, RoundFacts, TaskCounts
from hansa.rounds.plan import parse
from hansa.rounds.states import RoundState, TrainingStatus

OPENED = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATE = 10 * OFFER_SECONDS
PHASES = pytest.mark.parametrize("state", [RoundState.COLLECTING, RoundState.SWAG, RoundState.EVALUATING])


def after(seconds: float) -> datetime:
    return OPENED + timedelta(seconds=seconds)


def deciding(
    tasks: TaskCounts,
    *,
    at: float,
    state: RoundState = RoundState.COLLECTING,
    closing: object = None,
    **changes: object,
) -> Decision:
    """What is decided of a live round whose first client came at its opening, unless `changes` say otherwise."""
    current = RoundFacts(1, 1, state, OPENED, tasks, first_taken_at=OPENED if tasks.taken else None)
    plan = parse({"rounds": 3, "closing": closing or {}})
    facts = Facts(TrainingStatus.ONGOING, plan, rounds_done=0, participants=0, round=replace(current, **changes))
    return decide(facts, after(at))


# Clients at work elsewhere


@PHASES
def test_who_is_at_work_elsewhere_is_not_late(state: RoundState) -> None:
    tasks = TaskCounts(offered=2, reported=3)
    assert isinstance(deciding(tasks, at=LATE, state=state, busy=2), Wait)
    assert isinstance(deciding(tasks, at=LATE, state=state, busy=1), DropOffers)


def test_an_evaluation_waits_for_the_busy_even_if_nobody_has_come_yet() -> None:
    tasks = TaskCounts(offered=2)
    assert isinstance(deciding(tasks, at=LATE, state=RoundState.EVALUATING, busy=2), Wait)
    assert isinstance(deciding(tasks, at=LATE, state=RoundState.EVALUATING, busy=1), DropOffers)


@PHASES
def test_the_wait_for_the_busy_is_until_what_comes_next_not_until_a_moment_that_is_past(state: RoundState) -> None:
    tasks = TaskCounts(offered=1, leased=1, reported=3)
    both = {"closing": {"deadline_seconds": 2 * LATE}, "next_expiry": after(LATE + 30)}
    assert deciding(tasks, at=LATE, state=state, busy=1, **both).until == after(LATE + 30)
    assert deciding(tasks, at=LATE, state=state, busy=1, closing=both["closing"]).until == after(2 * LATE)
    assert deciding(tasks, at=LATE, state=state, busy=1).until is None
    assert deciding(TaskCounts(offered=1), at=LATE, state=RoundState.EVALUATING, busy=1).until is None


def test_a_deadline_holds_for_the_busy_as_well() -> None:
    late = {"closing": {"deadline_seconds": 30}, "at": 30, "busy": 3}
    assert isinstance(deciding(TaskCounts(offered=3, reported=2), **late), AbandonRound)
    assert isinstance(deciding(TaskCounts(offered=3), state=RoundState.EVALUATING, **late), FinishRound)


@given(
    state=st.sampled_from([RoundState.COLLECTING, RoundState.EVALUATING]),
    tasks=st.builds(TaskCounts, *[st.integers(0, 3)] * 5),
    busy=st.integers(0, 3),
    taken=st.integers(-300, 0),
    expiry=st.none() | st.integers(-300, 300),
    deadline=st.none() | st.integers(1, 300),
    others=st.integers(0, 9),
)
def test_whatever_the_facts_a_wait_is_for_a_moment_still_to_come(
    state: RoundState, tasks: TaskCounts, busy: int, taken: int, expiry: int | None, deadline: int | None, others: int
) -> None:
    decision = deciding(
        tasks,
        at=0,
        state=state,
        closing={"deadline_seconds": deadline},
        opened_at=after(-300),
        first_taken_at=after(taken) if tasks.taken else None,
        busy=min(busy, tasks.offered),
        next_expiry=None if expiry is None else after(expiry),
        others_waiting=others if state is RoundState.COLLECTING else 0,
    )
    assert not isinstance(decision, Wait) or decision.until is None or decision.until > OPENED


# Cohorts nobody comes from


def test_while_others_wait_for_work_a_cohort_nobody_comes_from_is_drawn_again() -> None:
    assert deciding(TaskCounts(offered=3), at=OFFER_SECONDS, others_waiting=3) == AbandonRound(
        "none of the selected clients came, while others wait for work", failure=False
    )


def test_the_selected_have_their_minute_even_if_others_wait() -> None:
    decision = deciding(TaskCounts(offered=3), at=OFFER_SECONDS - 1, others_waiting=3)
    assert isinstance(decision, Wait)
    assert "none of the 3 selected has asked for work yet" in decision.reason


def test_where_nobody_waits_nothing_is_gained_by_another_cohort() -> None:
    assert isinstance(deciding(TaskCounts(offered=3), at=LATE, others_waiting=0), Wait)


@pytest.mark.parametrize("came", ["leased", "reported", "lost", "failed"])
def test_once_one_of_them_came_the_cohort_stays(came: str) -> None:
    tasks = TaskCounts(**{"offered": 2, came: 1})
    assert not isinstance(deciding(tasks, at=OFFER_SECONDS, others_waiting=3), AbandonRound)


def test_a_round_abandoned_for_any_other_reason_is_a_failure() -> None:
    for abandoned in (
        deciding(TaskCounts(lost=3), at=1),
        deciding(TaskCounts(leased=3), at=30, closing={"deadline_seconds": 30}),
    ):
        assert isinstance(abandoned, AbandonRound)
        assert abandoned.failure


# Participants that have left


@pytest.mark.parametrize(
    ("plan", "enough", "reason"),
    [
        ({"cohort": {"size": 4}}, 4, "cohort.size is 4, but the training has 3 participants"),
        ({"closing": {"quorum": 3}}, 3, "closing.quorum is 3, but a round selects 2 of 2 participants"),
        ({"closing": {"min_reports": 2}}, 2, "closing.min_reports is 2, but a round selects 1 of 1 participants"),
    ],
)
def test_a_round_that_those_left_cannot_hold_is_not_begun_and_the_record_says_why(
    plan: dict[str, object], enough: int, reason: str
) -> None:
    facts = Facts(TrainingStatus.ONGOING, parse({"rounds": 3} | plan), rounds_done=1, participants=enough)
    assert isinstance(decide(facts, OPENED), OpenRound)
    decision = decide(replace(facts, participants=enough - 1), OPENED)
    assert isinstance(decision, Fail)
    assert decision.reason.startswith("round 2 cannot be held: ")
    assert reason in decision.reason


# A clock that begins anew: the facts of a round say from when it runs


def test_after_a_pause_those_who_have_not_come_have_their_minute_again() -> None:
    tasks = TaskCounts(offered=2, reported=3)
    again = deciding(tasks, at=LATE + 1, first_taken_at=after(LATE))
    assert isinstance(again, Wait)
    assert again.until == after(LATE + OFFER_SECONDS)
    assert isinstance(deciding(tasks, at=LATE + OFFER_SECONDS, first_taken_at=after(LATE)), DropOffers)


def test_after_a_pause_the_selected_have_their_minute_again_before_others_are_drawn() -> None:
    waiting = {"others_waiting": 3, "opened_at": after(LATE)}
    assert isinstance(deciding(TaskCounts(offered=3), at=LATE + OFFER_SECONDS - 1, **waiting), Wait)
    assert isinstance(deciding(TaskCounts(offered=3), at=LATE + OFFER_SECONDS, **waiting), AbandonRound)


def test_after_a_pause_the_deadline_begins_anew() -> None:
    tasks, closing = TaskCounts(leased=5), {"deadline_seconds": 30}
    assert deciding(tasks, at=LATE, closing=closing, first_taken_at=after(LATE)).until == after(LATE + 30)
