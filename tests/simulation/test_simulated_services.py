"""Wherever the process dies: the services keep what was acknowledged, and every version is the mean it should be."""

import pytest

from simulation.realm import Realm

SCHEDULES = 15


@pytest.mark.parametrize("block", range(4))
def test_whatever_goes_wrong_services_lose_nothing_and_count_nothing_twice(transactional_db: None, block: int) -> None:
    realm = Realm()
    for seed in range(block * SCHEDULES, (block + 1) * SCHEDULES):
        realm.play(seed)
