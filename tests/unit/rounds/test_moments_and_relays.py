"""What `decide` says of rounds that ask for SWAG moments, and of those that hand local models on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hansa.rounds.decide import OFFER_SECONDS, decide
from hansa.rounds.decisions import (
    AbandonRound,
    CloseRound,
    CloseSwag,
    Combine,
    Complete,
    Decision,
    DropOffers,
    ExpireLeases,
    FinishRound,
    OpenEvaluation,
    OpenRound,
    OpenSwag,
    RelayRound,
    SkipMoments,
    Wait,
)
from hansa.rounds.facts import Facts, RoundFacts, TaskCounts
from hansa.rounds.plan import Plan, parse
from hansa.rounds.states import RoundState, TrainingStatus

OPENED = datetime(2026, 1, 1, 12, tzinfo=UTC)
SWAG = parse({"rounds": 3, "uncertainty": {"method": "swag"}})
CHAIN = parse({"rounds": 6, "daisy_chain": {"period": 3}, "evaluation": {"every": 1}})


def after(seconds: float) -> datetime:
    return OPENED + timedelta(seconds=seconds)


def swag(**changes: object) -> Plan:
    return parse({"rounds": 3, "uncertainty": {"method": "swag"}} | changes)


def deciding(
    state: RoundState, tasks: TaskCounts, *, plan: Plan = SWAG, number: int = 1, at: float = 1, **changes: object
) -> Decision:
    current = RoundFacts(number, 1, state, OPENED, tasks, first_taken_at=OPENED if tasks.taken else None)
    facts = Facts(TrainingStatus.ONGOING, plan, rounds_done=number - 1, participants=5)
    return decide(replace(facts, round=replace(current, **changes)), after(at))


def asked(tasks: TaskCounts, **changes: object) -> Decision:
    return deciding(RoundState.SWAG, tasks, **changes)


# Moments


def test_after_each_aggregation_those_who_reported_are_asked_for_moments() -> None:
    for number in (1, 2, 3):
        assert deciding(RoundState.AGGREGATED, TaskCounts(reported=3, lost=1), number=number) == OpenSwag(
            f"round {number} is aggregated; its clients send moments around the version"
        )


def test_other_methods_are_no_work_for_the_clients() -> None:
    for method in ("none", "ensemble", "mc_dropout"):
        plan = swag(uncertainty={"method": method})
        assert isinstance(deciding(RoundState.AGGREGATED, TaskCounts(reported=3), plan=plan), OpenEvaluation)


def test_the_phase_closes_when_every_client_has_sent_its_moments_or_is_gone() -> None:
    assert asked(TaskCounts(reported=5)) == CloseSwag("5 of 5 clients have sent moments")
    assert asked(TaskCounts(reported=1, lost=3, failed=1)) == CloseSwag("1 of 5 clients have sent moments")


def test_the_phase_closes_at_the_quorum() -> None:
    plan = swag(closing={"quorum": 2})
    assert isinstance(asked(TaskCounts(reported=1, leased=4), plan=plan), Wait)
    assert asked(TaskCounts(reported=2, leased=3), plan=plan) == CloseSwag("the quorum of 2 has sent moments")


def test_at_the_deadline_one_report_is_enough() -> None:
    plan = swag(closing={"deadline_seconds": 30, "min_reports": 4})
    assert asked(TaskCounts(reported=1, leased=4), plan=plan, at=29) == Wait(
        "1 of 5 clients have sent moments; 4 at work, 0 not yet come", after(30)
    )
    assert asked(TaskCounts(reported=1, leased=4), plan=plan, at=30) == CloseSwag(
        "the deadline has passed: 1 of 5 clients have sent moments"
    )
    assert asked(TaskCounts(leased=5), plan=plan, at=30) == SkipMoments("until the deadline nobody sent any")


def test_where_no_client_can_send_moments_the_version_goes_without_and_it_is_said_why() -> None:
    assert asked(TaskCounts(lost=1, failed=1), gone="bob was lost, carol failed") == SkipMoments(
        "none of the clients asked could send any: bob was lost, carol failed"
    )


def test_where_all_who_reported_have_left_the_version_goes_without_moments() -> None:
    assert isinstance(asked(TaskCounts()), SkipMoments)


def test_moments_that_nobody_comes_for_are_given_up_after_a_minute() -> None:
    assert asked(TaskCounts(offered=5)).until == after(OFFER_SECONDS)
    assert isinstance(asked(TaskCounts(offered=5), at=OFFER_SECONDS), DropOffers)


def test_leases_that_ended_are_taken_back() -> None:
    assert isinstance(asked(TaskCounts(reported=4, leased=1), at=9, next_expiry=after(9)), ExpireLeases)


def test_moments_are_combined_by_whoever_asks_first_until_the_claim_ends() -> None:
    tasks = TaskCounts(reported=5)
    assert deciding(RoundState.COMBINING, tasks) == Combine("the moments of round 1 are there")
    assert deciding(RoundState.COMBINING, tasks, claimed_until=after(2)) == Wait(
        "the moments of round 1 are being averaged", after(2)
    )


@pytest.mark.parametrize(("every", "follows"), [(1, OpenEvaluation), (0, FinishRound)])
def test_with_or_without_moments_the_round_goes_on_as_it_would_have(every: int, follows: type) -> None:
    plan = swag(evaluation={"every": every})
    assert isinstance(deciding(RoundState.COMBINED, TaskCounts(reported=5), plan=plan), follows)


# Relays


@pytest.mark.parametrize(
    ("number", "closes"),
    [(1, RelayRound), (2, RelayRound), (3, CloseRound), (4, RelayRound), (5, RelayRound), (6, CloseRound)],
)
def test_of_a_daisy_chain_only_the_end_of_each_period_is_aggregated(number: int, closes: type) -> None:
    decision = deciding(RoundState.COLLECTING, TaskCounts(reported=5), plan=CHAIN, number=number)
    assert decision == closes("5 of 5 clients have reported")


@pytest.mark.parametrize(
    ("closing", "tasks", "at"),
    [({"quorum": 2}, TaskCounts(reported=2, leased=3), 1), ({"deadline_seconds": 30}, TaskCounts(reported=4), 30)],
)
def test_local_models_are_handed_on_however_the_round_closes(
    closing: dict[str, object], tasks: TaskCounts, at: float
) -> None:
    plan = parse({"rounds": 4, "daisy_chain": {"period": 2}, "closing": closing})
    assert isinstance(deciding(RoundState.COLLECTING, tasks, plan=plan, at=at), RelayRound)


def test_a_round_of_a_chain_with_too_few_reports_is_begun_anew() -> None:
    assert isinstance(deciding(RoundState.COLLECTING, TaskCounts(reported=1, lost=4), plan=CHAIN), AbandonRound)


def test_every_aggregation_of_a_chain_is_evaluated() -> None:
    for number in (3, 6):
        decision = deciding(RoundState.AGGREGATED, TaskCounts(reported=5), plan=CHAIN, number=number)
        assert isinstance(decision, OpenEvaluation)


def test_a_chain_counts_every_round() -> None:
    facts = Facts(TrainingStatus.ONGOING, CHAIN, rounds_done=5, participants=5)
    assert decide(facts, OPENED) == OpenRound(6, 1, "round 6 of 6 begins")
    assert decide(replace(facts, rounds_done=6), OPENED) == Complete("all 6 rounds are done")


def test_a_chain_may_gather_moments_around_its_versions() -> None:
    plan = parse({"rounds": 2, "daisy_chain": {"period": 2}, "uncertainty": {"method": "swag"}})
    assert isinstance(deciding(RoundState.COLLECTING, TaskCounts(reported=5), plan=plan), RelayRound)
    assert isinstance(deciding(RoundState.AGGREGATED, TaskCounts(reported=5), plan=plan, number=2), OpenSwag)
