import numpy as np
import pytest

from hansa.core.finite import BLOCK, first_not_finite


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 4])
def test_the_first_value_that_is_not_finite_is_found(dtype: str, value: float, index: int) -> None:
    array = np.zeros(2 * BLOCK + 5, dtype)
    array[index:] = value
    assert first_not_finite(array) == index


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
