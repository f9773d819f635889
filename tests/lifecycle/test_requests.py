"""The request that a view has: what it is made of, who sent it, and its body in every way: rows L3, L4, L9 and L10."""

import re

import pytest
from django.http import RawPostDataException
from django.test import RequestFactory
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.request import Request, WrappedAttributeError
from rest_framework.response import Response
from rest_framework.views import APIView as DRFView

from hansa.server.lifecycle.body import BodyTooLargeError, BodyUnreadError
from hansa.server.lifecycle.views import APIView
from lifecycle.project import BARE, WAYS, make_class, make_view, on_the_loop

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
PARTS = (
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--x\r\nContent-Disposition: form-data; name="f"; filename="n.txt"\r\n\r\nfile\r\n--x--\r\n'
)


class Person:
    is_authenticated = True

    def __init__(self, name):
        self.name = name


class FromQuery(BaseAuthentication):
    """Asked on a thread."""

    def authenticate(self, request):
        assert not on_the_loop()
        return self.find(request)

    def find(self, request):
        name = request.query_params.get("as")
        if name == "wrong":
            raise AuthenticationFailed
        return (Person(name), "by query") if name else None


class InPlace(FromQuery):
    in_place = True

    def authenticate(self, request):
        return self.find(request)


class Awaited(FromQuery):
    async def aauthenticate(self, request):
        assert on_the_loop()
        return self.find(request)


AUTHENTICATORS = [FromQuery, InPlace, Awaited]


@pytest.fixture
def uncaught(monkeypatch):
    """Errors that no view has answered."""
    errors = []
    plain = DRFView.raise_uncaught_exception
    monkeypatch.setattr(
        DRFView, "raise_uncaught_exception", lambda self, exc: (errors.append(exc), plain(self, exc)), raising=True
    )
    return errors


async def test_l3_the_request_has_the_policies_of_its_view_and_shows_djangos_below(serve, way):
    seen = []

    def looks(request, **kwargs):
        request = request.parser_context["request"]
        seen.append(request)
        return Response([request.method, request.path, request.get_host(), request.query_params["q"], request.mine])

    def marks(get_response):
        def middleware(request):
            request.mine = "set by a middleware"
            return get_response(request)

        return middleware

    policies = {"parser_classes": (JSONParser,), "authentication_classes": (InPlace,)}
    site = serve(path("<int:n>/", make_view(way, looks, **policies)), MIDDLEWARE=[marks])
    answered = await site.ask("GET", "/7/?q=1")

    assert answered.json == ["GET", "/7/", "testserver", "1", "set by a middleware"]
    (request,) = seen
    view = request.parser_context["view"]
    assert isinstance(request, Request)
    assert [type(each) for each in (*request.parsers, *request.authenticators)] == [JSONParser, InPlace]
    assert request.negotiator is view.get_content_negotiator()
    assert request.parser_context == {
        "view": view, "args": (), "kwargs": {"n": 7}, "request": request, "encoding": "utf-8"
    }  # fmt: skip
    with pytest.raises(AttributeError, match="'AsyncRequest' object has no attribute 'unknown'"):
        _ = request.unknown


def test_l3_a_view_without_url_arguments_yet_gives_its_parsers_empty_ones():
    view = make_class("awaited class", lambda request: None)()
    request = view.initialize_request(RequestFactory().get("/"))

    assert request.parser_context == {"view": view, "args": (), "kwargs": {}, "request": request, "encoding": "utf-8"}


@pytest.mark.parametrize("way", WAYS)
async def test_l3_only_djangos_requests_are_wrapped(way):
    view = make_view(way, lambda request: Response())
    twice = Request(RequestFactory().get("/"))
    words = re.escape(
        "The `request` argument must be an instance of `django.http.HttpRequest`, not `rest_framework.request.Request`."
    )

    with pytest.raises(AssertionError, match=words):  # noqa: PT012  # a plain view answers, an awaited one promises to
        answer = view(twice)
        await answer


@pytest.mark.parametrize(("body", "headers"), [(b'{"a": 1}', JSON), (b"a=1", FORM), (PARTS, MULTIPART), (b"", {})])
async def test_l3_data_user_and_files_may_be_awaited_or_read(serve, body, headers):
    class Awaiting(APIView):
        locals().update(BARE, authentication_classes=[Awaited])

        async def post(self, request):
            user = await request.auser()
            data = await request.adata()
            assert (user, data) == (request.user, request.data)
            return Response([user.name, _shown(request)])

    def reads(request):
        return Response([request.user.name, _shown(request)])

    plain = make_view("plain class", reads, ["post"], authentication_classes=[FromQuery])
    site = serve(path("awaiting/", Awaiting.as_view()), path("plain/", plain))
    theirs = await site.ask_wsgi("POST", "/plain/?as=bob", body, headers)
    ours = [await site.ask("POST", f"/{url}/?as=bob", body, headers) for url in ("awaiting", "plain")]

    assert theirs.status == 200
    assert [each.json for each in ours] == [theirs.json] * 2


def _shown(request):
    files = {name: file.read().decode() for name, file in request.FILES.items()}
    return [{key: str(value) for key, value in request.data.items()}, dict(request.POST), files]


PLAIN_HANDLERS = ("plain class", "plain handler of an awaited class", "plain viewset", "plain function")


@pytest.mark.parametrize("way", WAYS)
async def test_l3_the_stream_is_a_file_to_be_read(serve, way):
    def reads(request):
        return Response([request.stream.read(3).decode(), request.stream.read().decode()])

    answered = await serve(make_view(way, reads, ["post"])).ask("POST", "/", [b"pie", b"ces"], JSON)

    assert answered.json == ["pie", "ces"]


@pytest.mark.parametrize("way", PLAIN_HANDLERS)
async def test_l3_without_a_body_the_stream_is_none_for_plain_code_as_in_drf(serve, way):
    def looks(request):
        return Response(request.stream is None)

    assert (await serve(make_view(way, looks, ["post"])).ask("POST")).json is True


class Streaming(APIView):
    locals().update(BARE, authentication_classes=[FromQuery], streams_body=True, body_limit=8)

    async def post(self, request):
        pieces = [piece.decode() async for piece in request.stream()]
        if "then" in request.query_params:
            return Response([pieces, await request.adata()])
        return Response(pieces)


async def test_l3_awaited_code_streams_what_comes_as_it_comes(serve):
    site = serve(Streaming.as_view())

    assert (await site.ask("POST", "/", [b"pie", b"ces"], JSON)).json == ["pie", "ces"]
    assert (await site.ask("POST", "/")).json == []
    refused = await site.ask("POST", "/", [b"too ", b"many pieces"], JSON)
    assert (refused.status, refused.received) == (BodyTooLargeError.status_code, 0)
    assert (await site.ask("POST", "/?as=wrong", [b"pie", b"ces"], JSON)).received == 0


async def test_l3_what_was_streamed_is_not_data_as_well_and_says_so(serve, uncaught):
    answered = await serve(Streaming.as_view()).ask("POST", "/?then", b'{"a":1}', JSON)

    assert answered.status == 500
    assert [type(error) for error in uncaught] == [RawPostDataException]
    assert "after reading from request's data stream" in str(uncaught[0])


class Broken(BaseParser):
    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None):
        return self.no_such_attribute


class AwaitedBroken(Broken):
    async def aparse(self, stream, media_type=None, parser_context=None):
        return self.no_such_attribute


class BrokenAuthenticator(FromQuery):
    def find(self, request):
        return self.no_such_attribute


class InPlaceBroken(BrokenAuthenticator, InPlace):
    pass


class AwaitedBrokenAuthenticator(BrokenAuthenticator, Awaited):
    pass


BROKEN = (BrokenAuthenticator, InPlaceBroken, AwaitedBrokenAuthenticator, Broken, AwaitedBroken)


@pytest.mark.parametrize(
    ("way", "broken"),
    [(way, each) for way in WAYS for each in BROKEN if each is not AwaitedBroken or way in PLAIN_HANDLERS],
)
async def test_l3_a_missing_attribute_within_a_policy_is_not_taken_for_one_of_the_request(serve, way, uncaught, broken):
    policies = {"parser_classes" if issubclass(broken, BaseParser) else "authentication_classes": [broken]}

    def looks(request):
        return Response([request.user.is_authenticated, request.data])

    answered = await serve(make_view(way, looks, ["post"], **policies)).ask("POST", "/", b"{}", JSON)

    assert answered.status == 500
    assert [type(error) for error in uncaught] == [WrappedAttributeError]
    assert "no_such_attribute" in str(uncaught[0])


async def test_l3_nor_is_one_within_an_awaited_parser(serve, uncaught):
    class Awaiting(APIView):
        locals().update(BARE, parser_classes=[AwaitedBroken])

        async def post(self, request):
            return Response(await request.adata())

    assert (await serve(Awaiting.as_view()).ask("POST", "/", b"{}", JSON)).status == 500
    assert "no_such_attribute" in str(uncaught[0])


@pytest.mark.parametrize("way", [way for way in WAYS if way not in PLAIN_HANDLERS])
async def test_l3_on_the_loop_an_awaited_parser_has_to_be_awaited_and_says_so(serve, way, uncaught):
    view = make_view(way, lambda request: Response(request.data), ["post"], parser_classes=[AwaitedBroken])

    assert (await serve(view).ask("POST", "/", b"{}", JSON)).status == 500
    assert isinstance(uncaught[0], BodyUnreadError)
    assert "await request.adata()" in str(uncaught[0])
