"""What may be sent as a model's input, what becomes of it, and what is said of what may not."""

import base64
import io
import json
import pickle
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hansa.server.inference import decoding
from hansa.server.inference.decoding import Image, of_bytes, of_json
from hansa.server.inference.errors import InputError

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3) / 7


def saved(tensor):
    stream = io.BytesIO()
    torch.save(tensor, stream)
    return stream.getvalue()


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def png(size=2):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + b"\xff" * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


FORMS = {
    "a saved tensor": saved(torch.from_numpy(ARRAY)),
    "safetensors": safetensors.numpy.save({"x": ARRAY}),
    "npy": npy(ARRAY),
    "npy by column": npy(np.asfortranarray(ARRAY)),
    "numbers": json.dumps(ARRAY.tolist()).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_array_is_the_same_in_every_form_and_as_base64(form):
    for content in (FORMS[form], base64.b64encode(FORMS[form])):
        found = of_bytes(content)

        assert found.dtype == np.float32
        assert np.array_equal(found, ARRAY)


def test_text_in_json_is_read_as_text_in_a_form():
    assert np.array_equal(of_json(json.dumps(base64.b64encode(FORMS["npy"]).decode()).encode()), ARRAY)
    assert np.array_equal(of_json(json.dumps(FORMS["numbers"].decode()).encode()), ARRAY)


def test_base64_is_undone_once():
    twice = base64.b64encode(base64.b64encode(FORMS["npy"]))

    with pytest.raises(InputError, match="wanted are nested numbers"):
        of_bytes(twice)


def test_base64_that_is_not_canonical_is_none():
    text = base64.b64encode(b"[[1.5]]")
    assert of_bytes(text).tolist() == [[1.5]]

    with pytest.raises(InputError):
        of_bytes(text.rstrip(b"=")[:-1] + b"1" + b"=" * text.count(b"="))  # other spare bits


def test_a_number_is_a_number_though_it_could_be_base64():
    assert of_bytes(b"1234").tolist() == 1234


def test_whole_numbers_are_int64_and_others_float32_as_torch_has_them():
    assert of_json(b"[[1, 2]]").dtype == np.int64
    assert of_json(b"[[1.0, 2]]").dtype == np.float32
    assert of_json(b"[[true, false]]").dtype == bool
    assert decoding.converted(of_json(b"[[1, 2]]"), "float32").dtype == np.float32


def test_a_conversion_that_changes_numbers_is_refused():
    with pytest.raises(InputError, match="Leave `dtype` out"):
        decoding.converted(of_json(b"[1.5]"), "int64")
    with pytest.raises(InputError, match="inf"):
        decoding.converted(of_json(b"[1e30]"), "float16")


@pytest.mark.parametrize("content", [png(), b"\xff\xd8\xff\xe0 jpeg", b"RIFF0000WEBPVP8 "], ids=["png", "jpeg", "webp"])
def test_an_image_is_recognised_and_left_as_it_is(content):
    assert of_bytes(content) == Image(content)
    assert of_bytes(base64.b64encode(content)) == Image(content)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[[1, 2], [3]]", "1 entries at [1]"),
        (b"[[1, 2], 3]", "a int at [1]"),
        (b"[1, [2]]", "a list at [1]"),
        (b'[["a"]]', "str at [0, 0]"),
        (b"[null]", "NoneType at [0]"),
        (b'[{"a": 1}]', "dict at [0]"),
        (b"[1e300]", "inf at [0]"),
        (b"[18446744073709551617]", "too large"),
        (b"[18446744073709551615]", "too large"),
        (b"[1, 2", "no JSON"),
        (b"[NaN]", "no JSON"),
        (b"[" * 40 + b"]" * 40, "at most 32 dimensions"),
        (b"[" * 5000, "nested too deeply"),
        (b"", "begins with nothing: it is empty"),
        (b"hello", "begins with 'hello'"),
        (pickle.dumps([1.0]), "never read"),
        (npy(np.array([{}], dtype=object), allow_pickle=True), "without objects"),
        (npy(np.zeros((4, 4)))[:-8], "120 follow"),
        (npy(np.array([1 + 2j])), "<c16"),
        (npy(np.array(["a"])), "<U1"),
        (npy(np.array([np.nan])), "nan at [0]"),
        (saved({"a": torch.ones(1)}), "wanted is one tensor"),
        (saved(torch.ones(1).expand(10**6)), "share the same numbers"),
        (saved(torch.tensor([torch.inf])), "inf at [0]"),
        (safetensors.numpy.save({"a": ARRAY, "b": ARRAY}), "hold 2 arrays ('a', 'b')"),
        (safetensors.numpy.save({"a": ARRAY})[:-1], "looks like safetensors"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_was_seen(text, words):
    with pytest.raises(InputError) as refusal:
        of_bytes(text)

    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "header",
    [
        "(" * 2000,
        "\0{",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808, 0), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (900000000000000000, 0), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2**40,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 100 + "), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (100,), }",
        "{'descr': '<b8', 'fortran_order': False, 'shape': (), }",
        "{'descr': '<f1', 'fortran_order': False, 'shape': (8,), }",
        "{'descr': '(2,)f4', 'fortran_order': False, 'shape': (), }",
        "{[]: 1}",
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (), }",
    ],
)
def test_a_crafted_header_of_an_npy_is_refused_as_any_other_input(header):
    with pytest.raises(InputError, match=r"begins as \.npy.*numpy\.save"):
        of_bytes(crafted(header.encode()) + bytes(8))


def crafted(header):
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header


@given(
    st.one_of(
        st.binary(max_size=40).map(lambda rest: b"\x93NUMPY" + rest),
        st.binary(max_size=80).map(crafted),
        st.lists(st.sampled_from([*"{}()[],:'<|-0189", "descr", "shape", "fortran_order", "f4", "True", " "])).map(
            lambda words: crafted("".join(words).encode())
        ),
        st.tuples(st.integers(0, 127), st.integers(0, 255)).map(
            lambda change: npy(ARRAY)[: change[0]] + bytes([change[1]]) + npy(ARRAY)[change[0] + 1 :]
        ),
    )
)
def test_whatever_follows_the_magic_of_an_npy_is_read_or_refused(content):
    with suppress(InputError):
        assert isinstance(of_bytes(content), np.ndarray)


@pytest.mark.parametrize("text", [b'"\xff"', b'"\\ud800"', b'["\xff"]', b"[" * 100_000])
def test_json_that_is_none_is_an_error_of_the_input(text):
    with pytest.raises(InputError):
        of_json(text)


def test_numbers_as_text_have_a_limit_that_names_a_better_way():
    with pytest.raises(InputError, match=r"safetensors or \.npy"):
        of_bytes(b"[" + b"0," * decoding.TEXT_LIMIT + b"0]")


def test_of_several_arrays_the_one_that_is_named_model_input_counts():
    assert np.array_equal(of_bytes(safetensors.numpy.save({"a": ARRAY[:1], "model_input": ARRAY})), ARRAY)


def test_a_header_that_promises_more_than_there_is_allocates_nothing():
    huge = npy(np.zeros(1)).replace(b"(1,), }        ", b"(10**14,), }   ").replace(b"10**14", b"900000")
    with pytest.raises(InputError, match="8 follow"):
        of_bytes(huge)


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.int64, np.uint8]), arrays.array_shapes(max_dims=4), elements=st.integers(0, 99)
    )
)
def test_any_array_comes_through_every_file(array):
    for content in (npy(array), safetensors.numpy.save({"x": array}), saved(torch.from_numpy(array))):
        found = of_bytes(content)
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(content):
    with suppress(InputError):
        assert isinstance(of_bytes(content), np.ndarray | Image)


@pytest.mark.parametrize(
    ("shape", "wanted", "fits"),
    [((1, 3), [None, 3], True), ((7, 3), [None, 3], True), ((1, 4), [None, 3], False), ((3,), [None, 3], False)],
)
def test_every_dimension_that_the_model_names_must_be_met(shape, wanted, fits):
    if fits:
        decoding.check_shape(np.zeros(shape), wanted)
    else:
        with pytest.raises(InputError, match=r"input_shape is \[any, 3\]"):
            decoding.check_shape(np.zeros(shape), wanted)
