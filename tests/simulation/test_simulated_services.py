"""Wherever the process dies: the services keep what was acknowledged, and every version is the mean it should be."""

import re

import pytest

from simulation.realm import Realm

SCHEDULES = 15
"""Of a block; two hundred more are played in CI, and as many as one likes by `make simulate`."""


@pytest.mark.parametrize("block", range(2))
def test_whatever_goes_wrong_services_lose_nothing_and_count_nothing_twice(transactional_db: None, block: int) -> None:
    realm = Realm()
    ends = [realm.play(seed).trace[-1] for seed in range(block * SCHEDULES, (block + 1) * SCHEDULES)]
    late = sum(int(found[1]) for end in ends if (found := re.search(r"(\d+) late updates counted", end)))
    assert late > 0, "these schedules never came to a late update that counts"
