from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hansa.core.params import ArraySpec, Kind, ParamSpec, spec_of
from hansa.formats.chunks import CUT, FileSource, Segment, check_finite, chunks, flat, read_chunk
from hansa.formats.errors import BadModelFileError, NotFiniteError
from hansa.formats.safetensors import Layout, read_layout, write

KIB = 1024


def spec(**shapes: tuple[str, tuple[int, ...]]) -> ParamSpec:
    return ParamSpec(tuple(ArraySpec(name, dtype, shape) for name, (dtype, shape) in shapes.items()))


class Recorded:
    """A source in memory that remembers what was asked of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.reads: list[tuple[int, int]] = []

    def read_into(self, offset: int, view: memoryview) -> None:
        self.reads.append((offset, len(view)))
        view[:] = self.content[offset : offset + len(view)]


def written(path: Path, params: dict[str, np.ndarray]) -> tuple[Path, Layout]:
    with path.open("wb") as file:
        return path, write(file, params)


def test_small_arrays_stand_together_and_large_ones_are_cut() -> None:
    cut = list(
        chunks(spec(a=("float32", (10,)), b=("float32", (3 * CUT,)), c=("float32", (5,))), max_bytes=2 * CUT * 4)
    )
    assert [[(segment.name, segment.start, segment.stop) for segment in chunk] for chunk in cut] == [
        [("a", 0, 10)],
        [("b", 0, 2 * CUT)],
        [("b", 2 * CUT, 3 * CUT), ("c", 0, 5)],
    ]


def test_a_chunk_holds_one_dtype() -> None:
    model = spec(a=("float32", (2,)), b=("int32", (2,)), c=("float32", (2,)), d=("int64", ()), e=("float64", (1, 1)))
    assert [[segment.name for segment in chunk] for chunk in chunks(model)] == [["e"], ["d"], ["a", "c"], ["b"]]


def test_a_segment_knows_what_its_array_is_to_the_model() -> None:
    model = ParamSpec((ArraySpec("w", "float32", (2,)), ArraySpec("mean", "float32", (2,), Kind.BUFFER)))
    assert list(chunks(model)) == [
        (Segment("mean", "float32", Kind.BUFFER, 0, 2), Segment("w", "float32", Kind.PARAM, 0, 2))
    ]


def test_arrays_without_elements_are_in_no_chunk() -> None:
    assert list(chunks(spec(a=("float32", (0, 3))))) == []
    assert [[segment.name for segment in chunk] for chunk in chunks(spec(a=("int8", (0,)), b=("int8", ())))] == [["b"]]


def test_a_limit_below_one_element_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes is 7; one element of 'a' has 8"):
        list(chunks(spec(a=("float64", (2,))), max_bytes=7))


def test_a_canonical_file_is_read_from_front_to_back_in_one_read_per_chunk(tmp_path: Path) -> None:
    params = {f"layer{i}": np.full((20, 30), i, np.float32) for i in range(50)}
    path, layout = written(tmp_path / "model", params)
    source = Recorded(path.read_bytes())
    cut = list(chunks(layout.spec(), max_bytes=32 * KIB))
    buffer = bytearray(32 * KIB)
    for chunk in cut:
        read_chunk(source, layout, chunk, buffer)
    assert len(source.reads) == len(cut) > 1
    assert all(before + count == after for (before, count), (after, _) in pairwise(source.reads))


def test_neighbours_in_the_model_that_lie_apart_in_the_file_are_read_one_by_one(tmp_path: Path) -> None:
    header = (
        b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},'
        b'"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]},'
        b'"c":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    )
    content = len(header).to_bytes(8, "little") + header + b"ccbbaa"
    path = tmp_path / "backwards"
    path.write_bytes(content)
    with path.open("rb") as file:
        layout = read_layout(file, len(content))
    source = Recorded(content)
    (chunk,) = chunks(layout.spec())
    arrays = read_chunk(source, layout, chunk, bytearray(6))
    assert [array.tobytes() for array in arrays] == [b"aa", b"bb", b"cc"]
    assert len(source.reads) == 3


def test_the_arrays_are_views_of_the_buffer_and_flat_is_all_of_them(tmp_path: Path) -> None:
    params = {"a": np.arange(3, dtype=np.float32), "b": np.arange(4, dtype=np.float32).reshape(2, 2)}
    path, layout = written(tmp_path / "model", params)
    (chunk,) = chunks(layout.spec())
    buffer = bytearray(100)
    with FileSource(path) as source:
        a, b = read_chunk(source, layout, chunk, memoryview(buffer))
    assert a.tolist() == [0, 1, 2]
    assert b.tolist() == [0, 1, 2, 3], "segments are flat: a large array comes in pieces"
    assert flat(chunk, buffer).tolist() == [0, 1, 2, 0, 1, 2, 3]
    buffer[:4] = np.float32(9).tobytes()
    assert a[0] == flat(chunk, buffer)[0] == 9


def test_arrays_are_aligned_even_where_the_file_is_not(tmp_path: Path) -> None:
    header = (
        b'{"b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"w":{"dtype":"F64","shape":[2],"data_offsets":[3,19]}}'
    )
    content = len(header).to_bytes(8, "little") + header + b"abc" + np.array([1.5, 2.5]).tobytes()
    path = tmp_path / "odd"
    path.write_bytes(content)
    with path.open("rb") as file:
        layout = read_layout(file, len(content))
    assert layout.placed("w").start % 8, "the file is odd on purpose"
    with FileSource(path) as source:
        (array,) = read_chunk(source, layout, next(chunks(layout.spec())), bytearray(64))
    assert array.flags.aligned
    assert array.tolist() == [1.5, 2.5]


def test_a_file_that_became_shorter_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path, layout = written(tmp_path / "model", {"w": np.zeros(1000)})
    path.write_bytes(path.read_bytes()[:-100])
    with FileSource(path) as source, pytest.raises(BadModelFileError, match="100 bytes too early"):
        read_chunk(source, layout, next(chunks(layout.spec())), bytearray(8000))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_with_its_array_and_its_place(value: float, tmp_path: Path) -> None:
    weight = np.zeros((4, CUT), np.float32)
    weight[3, 5] = value
    path, layout = written(tmp_path / "model", {"bias": np.ones(3, np.float32), "weight": weight})
    buffer = bytearray(CUT * 4)
    *finite, last = chunks(layout.spec(), max_bytes=len(buffer))
    with FileSource(path) as source:
        for chunk in finite:
            check_finite(read_chunk(source, layout, chunk, buffer), chunk)
        arrays = read_chunk(source, layout, last, buffer)
    with pytest.raises(NotFiniteError) as caught:
        check_finite(arrays, last)
    assert str(caught.value).startswith(
        f"'weight' holds {value} at flat index {3 * CUT + 5}; every value must be finite"
    )
    assert caught.value.code == "not_finite"


def test_finite_values_pass(tmp_path: Path) -> None:
    path, layout = written(tmp_path / "model", {"w": np.zeros(3), "n": np.array(2**63 - 1)})
    with FileSource(path) as source:
        for chunk in chunks(layout.spec()):
            check_finite(read_chunk(source, layout, chunk, bytearray(64)), chunk)


def test_chunks_cover_a_model_once_in_its_data_order() -> None:
    params = {
        "a": np.zeros((3, 7)),
        "b": np.zeros(CUT * 3, np.float16),
        "c": np.zeros(5, np.float16),
        "d": np.zeros(()),
    }
    model = spec_of(params)
    segments = [segment for chunk in chunks(model, max_bytes=40_000) for segment in chunk]
    assert list(dict.fromkeys(segment.name for segment in segments)) == [array.name for array in model.in_data_order]
    for array in model:
        pieces = [(segment.start, segment.stop) for segment in segments if segment.name == array.name]
        assert [start for start, _ in pieces] == [0, *(stop for _, stop in pieces[:-1])]
        assert pieces[-1][1] == array.size
