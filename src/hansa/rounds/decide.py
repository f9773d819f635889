"""What to do next with a training: `decide(facts, now)`.

The server reads the facts from its rows, asks here, and carries the answer out in one guarded transaction. A
decision that comes twice, late, or from facts that are no longer true moves no row and does no harm.

    COLLECTING   every required client has reported → close; the quorum has → close; the deadline has passed with
                 enough reports → close. Nobody is left to wait for, and too few have reported → abandon.
                 Over-selected: as many as the cohort without those invited beside it have reported → close.
                 To close is to aggregate, or in between the aggregations of a daisy chain to relay.
    AGGREGATING  nobody holds the claim → aggregate.
    AGGREGATED   the plan wants moments → ask for them; else as COMBINED.
    SWAG         as COLLECTING, but one report is enough; with none the version gets no moments.
    COMBINING    nobody holds the claim → combine.
    COMBINED     the plan evaluates this round → open the evaluation; else the round is done.
    EVALUATING   as COLLECTING, but it is done with however few reports there are. The plan wants scores, and somebody
                 has evaluated → open the calibration; else the round is done.
    CALIBRATING  as EVALUATING; then the round is done.
    no round     the plan's rounds are done → complete; fewer clients are there than the plan asks for → pause, and
                 go on when enough are; else open the next, or a new attempt.

A client is *required* from the opening of the round until its lease ends without a sign of life, its own code fails,
or it leaves. While no client has come at all, a round waits for them: nothing is lost by waiting, and the record says
so; only where others are free and enough, another cohort is drawn. Its clock (the deadline, and OFFER_SECONDS
for those who have not come) begins with the first that comes, so that clients may be started long after their training,
and anew when the training goes on after a pause or a restart of the server: nobody could come meanwhile. A client at
work on another training's task is not late.
"""

from datetime import datetime, timedelta
from typing import Final

from hansa.rounds.decisions import (
    AbandonRound,
    Aggregate,
    CloseRound,
    CloseSwag,
    Combine,
    Complete,
    Decision,
    DropOffers,
    ExpireLeases,
    Fail,
    FinishRound,
    GoOn,
    OpenCalibration,
    OpenEvaluation,
    OpenRound,
    OpenSwag,
    Pause,
    RelayRound,
    SkipMoments,
    Wait,
)
from hansa.rounds.facts import Facts, RoundFacts
from hansa.rounds.plan import (
    Plan,
    UnsoundPlanError,
    aggregates,
    check_against,
    evaluates,
    min_reports,
    min_there,
)
from hansa.rounds.states import RoundState, TrainingStatus

LEASE_SECONDS = 60.0
OFFER_SECONDS = 60.0
CLAIM_SECONDS = 60.0
MAX_FAILURES = 3
"""After so many abandoned attempts in a row the training stops with the reason, instead of trying for ever."""
_DOING: Final = {
    RoundState.COLLECTING: "reported",
    RoundState.SWAG: "sent moments",
    RoundState.EVALUATING: "evaluated",
    RoundState.CALIBRATING: "calibrated",
}
"""The phases in which clients work, and what they have done at its end."""


def decide(facts: Facts, now: datetime) -> Decision:
    """The next thing to do with a training, and why. Pure; see the module's docstring for the rules."""
    if facts.status == TrainingStatus.PAUSED and facts.awaits_clients:
        return _awaiting_clients(facts)
    if facts.status != TrainingStatus.ONGOING:
        return Wait(f"the training is {facts.status}")
    if facts.round is not None and _lease_ended(facts.round, now):
        return ExpireLeases("the lease ended without a sign of life")
    match facts.round:
        case None:
            return _between_rounds(facts)
        case RoundFacts(state=RoundState.COLLECTING) as current:
            return _collecting(facts, current, now)
        case RoundFacts(state=RoundState.AGGREGATING | RoundState.COMBINING) as current:
            return _computing(current, now)
        case RoundFacts(state=RoundState.AGGREGATED) as current:
            if facts.plan.uncertainty.method == "swag" and current.tasks.reported:
                return OpenSwag(f"round {current.number} is aggregated; its clients send moments around the version")
            return _after_version(facts, current)
        case RoundFacts(state=RoundState.SWAG) as current:
            return _collecting_moments(facts, current, now)
        case RoundFacts(state=RoundState.COMBINED) as current:
            return _after_version(facts, current)
        case RoundFacts(state=RoundState.EVALUATING) as current:
            return _evaluating(facts, current, now)
        case RoundFacts() as current:
            return _calibrating(facts, current, now)


def _between_rounds(facts: Facts) -> Decision:
    number = facts.rounds_done + 1
    if number > facts.plan.rounds:
        return Complete(f"all {facts.plan.rounds} rounds are done")
    if facts.failures < MAX_FAILURES and (too_few := _too_few(facts)):
        return Pause(too_few)
    if facts.participants == 0:
        return Fail(f"no client is left in the training{_excluded(facts)}. Add clients, then resume it.")
    try:
        check_against(facts.plan, participants=facts.participants)
    except UnsoundPlanError as error:
        return Fail(f"round {number} cannot be held{_excluded(facts)}: {error}")
    if facts.failures >= MAX_FAILURES:
        return Fail(
            f"round {number} was tried {facts.failures} times without success. Last reason: {facts.last_failure} "
            "Mend that, then resume the training."
        )
    there = f"; {facts.there} clients are there" if min_there(facts.plan, round_number=number) > 1 else ""
    again = f", attempt {facts.next_attempt}: {facts.last_failure}" if facts.failures else ""
    return OpenRound(number, facts.next_attempt, f"round {number} of {facts.plan.rounds} begins{there}{again}")


def _awaiting_clients(facts: Facts) -> Wait | GoOn:
    if too_few := _too_few(facts):
        return Wait(too_few, facts.more_there_at)
    return GoOn(f"{facts.there} clients are there, enough for round {facts.rounds_done + 1}")


def _too_few(facts: Facts) -> str:
    """Why the next round is not opened yet: the plan wants more clients to be there. Empty: it does not."""
    number = facts.rounds_done + 1
    wanted = min_there(facts.plan, round_number=number)
    if wanted == 1 or facts.there >= wanted:
        return ""
    act = "Add clients" if facts.participants < wanted else "Start more of them"
    return (
        f"{facts.there} of the {wanted} clients that round {number} waits for are there; {facts.participants} take "
        f"part{_excluded(facts)}. {act}: it goes on by itself when {wanted} are there."
    )


def _excluded(facts: Facts) -> str:
    return f" ({facts.excluded} more are excluded: their tasks failed too often)" if facts.excluded else ""


def _collecting(facts: Facts, current: RoundFacts, now: datetime) -> Decision:
    tasks, quorum = current.tasks, facts.plan.closing.quorum
    cohort = tasks.total if current.wanted is None else min(current.wanted, tasks.total)
    needed = min_reports(facts.plan, cohort=cohort)
    if quorum is not None and tasks.reported >= quorum:
        return _close(facts, current, f"the quorum of {quorum} has reported")
    if current.wanted is not None and tasks.reported >= current.wanted:
        return _close(
            facts, current, f"{tasks.reported} of {tasks.total} invited clients have reported, as many as wanted"
        )
    if tasks.outstanding == 0:
        if tasks.reported >= needed:
            left = tasks.total - tasks.reported
            without = f"; {left} left out" + (f": {current.gone}" if current.gone else "")
            reported = f"{tasks.reported} of {tasks.total} clients have reported"
            return _close(facts, current, reported + (without if left else ""))
        gone = f" ({current.gone})" if current.gone else ""
        return AbandonRound(
            f"only {tasks.reported} of {tasks.total} clients have reported, {needed} are needed, and nobody is left "
            f"to wait for{gone}."
        )
    deadline = _deadline(facts.plan, current)
    if deadline is not None and deadline <= now and tasks.taken:
        if tasks.reported >= needed:
            passed = f"the deadline has passed with {tasks.reported} of {tasks.total} reports"
            return _close(facts, current, passed)
        return AbandonRound(
            f"the deadline of {facts.plan.closing.deadline_seconds:g} s passed with {tasks.reported} of {tasks.total} "
            f"reports, {needed} are needed. A plan with a longer deadline, or with late updates, gives slower clients "
            "their time."
        )
    nobody_comes = not tasks.taken and not current.being_told
    if nobody_comes and current.others_waiting >= needed and _offer_end(current) <= now:
        return AbandonRound("none of the selected clients came, while others wait for work", failure=False)
    return _wait_for_clients(current, now, deadline)


def _close(facts: Facts, current: RoundFacts, reason: str) -> CloseRound | RelayRound:
    return (CloseRound if aggregates(facts.plan, round_number=current.number) else RelayRound)(reason)


def _computing(current: RoundFacts, now: datetime) -> Decision:
    aggregating = current.state is RoundState.AGGREGATING
    if current.claimed_until is not None and current.claimed_until > now:
        doing = "round {} is being aggregated" if aggregating else "the moments of round {} are being averaged"
        return Wait(doing.format(current.number), current.claimed_until)
    if aggregating:
        return Aggregate(f"round {current.number} has closed")
    return Combine(f"the moments of round {current.number} are there")


def _after_version(facts: Facts, current: RoundFacts) -> Decision:
    if evaluates(facts.plan, round_number=current.number) and current.tasks.reported:
        return OpenEvaluation(f"round {current.number} is aggregated; its clients evaluate the version")
    return FinishRound(f"round {current.number} is aggregated; the plan does not evaluate it")


def _collecting_moments(facts: Facts, current: RoundFacts, now: datetime) -> Decision:
    tasks, quorum = current.tasks, facts.plan.closing.quorum
    if quorum is not None and tasks.reported >= quorum:
        return CloseSwag(f"the quorum of {quorum} has sent moments")
    deadline = _deadline(facts.plan, current)
    over = deadline is not None and deadline <= now
    if tasks.outstanding and not over:
        return _ask_on(current, now, deadline)
    came = f"{tasks.reported} of {tasks.total} clients have sent moments"
    if tasks.reported:
        return CloseSwag(f"the deadline has passed: {came}" if tasks.outstanding else came)
    why = "until the deadline nobody sent any" if tasks.outstanding else "none of the clients asked could send any"
    return SkipMoments(f"{why}: {current.gone}" if current.gone else why)


def _evaluating(facts: Facts, current: RoundFacts, now: datetime) -> Decision:
    came = _came(facts, current, now, "evaluations")
    if came is None:
        return _ask_on(current, now, _deadline(facts.plan, current))
    if facts.plan.uncertainty.calibration.scores is not None and current.tasks.reported:
        return OpenCalibration(f"{came}; its clients calibrate it")
    return FinishRound(came)


def _calibrating(facts: Facts, current: RoundFacts, now: datetime) -> Decision:
    came = _came(facts, current, now, "calibrations")
    return _ask_on(current, now, _deadline(facts.plan, current)) if came is None else FinishRound(came)


def _came(facts: Facts, current: RoundFacts, now: datetime, results: str) -> str | None:
    """Who has answered what is asked around a version, once nobody is waited for any more; None until then."""
    tasks, deadline = current.tasks, _deadline(facts.plan, current)
    if tasks.outstanding == 0:
        return f"{tasks.reported} of {tasks.total} clients have {_DOING[current.state]} the version"
    if deadline is not None and deadline <= now:
        return f"the deadline has passed with {tasks.reported} of {tasks.total} {results}"
    return None


def _ask_on(current: RoundFacts, now: datetime, deadline: datetime | None) -> Decision:
    """The version stands: who does not come for what is asked around it is not waited for, be it everybody."""
    if current.tasks.offered > current.busy and not current.tasks.taken and _offer_end(current) <= now:
        return DropOffers("the client did not come for its task in time")
    return _wait_for_clients(current, now, deadline)


def _wait_for_clients(current: RoundFacts, now: datetime, deadline: datetime | None) -> Decision:
    tasks = current.tasks
    if tasks.offered > current.busy and tasks.taken and _offer_end(current) <= now:
        return DropOffers("the client did not come for its task in time")
    if not tasks.taken:
        none_came = f"waiting for clients: none of the {tasks.total} selected has asked for work yet"
        if current.untold:
            none_came += (
                f". {current.untold} of them cannot be told: the server may not send to their endpoints. List the "
                "hosts in HANSA_PUSH_ALLOW (the tasks' reasons name them), restart, then pause and resume the "
                "training; or let the clients ask for their tasks."
            )
        # A round waits for its first client however long; what is asked around a version does not.
        collecting = current.state is RoundState.COLLECTING
        return Wait(none_came, None if collecting else _next(now, _offer_end(current), deadline))
    doing = _DOING[current.state]
    enough = f" ({current.wanted} are enough)" if current.wanted is not None else ""
    going_on = f"{tasks.leased} at work, {tasks.offered} not yet come"
    return Wait(
        f"{tasks.reported} of {tasks.total} clients have {doing}{enough}; {going_on}",
        _next(now, current.next_expiry, deadline, _offer_end(current) if tasks.offered else None),
    )


def _lease_ended(current: RoundFacts, now: datetime) -> bool:
    return current.state in _DOING and current.next_expiry is not None and current.next_expiry <= now


def _next(now: datetime, *moments: datetime | None) -> datetime | None:
    """The first of the moments that is still to come."""
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def _deadline(plan: Plan, current: RoundFacts) -> datetime | None:
    seconds = plan.closing.deadline_seconds
    return None if seconds is None else _clock_start(current) + timedelta(seconds=seconds)


def _offer_end(current: RoundFacts) -> datetime:
    return _clock_start(current) + timedelta(seconds=OFFER_SECONDS)


def _clock_start(current: RoundFacts) -> datetime:
    return current.first_taken_at or current.opened_at
