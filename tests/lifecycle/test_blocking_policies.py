"""Policies of a project's own that block are asked on a thread, also where ours are asked on the event loop."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import TooManyFieldsSent
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.response import Response

from hansa.server.lifecycle.throttles import RateThrottle
from lifecycle.project import AWAITED, make_view, place

TEXT = {"Content-Type": "text/plain"}


class Looking(BaseParser):
    media_type = "text/plain"

    def parse(self, stream, media_type=None, parser_context=None):
        return {"parsed": place(), "text": stream.read().decode()}


class LookingInPlace(Looking):
    in_place = True


class Refusing(BaseParser):
    media_type = "text/plain"

    def parse(self, stream, media_type=None, parser_context=None):
        raise TooManyFieldsSent("Too many.")


@pytest.mark.parametrize("way", AWAITED)
@pytest.mark.parametrize(("parser", "on_the_loop"), [(Looking, False), (LookingInPlace, True)])
async def test_p2_a_parser_of_ones_own_may_query_whatever_the_length_of_the_body(serve, way, parser, on_the_loop):
    site = serve(make_view(way, lambda request: Response(request.data), ["post"], parser_classes=[parser]))

    answered = (await site.ask("POST", body=b"short", headers=TEXT)).json

    assert answered["text"] == "short"
    assert (answered["parsed"] == "loop") is (on_the_loop and not way.startswith("plain"))


@pytest.mark.parametrize("length", [10, 100_000])
async def test_p2_what_a_parser_raises_is_raised_where_the_data_is_read_and_only_there(serve, way, length):
    def reads(request):
        return Response(request.data if "read" in request.query_params else "not read")

    site = serve(make_view(way, reads, ["post"], parser_classes=[Refusing]))

    assert (await site.ask("POST", "/", bytes(length), TEXT)).json == "not read"
    assert (await site.ask("POST", "/?read", bytes(length), TEXT)).status == 400


class ByUser(RateThrottle):
    rate = "1/day"

    def get_key(self, request, view):
        return str(request.user)


class Blocking(BaseAuthentication):
    def authenticate(self, request):
        return AnonymousUser(), place()


async def test_l4_a_throttle_that_looks_at_the_user_authenticates_lazily(serve, class_way):
    def lazily(self, request):
        pass

    view = make_view(
        class_way,
        lambda request: Response(request.auth),
        authentication_classes=[Blocking],
        throttle_classes=[type("Mine", (ByUser,), {})],
        perform_authentication=lazily,
    )
    site = serve(view)
    first, second = await site.ask(), await site.ask()

    assert (first.status, second.status) == (200, 429)
    assert first.json != "loop"
