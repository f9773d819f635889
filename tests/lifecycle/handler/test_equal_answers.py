"""Byte for byte: what Django and DRF answer under WSGI, the lifecycle's handler and views answer as well."""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import BadRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecycle.handler.exchanges import Answer, Ask, ask_asgi, ask_wsgi
from lifecycle.handler.middlewares import STACKS
from lifecycle.handler.sites import SITES

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HTML = {"Accept": "text/html"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
PARTS = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\ncontent\r\n--b--\r\n'
)
SECRET = "abcdefghij" * 3 + "ab"
TOKEN = {"Cookie": f"csrftoken={SECRET}"}

ASKS = [
    Ask("GET", "/hello/?a=1&a=2&b=%C3%A4"),
    Ask("GET", "/hello/?a=%E4", {"Content-Type": "text/plain; charset=latin-1"}),
    Ask("HEAD", "/hello/"),
    Ask("OPTIONS", "/hello/"),
    Ask("GET", "/hello"),
    Ask("GET", "/hello", {"Host": "elsewhere"}),
    Ask("GET", "/hello/gr%C3%BC%C3%9F/"),
    Ask("GET", "/hello/", {"X-Stop": "yes"}),
    Ask("GET", "/hello/?takeover"),
    Ask("GET", "/echo/?takeover"),
    Ask("GET", "/awaited/"),
    Ask("GET", "/class/"),
    Ask("HEAD", "/class/"),
    Ask("DELETE", "/class/"),
    Ask("OPTIONS", "/class/"),
    Ask("GET", "/form/"),
    Ask("POST", "/form/", FORM, b"a=1"),
    Ask("POST", "/form/", FORM | TOKEN, b"a=1"),
    Ask("POST", "/form/", {"Content-Type": FORM["Content-Type"] + "; charset=latin-1"} | TOKEN, b"a=1"),
    Ask("POST", "/form/", FORM | TOKEN, f"a=1&csrfmiddlewaretoken={SECRET}".encode()),
    Ask("POST", "/form/", MULTIPART | TOKEN | {"X-CSRFToken": SECRET}, PARTS),
    Ask("POST", "/form/", MULTIPART | TOKEN | {"X-CSRFToken": SECRET}, PARTS[:40]),
    Ask("GET", "/remember/"),
    Ask("GET", "/remember/", {"Cookie": "sessionid=unknown; a=1"}),
    Ask("GET", "/away/"),
    Ask("GET", "/nothing/"),
    Ask("GET", "/unchanged/"),
    Ask("GET", "/page/"),
    Ask("HEAD", "/page/"),
    Ask("GET", "/stream/"),
    Ask("HEAD", "/stream/"),
    Ask("GET", "/file/"),
    Ask("HEAD", "/file/"),
    *(Ask("GET", f"/{name}/") for name in ("none", "missing", "denied", "suspicious", "broken", "wrong", "nowhere")),
    Ask("GET", "/echo/?q=1"),
    Ask("GET", "/echo/", {"If-None-Match": "*"}),
    Ask("HEAD", "/echo/"),
    Ask("OPTIONS", "/echo/"),
    Ask("GET", "/echo/", HTML),
    Ask("OPTIONS", "/echo/", HTML),
    Ask("POST", "/echo/", HTML | JSON, b"{"),
    Ask("GET", "/echo/?format=json", HTML),
    Ask("GET", "/echo/?format=xml"),
    Ask("GET", "/echo/", {"Accept": "application/xml"}),
    Ask("GET", "/echo/", {"Accept": "application/json; indent=2"}),
    Ask("GET", "/echo/", {"Accept": "text/*;q=0.5, application/json;q=0.1"}),
    Ask("POST", "/echo/", JSON, b'{"a": [1, null, "\xc3\xa4"]}'),
    Ask("POST", "/echo/", JSON, b'{"a": '),
    Ask("POST", "/echo/", JSON, b"\xff"),
    Ask("POST", "/echo/", JSON),
    Ask("POST", "/echo/"),
    Ask("POST", "/echo/", FORM, b"a=1&b=%C3%A4"),
    Ask("POST", "/echo/", MULTIPART, PARTS),
    Ask("POST", "/echo/", MULTIPART, PARTS[:50]),
    Ask("POST", "/echo/", {"Content-Type": "multipart/form-data"}, PARTS),
    Ask("POST", "/echo/", {"Content-Type": "text/csv"}, b"a,b"),
    Ask("POST", "/echo/", JSON, json.dumps({"long": "x" * 200_000}).encode()),
    Ask("PUT", "/echo/", JSON, b'{"name": "short", "size": "3"}'),
    Ask("PUT", "/echo/", JSON, b'{"name": "much too long a name"}'),
    Ask("DELETE", "/echo/"),
    Ask("PATCH", "/echo/", JSON, b"{}"),
    Ask("TRACE", "/echo/"),
    Ask("BREW", "/echo/"),
    Ask("GET", "/members/"),
    Ask("GET", "/members/", {"Authorization": "Knock ada"}),
    Ask("GET", "/members/", {"Authorization": "Knock bob"}),
    Ask("OPTIONS", "/members/", {"Authorization": "Knock ada"}),
    Ask("GET", "/members/", HTML),
    Ask("GET", "/by-session/"),
    Ask("GET", "/by-session/", {"Authorization": "Knock ada"}),
    Ask("GET", "/closed/"),
    Ask("GET", "/closed/", {"Authorization": "Knock ada"}),
    Ask("GET", "/throttled/"),
    Ask("GET", "/versioned/", {"Accept": "application/json; version=7"}),
    *(Ask("GET", f"/raising/{name}/") for name in ("missing", "api", "invalid", "denied", "broken", "wrong")),
    Ask("GET", "/raising/translated/", {"Accept-Language": "de"}),
    Ask("GET", "/raising/missing/", {"Accept-Language": "de"}),
    Ask("GET", "/raising/invalid/", HTML),
    Ask("GET", "/not-a-response/"),
    Ask("GET", "/raw/"),
    Ask("GET", "/api/"),
    Ask("GET", "/api/items/"),
    Ask("GET", "/api/items.json"),
    Ask("GET", "/api/items.xml"),
    Ask("HEAD", "/api/items/"),
    Ask("OPTIONS", "/api/items/"),
    Ask("POST", "/api/items/", JSON, b'{"a": 1}'),
    Ask("GET", "/api/items/7/"),
    Ask("GET", "/api/items/0/"),
    Ask("DELETE", "/api/items/7/"),
    Ask("PUT", "/api/items/7/", JSON, b"{}"),
    Ask("POST", "/api/items/7/counted/", JSON, b"[1, 2]"),
    Ask("GET", "/api/items/7/counted/"),
    Ask("GET", "/suffixed.json"),
    Ask("GET", "/suffixed.api"),
    Ask("GET", "/suffixed.xml"),
]


_known: dict[str, list[Answer]] = {}
"""What WSGI answers to ASKS, by stack: the same for all sites."""


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """A hundred expected tracebacks help nobody."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def wanted(serve_wsgi: Any, stack: str, asks: Sequence[Ask]) -> list[Answer]:
    """What DRF answers under WSGI, each from an empty cache."""
    if asks is ASKS and stack in _known:
        return _known[stack]
    application = serve_wsgi(SITES["DRF"], middleware=STACKS[stack].wsgi)
    answers = await asyncio.to_thread(lambda: [_from_wsgi(application, ask) for ask in asks])
    if asks is ASKS:
        _known[stack] = answers
    return answers


def _from_wsgi(application: Any, ask: Ask) -> Answer:
    cache.clear()
    try:
        return ask_wsgi(application, ask)
    except BadRequest as error:
        return left_to_the_server(error)


def left_to_the_server(error: BadRequest) -> Answer:
    """What becomes of a form in another charset: Django's page about it looks for a token in the form, and fails."""
    return Answer(500, (), str(error).encode())


async def seen(serve: Any, stack: str, site: str, asks: Sequence[Ask]) -> list[Answer]:
    """What the lifecycle's handler answers.

    Awaited views may answer a request whose body they have not read. That connection is closed, which WSGI leaves to
    its server; see test_bodies.
    """
    application = serve(SITES[site], middleware=STACKS[stack].asgi)
    answers = []
    for ask in asks:
        cache.clear()
        try:
            answer = await ask_asgi(application, ask)
        except BadRequest as error:
            answer = left_to_the_server(error)
        kept = tuple(each for each in answer.headers if not ask.body or each != ("connection", "close"))
        answers.append(replace(answer, headers=kept))
    return answers


def difference(wsgi: Answer, asgi: Answer) -> dict[str, Any]:
    """What is not the same, for whoever reads the failure."""
    lines = [(a, b) for a, b in zip(wsgi.body.splitlines(), asgi.body.splitlines(), strict=False) if a != b]
    return {
        "status": (wsgi.status, asgi.status),
        "headers missing": set(wsgi.headers) - set(asgi.headers),
        "headers too many": set(asgi.headers) - set(wsgi.headers),
        "lengths": (len(wsgi.body), len(asgi.body)),
        "first lines": lines[:2],
    }


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("stack", STACKS)
async def test_the_answers_are_those_of_drf_under_wsgi(serve: Any, serve_wsgi: Any, stack: str, site: str) -> None:
    pairs = zip(await wanted(serve_wsgi, stack, ASKS), await seen(serve, stack, site, ASKS), strict=True)

    assert {
        f"{ask.method} {ask.target} {dict(ask.headers)} {ask.body[:20]!r}": difference(wsgi, asgi)
        for ask, (wsgi, asgi) in zip(ASKS, pairs, strict=True)
        if wsgi != asgi
    } == {}


async def test_the_requests_of_this_comparison_meet_every_kind_of_answer(serve: Any) -> None:
    answers = await seen(serve, "Django's", "awaited", ASKS)

    statuses = {answer.status for answer in answers}
    assert statuses == {200, 201, 204, 301, 302, 304, 400, 401, 403, 404, 405, 406, 415, 429, 500}
    cookies = [value for answer in answers for name, value in answer.headers if name == "set-cookie"]
    assert {cookie.partition("=")[0] for cookie in cookies} == {"csrftoken", "sessionid", "a", "b", "c"}
    assert any(answer.header("WWW-Authenticate") for answer in answers)


targets = st.sampled_from(
    [
        "/hello/",
        "/class/",
        "/form/",
        "/echo/",
        "/members/",
        "/closed/",
        "/api/items/",
        "/api/items/7/",
        "/suffixed.json",
    ]
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "Accept": st.sampled_from(["*/*", "text/html", "application/json", "text/csv", "application/json;q=0", "bad"]),
        "Content-Type": st.sampled_from(
            [
                "application/json",
                "application/x-www-form-urlencoded; charset=latin-1",
                "multipart/form-data; boundary=b",
                "text/csv",
                "bad",
            ]
        ),
        "Authorization": st.sampled_from(["Knock ada", "Knock bob", "Knock", "Basic eDp5"]),
        "Cookie": st.sampled_from([f"csrftoken={SECRET}", "sessionid=x", "=;;="]),
        "X-HTTP-Method-Override": st.just("DELETE"),
        "X-CSRFToken": st.just(SECRET),
    },
)
asks = st.builds(
    Ask,
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"]),
    target=st.tuples(targets, st.sampled_from(["", "?format=json", "?format=api", "?a=%ff&a=+", "?page=0"])).map(
        "".join
    ),
    headers=headers,
    body=st.sampled_from([b"", b"{}", b'{"name": "x"}', b"[1]", b"nul", b"a=1", b"\xff\x00", PARTS]),
)


@pytest.mark.parametrize("stack", ["Django's", "ours for Django's"])
@pytest.mark.parametrize("site", ["awaited", "mixed"])
async def test_whatever_is_asked_the_answers_are_the_same(serve: Any, serve_wsgi: Any, stack: str, site: str) -> None:
    drawn: list[Ask] = []

    @settings(max_examples=100, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
    @given(asks)
    def draw(ask: Ask) -> None:
        drawn.append(ask)

    draw()
    pairs = zip(await wanted(serve_wsgi, stack, drawn), await seen(serve, stack, site, drawn), strict=True)
    for ask, (wsgi, asgi) in zip(drawn, pairs, strict=True):
        assert asgi == wsgi, ask
