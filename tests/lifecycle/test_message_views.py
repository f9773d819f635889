"""Messages as Structs: every field that is wrong is named, whoever handles the exceptions and whoever serves."""

from typing import Annotated

import msgspec
import pytest
from django.test import AsyncClient, override_settings
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from rest_framework.response import Response
from rest_framework.test import APIClient

from hansa.server.accounts.models import User
from hansa.server.lifecycle.fields import all_errors_of
from hansa.server.lifecycle.generics import GenericAPIView
from hansa.server.lifecycle.messages import MessageView

FORM = "application/x-www-form-urlencoded"


class Door(msgspec.Struct, forbid_unknown_fields=True):
    width: int


class Card(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=5)]
    age: int
    door: Door | None = None
    tags: list[str] = []


class Cards(MessageView):
    authentication_classes = permission_classes = throttle_classes = ()

    async def post(self, request):
        card = await self.message(Card)
        return Response({"name": card.name, "age": card.age})


urlpatterns = [path("", Cards.as_view())]
RIGHT = b'{"name": "ada", "age": 36}'


@pytest.fixture(params=["DRF's exception handler", "ours"])
def site(request, serve):
    handler = "rest_framework.views.exception_handler"
    if request.param == "ours":
        handler = "hansa.server.lifecycle.answers.exception_handler"
    return serve(Cards.as_view(), REST_FRAMEWORK={"EXCEPTION_HANDLER": handler})


async def test_a_message_that_is_right_is_a_struct(site):
    assert (await site.ask("POST", body=RIGHT)).json == {"name": "ada", "age": 36}


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b"{}", {"name": "This field is required.", "age": "This field is required."}),
        (
            b'{"name": "adelaide", "age": "x", "shoe": 1}',
            {
                "name": "Expected `str` of length <= 5.",
                "age": "Expected `int`, got `str`.",
                "shoe": "There is no such field.",
            },
        ),
        (b'{"name": "ada", "age": 1, "door": {"width": "w"}}', {"door.width": "Expected `int`, got `str`."}),
        (b'{"name": "ada", "age": 1, "door": {}}', {"door.width": "This field is required."}),
        (b'{"name": "ada", "age": 1, "tags": ["a", 1]}', {"tags[1]": "Expected `str`, got `int`."}),
        (b'["name', {"non_field_errors": "Expected `object`, got `array`."}),
        (b"[" * 9_000, {"non_field_errors": "Expected `object`, got `array`."}),
        (b"[]", {"non_field_errors": "Expected `object`, got `array`."}),
        (b"", {"name": "This field is required.", "age": "This field is required."}),
    ],
)
async def test_every_field_that_is_wrong_is_named(site, body, errors):
    answered = await site.ask("POST", body=body, headers={"Content-Type": "application/json"})

    assert answered.status == 400
    assert answered.json == {name: [text] for name, text in errors.items()}


@pytest.mark.parametrize("body", [b"{bad", b'{"name": "\xff"}', b'{"name": "a'])
async def test_what_is_no_json_is_refused_with_a_sentence(site, body):
    answered = await site.ask("POST", body=body, headers={"Content-Type": "application/json"})

    assert answered.status == 400
    assert "detail" in answered.json


async def test_another_media_type_is_415(site):
    assert (await site.ask("POST", body=b"name=ada", headers={"Content-Type": FORM})).status == 415


def test_a_refusal_that_no_field_explains_keeps_its_sentence():
    refusal = msgspec.ValidationError("The whole is wrong")

    assert all_errors_of(refusal, Card, RIGHT) == {"non_field_errors": ["The whole is wrong."]}
    assert all_errors_of(refusal, dict[str, int], b"{}") == {"non_field_errors": ["The whole is wrong."]}


@override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[])
async def test_djangos_asynchronous_test_client_may_be_used():
    answered = await AsyncClient().post("/", data=RIGHT, content_type="application/json")

    assert answered.json() == {"name": "ada", "age": 36}


@override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[])
def test_drfs_test_client_may_be_used():
    client = APIClient()

    assert client.post("/", {"name": "ada", "age": 36}, format="json").data == {"name": "ada", "age": 36}
    assert client.post("/", {"name": "ada"}, format="json").data == {"age": ["This field is required."]}


class People(GenericAPIView):
    authentication_classes = permission_classes = ()

    async def get_queryset(self):
        return User.objects.all()

    async def get(self, request, **named):
        return Response()


def test_schema_tools_ask_awaited_hooks_and_find_no_words_of_ours(recwarn):
    schema = SchemaGenerator(patterns=[path("people/<id>/", People.as_view()), path("cards/", Cards.as_view())])

    paths = schema.get_schema(request=None, public=True)["paths"]

    (parameter,) = paths["/people/{id}/"]["get"]["parameters"]
    assert parameter["schema"] == {"type": "string", "format": "uuid"}
    assert all("description" not in operation for each in paths.values() for operation in each.values())
    assert not [warning for warning in recwarn if "never awaited" in str(warning.message)]
