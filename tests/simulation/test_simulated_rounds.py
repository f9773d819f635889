"""Whatever clients, the network and the process do: rounds go on, end, or say for whom they wait."""

import re
from typing import get_args

import pytest

from hansa.rounds.decisions import Decision, Wait
from simulation.memory import play_rounds

SCHEDULES = 250


@pytest.mark.parametrize("block", range(4))
def test_whatever_goes_wrong_rounds_keep_their_promises_and_come_to_their_end(block: int) -> None:
    for seed in range(block * SCHEDULES, (block + 1) * SCHEDULES):
        play_rounds(seed)


def test_schedules_come_to_every_decision_there_is_and_to_late_updates_that_count() -> None:
    lines = "\n".join(line for seed in range(100) for line in play_rounds(seed).trace)
    assert set(re.findall(r"training \d: (\w+): ", lines)) == {each.__name__ for each in get_args(Decision)} - {
        Wait.__name__
    }
    assert "folded=((" in lines
