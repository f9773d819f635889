"""Examples and refusals of the weighted mean; what holds for all numbers is in tests/property/test_weighted_mean.py."""

import math
import warnings

import numpy as np
import pytest

from hansa.core.mean import BLOCK, Scratch, add_product, weighted_mean
from hansa.core.params import Array


def mean(values: list[Array], weights: list[float], dtype: str = "float32") -> Array:
    out = np.empty(values[0].shape, dtype)
    weighted_mean(values, weights, out)
    return out


def test_it_weighs_each_client_by_its_share() -> None:
    assert mean([np.float32([0.0, 10.0]), np.float32([4.0, 50.0])], [3, 1]).tolist() == [1.0, 20.0]


def test_it_leaves_its_inputs_as_they_are() -> None:
    values = [np.float32([1.0, 2.0]), np.float32([3.0, 4.0])]
    mean(values, [1, 1])
    assert [value.tolist() for value in values] == [[1.0, 2.0], [3.0, 4.0]]


def test_it_sums_in_float64_so_that_small_updates_are_not_lost_beside_large_ones() -> None:
    big, small = np.float32([2.0**30]), np.float32([2.0**-3])
    assert mean([big, small, -big], [1, 1, 1])[0] == np.float32(2.0**-3 / 3)


def test_a_nan_spreads_to_its_own_element_and_no_further() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = mean([np.float32([math.nan, 1.0, math.inf]), np.float32([1.0, 1.0, -math.inf])], [1, 2])
    assert np.isnan(result).tolist() == [True, False, True]
    assert result[1] == 1.0


@pytest.mark.parametrize(
    ("numbers", "weights", "wanted"),
    [
        ([1, 2], [1, 1], 1),
        ([-1, -2], [1, 1], -1),
        ([-1, 0], [1, 1], 0),
        ([7, 8], [1, 999], 7),
        ([-7, -8], [1, 999], -7),
    ],
)
def test_integers_are_truncated_toward_zero(numbers: list[int], weights: list[float], wanted: int) -> None:
    assert mean([np.array([number]) for number in numbers], weights, "int64").tolist() == [wanted]


def test_three_who_count_five_have_five_for_their_mean_though_one_of_them_was_late() -> None:
    late = 2.1213203435596424  # 3 · (1 + 1)^-0.5
    assert mean([np.array([5])] * 3, [30, 33, late], "int64").tolist() == [5]
    assert mean([np.array([-5])] * 3, [30, 33, late], "int64").tolist() == [-5]


def test_an_exact_mean_is_as_long_as_the_inner_blocks_are_many() -> None:
    values = [np.arange(BLOCK + 3, dtype=np.int32), np.arange(BLOCK + 3, dtype=np.int32) + 2]
    assert mean(values, [0.5, 0.5], "int32").tolist() == list(range(1, BLOCK + 4))


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "uint32", "int8", "uint8"])
@pytest.mark.parametrize("end", ["min", "max"])
def test_integers_at_the_end_of_their_range_stay_within_it(dtype: str, end: str) -> None:
    number = getattr(np.iinfo(dtype), end)
    result = int(mean([np.array([number], dtype)] * 3, [1, 1, 1], dtype)[0])
    lost = 2**10 if np.dtype(dtype).itemsize == 8 else 0
    assert abs(result - number) <= 2 * lost, "float64 has 53 bits: of 64 the last eleven may be lost, of fewer none"


def test_scratch_memory_may_be_kept_from_a_large_chunk_to_a_small_one() -> None:
    scratch = Scratch()
    for size in (10, 3, 20):
        out = np.empty(size, np.float32)
        weighted_mean([np.full(size, 2.0, np.float32), np.full(size, 4.0, np.float32)], [1, 1], out, scratch=scratch)
        assert out.tolist() == [3.0] * size


def test_it_refuses_the_mean_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        weighted_mean([], [], np.empty(2))


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, -math.inf])
def test_it_refuses_a_weight_that_is_no_share_and_says_which(weight: float) -> None:
    with pytest.raises(ValueError, match=r"weight 1 is .*; weights are finite and greater than 0"):
        weighted_mean([np.ones(2)] * 2, [1, weight], np.empty(2))


def test_it_refuses_weights_whose_sum_is_infinite() -> None:
    with pytest.raises(ValueError, match="add up to more"):
        weighted_mean([np.ones(2)] * 2, [1e308, 1e308], np.empty(2))


def test_it_refuses_another_shape_and_says_both() -> None:
    with pytest.raises(ValueError, match=r"value 1 has shape \(3,\); the mean has \(2,\)"):
        weighted_mean([np.ones(2), np.ones(3)], [1, 1], np.empty(2))


@pytest.mark.parametrize(("values", "weights"), [(0, 1), (1, 2), (2, 1)])
def test_it_refuses_values_and_weights_of_different_number(values: int, weights: int) -> None:
    with pytest.raises(ValueError, match="one weight per value"):
        weighted_mean([np.ones(2)] * values, [1] * weights, np.empty(2))


def test_the_origin_that_is_taken_away_is_the_one_of_each_place_past_the_first_block_too() -> None:
    rng = np.random.default_rng(0)
    value, origin, acc = rng.standard_normal((3, 2 * BLOCK + 3))
    expected = acc + 3.0 * (value - origin)

    add_product(acc, value, 3.0, np.empty(BLOCK), first=False, origin=origin)

    assert acc.tobytes() == expected.tobytes()
