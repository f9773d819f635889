"""Updates in every form: what comes back of what was written, how far it is off, and what is refused."""

import io

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.core.params import Kind, spec_of
from hansa.formats import encodings, safetensors
from hansa.formats.chunks import FileSource, chunks, read_chunk
from hansa.formats.encodings import FORM_KEY, Form, Origin
from hansa.formats.errors import BadModelFileError, NotFiniteError, SpecMismatchError
from hansa.protocol.encodings import Encoding

BASE = "b" * 64
BUFFERS = frozenset({"norm.mean", "norm.count"})
WIDTHS = ("as_model", "float32", "float16", "bfloat16")
FORMS = [Encoding(content=content, dtype=dtype) for content in ("params", "difference") for dtype in WIDTHS]
EPSILON = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""The largest error of a number in the normal range, beside the number."""
SMALLEST = {"float64": 0.0, "float32": 2.0**-150, "float16": 2.0**-25, "bfloat16": 2.0**-134}
"""The largest error below it."""

every_form = pytest.mark.parametrize("encoding", FORMS, ids=lambda form: f"{form.content}-{form.dtype}")


def model(seed=0, moved=0.0):
    rng = np.random.default_rng(seed)
    params = {
        "body.weight": rng.normal(size=(31, 17)).astype(np.float32),
        "body.wide": rng.normal(size=(9, 5)),
        "body.half": rng.normal(size=50).astype(np.float16),
        "body.empty": np.zeros((0, 4), np.float32),
        "head.weight": rng.normal(size=700).astype(np.float32),
        "head.levels": rng.integers(-9, 9, 11).astype(np.int32),
        "norm.mean": rng.normal(size=7).astype(np.float32),
        "norm.count": np.array(3, np.int64),
    }
    step = np.random.default_rng(seed + 1)
    for name, array in params.items():
        if moved and array.dtype.kind == "f":
            params[name] = (array + moved * step.normal(size=array.shape)).astype(array.dtype)
    return params


SPEC = spec_of(model(), buffers=BUFFERS)


@pytest.fixture
def base(tmp_path):
    """The file that was trained from."""
    path = tmp_path / "base.safetensors"
    with path.open("wb") as file:
        layout = safetensors.write(file, model(), BUFFERS)
    with FileSource(path) as source:
        yield Origin(BASE, source, layout)


def written(path, base, params, encoding, spec=SPEC):
    with path.open("wb") as file:
        encodings.write(file, params, spec, encoding, base)
    with path.open("rb") as file:
        layout, form = encodings.read_layout(file, path.stat().st_size)
    encodings.check_fits(layout, form, spec, encoding, BASE)
    return layout, form


def read_back(path, base, encoding, *, piece=2**22, spec=SPEC):
    """All values, in float64, as the server sees them: read in pieces of so many bytes."""
    with path.open("rb") as file:
        layout, form = encodings.read_layout(file, path.stat().st_size)
    found = {array.name: np.empty(array.size) for array in spec}
    with FileSource(path) as source:
        for chunk in chunks(spec, piece):
            room, base_room = bytearray(piece), bytearray(piece)
            out = np.empty(sum(segment.size for segment in chunk))
            origin = None
            if encodings.needs_base(layout, form, chunk):
                origin = np.concatenate(read_chunk(base.source, base.layout, chunk, base_room))
            encodings.fill(out, encodings.parts(source, layout, chunk, room), form, origin)
            start = 0
            for segment in chunk:
                found[segment.name][segment.start : segment.stop] = out[start : start + segment.size]
                start += segment.size
    return {array.name: found[array.name].reshape(array.shape) for array in spec}


@every_form
def test_every_param_is_as_near_as_its_dtype_promises(tmp_path, base, encoding):
    trained, path = model(moved=0.01), tmp_path / "update"
    layout, _ = written(path, base, trained, encoding)

    found = read_back(path, base, encoding)

    for array in SPEC:
        origin = model()[array.name] if encoding.content == "difference" and array.kind is Kind.PARAM else 0
        sent = trained[array.name].astype(np.float64) - origin
        dtype = layout.placed(array.name).dtype
        if np.dtype(array.dtype).kind != "f" or array.kind is Kind.BUFFER:
            assert dtype == array.dtype
            np.testing.assert_array_equal(found[array.name], trained[array.name])
            continue
        bound = np.maximum(EPSILON[dtype] * np.abs(sent), SMALLEST[dtype])
        # and what float64 rounds when the base is taken away and added again
        slack = 2.0**-52 * np.abs(trained[array.name].astype(np.float64))
        assert (np.abs(found[array.name] - trained[array.name]) <= bound + slack).all(), array.name


@given(st.lists(st.floats(-60_000, 60_000, width=32), min_size=1), st.sampled_from(["float16", "bfloat16"]))
def test_whatever_the_numbers_the_error_is_within_the_bound(numbers, dtype):
    params = {"w": np.array(numbers, np.float32)}
    spec, file = spec_of(params), io.BytesIO()
    encodings.write(file, params, spec, Encoding(dtype=dtype), Origin(BASE, None, None))
    file.seek(0)
    layout, form = encodings.read_layout(file, len(file.getvalue()))
    (placed,) = layout.arrays
    raw = np.frombuffer(file.getvalue()[placed.start :], np.uint16)
    found = raw.view(np.float16).astype(np.float64) if dtype == "float16" else encodings.bfloat16.decoded(raw)
    bound = np.maximum(EPSILON[dtype] * np.abs(params["w"]), SMALLEST[dtype])
    assert (np.abs(found - params["w"].astype(np.float64)) <= bound).all()
    assert form == Form(content="params", base=BASE)


@every_form
def test_the_same_bits_are_read_in_pieces_of_any_size(tmp_path, base, encoding):
    path = tmp_path / "update"
    written(path, base, model(moved=0.1), encoding)

    whole = read_back(path, base, encoding)

    for piece in (8, 72, 4096):
        for name, array in read_back(path, base, encoding, piece=piece).items():
            assert array.tobytes() == whole[name].tobytes(), (name, piece)


@every_form
def test_no_form_is_larger_than_the_model(tmp_path, base, encoding):
    layout, _ = written(tmp_path / "update", base, model(moved=0.1), encoding)
    data = sum(placed.stop - placed.start for placed in layout.arrays)
    assert data <= SPEC.nbytes
    if encoding.dtype in ("float16", "bfloat16"):
        assert layout.placed("body.wide").stop - layout.placed("body.wide").start == 45 * 2


def test_a_param_that_is_not_sent_is_the_bases_and_buffers_are_always_sent(tmp_path, base):
    encoding, path = Encoding(content="difference", dtype="bfloat16", params=["head.*"]), tmp_path / "update"
    trained = model(moved=0.1)
    layout, _ = written(path, base, trained, encoding)

    found = read_back(path, base, encoding)

    assert {placed.name for placed in layout.arrays} == {"head.weight", "head.levels", "norm.mean", "norm.count"}
    for name in ("body.weight", "body.wide", "body.half"):
        np.testing.assert_array_equal(found[name], model()[name])
    np.testing.assert_array_equal(found["norm.mean"], trained["norm.mean"])
    assert (found["head.weight"] != model()["head.weight"]).any()


def test_an_update_is_written_in_memory_for_pieces_of_it(tmp_path, base, monkeypatch):
    """In whatever pieces, the same bytes."""
    digests = set()
    for piece in (1, 64, 2**18):
        monkeypatch.setattr(encodings, "PIECE", piece)
        written(tmp_path / "update", base, model(moved=0.1), Encoding(content="difference", dtype="float16"))
        digests.add((tmp_path / "update").read_bytes())
    assert len(digests) == 1


@pytest.mark.parametrize(("content", "word"), [("params", "holds"), ("difference", "changed by")])
def test_a_number_beyond_float16_is_told_before_anything_is_sent(tmp_path, base, content, word):
    trained = model()
    trained["head.weight"][13] = 70_000
    with pytest.raises(NotFiniteError, match=rf"'head.weight' {word} (70000|69999\S*|7e\+04) at flat index 13") as told:
        written(tmp_path / "update", base, trained, Encoding(content=content, dtype="float16"))
    assert "bfloat16" in str(told.value)
    written(tmp_path / "update", base, trained, Encoding(content=content, dtype="bfloat16"))


def altered(path, change):
    """The file with another header."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = msgspec.json.decode(content[8 : 8 + length])
    change(header)
    text = msgspec.json.encode(header)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def read(content, encoding, base=BASE):
    layout, form = encodings.read_layout(io.BytesIO(content), len(content))
    encodings.check_fits(layout, form, SPEC, encoding, base)


OFFERED = Encoding(content="difference", dtype="bfloat16", params=["head.*"])


@pytest.fixture
def sent(tmp_path, base):
    """An update in the form that is offered."""
    written(tmp_path / "update", base, model(moved=0.1), OFFERED)
    return tmp_path / "update"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"content": "params"}', "missing required field `base`"),
        ('{"content": "gradients", "base": ""}', "Invalid enum value 'gradients'"),
        ('{"base": "' + "b" * 5000 + '"}', "the limit is 4096"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(sent, text, told):
    content = altered(sent, lambda header: header["__metadata__"].update({FORM_KEY: text}))
    with pytest.raises(BadModelFileError, match=r"hansa\.update") as error:
        read(content, OFFERED)
    assert told in str(error.value)


def test_another_form_than_the_offered_one_is_refused(sent):
    content = sent.read_bytes()
    for other, told in (
        (None, "does not offer"),
        (Encoding(dtype="bfloat16", params=["head.*"]), "offers the content 'params'"),
        (Encoding(content="difference", dtype="float16", params=["head.*"]), "the encoding carries float16"),
        (Encoding(content="difference", dtype="bfloat16"), "lacks 'body.empty', 'body.half'"),
        (Encoding(content="difference", dtype="bfloat16", params=["body.*"]), "holds 'head.levels', 'head.weight'"),
    ):
        with pytest.raises(SpecMismatchError, match="whole params in the model's dtypes") as error:
            read(content, other)
        assert told in str(error.value)


def test_an_update_that_was_trained_from_elsewhere_is_refused(sent):
    with pytest.raises(SpecMismatchError, match=r"the task begins from"):
        read(sent.read_bytes(), OFFERED, base="a" * 64)


def test_an_array_of_another_shape_is_refused_by_name(sent):
    content = altered(sent, lambda header: header["head.weight"].update(shape=[70, 10]))
    with pytest.raises(SpecMismatchError, match=r"shape \(70, 10\) for 'head.weight'; the model has \(700,\)"):
        read(content, OFFERED)


@pytest.mark.parametrize("cut", [1, 100, 1500])
def test_a_file_that_is_cut_off_is_refused(sent, cut):
    with pytest.raises(BadModelFileError, match="cut off"):
        read(sent.read_bytes()[:-cut], OFFERED)


def test_a_name_that_comes_twice_is_refused(sent):
    content = sent.read_bytes()
    length = int.from_bytes(content[:8], "little")
    text = content[8 : 8 + length].replace(b'"head.levels"', b'"head.weight"')
    with pytest.raises(BadModelFileError, match=r"'head.weight' comes twice"):
        read(content[:8] + text + content[8 + length :], OFFERED)


def test_models_are_refused_in_bfloat16_as_ever(sent):
    with pytest.raises(BadModelFileError, match="save it as F32"):
        safetensors.read_layout(io.BytesIO(sent.read_bytes()), sent.stat().st_size)


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (None, {"a.w", "a.b", "b.w", "[odd]"}),
        (["a.*"], {"a.w", "a.b"}),
        (["*.w"], {"a.w", "b.w"}),
        (["[[]odd]"], {"[odd]"}),
        (["A.*"], set()),
    ],
)
def test_names_are_chosen_by_patterns(patterns, chosen):
    assert encodings.selected(["a.w", "a.b", "b.w", "[odd]"], patterns) == chosen
