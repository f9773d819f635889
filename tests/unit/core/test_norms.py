import math

import numpy as np
import pytest

from hansa.core.norms import BLOCK, DifferenceNorm


def norm(*pairs: tuple[np.ndarray, np.ndarray]) -> float:
    total = DifferenceNorm()
    for client, base in pairs:
        total.add(client, base)
    return total.value()


def test_it_is_the_length_of_all_arrays_as_one_vector() -> None:
    zero = np.zeros(2, np.float32)
    assert norm((np.float32([3, 0]), zero), (np.float32([0, 4]), zero)) == 5.0


def test_the_norm_of_no_difference_is_zero() -> None:
    assert norm() == 0.0
    assert norm((np.ones((2, 3)), np.ones((2, 3)))) == 0.0


def test_differences_are_taken_in_float64() -> None:
    client, base = np.float16([60000.0]), np.float16([-60000.0])
    assert norm((client, base)) == 120000.0
    unsigned = np.array([1], np.uint8), np.array([3], np.uint8)
    assert norm(unsigned) == 2.0


def test_it_agrees_with_a_sum_without_rounding() -> None:
    rng = np.random.default_rng(7)
    client = rng.standard_normal(3 * BLOCK + 17)
    base = rng.standard_normal(client.size)
    exact = math.sqrt(math.fsum(((client - base) ** 2).tolist()))
    assert norm((client, base)) == pytest.approx(exact, rel=1e-14)


def test_it_stays_what_it_is_for_ever() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    client = (rng.random(2 * BLOCK + 5) - 0.5).astype(np.float32)
    assert norm((client, np.zeros_like(client))).hex() == "0x1.a1d6a9ddabfb5p+6"


def test_asking_for_the_value_in_between_changes_nothing() -> None:
    total = DifferenceNorm()
    total.add(np.float32([3]), np.float32([0]))
    assert total.value() == total.value() == 3.0
    total.add(np.float32([4]), np.float32([0]))
    assert total.value() == 5.0


def test_an_infinite_difference_has_an_infinite_norm_and_a_nan_none() -> None:
    assert norm((np.array([1e200]), np.array([0.0]))) == math.inf
    assert math.isnan(norm((np.array([np.nan]), np.array([0.0]))))


def test_different_shapes_are_refused_with_both() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\), the base's \(3,\)"):
        DifferenceNorm().add(np.zeros(2), np.zeros(3))
