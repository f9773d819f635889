import numpy as np
import pytest

from hansa.core.params import ParamSpec, spec_of
from hansa.formats.errors import ModelFileError, SpecMismatchError
from hansa.formats.safetensors import Layout, canonical, check_fits

MODEL = {"fc.weight": np.zeros((32, 10), np.float32), "fc.bias": np.zeros(32, np.float32), "n": np.zeros((), np.int64)}
SPEC = spec_of(MODEL, buffers=frozenset({"n"}))


def update(**changes: np.ndarray | None) -> Layout:
    arrays = MODEL | {name.replace("_", "."): array for name, array in changes.items()}
    return canonical(spec_of({name: array for name, array in arrays.items() if array is not None}))[1]


def mismatch(layout: Layout, spec: ParamSpec = SPEC) -> str:
    with pytest.raises(SpecMismatchError) as caught:
        check_fits(layout, spec)
    assert caught.value.code == "spec_mismatch"
    assert isinstance(caught.value, ModelFileError)
    return str(caught.value)


def test_a_file_with_the_arrays_of_the_model_fits_whatever_it_calls_buffers() -> None:
    check_fits(update(), SPEC)


def test_another_shape_is_named_with_the_shape_seen_and_the_shape_wanted() -> None:
    message = mismatch(update(fc_weight=np.zeros((64, 10), np.float32)))
    assert message.startswith("update has shape (64, 10) for 'fc.weight'; the model has (32, 10). Train from the model")


def test_the_same_number_of_elements_is_not_the_same_shape() -> None:
    assert "shape (10, 32) for 'fc.weight'" in mismatch(update(fc_weight=np.zeros((10, 32), np.float32)))
    assert "shape (1,) for 'n'; the model has ()" in mismatch(update(n=np.zeros(1, np.int64)))


def test_another_dtype_is_named_with_both() -> None:
    message = mismatch(update(fc_bias=np.zeros(32, np.float64)))
    assert message.startswith("update has dtype float64 for 'fc.bias'; the model has float32.")


def test_missing_and_unexpected_arrays_are_named() -> None:
    message = mismatch(update(fc_bias=None, fc_offset=np.zeros(32, np.float32)))
    assert "update lacks 'fc.bias', which the model has" in message
    assert "update holds 'fc.offset', which the model does not have" in message


def test_of_many_differences_the_first_are_named_and_the_rest_counted() -> None:
    model = spec_of({f"layer{i:03d}": np.zeros(3, np.float32) for i in range(100)})
    other = {f"layer{i:03d}": np.zeros(4, np.float32) for i in range(50)} | {f"x{i}": np.zeros(1) for i in range(9)}
    message = mismatch(canonical(spec_of(other))[1], model)
    assert "lacks 'layer050', 'layer051', 'layer052', 'layer053', 'layer054' and 45 more" in message
    assert "holds 'x0', 'x1', 'x2', 'x3', 'x4' and 4 more" in message
    assert "for 'layer000'" in message
    assert "and 49 more differences" in message
    assert len(message) < 600
