"""Arguments of a URL may be called whatever DRF allows: no step of ours has a parameter that is in their way."""

from django.urls import path
from rest_framework.response import Response

from lifecycle.project import DRF_OF, alike, make_view

NAMES = ("name", "names", "function", "fn", "func", "loop", "view", "kind", "action", "exc", "handler")


def tells(request, **arguments):
    return Response(arguments)


async def test_an_argument_of_any_name_reaches_the_handler(serve, way):
    route = "/".join(f"<{name}>" for name in NAMES)
    url = "/" + "/".join(NAMES)
    theirs = await serve(path(route, make_view(DRF_OF[way], tells))).ask_wsgi("GET", url)

    ours = await serve(path(route, make_view(way, tells))).ask("GET", url)

    assert alike(ours, theirs)
    assert ours.json == dict(zip(NAMES, NAMES, strict=True))
