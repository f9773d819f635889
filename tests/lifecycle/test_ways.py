"""However a view is made (class, ViewSet, function; plain or awaited), the client sees what plain DRF answers."""

import pytest
from django.http import HttpResponse
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED

from lifecycle.project import AWAITED, DRF_OF, WAYS, alike, make_view, place

JSON = {"Content-Type": "application/json"}


def answer(request, **kwargs):
    match request.query_params.get("kind", "data"):
        case "data":
            return Response({"seen": request.data}, status=HTTP_201_CREATED, headers={"X-Own": "1"})
        case "empty":
            return Response(status=204)
        case "django":
            return HttpResponse("text", content_type="text/plain")
        case "unknown":
            raise NotFound("Not this one.", code="absent")
        case "fields":
            raise ValidationError({"name": ["Too long."]})
        case kind:
            return Response([request.method, kind, request.user.is_authenticated])


REQUESTS = [
    ("GET", "/", b"", {}),
    ("HEAD", "/", b"", {}),
    ("OPTIONS", "/", b"", {}),
    ("DELETE", "/", b"", {}),
    ("BREW", "/", b"", {}),
    ("POST", "/", b'{"a": [1, "\xc3\xa9"]}', JSON),
    ("POST", "/", b"a=1&b=2", {"Content-Type": "application/x-www-form-urlencoded"}),
    ("POST", "/", b'{"a": ', JSON),
    ("POST", "/", b"<a/>", {"Content-Type": "text/xml"}),
    ("GET", "/?kind=empty", b"", {}),
    ("GET", "/?kind=django", b"", {}),
    ("GET", "/?kind=unknown", b"", {}),
    ("POST", "/?kind=fields", b"", {}),
    ("GET", "/?kind=other", b"", {}),
    ("GET", "/", b"", {"Accept": "text/html"}),
    ("GET", "/?format=xml", b"", {}),
]


@pytest.mark.parametrize(("method", "url", "body", "headers"), REQUESTS)
async def test_every_way_answers_what_plain_drf_answers(serve, way, method, url, body, headers):
    theirs = await serve(make_view(DRF_OF[way], answer, ("get", "post"))).ask_wsgi(method, url, body, headers)
    ours = await serve(make_view(way, answer, ("get", "post"))).ask(method, url, body, headers)

    assert alike(ours, theirs)


async def test_a_plain_handler_runs_on_a_thread_and_an_awaited_one_on_the_loop(serve, way):
    seen = []

    def notes_its_place(request):
        seen.append(place())
        return Response()

    await serve(make_view(way, notes_its_place)).ask()

    on_loop = way in ("awaited class", "awaited viewset", "awaited function")
    assert seen[0] == "loop" if on_loop else seen[0].startswith("lifecycle")


def test_all_the_ways_are_compared_with_one_of_drf():
    assert set(DRF_OF) == set(WAYS) > set(AWAITED)
