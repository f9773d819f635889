"""Any model survives any valid file; no mutation of a file is anything but read or refused."""

import io
import json
import random
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import safetensors.numpy as official
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hansa.core.params import DTYPES, spec_of
from hansa.formats.chunks import FileSource, chunks, flat, read_chunk
from hansa.formats.errors import BadModelFileError
from hansa.formats.header import DTYPES as FORMAT_DTYPES
from hansa.formats.safetensors import canonical, check_fits, mapped, read, read_layout, write

names = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=30).filter(
    lambda name: name.isprintable() and name != "__metadata__"
)
models = st.dictionaries(
    names,
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    ),
    min_size=1,
    max_size=8,
)
FORMAT_NAMES = {numpy_name: name for name, numpy_name in FORMAT_DTYPES.items()}


def same_arrays(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(
        (left[name].dtype, left[name].shape, left[name].tobytes())
        == (right[name].dtype, right[name].shape, right[name].tobytes())
        for name in left
    )


def shuffled_file(model: dict[str, np.ndarray], rng: random.Random) -> bytes:
    """A valid file whose arrays, members and spaces are in no particular order."""
    header, data = [], b""
    for name in rng.sample(sorted(model), len(model)):
        array = model[name]
        members: list[tuple[str, object]] = [
            ("dtype", FORMAT_NAMES[array.dtype.name]),
            ("shape", list(array.shape)),
            ("data_offsets", [len(data), len(data) + array.nbytes]),
        ]
        rng.shuffle(members)
        header.append((name, dict(members)))
        data += array.tobytes()
    rng.shuffle(header)
    text = json.dumps(dict(header), ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 0, 3])).encode()
    text += b" " * rng.randrange(9)
    return len(text).to_bytes(8, "little") + text + data


@settings(max_examples=60)
@given(model=models, data=st.data())
def test_a_model_comes_back_from_its_canonical_file_by_us_and_by_the_official_library(
    model: dict[str, np.ndarray], data: st.DataObject
) -> None:
    buffers = data.draw(st.sets(st.sampled_from(sorted(model))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        with path.open("wb") as file:
            layout = write(file, model, frozenset(buffers))
        assert path.stat().st_size == layout.size
        with path.open("rb") as file:
            assert read_layout(file, layout.size) == layout
        assert layout.spec() == spec_of(model, buffers=frozenset(buffers))
        assert same_arrays(read(path), model)
        assert same_arrays(mapped(path), model)
        assert same_arrays(official.load_file(path), model)


@settings(max_examples=60)
@given(model=models)
def test_a_model_comes_back_from_a_file_of_the_official_library(model: dict[str, np.ndarray]) -> None:
    content = official.save(model)
    layout = read_layout(io.BytesIO(content), len(content))
    check_fits(layout, spec_of(model))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(content)
        assert same_arrays(read(path), model)


@settings(max_examples=60)
@given(model=models, rng=st.randoms(use_true_random=False), max_bytes=st.integers(8, 600))
def test_chunks_of_any_valid_file_are_the_model_in_its_data_order(
    model: dict[str, np.ndarray], rng: random.Random, max_bytes: int
) -> None:
    content = shuffled_file(model, rng)
    layout = read_layout(io.BytesIO(content), len(content))
    spec = spec_of(model)
    check_fits(layout, spec)
    buffer = bytearray(max_bytes)
    seen = dict.fromkeys(model, b"")
    everything = b""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(content)
        assert same_arrays(read(path), model)
        with FileSource(path) as source:
            for chunk in chunks(spec, max_bytes):
                assert sum(segment.nbytes for segment in chunk) <= max_bytes
                for segment, array in zip(chunk, read_chunk(source, layout, chunk, buffer), strict=True):
                    assert array.dtype == model[segment.name].dtype
                    seen[segment.name] += array.tobytes()
                everything += flat(chunk, buffer).tobytes()
    assert seen == {name: array.tobytes() for name, array in model.items()}
    assert everything == b"".join(model[array.name].tobytes() for array in spec.in_data_order)


SAMPLE = {
    "fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fc.bias": np.arange(2, dtype=np.float16),
    "n": np.array(3),
}
TOKENS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"\\",
    b"0",
    b"-1",
    b"1e9",
    b"null",
    b"true",
    b"\\u0000",
    b"\xff",
    b" ",
]
TOKENS += [
    b"9" * 30,
    b'"dtype"',
    b'"F32"',
    b'"BF16"',
    b"__metadata__",
    b"hansa.buffers",
    b"data_offsets",
    b"\xf0\x9f\x92\xa9",
]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, inserted, removed, repeated or swapped, most of them in the header."""
    result = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if not result:
            break
        at = rng.randrange(min(len(result), 300))
        match rng.randrange(5):
            case 0:
                result[at] = rng.randrange(256)
            case 1:
                result[at:at] = rng.choice(TOKENS)
            case 2:
                del result[at : at + rng.randint(1, 12)]
            case 3:
                result[at:at] = result[at : at + rng.randint(1, 60)]
            case _:
                result[at : at + 1] = rng.choice(TOKENS)
    if rng.random() < 0.7:  # the length still fits, so that the mutation is met behind it
        end = result.rfind(b"}") + 1
        result[:8] = max(0, end - 8).to_bytes(8, "little")
    return bytes(result)


@given(rng=st.randoms(use_true_random=False), buffers=st.booleans())
def test_a_mutated_file_is_read_or_refused_and_nothing_else(rng: random.Random, buffers: bool) -> None:
    file = io.BytesIO()
    write(file, SAMPLE, frozenset({"n"} if buffers else ()))
    for _ in range(20):
        content = mutated(file.getvalue(), rng)
        try:
            layout = read_layout(io.BytesIO(content), len(content))
            spec = layout.spec()
        except BadModelFileError as error:
            assert len(str(error)) < 2000  # noqa: PT017  # the refusal is one of two good ends
            continue
        assert spec.nbytes <= len(content)
        assert all(0 <= array.start <= array.stop <= len(content) for array in layout.arrays)
        assert canonical(spec)[1].spec() == spec


@given(st.binary(max_size=400))
def test_random_bytes_are_read_or_refused_and_nothing_else(content: bytes) -> None:
    for candidate in (content, len(content).to_bytes(8, "little") + content):
        try:
            read_layout(io.BytesIO(candidate), len(candidate))
        except BadModelFileError:
            continue


@given(length=st.integers(0, 2**64 - 1), size=st.integers(0, 2**63), rest=st.binary(max_size=100))
def test_lengths_that_are_only_claimed_cost_no_memory(length: int, size: int, rest: bytes) -> None:
    tracemalloc.start()
    try:
        read_layout(io.BytesIO(length.to_bytes(8, "little") + rest), size)
    except BadModelFileError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20
