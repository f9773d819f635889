"""How a model is cut: all of it once, in data order, where it should be."""

import sys
from itertools import zip_longest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.params import ArraySpec, Kind, ParamSpec
from hansa.formats import safetensors
from hansa.server.trainings.pieces import chunks, is_float, panels, shorter, size_of, stretches

arrays = st.lists(
    st.builds(
        lambda dtype, size, kind: (dtype, size, kind),
        st.sampled_from(["float64", "float32", "float16", "int64", "uint8"]),
        st.integers(0, 5000),
        st.sampled_from(list(Kind)),
    ),
    min_size=1,
    max_size=12,
)
specs = arrays.map(
    lambda found: ParamSpec(
        tuple(ArraySpec(f"a{place}", dtype, (size,), kind) for place, (dtype, size, kind) in enumerate(found))
    )
)


def elements(pieces):
    """Where each begins and ends, pieces that touch joined."""
    joined = []
    for segment in (segment for piece in pieces for segment in piece):
        if joined and joined[-1][0] == segment.name and joined[-1][2] == segment.start:
            joined[-1] = (segment.name, joined[-1][1], segment.stop)
        else:
            joined.append((segment.name, segment.start, segment.stop))
    return joined


def whole(spec, wanted=lambda array: True):
    return [(array.name, 0, array.size) for array in spec.in_data_order if array.size and wanted(array)]


@settings(max_examples=25)
@given(specs, st.integers(8, 5000))
def test_chunks_are_all_of_the_model_in_order_and_end_where_blocks_of_the_file_do(spec, max_bytes):
    found = list(chunks(spec, max_bytes))

    assert elements(found) == whole(spec)
    assert all(len({segment.dtype for segment in chunk}) == 1 for chunk in found)
    step, end = max_bytes // 8 * 8, len(safetensors.canonical(spec)[0]) // 8 * 8
    for chunk, after in zip_longest(found, found[1:]):
        begin, end = end, end + sum(segment.nbytes for segment in chunk)
        assert begin // step == (end - 1) // step, "no chunk holds parts of two blocks"
        assert end % step == 0 or after is None or after[0].dtype != chunk[0].dtype


@settings(max_examples=25)
@given(specs, st.integers(1, 3000))
def test_panels_are_the_params_of_float_dtypes_and_of_one_size_but_for_the_last_of_a_dtype(spec, size):
    found = list(panels(spec, size))

    assert elements(found) == whole(spec, lambda array: array.kind is Kind.PARAM and is_float(array.dtype))
    for panel, after in zip_longest(found, found[1:]):
        assert size_of(panel) <= size
        assert size_of(panel) == size or after is None or after[0].dtype != panel[0].dtype


@settings(max_examples=25)
@given(specs, st.integers(1, 300))
def test_some_dtypes_can_be_cut_shorter(spec, most):
    found = list(shorter(chunks(spec, 4096), most, lambda dtype: dtype == "uint8"))

    assert elements(found) == whole(spec)
    assert all(size_of(chunk) <= most for chunk in found if chunk[0].dtype == "uint8")


@settings(max_examples=25)
@given(specs)
def test_stretches_tell_params_and_buffers_of_a_chunk_apart(spec):
    for chunk in chunks(spec, 4096):
        values = np.arange(size_of(chunk))
        found = list(stretches(chunk))

        assert np.concatenate([values[stretch.place] for stretch in found]).tolist() == values.tolist()
        assert [segment for stretch in found for segment in stretch.segments] == list(chunk)
        assert all({segment.kind for segment in stretch.segments} == {stretch.kind} for stretch in found)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_one_element_is_a_chunk_however_little_room_there_is(dtype):
    spec = ParamSpec((ArraySpec("a", dtype, (3,)),))

    assert elements(chunks(spec, 1)) == [("a", 0, 3)]


@pytest.mark.parametrize("cut", [lambda spec: chunks(spec, 2**22), lambda spec: panels(spec, 2**19)])
def test_twice_as_many_arrays_take_twice_as_many_steps(cut):
    """Counted, for a clock tells of the machine: a model may have 100,000 arrays."""

    def steps(arrays):
        spec = ParamSpec(tuple(ArraySpec(f"a{place:05}", "float32", (2,), Kind.PARAM) for place in range(arrays)))
        taken = 0

        def count(frame, event, argument):
            nonlocal taken
            del frame, argument
            taken += event == "call"

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            assert sum(map(size_of, cut(spec))) == 2 * arrays
        finally:
            sys.setprofile(before)
        return taken

    assert steps(2000) < 2.2 * steps(1000)
