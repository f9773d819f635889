"""POST /api/models/: the fields of a new model, right and wrong."""

import pytest
from django.contrib.auth.hashers import make_password

from hansa.protocol.models import ModelCreated, ModelMetadata
from hansa.server.lifecycle.bridge import call
from support.answers import nothing_changes, refused_field, shown
from support.work import file_of, small_params

URL = "/api/models/"
FILE = ("model.safetensors", file_of(small_params()).content)


async def made(person, *fields):
    """The record of a model made with these fields, each of which may repeat, before and after its file."""
    parts = [("description", (None, "d")), ("model_file", FILE), ("name", (None, "net"))]
    parts += [(name, (None, value)) for name, value in fields]
    created = shown(await person.post(URL, files=parts), ModelCreated, 201)
    return shown(await person.get(f"{URL}{created.model_id}/metadata/"), ModelMetadata)


@pytest.mark.parametrize(
    ("text", "kind"), [("GLOBAL", "global"), ("global", "global"), ("SWAG", "swag"), ("Swag", "swag")]
)
async def test_the_type_in_any_case(alice, text, kind):
    assert (await made(alice, ("type", text))).kind == kind


async def test_a_swag_model_has_empty_moments_at_first(alice):
    record = await made(alice, ("type", "SWAG"))
    assert (record.swag_first_moment, record.swag_second_moment) == ("", "")

    record = await made(alice)
    assert (record.swag_first_moment, record.swag_second_moment) == (None, None)


async def test_the_round_is_what_the_count_begins_with(alice):
    assert (await made(alice, ("round", "7"))).round == 7
    assert (await made(alice)).round == 0


@pytest.mark.parametrize(
    ("texts", "shape"),
    [
        (["None", "1", "28", "28"], [None, 1, 28, 28]),
        (["null", "NONE", "Null", "3"], [None, None, None, 3]),
        (["5"], [5]),
        (["None"], None),
        ([], None),
    ],
)
async def test_the_input_shape_is_a_field_per_dimension(alice, texts, shape):
    assert (await made(alice, *[("input_shape", text) for text in texts])).input_shape == shape


async def test_a_description_may_be_left_out(alice):
    shown(await alice.post(URL, data={"name": "net"}, files={"model_file": FILE}), ModelCreated, 201)


WRONG = {
    "unknown type": ("type", ["ENSEMBLE"], "there are GLOBAL, SWAG and MEAN"),
    "empty type": ("type", [""], "there are GLOBAL, SWAG and MEAN"),
    "negative round": ("round", ["-1"], ">= 0"),
    "half a round": ("round", ["1.5"], "Expected `int`"),
    "round in words": ("round", ["first"], "Expected `int`"),
    "no round": ("round", [""], "Expected `int`"),
    "endless round": ("round", ["9" * 18], "<="),
    "more than a round": ("round", ["9" * 5000], "Expected `int`"),
    "dimension of nothing": ("input_shape[1]", ["None", "0"], ">= 1"),
    "negative dimension": ("input_shape[0]", ["-3"], ">= 1"),
    "dimension in words": ("input_shape[0]", ["many"], "int"),
    "too many dimensions": ("input_shape", ["1"] * 33, "1 to 32"),
    "too large an input": ("input_shape", ["1000000"] * 3, "more than"),
}


@pytest.mark.parametrize(("field", "texts", "words"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_said_by_field_and_nothing_is_kept(alice, field, texts, words):
    name = field.partition("[")[0]
    parts = [("name", (None, "net")), ("model_file", FILE), *[(name, (None, text)) for text in texts]]

    async with nothing_changes():
        refused_field(await alice.post(URL, files=parts), field, words)


async def test_all_that_is_wrong_is_said_at_once(alice):
    parts = [("name", (None, "")), ("type", (None, "X")), ("model_file", FILE), ("input_shape", (None, "1"))]
    async with nothing_changes():
        response = await alice.post(URL, files=parts)

    assert response.status_code == 400
    assert response.json().keys() == {"name", "type"}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"name": 3}, "name"),
        ({"name": "n", "type": None}, "type"),
        ({"name": "n", "type": "MEAN", "models": "all"}, "models"),
        ({"name": "n", "type": "MEAN", "models": [3]}, "models[0]"),
        ({"name": "n", "round": -1}, "round"),
        ({"name": "n", "round": "1"}, "round"),
        ({"name": "n", "input_shape": [None, "1"]}, "input_shape[1]"),
        ({"name": "n", "type": "SWAG"}, "model_file"),
    ],
)
async def test_what_is_wrong_in_json_is_said_by_field(alice, message, field):
    async with nothing_changes():
        refused_field(await alice.post(URL, json=message), field)


@pytest.mark.parametrize("content", [b"{", b"[]", b'"name"', b"\xff", b"[" * 100_000])
async def test_json_that_cannot_be_read_is_refused(alice, content):
    async with nothing_changes():
        response = await alice.post(URL, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 413)


@pytest.fixture
def eve(person):
    """Somebody without any role."""
    return person("eve")


async def test_a_person_without_the_actor_role_may_make_models(eve):
    eve.user.password = make_password("correct horse battery")
    await call(eve.user.save)

    shown(await eve.post(URL, data={"name": "net"}, files={"model_file": FILE}), ModelCreated, 201)
