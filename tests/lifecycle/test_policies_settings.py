"""Metadata, injected settings, schema, and the project's defaults: rows P7, P9, P10 and P11."""

import json

import pytest
from django.test import override_settings
from django.urls import path
from rest_framework import renderers
from rest_framework.exceptions import ParseError
from rest_framework.metadata import BaseMetadata, SimpleMetadata
from rest_framework.response import Response
from rest_framework.schemas.openapi import AutoSchema, SchemaGenerator
from rest_framework.settings import APISettings, api_settings
from rest_framework.views import APIView as DRFView

from hansa.server.lifecycle.decorators import api_view, metadata_class, schema
from hansa.server.lifecycle.views import APIView
from lifecycle.project import (
    AWAITED,
    DRF_OF,
    WAYS,
    Shout,
    alike,
    bare,
    make_class,
    make_view,
    place,
)

CLASS_WAYS = tuple(way for way in WAYS if "function" not in way)


def hello(request, **kwargs):
    return Response({"hello": "world"})


# P7.


class Plainly(BaseMetadata):
    def determine_metadata(self, request, view):
        return {"about": type(view).__name__, "in": place()}


class Awaitedly(Plainly):
    async def adetermine_metadata(self, request, view):
        return {"about": type(view).__name__, "in": place()}


async def test_p7_a_metadata_class_says_what_options_answers_and_may_query(serve, way):
    answered = await serve(make_view(way, hello, metadata_class=Plainly)).ask("OPTIONS")

    assert answered.status == 200
    assert answered.json["in"] != "loop"


async def test_p7_awaited_metadata_is_awaited_in_plain_views_too(serve, way):
    answered = await serve(make_view(way, hello, metadata_class=Awaitedly)).ask("OPTIONS")

    assert answered.status == 200
    assert answered.json["about"] in ("Example", "example")
    assert answered.json["in"] == "loop"


async def test_p7_without_metadata_options_is_405(serve, way):
    theirs = await serve(make_view(DRF_OF[way], hello, metadata_class=None)).ask_wsgi("OPTIONS")
    ours = await serve(make_view(way, hello, metadata_class=None)).ask("OPTIONS")

    assert alike(ours, theirs)
    assert ours.status == 405


async def test_p7_a_function_says_its_metadata_by_the_decorator(serve):
    @api_view(["GET"])
    @bare
    @metadata_class(Awaitedly)
    async def about(request):
        return Response()

    assert (await serve(about).ask("OPTIONS")).json == {"about": "about", "in": "loop"}


# P9.


async def test_p9_settings_can_be_put_in_place_on_a_class(serve, class_way):
    def refuses(exc, context):
        return Response({"own": str(exc)}, status=418)

    def broken(request):
        raise ParseError("no")

    own = APISettings({"EXCEPTION_HANDLER": refuses, "VIEW_NAME_FUNCTION": lambda view: "Named"})
    site = serve(make_view(class_way, broken, settings=own))

    answered = await site.ask()
    assert (answered.status, answered.json) == (418, {"own": "no"})
    assert (await site.ask("OPTIONS")).json["name"] == "Named"


def test_p9_the_settings_of_every_class_are_drfs():
    assert APIView.settings is api_settings


# P10.


@pytest.mark.parametrize("way", CLASS_WAYS)
def test_p10_the_schema_is_bound_to_the_view_that_asks(way):
    cls = make_class(way, hello, schema=AutoSchema())
    first, second = cls(), cls()

    assert first.schema.view is first
    assert second.schema.view is second
    assert make_class(way, hello, schema=None)().schema is None


@pytest.mark.parametrize("way", CLASS_WAYS)
def test_p10_awaited_handlers_are_described_as_plain_ones_are(way):
    def described(way):
        view = make_view(way, hello, ["get", "post"], schema=AutoSchema())
        return SchemaGenerator(title="t", patterns=[path("example/", view)]).get_schema(request=None, public=True)

    assert json.dumps(described(way)) == json.dumps(described(DRF_OF[way]))


def test_p10_a_function_leaves_the_schema_by_the_decorator():
    @api_view(["GET"])
    @bare
    @schema(None)
    async def hidden(request):
        return Response()

    assert hidden.cls.schema is None


# P11.


def test_p11_the_projects_defaults_are_read_when_drf_is_imported_and_a_class_attribute_wins():
    for name in (
        "renderer_classes",
        "parser_classes",
        "authentication_classes",
        "permission_classes",
        "throttle_classes",
    ):
        assert getattr(APIView, name) is getattr(DRFView, name)
    for name, default in (("metadata_class", SimpleMetadata), ("versioning_class", None)):
        assert getattr(APIView, name) is default


@pytest.mark.parametrize("way", AWAITED)
async def test_p11_overridden_settings_are_read_anew(serve, way):
    site = serve(make_view(way, hello, renderer_classes=(Shout, renderers.JSONRenderer)))

    with override_settings(REST_FRAMEWORK={"URL_FORMAT_OVERRIDE": "as"}):
        assert (await site.ask(url="/?as=json")).json == {"hello": "world"}
        assert (await site.ask(url="/?format=json")).body == b"text/shout WORLD!"
    assert (await site.ask(url="/?format=json")).json == {"hello": "world"}


async def test_p11_an_exception_handler_of_the_project_is_read_anew(serve, way):
    def broken(request):
        raise ParseError("no")

    site = serve(make_view(way, broken))
    with override_settings(REST_FRAMEWORK={"EXCEPTION_HANDLER": lambda exc, context: Response("own", status=418)}):
        assert (await site.ask()).status == 418
    assert (await site.ask()).status == 400
