"""Each rule of `hansa.rounds.decide`, as a row: these facts, at this moment, give this decision for this reason."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hansa.rounds.decide import MAX_FAILURES, OFFER_SECONDS, decide
from hansa.rounds.decisions import (
    AbandonRound,
    Aggregate,
    CloseRound,
    Complete,
    Decision,
    DropOffers,
    ExpireLeases,
    Fail,
    FinishRound,
    GoOn,
    OpenEvaluation,
    OpenRound,
    Pause,
    Wait,
)
from hansa.rounds.facts import Facts, RoundFacts, TaskCounts
from hansa.rounds.plan import Plan, parse
from hansa.rounds.states import RoundState, TrainingStatus

OPENED = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return OPENED + timedelta(seconds=seconds)


def plan(**changes: object) -> Plan:
    return parse({"rounds": 3} | changes)


def closing(**changes: object) -> Plan:
    return plan(closing=changes)


BETWEEN = Facts(status=TrainingStatus.ONGOING, plan=plan(), rounds_done=0, participants=5)


def between(**changes: object) -> Decision:
    return decide(replace(BETWEEN, **changes), OPENED)


def collecting(tasks: TaskCounts, *, the_plan: Plan | None = None, at: float = 1, **changes: object) -> Decision:
    current = RoundFacts(1, 1, RoundState.COLLECTING, OPENED, tasks, first_taken_at=OPENED if tasks.taken else None)
    facts = replace(BETWEEN, plan=the_plan or plan(), round=replace(current, **changes))
    return decide(facts, after(at))


def evaluating(tasks: TaskCounts, *, the_plan: Plan | None = None, at: float = 1, **changes: object) -> Decision:
    current = RoundFacts(1, 1, RoundState.EVALUATING, OPENED, tasks, first_taken_at=OPENED if tasks.taken else None)
    return decide(replace(BETWEEN, plan=the_plan or plan(), round=replace(current, **changes)), after(at))


def test_counts_are_sums() -> None:
    tasks = TaskCounts(offered=1, leased=10, reported=100, lost=1000, failed=10000)
    assert (tasks.total, tasks.outstanding, tasks.taken) == (11111, 11, 11110)


# A training that does not run


@pytest.mark.parametrize("status", [status for status in TrainingStatus if status is not TrainingStatus.ONGOING])
@pytest.mark.parametrize("state", [None, *RoundState])
def test_nothing_moves_in_a_training_that_is_not_ongoing(status: TrainingStatus, state: RoundState | None) -> None:
    current = RoundFacts(1, 1, state, OPENED, TaskCounts(reported=5)) if state else None
    facts = replace(BETWEEN, status=status, round=current, rounds_done=3)
    assert decide(facts, after(10**6)) == Wait(f"the training is {status}")


# Between rounds


def test_a_training_begins_with_its_first_round() -> None:
    assert between() == OpenRound(1, 1, "round 1 of 3 begins")


def test_after_a_round_the_next_is_opened() -> None:
    assert between(rounds_done=2) == OpenRound(3, 1, "round 3 of 3 begins")


def test_when_all_rounds_are_done_the_training_is_complete_even_if_everybody_left() -> None:
    assert between(rounds_done=3, participants=0) == Complete("all 3 rounds are done")


def test_after_an_abandoned_attempt_the_next_says_why() -> None:
    assert between(failures=1, next_attempt=2, last_failure="nobody came.") == OpenRound(
        1, 2, "round 1 of 3 begins, attempt 2: nobody came."
    )


def test_a_training_that_nobody_is_left_in_fails_and_says_what_to_do() -> None:
    assert between(participants=0) == Fail("no client is left in the training. Add clients, then resume it.")


def test_after_too_many_failures_in_a_row_the_training_fails_with_the_last_reason() -> None:
    assert isinstance(between(failures=MAX_FAILURES - 1, last_failure="x."), OpenRound)
    decision = between(rounds_done=1, failures=MAX_FAILURES, last_failure="only 1 of 5 clients have reported.")
    assert decision == Fail(
        "round 2 was tried 3 times without success. Last reason: only 1 of 5 clients have reported. "
        "Mend that, then resume the training."
    )


# Between rounds: how many clients are there

WANTS_THREE = plan(participation={"min_to_start": 3, "min_to_go_on": 2})


def test_a_training_whose_plan_asks_for_one_client_never_looks_who_is_there() -> None:
    assert isinstance(between(there=0), OpenRound)


def test_the_first_round_is_not_opened_before_enough_clients_are_there() -> None:
    assert between(plan=WANTS_THREE, there=2) == Pause(
        "2 of the 3 clients that round 1 waits for are there; 5 take part. Start more of them: it goes on by itself "
        "when 3 are there."
    )
    assert between(plan=WANTS_THREE, there=3) == OpenRound(1, 1, "round 1 of 3 begins; 3 clients are there")


def test_later_rounds_have_a_number_of_their_own() -> None:
    assert isinstance(between(plan=WANTS_THREE, rounds_done=1, there=1), Pause)
    assert between(plan=WANTS_THREE, rounds_done=1, there=2) == OpenRound(
        2, 1, "round 2 of 3 begins; 2 clients are there"
    )


def test_where_too_few_take_part_the_reason_says_to_add_clients() -> None:
    assert between(plan=WANTS_THREE, participants=1, there=1, excluded=2) == Pause(
        "1 of the 3 clients that round 1 waits for are there; 1 take part (2 more are excluded: their tasks failed too "
        "often). Add clients: it goes on by itself when 3 are there."
    )
    assert isinstance(between(plan=WANTS_THREE, participants=0, there=0), Pause)


def test_what_cannot_be_mended_by_waiting_is_no_pause() -> None:
    assert isinstance(between(plan=WANTS_THREE, rounds_done=3), Complete)
    assert isinstance(between(plan=WANTS_THREE, failures=MAX_FAILURES, last_failure="x."), Fail)


def test_a_training_that_waits_for_clients_goes_on_by_itself_once_enough_are_there() -> None:
    awaiting = {"status": TrainingStatus.PAUSED, "awaits_clients": True, "plan": WANTS_THREE}
    assert between(**awaiting, there=3) == GoOn("3 clients are there, enough for round 1")
    too_few = between(plan=WANTS_THREE, there=2).reason
    assert between(**awaiting, there=2) == Wait(too_few)
    assert between(**awaiting, there=2, more_there_at=OPENED) == Wait(too_few, OPENED)


def test_a_pause_by_a_person_is_never_ended_by_the_server() -> None:
    assert between(status=TrainingStatus.PAUSED, plan=WANTS_THREE, there=5) == Wait("the training is paused")


def test_a_training_whose_clients_are_all_excluded_fails_and_says_why() -> None:
    assert between(participants=0, excluded=2) == Fail(
        "no client is left in the training (2 more are excluded: their tasks failed too often). Add clients, then "
        "resume it."
    )


# Collecting: more clients invited than wanted


def test_an_over_selected_round_closes_when_as_many_as_wanted_have_reported() -> None:
    waiting = collecting(TaskCounts(reported=1, leased=3), wanted=2)
    assert isinstance(waiting, Wait)
    assert waiting.reason == "1 of 4 clients have reported (2 are enough); 3 at work, 0 not yet come"
    assert collecting(TaskCounts(reported=2, leased=2), wanted=2) == CloseRound(
        "2 of 4 invited clients have reported, as many as wanted"
    )


def test_half_of_the_wanted_reports_are_enough_however_many_were_invited() -> None:
    assert isinstance(collecting(TaskCounts(reported=2, lost=4), wanted=4), CloseRound)
    assert isinstance(collecting(TaskCounts(reported=2, lost=4)), AbandonRound)
    assert isinstance(collecting(TaskCounts(reported=1, lost=5), wanted=4), AbandonRound)


def test_of_an_over_selected_round_that_most_have_left_half_of_those_still_in_it_are_enough() -> None:
    assert isinstance(collecting(TaskCounts(reported=1, lost=1), wanted=4), CloseRound)


def test_a_quorum_below_the_wanted_reports_closes_an_over_selected_round() -> None:
    assert collecting(TaskCounts(reported=1, leased=3), the_plan=closing(quorum=1), wanted=2) == CloseRound(
        "the quorum of 1 has reported"
    )


# Collecting: when a round closes


def test_a_round_closes_when_every_client_has_reported() -> None:
    assert collecting(TaskCounts(reported=5)) == CloseRound("5 of 5 clients have reported")


def test_a_round_closes_without_the_lost_when_all_others_have_reported_and_says_who_is_left_out() -> None:
    assert collecting(TaskCounts(reported=3, lost=1, failed=1), gone="bob: lease ended; eve: ValueError") == CloseRound(
        "3 of 5 clients have reported; 2 left out: bob: lease ended; eve: ValueError"
    )
    assert collecting(TaskCounts(reported=3, lost=2)) == CloseRound("3 of 5 clients have reported; 2 left out")


def test_a_round_waits_for_clients_at_work_however_many_have_reported() -> None:
    assert isinstance(collecting(TaskCounts(reported=4, leased=1), at=10**6), Wait)


def test_a_round_closes_at_the_quorum_whoever_is_at_work() -> None:
    quorum = closing(quorum=2)
    assert isinstance(collecting(TaskCounts(reported=1, leased=4), the_plan=quorum), Wait)
    assert collecting(TaskCounts(reported=2, leased=3), the_plan=quorum) == CloseRound("the quorum of 2 has reported")


def test_without_a_quorum_half_of_the_cohort_is_needed() -> None:
    assert isinstance(collecting(TaskCounts(reported=2, lost=2)), CloseRound)
    assert isinstance(collecting(TaskCounts(reported=2, lost=3)), AbandonRound)
    assert isinstance(collecting(TaskCounts(reported=3, lost=2)), CloseRound)


def test_a_plan_may_need_more_or_fewer_reports_than_half() -> None:
    assert isinstance(collecting(TaskCounts(reported=3, lost=2), the_plan=closing(min_reports=4)), AbandonRound)
    assert isinstance(collecting(TaskCounts(reported=1, lost=4), the_plan=closing(min_reports=1)), CloseRound)


# Collecting: the deadline


def test_at_the_deadline_a_round_closes_with_enough_reports() -> None:
    the_plan = closing(deadline_seconds=30)
    assert collecting(TaskCounts(reported=3, leased=2), the_plan=the_plan, at=29).until == after(30)
    assert collecting(TaskCounts(reported=3, leased=2), the_plan=the_plan, at=30) == CloseRound(
        "the deadline has passed with 3 of 5 reports"
    )


def test_at_the_deadline_a_round_without_enough_reports_is_abandoned() -> None:
    assert collecting(TaskCounts(reported=2, leased=3), the_plan=closing(deadline_seconds=30), at=31) == AbandonRound(
        "the deadline of 30 s passed with 2 of 5 reports, 3 are needed. "
        "A plan with a longer deadline, or with late updates, gives slower clients their time."
    )


def test_the_clock_of_a_round_begins_with_the_first_client_that_comes() -> None:
    the_plan = closing(deadline_seconds=30)
    late = collecting(TaskCounts(leased=1, offered=4), the_plan=the_plan, at=1001, first_taken_at=after(1000))
    assert isinstance(late, Wait)
    assert late.until == after(1030)


def test_where_nobody_knows_when_the_first_client_came_the_clock_begins_with_the_round() -> None:
    decision = collecting(TaskCounts(leased=5), the_plan=closing(deadline_seconds=30), at=30, first_taken_at=None)
    assert isinstance(decision, AbandonRound)


# Collecting: clients that are gone


def test_a_lease_that_ended_is_taken_back_before_anything_else() -> None:
    decision = collecting(TaskCounts(reported=4, leased=1), the_plan=closing(quorum=4), next_expiry=after(1))
    assert decision == ExpireLeases("the lease ended without a sign of life")


def test_a_lease_that_has_not_ended_is_waited_for_to_its_end() -> None:
    decision = collecting(TaskCounts(reported=4, leased=1), at=1, next_expiry=after(60))
    assert decision == Wait("4 of 5 clients have reported; 1 at work, 0 not yet come", after(60))


def test_a_round_that_lost_too_many_clients_is_abandoned_and_says_whom() -> None:
    assert collecting(TaskCounts(reported=1, lost=4), gone="bob: lease ended") == AbandonRound(
        "only 1 of 5 clients have reported, 3 are needed, and nobody is left to wait for (bob: lease ended)."
    )
    assert collecting(TaskCounts(lost=1)).reason.endswith("nobody is left to wait for.")


def test_a_round_whose_clients_all_left_is_abandoned() -> None:
    assert isinstance(collecting(TaskCounts()), AbandonRound)


def test_a_round_that_nobody_came_for_waits_for_ever_and_says_so() -> None:
    for at in (1, 10**7):
        decision = collecting(TaskCounts(offered=5), the_plan=closing(deadline_seconds=30), at=at)
        assert decision == Wait("waiting for clients: none of the 5 selected has asked for work yet", None)


def test_once_a_client_came_the_others_have_a_minute_to_come_too() -> None:
    tasks = TaskCounts(offered=2, reported=3)
    assert collecting(tasks, at=OFFER_SECONDS - 1).until == after(OFFER_SECONDS)
    assert collecting(tasks, at=OFFER_SECONDS) == DropOffers("the client did not come for its task in time")
    assert isinstance(collecting(tasks, at=1000, first_taken_at=after(999)), Wait)


def test_the_next_thing_to_happen_is_the_earliest() -> None:
    tasks = TaskCounts(offered=1, leased=4)
    assert collecting(tasks, the_plan=closing(deadline_seconds=30), next_expiry=after(50)).until == after(30)
    assert collecting(tasks, the_plan=closing(deadline_seconds=300), next_expiry=after(50)).until == after(50)
    assert collecting(tasks, next_expiry=after(500)).until == after(OFFER_SECONDS)
    assert collecting(TaskCounts(leased=5)).until is None


# Aggregating, aggregated


def aggregating(claimed_until: datetime | None) -> Decision:
    current = RoundFacts(2, 1, RoundState.AGGREGATING, OPENED, TaskCounts(reported=5), claimed_until=claimed_until)
    return decide(replace(BETWEEN, rounds_done=1, round=current), after(10))


def test_a_closed_round_is_aggregated_by_whoever_asks_first() -> None:
    assert aggregating(None) == Aggregate("round 2 has closed")


def test_while_somebody_aggregates_nobody_else_does_until_the_claim_ends() -> None:
    assert aggregating(after(11)) == Wait("round 2 is being aggregated", after(11))
    assert isinstance(aggregating(after(10)), Aggregate)


def aggregated(number: int, every: int, tasks: TaskCounts) -> Decision:
    current = RoundFacts(number, 1, RoundState.AGGREGATED, OPENED, tasks)
    facts = replace(BETWEEN, plan=plan(evaluation={"every": every}), rounds_done=number - 1, round=current)
    return decide(facts, after(10))


@pytest.mark.parametrize(
    ("number", "every", "evaluates"),
    [(1, 1, True), (1, 0, False), (3, 0, False), (1, 2, False), (2, 2, True), (3, 2, True), (3, 5, True)],
)
def test_an_aggregated_round_is_evaluated_as_often_as_the_plan_says_and_after_the_last(
    number: int, every: int, evaluates: bool
) -> None:
    decision = aggregated(number, every, TaskCounts(reported=3))
    assert isinstance(decision, OpenEvaluation if evaluates else FinishRound)


# Evaluating


def test_an_evaluation_is_done_when_everybody_answered_or_is_gone() -> None:
    assert evaluating(TaskCounts(reported=5)) == FinishRound("5 of 5 clients have evaluated the version")
    assert evaluating(TaskCounts(reported=1, lost=3, failed=1)) == FinishRound(
        "1 of 5 clients have evaluated the version"
    )
    assert isinstance(evaluating(TaskCounts(lost=5)), FinishRound)
    assert isinstance(evaluating(TaskCounts()), FinishRound)


def test_an_evaluation_waits_for_clients_at_work() -> None:
    assert evaluating(TaskCounts(reported=4, leased=1), next_expiry=after(60)) == Wait(
        "4 of 5 clients have evaluated; 1 at work, 0 not yet come", after(60)
    )


def test_an_evaluation_takes_back_leases_that_ended() -> None:
    assert isinstance(evaluating(TaskCounts(reported=4, leased=1), at=9, next_expiry=after(9)), ExpireLeases)


def test_at_the_deadline_an_evaluation_is_done_with_however_few_answers() -> None:
    the_plan = closing(deadline_seconds=30)
    assert evaluating(TaskCounts(leased=5), the_plan=the_plan, at=30) == FinishRound(
        "the deadline has passed with 0 of 5 evaluations"
    )


def test_an_evaluation_that_nobody_came_for_ends_after_a_minute() -> None:
    waiting = evaluating(TaskCounts(offered=5))
    assert waiting.until == after(OFFER_SECONDS)
    assert isinstance(evaluating(TaskCounts(offered=5), at=OFFER_SECONDS), DropOffers)


def test_an_evaluation_that_nobody_came_for_ends_at_a_deadline_before_that() -> None:
    the_plan = closing(deadline_seconds=30)
    assert evaluating(TaskCounts(offered=5), the_plan=the_plan).until == after(30)
    assert isinstance(evaluating(TaskCounts(offered=5), the_plan=the_plan, at=30), FinishRound)


def test_an_evaluation_drops_the_offers_that_were_not_taken_in_time() -> None:
    assert isinstance(evaluating(TaskCounts(offered=1, reported=4), at=OFFER_SECONDS), DropOffers)
