import numpy as np
import pytest

from hansa.core.sampling import select
from hansa.core.seeds import selection_rng


def test_a_selection_never_changes() -> None:
    assert select(range(20), 5, selection_rng(1, 1, 1)) == [0, 7, 9, 14, 16]
    assert select(range(20), 5, selection_rng(1, 2, 1)) == [0, 3, 7, 9, 14]


def test_a_selection_is_in_canonical_order_and_without_repetition() -> None:
    chosen = select([9, 4, 7, 1, 12, 3], 4, np.random.default_rng(3))
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 4
    assert set(chosen) <= {9, 4, 7, 1, 12, 3}
    assert all(type(ordinal) is int for ordinal in chosen)


def test_all_or_none_can_be_selected() -> None:
    assert select([2, 1], 2, np.random.default_rng(0)) == [1, 2]
    assert select([2, 1], 0, np.random.default_rng(0)) == []
    assert select([], 0, np.random.default_rng(0)) == []


@pytest.mark.parametrize("size", [-1, 3])
def test_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size is {size}, but there are 2 clients"):
        select([1, 2], size, np.random.default_rng(0))


def test_every_client_is_selected_equally_often() -> None:
    rng = np.random.default_rng(5)
    counts = np.zeros(10)
    for _ in range(6000):
        counts[select(range(10), 3, rng)] += 1
    expected = 6000 * 3 / 10
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 27.9, "9 degrees of freedom: a fair draw exceeds this once in a thousand; the seed is fixed"


def test_every_pair_is_selected_equally_often() -> None:
    rng = np.random.default_rng(6)
    pairs: dict[tuple[int, ...], int] = {}
    for _ in range(6000):
        chosen = tuple(select(range(4), 2, rng))
        pairs[chosen] = pairs.get(chosen, 0) + 1
    assert len(pairs) == 6
    assert all(abs(count - 1000) < 120 for count in pairs.values())
