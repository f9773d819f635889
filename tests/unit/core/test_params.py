import numpy as np
import pytest

from hansa.core.params import MAX_NAME, ArraySpec, Kind, ParamSpec, name_fault, spec_of

PARAMS = {
    "b.count": np.array(3, np.int64),
    "a.weight": np.zeros((4, 3), np.float32),
    "a.bias": np.zeros(4, np.float64),
    "c.half": np.zeros((2, 0), np.float16),
}


def test_a_spec_is_sorted_by_name_whatever_the_order_of_the_arrays() -> None:
    names = ["a.bias", "a.weight", "b.count", "c.half"]
    assert [array.name for array in spec_of(PARAMS)] == names
    assert [array.name for array in spec_of(dict(reversed(PARAMS.items())))] == names


def test_a_spec_knows_sizes_without_looking_at_numbers() -> None:
    spec = spec_of(PARAMS, buffers=frozenset({"b.count"}))
    assert len(spec) == 4
    assert spec.nbytes == 8 + 48 + 32 + 0
    assert spec.num_params == 12 + 4 + 0, "buffers are not counted"
    assert [array.kind for array in spec] == [Kind.PARAM, Kind.PARAM, Kind.BUFFER, Kind.PARAM]


def test_the_data_order_is_widest_dtype_first_with_each_dtype_together() -> None:
    dtypes = {"z": "float32", "a": "int8", "b": "int64", "c": "float64", "d": "int64", "e": "float32", "f": "int32"}
    spec = ParamSpec(tuple(ArraySpec(name, dtype, (1,)) for name, dtype in dtypes.items()))
    assert "".join(array.name for array in spec.in_data_order) == "cbdezfa"


@pytest.mark.parametrize("dtype", ["bool", "complex64", "object", "datetime64[s]", "U3", "longdouble"])
def test_a_dtype_without_a_mean_is_refused_by_name(dtype: str) -> None:
    with pytest.raises(ValueError, match=r"'mask' has dtype .*; a model may hold float64, float32"):
        spec_of({"mask": np.zeros(2, dtype)})


def test_a_buffer_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"buffers names \['b.mean'\], which the params do not hold"):
        spec_of(PARAMS, buffers=frozenset({"b.mean", "b.count"}))


def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'w' comes twice"):
        ParamSpec((ArraySpec("w", "float32", (1,)), ArraySpec("w", "float64", (2,))))


@pytest.mark.parametrize("name", ["layers.0.weight", "a b", "größe", "模型", "x" * MAX_NAME, "blocks[0]/kernel:0"])
def test_names_of_people_and_libraries_are_fine(name: str) -> None:
    assert name_fault(name) == ""


@pytest.mark.parametrize(
    "name", ["", "x" * (MAX_NAME + 1), "a\x00", "a\nb", "\x1b[31mred", "\ud800", "abc\u202edef", "\x7f", "a\u2028b"]
)
def test_names_that_could_deceive_a_reader_or_break_a_database_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="an array cannot be named"):
        spec_of({name: np.zeros(1)})
