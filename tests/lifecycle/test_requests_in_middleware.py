"""What views leave for a middleware, and middleware for views; lazy authentication: rows L4, L9 and L10."""

import pytest
from asgiref.sync import markcoroutinefunction
from django.core.exceptions import SynchronousOnlyOperation
from django.http import RawPostDataException
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.response import Response

from hansa.server.lifecycle.body import BodyUnreadError
from hansa.server.lifecycle.views import APIView
from lifecycle.project import BARE, DRF_OF, alike, make_view
from lifecycle.test_requests import AUTHENTICATORS, FORM, JSON, MULTIPART, PARTS, Awaited, InPlace, Person


def asynchronous(function):
    """A middleware around `async def function(request, get_response)`."""

    def factory(get_response):
        async def middleware(request):
            return await function(request, get_response)

        return markcoroutinefunction(middleware)

    factory.sync_capable, factory.async_capable = False, True
    return factory


def synchronous(function):
    """A middleware around `function(request, get_response)`."""

    def factory(get_response):
        return lambda request: function(request, get_response)

    return factory


# L4.


def lazily(self, request):
    """Not yet."""


async def awaited_lazily(self, request):
    """Not yet either."""


@pytest.mark.parametrize("authenticator", AUTHENTICATORS)
@pytest.mark.parametrize("hook", [lazily, awaited_lazily])
@pytest.mark.parametrize("way", ["plain class", "plain handler of an awaited class", "plain viewset"])
async def test_l4_lazy_authentication_happens_where_plain_code_asks_for_the_user(serve, way, hook, authenticator):
    def looks(request):
        if "nobody" in request.query_params:
            return Response("not asked")
        return Response([request.user.name, request.auth, type(request.successful_authenticator).__name__])

    view = make_view(way, looks, authentication_classes=[authenticator], perform_authentication=hook)
    site = serve(view)

    assert (await site.ask(url="/?as=bob")).json == ["bob", "by query", authenticator.__name__]
    assert (await site.ask(url="/?as=wrong&nobody")).json == "not asked"
    assert (await site.ask(url="/?as=wrong")).status == 403


@pytest.mark.parametrize("authenticator", AUTHENTICATORS)
@pytest.mark.parametrize("name", ["user", "auth", "successful_authenticator"])
async def test_l4_on_the_loop_it_has_to_be_awaited(serve, authenticator, name):
    said = []

    class Lazy(APIView):
        locals().update(BARE, authentication_classes=[authenticator], perform_authentication=lazily)

        async def get(self, request):
            try:
                getattr(request, name)
            except SynchronousOnlyOperation as error:
                said.append(str(error))
            user = await request.auser()
            return Response([user.name, request.user is user, request.auth, bool(getattr(request, name))])

    answered = await serve(Lazy.as_view()).ask(url="/?as=bob")

    assert answered.json == ["bob", True, "by query", True]
    words = (
        "request.user was read on the event loop before the request was authenticated. "
        "Write `await request.auser()` first."
    )
    assert said == ([] if authenticator is InPlace else [words])


async def test_l4_a_refusal_comes_when_the_user_is_asked_for(serve):
    class Lazy(APIView):
        locals().update(BARE, authentication_classes=[Awaited], perform_authentication=lazily)

        async def get(self, request):
            try:
                await request.auser()
            except AuthenticationFailed:
                return Response({"then": (await request.auser()).is_authenticated})

    assert (await serve(Lazy.as_view()).ask(url="/?as=wrong")).json == {"then": False}


# L9.


@pytest.mark.parametrize("kind", [asynchronous, synchronous])
@pytest.mark.parametrize("authenticator", AUTHENTICATORS)
async def test_l9_the_user_of_the_view_is_seen_by_middleware_on_the_way_out(serve, way, authenticator, kind):
    seen = []

    def note(request):
        seen.append((getattr(request.user, "name", None), request.auth))

    if kind is asynchronous:

        @asynchronous
        async def notes(request, get_response):
            response = await get_response(request)
            note(request)
            return response
    else:

        @synchronous
        def notes(request, get_response):
            response = get_response(request)
            note(request)
            return response

    def signs_in(request):
        if "sign-in" in request.query_params:
            request.user = Person("carol")
        return Response()

    site = serve(make_view(way, signs_in, authentication_classes=[authenticator]), MIDDLEWARE=[notes])
    for url in ("/?as=bob", "/", "/?sign-in"):
        await site.ask(url=url)

    assert seen == [("bob", "by query"), (None, None), ("carol", None)]


# L10.


@asynchronous
async def loads_and_reads_post(request, get_response):
    if hasattr(request, "load"):
        await request.load()
    _ = request.POST
    return await get_response(request)


@asynchronous
async def loads(request, get_response):
    await request.load()
    return await get_response(request)


@asynchronous
async def reads_post_at_once(request, get_response):
    _ = request.POST
    return await get_response(request)


@synchronous
def reads_post(request, get_response):
    _ = request.POST
    return get_response(request)


@synchronous
def reads_body(request, get_response):
    _ = request.body
    return get_response(request)


def shows(request):
    files = {name: file.read().decode() for name, file in request.FILES.items()}
    return Response([{key: str(value) for key, value in request.data.items()}, dict(request.POST), files])


BODIES = [(b'{"a": 1}', JSON), (b"a=1", FORM), (PARTS, MULTIPART), (b"", FORM)]


@pytest.mark.parametrize("parsers", [(JSONParser, FormParser, MultiPartParser), (JSONParser,)], ids=["forms", "json"])
@pytest.mark.parametrize(("body", "headers"), BODIES, ids=["json", "form", "multipart", "empty"])
@pytest.mark.parametrize(
    ("first", "theirs_first"),
    [(reads_post, reads_post), (reads_body, reads_body), (loads_and_reads_post, reads_post)],
    ids=["POST", "body", "awaited POST"],
)
async def test_l10_what_a_middleware_has_read_is_data_still(serve, way, body, headers, parsers, first, theirs_first):
    theirs = serve(make_view(DRF_OF[way], shows, ["post"], parser_classes=parsers), MIDDLEWARE=[theirs_first])
    expected = await theirs.ask_wsgi("POST", "/", body, headers)
    ours = serve(make_view(way, shows, ["post"], parser_classes=parsers), MIDDLEWARE=[first])

    assert alike(await ours.ask("POST", "/", body, headers), expected)


async def test_l10_on_the_loop_an_awaited_middleware_loads_the_body_first_and_is_told_so(serve, awaited_way):
    said = []

    @asynchronous
    async def reads(request, get_response):
        try:
            _ = request.POST
        except BodyUnreadError as error:
            said.append(str(error))
        return await get_response(request)

    await serve(make_view(awaited_way, shows, ["post"]), MIDDLEWARE=[reads]).ask("POST", "/", b"a=1", FORM)

    assert len(said) == 1
    assert "request.load() in a middleware" in said[0]


class Streaming(APIView):
    locals().update(BARE, streams_body=True)

    async def post(self, request):
        return Response([piece.decode() async for piece in request.stream()])


@pytest.mark.parametrize("first", [loads, loads_and_reads_post])
async def test_l10_a_streamed_body_that_a_middleware_has_loaded_is_streamed_from_there(serve, first):
    site = serve(Streaming.as_view(), MIDDLEWARE=[first])

    assert (await site.ask("POST", "/", [b'{"a"', b": 1}"], JSON)).json == ['{"a": 1}']


@pytest.mark.parametrize("first", [reads_post, reads_body, reads_post_at_once])
async def test_l10_plain_middleware_may_not_read_what_a_view_streams(serve, caplog, first):
    answered = await serve(Streaming.as_view(), MIDDLEWARE=[first]).ask("POST", "/", b"a=1", FORM)

    assert answered.status == 500
    assert any(record.exc_info and record.exc_info[0] is BodyUnreadError for record in caplog.records)


async def test_l10_a_form_that_a_middleware_has_parsed_cannot_be_streamed_and_says_so(serve, caplog):
    site = serve(Streaming.as_view(), MIDDLEWARE=[loads_and_reads_post])
    answered = await site.ask("POST", "/", PARTS, MULTIPART)

    assert answered.status == 500
    (error,) = {record.exc_info[1] for record in caplog.records if record.exc_info}
    assert isinstance(error, RawPostDataException)
    assert "Read request.data instead" in str(error)
