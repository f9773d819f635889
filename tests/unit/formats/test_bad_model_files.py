"""Files that are refused. Every refusal says what was seen and what is wanted, and none costs memory."""

import io
import json
import tracemalloc
from typing import BinaryIO

import pytest

from hansa.formats.errors import BadModelFileError, ModelFileError
from hansa.formats.header import MAX_ARRAYS, MAX_METADATA
from hansa.formats.safetensors import MAX_HEADER, read_layout

MIB = 2**20


def file_of(header: object, data: int = 0) -> bytes:
    """A file with this header (JSON, or text as it is) and so many bytes of data."""
    text = header if isinstance(header, str) else json.dumps(header)
    encoded = text.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(8, "little") + encoded + bytes(data)


def array(begin: int = 0, end: int = 8, **changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [begin, end], **changes}


def refusal(content: bytes, size: int | None = None) -> str:
    with pytest.raises(BadModelFileError) as caught:
        read_layout(io.BytesIO(content), len(content) if size is None else size)
    return str(caught.value)


class Untouchable(io.RawIOBase):
    """A file that gives its first eight bytes and fails the test if asked for more."""

    def __init__(self, first: bytes) -> None:
        self.first = first

    def read(self, size: int = -1) -> bytes:
        assert size == 8, f"asked for {size} bytes before the header's length was checked"
        return self.first


def refusal_without_reading(length: int, size: int) -> str:
    untouchable: BinaryIO = Untouchable(length.to_bytes(8, "little"))
    with pytest.raises(BadModelFileError) as caught:
        read_layout(untouchable, size)
    return str(caught.value)


def test_a_refusal_has_the_code_of_the_wire() -> None:
    with pytest.raises(ModelFileError) as caught:
        read_layout(io.BytesIO(b""), 0)
    assert caught.value.code == "bad_model_file"


# The file as a whole


@pytest.mark.parametrize("size", range(8))
def test_a_file_shorter_than_the_length_of_its_header(size: int) -> None:
    assert f"the file has {size} bytes" in refusal(bytes(size))


def test_a_header_of_ten_gigabytes_is_refused_before_a_byte_of_it_is_read() -> None:
    assert "10000000000 bytes; the limit is 16777216" in refusal_without_reading(10**10, size=2 * 10**10)
    assert str(2**64 - 1) in refusal_without_reading(2**64 - 1, size=100)


def test_a_header_longer_than_its_file_is_refused_before_a_byte_of_it_is_read() -> None:
    assert "should have 93 bytes, but only 92 follow" in refusal_without_reading(93, size=100)


def test_a_torch_archive_is_no_safetensors_file() -> None:
    assert "convert it" in refusal(b"PK\x03\x04" + bytes(1000))


def test_a_file_that_ends_inside_its_header_although_it_was_announced_longer() -> None:
    content = file_of({"w": array()}, 8)
    assert "Send the whole file" in refusal(content[:20], size=len(content))


@pytest.mark.parametrize(("data", "wanted"), [(7, "cut off"), (0, "cut off"), (9, "too long"), (4096, "too long")])
def test_a_file_cut_off_or_too_long(data: int, wanted: str) -> None:
    message = refusal(file_of({"w": array()}, data))
    assert f"it is {wanted}" in message
    assert "Send the whole file and nothing after it" in message


@pytest.mark.parametrize("header", ["{}", '{"__metadata__":{"a":"b"}}'])
def test_a_file_without_arrays(header: str) -> None:
    assert "holds no arrays" in refusal(file_of(header))


# The header as text


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "null",
        "[]",
        "17",
        '"w"',
        "{",
        '{"w"',
        '{"w":',
        '{"w":}',
        '{"w":{}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}\x00',
        '{,"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{w:{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"w" {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],}}',
        '{"w":{"dtype":"F32" "shape":[2],"data_offsets":[0,8]}}',
        '{"w":[]}',
        '{"w":null}',
        '{"w":"F32"}',
        '{"w":1}',
        '{"w',
        '{"w\n":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"\\x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        "{'w':{}}",
        "\ufeff{}",
    ],
)
def test_a_header_that_is_no_json_object_of_arrays(header: str) -> None:
    assert "Write the file with" in refusal(file_of(header, 8))


def test_a_header_that_is_not_utf8() -> None:
    assert "not UTF-8" in refusal((4).to_bytes(8, "little") + b'{"\xff"')


def test_a_name_that_comes_twice() -> None:
    entry = json.dumps(array())
    assert "'w' comes twice in the header" in refusal(file_of(f'{{"w":{entry},"w":{entry}}}', 8))


def test_a_name_that_comes_twice_under_an_escape() -> None:
    entry = json.dumps(array())
    assert "'w' comes twice" in refusal(file_of(f'{{"w":{entry},"\\u0077":{entry}}}', 8))


@pytest.mark.parametrize(
    "name", ["", "x" * 513, "a\nb", "nul\x00", "\x1b]0;owned\x07", "\u202egnp.exe", "\ud800", "\udfff tail"]
)
def test_a_name_that_nobody_should_have_to_read(name: str) -> None:
    message = refusal(file_of({name: array()}, 8))
    assert "Rename it in the model" in message
    assert message.isprintable()


@pytest.mark.parametrize("depth", [100, 3000, 100_000, 8 * MIB])
@pytest.mark.parametrize("bracket", ["[", '{"a":', '{"__metadata__":'])
def test_a_header_nested_without_end(depth: int, bracket: str) -> None:
    text = (bracket * depth)[: MAX_HEADER - 100]
    for header in (text, '{"w":' + text, '{"w":{"shape":' + text, '{"__metadata__":{"a":' + text):
        refusal(file_of(header))


# One array's description


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"dtype": "F32", "shape": [2]},
        {"dtype": "F32", "data_offsets": [0, 8]},
        {"shape": [2], "data_offsets": [0, 8]},
        array(extra=1),
        {"dtype": "F32", "shape": [2], "offsets": [0, 8]},
    ],
)
def test_a_description_with_other_members_than_the_three(entry: dict[str, object]) -> None:
    assert "it has dtype, shape and data_offsets, once each" in refusal(file_of({"w": entry}, 8))


def test_a_description_that_says_something_twice() -> None:
    header = '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"shape":[2]}}'
    assert "once each" in refusal(file_of(header, 8))


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        ("BOOL", "no mean"),
        ("BF16", "save it as F32"),
        ("F8_E4M3", "F16 or F32"),
        ("F8_E5M2", "F16 or F32"),
        ("C64", "complex"),
        ("F4", "may hold F64"),
        ("f32", "may hold F64"),
        ("", "may hold F64"),
        (None, "may hold F64"),
        (32, "may hold F64"),
        (["F32"], "may hold F64"),
        ("F" * 1000, "may hold F64"),
    ],
)
def test_a_dtype_that_cannot_be_averaged_is_refused_by_name(dtype: object, reason: str) -> None:
    message = refusal(file_of({"w": array(dtype=dtype)}, 8))
    assert message.startswith("'w' has dtype ")
    assert reason in message
    assert len(message) < 400


@pytest.mark.parametrize(
    "shape",
    [
        None,
        2,
        "2",
        [2.0],
        ["2"],
        [True, 2],
        [-2],
        [-1, -2],
        [None],
        [[2]],
        {"0": 2},
        [1] * 33,
        [2**63],
        [10**400],
        [1e400],
    ],
)
def test_a_shape_that_is_none(shape: object) -> None:
    text = json.dumps({"w": array(shape=shape)}).replace("Infinity", "1e400")
    assert "'w'" in refusal(file_of(text, 8))


@pytest.mark.parametrize(
    "shape", [[2**62], [2**62, 4], [2**32, 2**32], [2**62, 2**62, 2**62], [0, 2**62, 2**62], [2**63 - 1] * 32]
)
def test_a_huge_shape_is_refused_by_arithmetic_and_not_by_trying(shape: list[int]) -> None:
    assert "larger than any array can be" in refusal(file_of({"w": array(0, 0, shape=shape)}))


@pytest.mark.parametrize("shape", [[3], [1], [], [2, 0], [2, 2]])
def test_a_shape_that_does_not_fit_its_bytes(shape: list[int]) -> None:
    assert "'w' has 8 bytes at data_offsets [0, 8]" in refusal(file_of({"w": array(shape=shape)}, 8))


@pytest.mark.parametrize(
    "offsets",
    [
        None,
        [],
        [8],
        [0, 8, 16],
        [8, 0],
        [-8, 0],
        [0.0, 8.0],
        [False, 8],
        ["0", "8"],
        {"0": 8},
        [0, 2**64],
        [0, 10**300],
    ],
)
def test_offsets_that_are_none(offsets: object) -> None:
    assert "'w'" in refusal(file_of({"w": array(data_offsets=offsets)}, 8))


@pytest.mark.parametrize(
    ("second", "data", "wanted"),
    [
        (array(0, 8), 8, "overlaps 'a', which ends"),
        (array(4, 12), 12, "overlaps 'a', which ends"),
        (array(9, 17), 17, "leaves a hole after 'a'"),
        (array(16, 24), 24, "leaves a hole after 'a'"),
        (array(4, 4, shape=[0]), 8, "overlaps 'a'"),
        (array(2**62, 2**62 + 8), 16, "leaves a hole after 'a'"),
    ],
)
def test_arrays_that_overlap_or_leave_holes(second: dict[str, object], data: int, wanted: str) -> None:
    assert wanted in refusal(file_of({"a": array(0, 8), "b": second}, data))


def test_data_that_begins_with_a_hole() -> None:
    assert "leaves a hole after the header" in refusal(file_of({"a": array(8, 16)}, 16))


# Metadata


@pytest.mark.parametrize("metadata", [None, [], "text", {"a": 1}, {"a": None}, {"a": {}}, {"a": ["b"]}])
def test_metadata_that_are_not_texts_by_name(metadata: object) -> None:
    assert "wanted there" in refusal(file_of({"__metadata__": metadata, "w": array()}, 8))


def test_metadata_that_come_twice() -> None:
    entry = json.dumps(array())
    assert "comes twice" in refusal(file_of(f'{{"__metadata__":{{}},"w":{entry},"__metadata__":{{}}}}', 8))
    assert "'k' comes twice in __metadata__" in refusal(file_of('{"__metadata__":{"k":"1","k":"2"}}'))


@pytest.mark.parametrize(
    "buffers", ["", "w", "[", "{}", "null", '["w"', "[1]", '[["w"]]', "[" * 100_000, '["' + "x" * 5 * MIB]
)
def test_a_list_of_buffers_that_is_none(buffers: str) -> None:
    content = file_of({"__metadata__": {"hansa.buffers": buffers}, "w": array()}, 8)
    layout = read_layout(io.BytesIO(content), len(content))
    with pytest.raises(BadModelFileError, match=r"metadata 'hansa.buffers'"):
        layout.spec()


def test_a_buffer_that_the_file_does_not_hold() -> None:
    content = file_of({"__metadata__": {"hansa.buffers": '["v"]'}, "w": array()}, 8)
    with pytest.raises(BadModelFileError, match="'v' should be a buffer, but the file holds no array of that name"):
        read_layout(io.BytesIO(content), len(content)).spec()


# Memory


def entries(count: int) -> str:
    return ",".join(f'"{i}":{{"dtype":"U8","shape":[],"data_offsets":[{i},{i + 1}]}}' for i in range(count))


BOMBS = {
    "empty lists": '{"w":[' + "[]," * 5_000_000,
    "empty objects": '{"w":[' + "{}," * 5_000_000,
    "numbers in a shape": '{"w":{"dtype":"F32","shape":[' + "1000," * 3_000_000,
    "members of a description": '{"w":{' + "".join(f'"{i}":1,' for i in range(1_200_000)),
    "metadata": '{"__metadata__":{' + ",".join(f'"{i}":""' for i in range(1_300_000)) + "}}",
    "strings in metadata": '{"__metadata__":{"a":[' + '"ab",' * 3_000_000,
    "one long name": '{"' + "x" * 16_000_000 + '":{}}',
    "one long wide name": '{"😀' + "x" * 16_000_000 + '":{}}',
    "spaces": " " * 16_000_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_header_of_16_mib_does_not_become_more_than_a_few_times_that(bomb: str) -> None:
    content = file_of(BOMBS[bomb][: MAX_HEADER - 8])
    tracemalloc.start()
    try:
        refusal(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    limit = 160 * MIB if "wide" in bomb else 64 * MIB
    assert peak < limit, f"{peak / MIB:.0f} MiB"


def test_a_million_arrays_are_refused_at_the_hundred_thousandth() -> None:
    content = file_of("{" + entries(1_000_000)[: MAX_HEADER - 8])
    assert len(content) > 15 * MIB
    assert f"more than {MAX_ARRAYS + 1} members" in refusal(content)


def test_as_many_arrays_as_the_limit_are_read_and_one_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hansa.formats.header.MAX_ARRAYS", 1000)
    content = file_of('{"__metadata__":{"a":"b"},' + entries(1000) + "}", 1000)
    assert len(read_layout(io.BytesIO(content), len(content)).arrays) == 1000
    assert "more than 1000 arrays" in refusal(file_of("{" + entries(1001) + "}", 1001))


def test_metadata_have_a_limit_too() -> None:
    metadata = {str(i): "" for i in range(MAX_METADATA + 1)}
    assert f"__metadata__ has more than {MAX_METADATA} members" in refusal(file_of({"__metadata__": metadata}))
