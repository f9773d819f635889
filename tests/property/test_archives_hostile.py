"""Random bytes, mutated archives and invented pickles: read or refused, nothing else, in bounded memory and steps."""

import random
import tempfile
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.formats import modelfile
from hansa.formats.archives.machine import _STEPS, read_pickle
from hansa.formats.chunks import chunks
from hansa.formats.errors import BadModelFileError, ModelFileError
from support import pickled
from support.keepable import check_layers, check_message
from support.torchmodels import ConvNet, Peculiar, saved, scripted
from support.torchzip import DEFLATED, STORED, Entry, Layout, changed, entries_of, packed

MAX_BYTES = 2**12
MIB = 2**20


@pytest.fixture(scope="module")
def archives() -> list[bytes]:
    torch.manual_seed(0)
    model = ConvNet()
    return [saved(model), saved(model.state_dict()), scripted(model), saved(Peculiar()), saved(torch.rand(3, 4).t())]


def looked_at(content: bytes) -> bool:
    """Whether the file could be read: everything that is ever asked of a model file is asked."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(content)
        try:
            modelfile.read_tensor(path).read()
            return True
        except ModelFileError as error:
            check_message(error)
        try:
            with modelfile.open_model(path) as file:
                spec = file.spec()
                assert len(file.ties) <= len(spec)
                assert file.structure is None or file.structure[0].path == ""
                check_layers(file.structure)
                buffer = bytearray(MAX_BYTES)
                for chunk in chunks(spec, MAX_BYTES):
                    file.read_chunk(chunk, buffer)
                modelfile.check_renderable(file)
        except ModelFileError as error:
            check_message(error)
            return False
        return True


@given(st.binary(max_size=600))
def test_random_bytes_are_read_or_refused(content: bytes) -> None:
    for candidate in (content, b"PK\x03\x04" + content, content + b"PK\x05\x06" + bytes(18)):
        looked_at(candidate)


@settings(max_examples=100)
@given(rng=st.randoms(use_true_random=False))
def test_mutated_archives_are_read_or_refused(archives: list[bytes], rng: random.Random) -> None:
    content = bytearray(rng.choice(archives))
    structural = [at for at in range(len(content) - 4) if content[at : at + 2] == b"PK"]
    for _ in range(rng.randint(1, 4)):
        at = min(rng.choice(structural) + rng.randrange(64), len(content) - 1)
        match rng.randrange(4):
            case 0:
                content[at] = rng.randrange(256)
            case 1:
                content[at] ^= 1 << rng.randrange(8)
            case 2:
                content[at : at + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\x01\0\0\0", b"\0\0\0\x80"])
            case _:
                content[at : at + rng.randint(1, 8)] = rng.randbytes(rng.randint(0, 8))
    looked_at(bytes(content))


@settings(max_examples=100)
@given(rng=st.randoms(use_true_random=False))
def test_mutated_pickles_in_sound_archives_are_read_or_refused(archives: list[bytes], rng: random.Random) -> None:
    entries = entries_of(rng.choice(archives))
    content = bytearray(next(entry.content for entry in entries if entry.name == "data.pkl"))
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(content))
        match rng.randrange(4):
            case 0:
                content[at] = rng.choice([*_STEPS])
            case 1:
                content[at:at] = bytes([rng.choice([*_STEPS])])
            case 2:
                del content[at : at + rng.randint(1, 6)]
            case _:
                content[at : at + 1] = bytes([rng.randrange(256)])
    layout = Layout(checksums=rng.random() < 0.8, descriptors=rng.random() < 0.5)
    looked_at(packed(changed(entries, "data.pkl", content=bytes(content)), layout))


GROUPS = ["_parameters", "_modules", "_buffers"]
SOUND_MODULE = pickled.module({"_parameters": pickled.dict_of({"w": pickled.tensor()}), "_modules": pickled.EMPTY_DICT})
loose = st.text(st.characters(exclude_characters="\n"), max_size=4)
"""Any characters, lone surrogates too."""


def loose_text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + len(raw).to_bytes(4, "little") + raw


def named_module(parts: tuple[str, str, bytes]) -> bytes:
    """A module of any class with a sound one under any name, and whatever else as its kernel."""
    child, kind, kernel = parts
    children = pickled.EMPTY_DICT + loose_text(child) + SOUND_MODULE + b"s"
    return pickled.module(
        {"_parameters": pickled.EMPTY_DICT, "_modules": children, "kernel_size": kernel},
        kind=loose_text("net") + loose_text(kind) + b"\x93",
    )


values = st.recursive(
    st.one_of(
        st.just(pickled.NONE),
        st.integers(-(2**63), 2**63).map(pickled.integer),
        st.text(max_size=6).map(pickled.text),
        st.text(st.characters(), max_size=3).map(loose_text),
        st.just(pickled.tensor()),
        st.just(pickled.storage()),
        st.just(b"h\x00"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda held: pickled.tuple_of(*held)),
        st.dictionaries(st.sampled_from(["w", "kernel_size", *GROUPS]), inner, max_size=4).map(pickled.dict_of),
        st.tuples(inner, inner, inner, inner).map(
            lambda held: pickled.tensor(shape=held[0], strides=held[1], offset=held[2], stored=held[3])
        ),
        st.dictionaries(st.sampled_from(GROUPS), inner).map(pickled.module),
        st.tuples(loose, loose, inner).map(named_module),
        st.lists(inner, max_size=5).map(lambda held: pickled.called("torch._utils", "_rebuild_parameter", *held)),
        st.lists(inner, max_size=5).map(lambda held: pickled.called("collections", "OrderedDict", *held)),
        st.lists(inner, max_size=2).map(lambda held: pickled.called("torch", "Size", *held)),
        st.tuples(inner, inner).map(lambda held: b"q\x00".join([held[0], b"0" + held[1]])),
    ),
    max_leaves=12,
)


@given(value=values)
def test_invented_objects_are_read_or_refused(value: bytes) -> None:
    content = pickled.whole(pickled.EMPTY_LIST + b"q\x000" + value)
    looked_at(packed([Entry("data.pkl", content), Entry("data/0", bytes(16)), Entry("version", b"3\n")]))


entries = st.builds(
    Entry,
    name=st.sampled_from(["data.pkl", "data/0", "version", "byteorder", "constants.pkl", "code/a.py", "x"]),
    content=st.binary(max_size=40),
    method=st.sampled_from([STORED, STORED, DEFLATED, 1]),
    crc=st.none() | st.integers(0, 2**32 - 1),
    size=st.none() | st.integers(0, 2**32 - 1),
    compressed=st.none() | st.integers(0, 2**32 - 1),
    header_at=st.none() | st.integers(0, 2**32 - 1),
    flags=st.sampled_from([0, 0, 0, 1, 8, 64]),
)


@given(
    found=st.lists(entries, max_size=5),
    layout=st.builds(
        Layout,
        root=st.sampled_from(["archive", "a", ""]),
        descriptors=st.booleans(),
        zip64_end=st.booleans(),
        zip64_entries=st.booleans(),
    ),
)
def test_invented_archives_are_read_or_refused(found: list[Entry], layout: Layout) -> None:
    looked_at(packed(found, layout))


@given(st.lists(st.sampled_from(sorted(_STEPS)) | st.integers(0, 255), max_size=400).map(bytes))
def test_invented_instructions_take_memory_by_their_number_only(instructions: bytes) -> None:
    tracemalloc.start()
    try:
        read_pickle(b"\x80\x02" + instructions, "the pickle")
    except BadModelFileError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MIB


@given(rng=st.randoms(use_true_random=False))
def test_a_mutated_archive_takes_no_more_memory_than_a_sound_one(archives: list[bytes], rng: random.Random) -> None:
    content = bytearray(archives[1])
    at = len(content) - rng.randrange(1, 1600)
    content[at : at + 8] = rng.randbytes(8)[: len(content) - at]
    tracemalloc.start()
    looked_at(bytes(content))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB


@given(child=loose, kind=loose, key=loose)
def test_names_of_any_characters_can_be_kept_or_are_refused(child: str, kind: str, key: str) -> None:
    stored = b"(" + pickled.text("storage") + pickled.name("torch", "FloatStorage") + loose_text(key)
    array = pickled.tensor(stored=stored + pickled.text("cpu") + pickled.integer(4) + b"tQ")
    for value in (named_module((child, kind, pickled.integer(3))), pickled.dict_of({"w": array})):
        looked_at(packed([Entry("data.pkl", pickled.whole(value)), Entry("data/0", bytes(16)), Entry("x", b"")]))
