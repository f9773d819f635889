import numpy as np
import pytest

from hansa.core.finite import BLOCK, LARGEST, first_not_addable, first_not_finite
from hansa.core.mean import weighted_mean


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 4])
def test_the_first_value_that_is_not_finite_is_found(dtype: str, value: float, index: int) -> None:
    array = np.zeros(2 * BLOCK + 5, dtype)
    array[index:] = value
    assert first_not_finite(array) == first_not_addable(array) == index


def test_the_index_counts_in_c_order_whatever_the_memory_order() -> None:
    array = np.zeros((3, 4), order="F")
    array[1, 2] = np.nan
    assert first_not_finite(array) == 6


@pytest.mark.parametrize(
    "array",
    [
        np.array([np.finfo(np.float32).max] * 9, np.float32),
        np.array([5e-324, -5e-324]),
        np.array(1.0),
        np.empty((0, 3)),
        np.array([2**63 - 1, -(2**63)], np.int64),
        np.array([255], np.uint8),
    ],
)
def test_large_tiny_missing_and_integer_values_are_finite(array: np.ndarray) -> None:
    assert first_not_finite(array) is None
    assert first_not_addable(array) is None


@pytest.mark.parametrize("value", [1e300, -1e300, np.nextafter(LARGEST, np.inf)])
def test_what_is_finite_and_too_large_to_be_added_is_found(value: float) -> None:
    array = np.zeros(BLOCK + 5)
    array[BLOCK + 2 :] = value
    assert first_not_finite(array) is None
    assert first_not_addable(array) == BLOCK + 2


def test_of_what_can_be_added_no_cohort_has_a_mean_that_is_not_finite() -> None:
    """A thousand clients of as many examples as a report may have, all at the end of the range."""
    edge = np.array([LARGEST, -LARGEST])
    mean = np.empty(2)
    weighted_mean([edge] * 1000, [2**53] * 1000, mean)
    assert mean.tolist() == edge.tolist()
