"""The cosine of each update to the mean: that of the whole vectors, exactly or nearly, however they were cut."""

import numpy as np
import pytest

from hansa.core import likeness
from hansa.core.likeness import Likeness, Sample


def cohort(count, size, seed):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=size)
    base = rng.normal(size=size)
    return base, [base + common * rng.uniform(0, 2) + rng.normal(size=size) for _ in range(count)]


def slow(base, updates, learned):
    steps = [(update - base)[learned] for update in updates]
    mean = np.mean(steps, axis=0)
    return [float(step @ mean / np.linalg.norm(step) / np.linalg.norm(mean)) for step in steps]


def found(base, updates, learned, cut):
    mean, told = np.mean(updates, axis=0), Likeness(len(updates))
    for start in range(0, base.size, cut):
        piece = slice(start, start + cut)
        sample = Sample(updates=len(updates), size=base[piece].size)
        for index, update in enumerate(updates):
            sample.keep(index, update[piece])
        told.add(sample.products(base[piece], mean[piece], learned[piece]))
    return told.cosines()


@pytest.mark.parametrize("cut", [100_000, 4096, 77])
def test_of_a_small_model_it_is_exact_and_buffers_do_not_count(cut):
    base, updates = cohort(5, 100_000, seed=1)
    learned = np.arange(100_000) % 10 != 3

    assert found(base, updates, learned, cut) == pytest.approx(slow(base, updates, learned), abs=1e-12)


def test_of_a_large_model_it_is_near(monkeypatch):
    monkeypatch.setattr(likeness, "ROOM", 2**14)
    base, updates = cohort(4, 400_000, seed=2)
    learned = np.ones(400_000, bool)

    assert found(base, updates, learned, 100_000) == pytest.approx(slow(base, updates, learned), abs=0.02)


def test_an_update_that_changes_nothing_has_no_angle_and_neither_has_one_that_cannot_be_squared():
    base = np.zeros(4)
    updates = [np.zeros(4), np.full(4, 1e300), np.full(4, 1.0)]

    assert found(base, updates, np.ones(4, bool), 4) == [None, None, None]
    assert found(base, [np.ones(4), -np.ones(4)], np.ones(4, bool), 4) == [None, None], "the mean changes nothing"


def test_one_update_alone_is_the_mean():
    base, updates = cohort(1, 1000, seed=3)

    assert found(base, updates, np.ones(1000, bool), 300) == [pytest.approx(1.0)]
