"""When a version is calibrated, and which plans ask for it."""

from datetime import UTC, datetime, timedelta

import pytest

from hansa.rounds.decide import OFFER_SECONDS, decide
from hansa.rounds.decisions import Decision, DropOffers, ExpireLeases, FinishRound, OpenCalibration, Wait
from hansa.rounds.facts import Facts, RoundFacts, TaskCounts
from hansa.rounds.plan import Plan, UnsoundPlanError, parse, to_data
from hansa.rounds.states import RoundState, TrainingStatus

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def plan(calibration: dict[str, object], **parts: object) -> Plan:
    return parse({"rounds": 1, "uncertainty": {"calibration": calibration}, **parts})


def decided(state: RoundState, the_plan: Plan, tasks: TaskCounts, seconds: float = 0.0, **more: object) -> Decision:
    current = RoundFacts(number=1, attempt=1, state=state, opened_at=NOON, tasks=tasks, **more)
    facts = Facts(status=TrainingStatus.ONGOING, plan=the_plan, rounds_done=0, participants=0, round=current)
    return decide(facts, NOON + timedelta(seconds=seconds))


SCORED = plan({"scores": "lac"})


def test_a_plan_without_a_word_of_it_asks_for_no_calibration() -> None:
    assert parse({"rounds": 1}).uncertainty.calibration.temperature is False
    assert parse({"rounds": 1}).uncertainty.calibration.scores is None
    assert parse(to_data(SCORED)) == SCORED


def test_once_a_version_is_evaluated_it_is_calibrated() -> None:
    decision = decided(RoundState.EVALUATING, SCORED, TaskCounts(reported=2, lost=1))
    assert decision == OpenCalibration("2 of 3 clients have evaluated the version; its clients calibrate it")


def test_a_temperature_alone_comes_with_the_evaluation_and_asks_for_nothing_more() -> None:
    decision = decided(RoundState.EVALUATING, plan({"temperature": True}), TaskCounts(reported=2))
    assert decision == FinishRound("2 of 2 clients have evaluated the version")


def test_what_nobody_could_evaluate_nobody_is_asked_to_calibrate() -> None:
    assert isinstance(decided(RoundState.EVALUATING, SCORED, TaskCounts(failed=3)), FinishRound)


def test_a_calibration_is_done_when_everybody_answered_or_is_gone() -> None:
    for tasks in (TaskCounts(reported=3), TaskCounts(reported=1, lost=1, failed=1), TaskCounts(lost=3), TaskCounts()):
        decision = decided(RoundState.CALIBRATING, SCORED, tasks)
        assert decision == FinishRound(f"{tasks.reported} of {tasks.total} clients have calibrated the version")


def test_a_calibration_waits_for_clients_at_work_and_takes_back_leases_that_ended() -> None:
    ends = NOON + timedelta(seconds=60)
    tasks = TaskCounts(reported=2, leased=1)
    assert decided(RoundState.CALIBRATING, SCORED, tasks, next_expiry=ends) == Wait(
        "2 of 3 clients have calibrated; 1 at work, 0 not yet come", ends
    )
    assert isinstance(decided(RoundState.CALIBRATING, SCORED, tasks, 60.0, next_expiry=ends), ExpireLeases)


def test_at_the_deadline_a_calibration_is_done_with_however_few_answers() -> None:
    hurried = plan({"scores": "aps"}, closing={"deadline_seconds": 30})
    decision = decided(RoundState.CALIBRATING, hurried, TaskCounts(leased=2, reported=1), 30.0)
    assert decision == FinishRound("the deadline has passed with 1 of 3 calibrations")


def test_clients_that_do_not_come_to_calibrate_are_not_waited_for() -> None:
    assert isinstance(decided(RoundState.CALIBRATING, SCORED, TaskCounts(offered=3), OFFER_SECONDS), DropOffers)


@pytest.mark.parametrize(
    ("calibration", "parts", "said"),
    [
        ({"temperature": True}, {"evaluation": {"every": 0}}, "evaluation.every is 0"),
        ({"scores": "lac"}, {"evaluation": {"every": 0}}, "Raise evaluation.every"),
        ({"temperature": True, "scores": "residual"}, {}, "for logits of classes"),
        ({"scores": "raps"}, {}, "Invalid enum value 'raps'"),
    ],
)
def test_a_calibration_that_could_not_be_made_is_refused(
    calibration: dict[str, object], parts: dict[str, object], said: str
) -> None:
    with pytest.raises(UnsoundPlanError, match=said):
        plan(calibration, **parts)
