"""Schedules of those who come late: rounds that do not wait for everybody, and clients that are slower than others.

Drawn as all others are, a late report is rare: two rounds, a plan that folds, one slow client and a quorum of the
others have to meet; and to undo what it did, the round that takes it in has to come to nothing.
"""

from dataclasses import replace
from random import Random
from typing import Any

import msgspec

from hansa.rounds import plan as plans
from hansa.rounds.plan import Plan
from simulation.clients import Habits
from simulation.machine import Faults
from simulation.network import Weather

MIN_CLIENTS = 3
SHARE = 0.25
"""Of a hundred schedules, so many hundredths are of this kind."""


def late_plan(random: Random, plan: Plan, members: int) -> Plan:
    """The plan, with rounds that close without the last, and take in what comes after."""
    drawn: dict[str, Any] = msgspec.to_builtins(plan)
    longest = random.randint(1, 3)
    return plans.parse(
        {
            **drawn,
            "rounds": 3,
            "daisy_chain": None,
            "cohort": {"selection": drawn["cohort"]["selection"]},
            "participation": {},
            "late": {"kind": "fold", "exponent": random.choice([0.0, 0.5, 2.0]), "max_staleness": longest},
            "closing": {"quorum": random.randint(1, members - 1)},
        }
    )


def slow_some(random: Random, programs: tuple[tuple[int, str, Habits], ...]) -> tuple[tuple[int, str, Habits], ...]:
    """One or two of them take as long as rounds take; the others a moment, and do as they should."""
    slow = {client for client, _, _ in random.sample(programs, random.randint(1, 2))}
    return tuple(
        (client, name, replace(habits, slowest=40.0, lies=0.0) if client in slow else Habits(slowest=1.0))
        for client, name, habits in programs
    )


def trouble(random: Random, faults: Faults) -> Faults:
    """Rounds take long to aggregate: what comes meanwhile is late."""
    return replace(faults, slowest_mean=random.choice([20.0, 60.0]), slowest_batch=0.01, lost_hints=0.0, sweep=10.0)


def damages(random: Random, most: int) -> frozenset[int]:
    """What rounds have taken in, or made, may rot before the next is done: what they took in counts in another."""
    return frozenset(random.randrange(80, 200) for _ in range(random.choice([0, most])))


def weather(random: Random) -> Weather:
    """What was answered is asked again, be it much later."""
    return Weather(loss=random.choice([0.0, 0.1]), duplication=0.2, slow=random.choice([0.0, 0.1]), slowest=20.0)
