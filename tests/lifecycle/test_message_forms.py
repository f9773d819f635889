"""A message as an HTML form: its texts are read as the Struct's types say, and refused as its JSON would be."""

from typing import Annotated
from urllib.parse import urlencode

import msgspec
import pytest
from rest_framework.response import Response

from hansa.server.lifecycle.forms import FIELDS, URLENCODED, as_json
from hansa.server.lifecycle.messages import FormMessageView


class Card(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(max_length=5)]
    age: int = 0
    height: float | None = None
    member: bool = False


class Cards(FormMessageView):
    authentication_classes = permission_classes = throttle_classes = ()

    async def post(self, request):
        return Response(msgspec.to_builtins(await self.message(Card)))


@pytest.fixture
def site(serve):
    return serve(Cards.as_view())


def multipart(fields):
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    return "".join([*parts, "--x--\r\n"]).encode()


KINDS = {
    URLENCODED: lambda fields: urlencode(fields).encode(),
    "multipart/form-data; boundary=x": multipart,
}


@pytest.fixture(params=KINDS)
def send(site, request):
    async def post(**fields):
        return await site.ask("POST", body=KINDS[request.param](fields), headers={"Content-Type": request.param})

    return post


async def test_texts_become_what_the_fields_are(send):
    answered = await send(name="1e3é", age="36", height="1.7", member="True")

    assert answered.json == {"name": "1e3é", "age": 36, "height": 1.7, "member": True}


async def test_a_text_that_is_none_of_its_fields_kind_is_refused_as_in_json(send):
    answered = await send(name="adelaide", age="old", height="tall", member="on", shoe="1")

    assert answered.status == 400
    assert answered.json == {
        "name": ["Expected `str` of length <= 5."],
        "age": ["Expected `int`, got `str`."],
        "height": ["Expected `float | null`, got `str`."],
        "member": ["Expected `bool`, got `str`."],
        "shoe": ["There is no such field."],
    }


async def test_a_field_that_is_missing_is_named(send):
    assert (await send(age="1")).json == {"name": ["This field is required."]}


async def test_json_is_taken_as_ever(site):
    answered = await site.ask("POST", body=b'{"name": "ada"}', headers={"Content-Type": "application/json"})

    assert answered.json["name"] == "ada"


async def test_any_other_kind_is_refused(site):
    answered = await site.ask("POST", body=b"<name/>", headers={"Content-Type": "application/xml"})

    assert answered.status == 415


async def test_a_form_that_is_too_large_is_refused(site):
    for kind in KINDS:
        answered = await site.ask("POST", body=b"x" * 70_000, headers={"Content-Type": kind})
        assert answered.status == 413


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"name=%ff", URLENCODED, "not UTF-8"),
        (b"name=\xff", URLENCODED, "not UTF-8"),
        (b"&".join(b"f%d=" % number for number in range(FIELDS + 1)), URLENCODED, f"more than {FIELDS} fields"),
        (b"name=ada", "multipart/form-data", "boundary"),
    ],
)
async def test_what_is_no_form_is_refused_with_a_sentence(site, body, kind, words):
    answered = await site.ask("POST", body=body, headers={"Content-Type": kind})

    assert answered.status == 400
    assert words in answered.json["detail"]


def test_of_a_name_that_comes_twice_the_last_counts():
    assert as_json(b"name=ada&name=eva", URLENCODED, Card) == b'{"name":"eva"}'


def test_the_name_of_a_kind_may_be_written_in_capitals():
    assert as_json(b"name=ada", URLENCODED.upper(), Card) == b'{"name":"ada"}'
