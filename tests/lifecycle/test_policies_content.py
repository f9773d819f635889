"""Renderers, parsers and their negotiation: rows P1, P2 and P6."""

import pytest
from rest_framework import renderers
from rest_framework.exceptions import NotAcceptable, ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser, DataAndFiles, JSONParser
from rest_framework.response import Response

from hansa.server.lifecycle.decorators import api_view, parser_classes, renderer_classes
from hansa.server.lifecycle.views import APIView
from lifecycle.project import (
    BARE,
    DRF_OF,
    WAYS,
    Shout,
    alike,
    bare,
    make_view,
    place,
)


def hello(request, **kwargs):
    return Response({"hello": "world"})


def echo(request):
    return Response({"data": request.data})


class Whisper(Shout):
    media_type = "text/whisper"
    format = "whisper"
    places: list[str] = []

    async def arender(self, data, accepted_media_type=None, renderer_context=None):
        self.places.append(place())
        assert set(renderer_context) == {"view", "args", "kwargs", "request", "response"}
        return f"{accepted_media_type} …{data['hello']}".encode()


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", "text/shout; charset=latin-1"),
        ("text/shout", "text/shout; charset=latin-1"),
        ("application/json", "application/json"),
        ("application/json, text/shout", "text/shout; charset=latin-1"),
        ("application/json, */*", "application/json"),
    ],
)
async def test_p1_the_first_renderer_that_the_client_takes_is_used_in_the_order_of_the_server(
    serve, way, accept, chosen
):
    policies = {"renderer_classes": (Shout, renderers.JSONRenderer)}
    theirs = await serve(make_view(DRF_OF[way], hello, **policies)).ask_wsgi(headers={"Accept": accept})
    ours = await serve(make_view(way, hello, **policies)).ask(headers={"Accept": accept})

    assert alike(ours, theirs)
    assert ours.headers["Vary"] == "Accept"
    assert ours.headers["Content-Type"] == chosen


@pytest.mark.parametrize("awaited", [False, True])
async def test_p1_a_function_says_its_renderers_by_the_decorator(serve, awaited):
    if awaited:

        @api_view(["GET"])
        @bare
        @renderer_classes([Shout])
        async def view(request):
            return Response({"hello": "world"})
    else:

        @api_view(["GET"])
        @bare
        @renderer_classes([Shout])
        def view(request):
            return Response({"hello": "world"})

    assert (await serve(view).ask()).body == b"text/shout WORLD!"


async def test_p1_an_awaited_renderer_is_awaited_on_the_loop_for_plain_views_too(serve, way):
    Whisper.places.clear()
    answered = await serve(make_view(way, hello, renderer_classes=(Whisper,))).ask()

    assert answered.body.decode() == "text/whisper …world"
    assert answered.headers["Content-Type"] == "text/whisper; charset=latin-1"
    assert Whisper.places == ["loop"]


class NotedJSON(renderers.JSONRenderer):
    places: list[str] = []

    def render(self, data, accepted_media_type=None, renderer_context=None):
        self.places.append(place())
        return super().render(data, accepted_media_type, renderer_context)


async def test_p1_a_renderer_that_may_query_gets_a_thread(serve, way):
    NotedJSON.places.clear()
    await serve(make_view(way, hello, renderer_classes=(NotedJSON,))).ask()

    assert NotedJSON.places != ["loop"]


async def test_p1_drfs_json_renderer_is_called_on_the_loop(serve, awaited_way, monkeypatch):
    places = []
    plain_render = renderers.JSONRenderer.render
    monkeypatch.setattr(
        renderers.JSONRenderer,
        "render",
        lambda *args, **kwargs: (places.append(place()), plain_render(*args, **kwargs))[1],
    )
    await serve(make_view(awaited_way, hello)).ask()

    assert places == ["loop"]


# P2.


class Lines(BaseParser):
    media_type = "text/lines"

    def parse(self, stream, media_type=None, parser_context=None):
        assert set(parser_context) == {"view", "args", "kwargs", "request", "encoding"}
        return {"lines": stream.read().decode(parser_context["encoding"]).split("\n"), "in": media_type}


class AwaitedLines(BaseParser):
    media_type = "text/lines"
    chunks: list[bytes] = []

    async def aparse(self, stream, media_type=None, parser_context=None):
        assert set(parser_context) == {"view", "args", "kwargs", "request", "encoding"}
        self.chunks[:] = [chunk async for chunk in stream]
        if self.chunks == [b"bad"]:
            raise ParseError("These are no lines.")
        return {"lines": b"".join(self.chunks).decode().split("\n"), "in": media_type}


LINES = {"Content-Type": "text/lines; charset=utf-8"}


@pytest.mark.parametrize("media_type", ["text/lines", "application/json", "image/png", ""])
async def test_p2_the_parser_is_chosen_by_content_type_and_none_is_415(serve, way, media_type):
    policies = {"parser_classes": (Lines, JSONParser)}
    request = ("POST", "/", b'{"a":\n1}', {"Content-Type": media_type})
    theirs = await serve(make_view(DRF_OF[way], echo, ["post"], **policies)).ask_wsgi(*request)
    ours = await serve(make_view(way, echo, ["post"], **policies)).ask(*request)

    assert alike(ours, theirs)
    assert ours.status == (415 if media_type in ("image/png", "") else 200)


async def test_p2_a_function_says_its_parsers_by_the_decorator(serve):
    @api_view(["POST"])
    @bare
    @parser_classes([Lines])
    async def view(request):
        return Response(request.data)

    site = serve(view)

    assert (await site.ask("POST", "/", b"a\nb", LINES)).json["lines"] == ["a", "b"]
    assert (await site.ask_json("POST", "/", {})).status == 415


async def test_p2_an_awaited_parser_gets_the_unread_body_piece_by_piece(serve):
    class Reading(APIView):
        locals().update(BARE, parser_classes=(AwaitedLines,))

        async def post(self, request):
            return Response(await request.adata())

    answered = await serve(Reading.as_view()).ask("POST", "/", [b"a\nb", b"\nc"], LINES)

    assert answered.json == {"lines": ["a", "b", "c"], "in": LINES["Content-Type"]}
    assert AwaitedLines.chunks == [b"a\nb", b"\nc"]


@pytest.mark.parametrize(
    "way", [way for way in WAYS if way not in ("awaited class", "awaited viewset", "awaited function")]
)
async def test_p2_an_awaited_parser_serves_plain_handlers_by_request_data(serve, way):
    answered = await serve(make_view(way, echo, ["post"], parser_classes=(AwaitedLines,))).ask(
        "POST", "/", b"a\nb", LINES
    )

    assert answered.status == 200
    assert answered.json["data"]["lines"] == ["a", "b"]


async def test_p2_what_an_awaited_parser_refuses_is_refused_and_then_known_as_empty(serve):
    class Reading(APIView):
        locals().update(BARE, parser_classes=(AwaitedLines,))

        async def post(self, request):
            try:
                await request.adata()
            except ParseError as refusal:
                return Response({"refused": str(refusal.detail), "then": dict(request.data)})

    answered = await serve(Reading.as_view()).ask("POST", "/", b"bad", LINES)

    assert answered.json == {"refused": "These are no lines.", "then": {}}


async def test_p2_an_awaited_parser_may_give_data_and_files(serve):
    class Boxed(AwaitedLines):
        async def aparse(self, stream, media_type=None, parser_context=None):
            data = await super().aparse(stream, media_type, parser_context)
            return DataAndFiles({"lines": "1"}, {"box": data["lines"]})

    class Reading(APIView):
        locals().update(BARE, parser_classes=(Boxed,))

        async def post(self, request):
            return Response([await request.adata(), request.FILES])

    answered = await serve(Reading.as_view()).ask("POST", "/", b"a\nb", LINES)

    assert answered.json == [{"lines": "1", "box": ["a", "b"]}, {"box": ["a", "b"]}]


# P6.


class Stubborn(BaseContentNegotiation):
    def select_parser(self, request, parsers):
        return parsers[-1]

    def select_renderer(self, request, renderers, format_suffix=None):
        if request.query_params.get("refuse"):
            raise NotAcceptable
        return renderers[-1], "text/stubborn"


@pytest.mark.parametrize("url", ["/", "/?refuse=1"])
async def test_p6_another_negotiation_chooses_renderer_and_parser(serve, way, url):
    policies = {
        "content_negotiation_class": Stubborn,
        "renderer_classes": (Shout, renderers.JSONRenderer),
        "parser_classes": (JSONParser, Lines),
    }
    request = ("POST", url, b"a\nb", {"Content-Type": "application/json", "Accept": "text/shout"})
    theirs = await serve(
        make_view(DRF_OF[way], lambda r: Response({"hello": str(r.data)}), ["post"], **policies)
    ).ask_wsgi(*request)
    ours = await serve(make_view(way, lambda r: Response({"hello": str(r.data)}), ["post"], **policies)).ask(*request)

    assert alike(ours, theirs)
    assert url != "/" or b"lines" in ours.body


class ChoosesRenderersOnly(BaseContentNegotiation):
    """As DRF's documents have it, for views that take no bodies."""

    def select_renderer(self, request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type


@pytest.mark.parametrize("way", WAYS)
async def test_p6_without_a_body_nobody_is_asked_for_a_parser(serve, way):
    view = make_view(way, hello, content_negotiation_class=ChoosesRenderersOnly)

    assert (await serve(view).ask("GET", headers={"Content-Type": "application/json"})).status == 200
