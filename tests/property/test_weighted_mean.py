"""What the weighted mean holds to, to the last bit. tests/unit/core/test_aggregator_rules.py has what every rule does.

Cohorts are drawn as in the design: float32 with exponents from -20 to 20, unequal weights, at least five clients. The
numbers alone are not enough to see an order: float64 hides it from a float32 result but for one element in ten
million. So in every cohort some clients nearly cancel each other, and what is left shows every rounding on the way.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.mean import BLOCK, weighted_mean
from hansa.core.params import DTYPES, Array
from support.slow_mean import slow_integer


def slow_weighted_mean(values: Sequence[Array], weights: Sequence[float], dtype: str) -> Array:
    """The formula in plain Python floats, one element at a time."""
    total = weights[0] * 1.0
    for weight in weights[1:]:
        total += weight
    elements = []
    for element in zip(*(value.reshape(-1).tolist() for value in values), strict=True):
        acc = weights[0] * float(element[0])
        for weight, number in zip(weights[1:], element[1:], strict=True):
            acc += weight * float(number)
        elements.append(acc / total)
    if np.dtype(dtype).kind in "iu":
        return np.array([math.trunc(element) for element in elements], dtype).reshape(values[0].shape)
    return np.array(elements, np.float64).astype(dtype).reshape(values[0].shape)


def mean(values: Sequence[Array], weights: Sequence[float], dtype: str = "float32") -> Array:
    out = np.empty(values[0].shape, dtype)
    weighted_mean(iter(values), weights, out)
    return out


@dataclass(frozen=True)
class Cohort:
    values: list[Array]
    weights: list[int]
    seed: int

    def shuffled(self, order: Sequence[int]) -> "Cohort":
        return Cohort([self.values[i] for i in order], [self.weights[i] for i in order], self.seed)


def random_float32(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    exponents = rng.integers(-20, 21, shape)
    return (rng.choice([-1.0, 1.0], shape) * np.ldexp(1 + rng.random(shape), exponents)).astype(np.float32)


def cohort_of(seed: int, clients: int, shape: tuple[int, ...]) -> Cohort:
    """Unequal weights; the second client nearly takes back what the first brings, the fourth what the third."""
    rng = np.random.default_rng(seed)
    weights = rng.choice(np.arange(1, 2000), clients, replace=False).tolist()
    values = [random_float32(rng, shape) for _ in range(clients)]
    for left, right in ((0, 1), (2, 3)):
        values[right] = (-values[left].astype(np.float64) * weights[left] / weights[right]).astype(np.float32)
    return Cohort(values, weights, seed)


cohorts = st.builds(
    cohort_of,
    seed=st.integers(0, 2**32 - 1),
    clients=st.integers(5, 9),
    shape=st.sampled_from([(), (1,), (7,), (3, 4), (2, 0), (50,), (5, 1, 9)]),
)


def same_bits(left: Array, right: Array) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


@given(cohorts)
def test_it_gives_the_bits_of_the_slow_reference_in_the_order_given(cohort: Cohort) -> None:
    expected = slow_weighted_mean(cohort.values, cohort.weights, "float32")
    assert same_bits(mean(cohort.values, cohort.weights), expected)


@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(DTYPES), clients=st.integers(1, 6))
def test_it_gives_the_bits_of_the_slow_reference_in_every_dtype(seed: int, dtype: str, clients: int) -> None:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        values = [(rng.standard_normal(40) * 100).astype(dtype) for _ in range(clients)]
    else:
        bounds = np.iinfo(dtype)
        values = [rng.integers(bounds.min // 2, bounds.max // 2, 40, dtype=dtype) for _ in range(clients)]
    weights = rng.integers(1, 1000, clients).tolist()
    assert same_bits(mean(values, weights, dtype), slow_weighted_mean(values, weights, dtype))


@pytest.mark.parametrize("seed", range(5))
def test_another_order_gives_other_bits_so_the_tests_above_see_an_order(seed: int) -> None:
    cohort = cohort_of(seed, clients=7, shape=(2000,))
    canonical = mean(cohort.values, cohort.weights)
    for order in ([6, 5, 4, 3, 2, 1, 0], [0, 2, 4, 6, 1, 3, 5], [1, 2, 3, 4, 5, 6, 0]):
        other = cohort.shuffled(order)
        assert not same_bits(canonical, mean(other.values, other.weights)), f"order {order} left no trace"


@given(cohorts, st.integers(1, 2**53))
def test_one_client_is_the_identity(cohort: Cohort, weight: int) -> None:
    value = cohort.values[0]
    assert same_bits(mean([value], [weight]), value)


@given(cohorts, st.integers(-30, 30))
def test_scaling_all_weights_by_a_power_of_two_changes_nothing(cohort: Cohort, power: int) -> None:
    scaled = [math.ldexp(weight, power) for weight in cohort.weights]
    assert same_bits(mean(cohort.values, scaled), mean(cohort.values, cohort.weights))


@given(
    cohorts,
    st.lists(st.floats(1e-3, 1e9), min_size=5, max_size=40),
    st.sampled_from(["float32", "float16"]),
)
def test_frozen_arrays_come_back_bit_for_bit(cohort: Cohort, weights: list[float], dtype: str) -> None:
    with np.errstate(over="ignore"):
        value = np.clip(cohort.values[0], -60000, 60000).astype(dtype)
    assert same_bits(mean([value] * len(weights), weights, dtype), value)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=30), st.integers(-(2**20), 2**20))
def test_equal_integers_come_back_as_they_are(weights: list[int], number: int) -> None:
    value = np.array([number, 0, -number], np.int64)
    assert same_bits(mean([value] * len(weights), weights, "int64"), value)


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
fractional = st.lists(
    st.one_of(st.floats(5e-324, 1e300), st.floats(1e-3, 1e9), st.integers(1, 2**53)), min_size=1, max_size=12
).filter(lambda weights: not all(float(weight).is_integer() for weight in weights))


@given(fractional, st.sampled_from(INTEGERS), st.data())
def test_equal_integers_come_back_as_they_are_whatever_fractions_the_weights_have(
    weights: list[float], dtype: str, data: st.DataObject
) -> None:
    bounds = np.iinfo(dtype)
    numbers = data.draw(st.lists(st.integers(bounds.min, bounds.max), min_size=1, max_size=5))
    value = np.array([*numbers, bounds.min, bounds.max, 5], dtype)
    assert same_bits(mean([value] * len(weights), weights, dtype), value)


@given(fractional, st.sampled_from(INTEGERS), st.data())
def test_with_weights_that_have_fractions_integers_are_the_exact_mean_cut_off(
    weights: list[float], dtype: str, data: st.DataObject
) -> None:
    bounds = np.iinfo(dtype)
    numbers = data.draw(
        st.lists(st.integers(bounds.min, bounds.max), min_size=len(weights), max_size=len(weights)), label="numbers"
    )
    values = [np.array([number], dtype) for number in numbers]
    assert int(mean(values, weights, dtype)[0]) == slow_integer(numbers, weights)


@given(cohorts)
def test_negative_zero_stays_negative(cohort: Cohort) -> None:
    zeros = [np.full(3, -0.0, np.float32)] * len(cohort.weights)
    assert same_bits(mean(zeros, cohort.weights), zeros[0])


@given(
    st.sampled_from(["int8", "int16", "int32", "int64"]),
    st.lists(st.tuples(st.integers(-128, 127), st.integers(1, 1000)), min_size=1, max_size=9),
)
def test_integers_are_truncated_toward_zero(dtype: str, clients: list[tuple[int, int]]) -> None:
    values = [np.array([number], dtype) for number, _ in clients]
    weights = [weight for _, weight in clients]
    weighted = sum(number * weight for number, weight in clients)
    exact = abs(weighted) // sum(weights) * (1 if weighted >= 0 else -1)
    assert mean(values, weights, dtype)[0] == exact


@given(cohorts, st.data())
def test_how_the_arrays_are_cut_does_not_matter(cohort: Cohort, data: st.DataObject) -> None:
    flat = [value.reshape(-1) for value in cohort.values]
    cuts = sorted(data.draw(st.lists(st.integers(0, flat[0].size), max_size=5)))
    bounds = [0, *cuts, flat[0].size]
    pieces = [mean([value[start:stop] for value in flat], cohort.weights) for start, stop in pairwise(bounds)]
    assert same_bits(np.concatenate(pieces), mean(flat, cohort.weights))


@given(cohorts)
def test_one_buffer_may_be_filled_again_for_every_client(cohort: Cohort) -> None:
    buffer = np.empty(cohort.values[0].shape, np.float32)

    def refilled() -> Iterable[Array]:
        for value in cohort.values:
            buffer[...] = value
            yield buffer

    out = np.empty(buffer.shape, np.float32)
    weighted_mean(refilled(), cohort.weights, out)
    assert same_bits(out, mean(cohort.values, cohort.weights))


@given(cohorts)
def test_values_that_do_not_lie_side_by_side_in_memory_are_read_all_the_same(cohort: Cohort) -> None:
    apart = [np.repeat(np.atleast_1d(value), 2, axis=-1)[..., ::2] for value in cohort.values]
    together = [np.atleast_1d(value) for value in cohort.values]
    assert same_bits(mean(apart, cohort.weights), mean(together, cohort.weights))


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_arrays_longer_than_the_inner_blocks_are_averaged_to_their_end(seed: int) -> None:
    cohort = cohort_of(seed, clients=5, shape=(BLOCK + 3,))
    ends = [value[-10:] for value in cohort.values]
    assert same_bits(mean(cohort.values, cohort.weights)[-10:], slow_weighted_mean(ends, cohort.weights, "float32"))
