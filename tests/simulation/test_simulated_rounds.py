"""Whatever clients, the network and the process do: rounds go on, end, or say for whom they wait."""

import pytest

from simulation.memory import play_rounds

SCHEDULES = 250


@pytest.mark.parametrize("block", range(4))
def test_whatever_goes_wrong_rounds_keep_their_promises_and_come_to_their_end(block: int) -> None:
    for seed in range(block * SCHEDULES, (block + 1) * SCHEDULES):
        play_rounds(seed)
