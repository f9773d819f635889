"""Files that are read and written, by Hansa and by the official library."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy as official

from hansa.core.params import ArraySpec, Kind, ParamSpec, spec_of
from hansa.formats.errors import BadModelFileError
from hansa.formats.safetensors import ALIGNMENT, canonical, mapped, read, read_layout, write

PARAMS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "norm.mean": np.array([0.5, -0.0, np.inf], np.float64),
    "norm.count": np.array(7, np.int64),
    "half": np.array([1.5, 65504], np.float16),
    "bytes": np.array([1, 2, 255], np.uint8),
    "nothing": np.empty((0, 5), np.int32),
    "名": np.array([-1], np.int8),
}
BUFFERS = frozenset({"norm.mean", "norm.count"})

Reader = Callable[[Path], dict[str, np.ndarray]]


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        write(file, PARAMS, BUFFERS)
    return path


def same_arrays(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


@pytest.mark.parametrize("open_file", [read, mapped])
def test_what_was_written_is_read_back_bit_for_bit_and_sorted(model_file: Path, open_file: Reader) -> None:
    arrays = open_file(model_file)
    assert same_arrays(arrays, PARAMS)
    assert list(arrays) == sorted(PARAMS)


def test_the_official_library_reads_what_we_write(model_file: Path) -> None:
    assert same_arrays(official.load_file(model_file), PARAMS)


@pytest.mark.parametrize("metadata", [None, {"format": "pt", "note": 'quotes " and } braces'}])
def test_we_read_what_the_official_library_writes(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "official.safetensors"
    official.save_file(PARAMS, path, metadata)
    assert same_arrays(read(path), PARAMS)
    assert same_arrays(mapped(path), PARAMS)
    with path.open("rb") as file:
        layout = read_layout(file, path.stat().st_size)
    assert layout.metadata == (metadata or {})
    assert layout.spec(BUFFERS) == spec_of(PARAMS, buffers=BUFFERS)


def test_the_spec_of_a_file_remembers_which_arrays_are_buffers(model_file: Path) -> None:
    with model_file.open("rb") as file:
        layout = read_layout(file, model_file.stat().st_size)
    assert layout.spec() == spec_of(PARAMS, buffers=BUFFERS)
    assert layout.spec(frozenset({"half"})) == spec_of(PARAMS, buffers=frozenset({"half"}))


def test_what_is_read_is_a_copy_and_what_is_mapped_is_read_only(model_file: Path) -> None:
    read(model_file)["half"][0] = 3
    assert read(model_file)["half"][0] == 1.5
    with pytest.raises(ValueError, match="read-only"):
        mapped(model_file)["half"][0] = 3


def test_mapped_arrays_outlive_the_name_of_their_file(model_file: Path) -> None:
    arrays = mapped(model_file)
    model_file.unlink()
    assert same_arrays(arrays, PARAMS)


def test_equal_models_are_equal_bytes_whatever_the_order_and_the_memory_of_their_arrays() -> None:
    def written(params: dict[str, np.ndarray]) -> bytes:
        file = io.BytesIO()
        write(file, params, BUFFERS)
        return file.getvalue()

    turned = {
        name: np.array(array, array.dtype.newbyteorder(">"), order="F") for name, array in reversed(PARAMS.items())
    }
    assert turned["conv.weight"].dtype != PARAMS["conv.weight"].dtype
    assert written(turned) == written(PARAMS)


def test_a_canonical_file_never_changes() -> None:
    spec = ParamSpec((ArraySpec("w", "float32", (2, 3)), ArraySpec("b", "int64", (), Kind.BUFFER)))
    header, layout = canonical(spec)
    length = int.from_bytes(header[:8], "little")
    assert header[8:].decode().rstrip(" ") == (
        '{"__metadata__":{"hansa.buffers":"[\\"b\\"]"},'
        '"b":{"dtype":"I64","shape":[],"data_offsets":[0,8]},'
        '"w":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]}}'
    )
    assert length == len(header) - 8
    assert layout.size == len(header) + 32


def test_metadata_are_left_out_where_no_array_is_a_buffer() -> None:
    header, layout = canonical(spec_of({"w": np.zeros(1)}))
    assert "__metadata__" not in json.loads(header[8:])
    assert layout.metadata == {}


def test_every_array_of_a_canonical_file_is_aligned(model_file: Path) -> None:
    with model_file.open("rb") as file:
        layout = read_layout(file, model_file.stat().st_size)
    assert min(array.start for array in layout.arrays) % ALIGNMENT == 0
    assert all(array.start % np.dtype(array.dtype).itemsize == 0 for array in layout.arrays)
    assert all(array.flags.aligned for array in mapped(model_file).values())


def test_a_header_is_read_from_a_stream_that_gives_little_at_a_time(model_file: Path) -> None:
    class Dripping(io.RawIOBase):
        def __init__(self) -> None:
            self.content = io.BytesIO(model_file.read_bytes())

        def read(self, size: int = -1) -> bytes:
            return self.content.read(min(size, 3))

    layout = read_layout(Dripping(), model_file.stat().st_size)
    assert len(layout.arrays) == len(PARAMS)


def test_a_header_with_spaces_and_lines_is_read(tmp_path: Path) -> None:
    text = json.dumps({"w": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}, indent=4).encode() + b" \n\t\r "
    path = tmp_path / "spaced"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"abc")
    assert read(path)["w"].tobytes() == b"abc"


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ([ArraySpec("__metadata__", "int8", (1,))], "'__metadata__', which safetensors keeps for itself"),
        ([ArraySpec(f"{i:0500d}", "int8", (1,)) for i in range(40_000)], "the limit is 16777216. Use fewer arrays"),
        ([ArraySpec(f"{i:0500d}", "int8", (1,), Kind.BUFFER) for i in range(9_000)], "Name fewer buffers"),
        ([ArraySpec("a\nb", "int8", (1,))], "characters that cannot be printed"),
        ([ArraySpec("w", "int8", (1,) * 33)], "at most 32 integers"),
        ([], "holds no arrays"),
    ],
)
def test_a_model_whose_file_nobody_could_read_is_not_written(arrays: list[ArraySpec], reason: str) -> None:
    with pytest.raises(BadModelFileError) as caught:
        canonical(ParamSpec(tuple(arrays)))
    assert reason in str(caught.value)


def test_a_file_that_is_cut_off_is_refused_by_its_readers(model_file: Path) -> None:
    model_file.write_bytes(model_file.read_bytes()[:-1])
    for open_file in (read, mapped):
        with pytest.raises(BadModelFileError, match="it is cut off"):
            open_file(model_file)
