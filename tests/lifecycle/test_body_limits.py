"""How much of a body is taken: what the view says, whichever way it is made and whoever reads the body first."""

import pytest
from rest_framework.response import Response

from lifecycle.project import AWAITED, make_view

TEXT = {"Content-Type": "text/plain"}


def counts(request):
    return Response(len(request.body))


def reading(get_response):
    def middleware(request):
        assert request.body is not None
        return get_response(request)

    return middleware


@pytest.mark.parametrize("of_the_project", [None, 5, 1000])
async def test_the_limit_of_a_view_is_its_own_whether_smaller_or_larger_than_the_projects(serve, way, of_the_project):
    view = make_view(way, counts, ["post"], body_limit=100)
    site = serve(view, LIFECYCLE={"BODY_LIMIT": of_the_project})

    assert (await site.ask("POST", body=b"a" * 100, headers=TEXT)).json == 100
    assert (await site.ask("POST", body=b"a" * 101, headers=TEXT)).status == 413


async def test_the_limit_may_be_given_to_as_view(serve, class_way):
    view = make_view(class_way, counts, ["post"]).cls.as_view(body_limit=100)

    assert (await serve(view).ask("POST", body=b"a" * 101, headers=TEXT)).status == 413


@pytest.mark.parametrize("way", AWAITED)
async def test_a_middleware_that_reads_the_body_reads_no_more_of_it_than_the_view_would(serve, way):
    site = serve(make_view(way, counts, ["post"], body_limit=100), MIDDLEWARE=[reading])

    assert (await site.ask("POST", body=b"a" * 100, headers=TEXT)).json == 100
    refused = await site.ask("POST", body=b"a" * 101, headers=TEXT)
    assert refused.status == 400
    assert refused.received == 0


async def test_the_refusal_of_a_body_that_no_view_has_seen_passes_through_the_middleware(serve):
    site = serve(
        make_view("plain class", counts, ["post"]),
        LIFECYCLE={"BODY_LIMIT": 10},
        MIDDLEWARE=["hansa.server.lifecycle.headers.SecurityHeadersMiddleware"],
    )
    refused = await site.ask("POST", body=b"a" * 11, headers=TEXT)

    assert (refused.status, refused.received, refused.json["code"]) == (413, 0, "too_large")
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
