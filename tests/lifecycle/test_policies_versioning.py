"""The five schemes of versioning, and none: row P8."""

import pytest
from django.urls import include, path
from rest_framework import versioning
from rest_framework.response import Response

from lifecycle.project import DRF_OF, alike, make_view


def versioned(scheme):
    return type(scheme.__name__, (scheme,), {"allowed_versions": ("1", "2"), "default_version": "1"})


def says_its_version(request, **kwargs):
    scheme = request.versioning_scheme
    return Response(
        {
            "version": request.version,
            "scheme": type(scheme).__name__,
            "url": scheme.reverse("example", request=request) if scheme else None,
        }
    )


def urls(scheme, view):
    here = path("", view, name="example")
    if scheme is versioning.URLPathVersioning:
        return [path("<str:version>/", view, name="example"), here]
    if scheme is versioning.NamespaceVersioning:
        return [path(f"{name}/", include(([here], "app"), namespace=name)) for name in ("1", "2", "3")] + [here]
    return [here]


REQUESTS = {
    versioning.AcceptHeaderVersioning: [
        ("/", {}),
        ("/", {"Accept": "application/json; version=2"}),
        ("/", {"Accept": "application/json; version=3"}),
    ],
    versioning.URLPathVersioning: [("/", {}), ("/2/", {}), ("/3/", {})],
    versioning.NamespaceVersioning: [("/1/", {}), ("/2/", {}), ("/3/", {})],
    versioning.HostNameVersioning: [
        ("/", {}),
        ("/", {"Host": "2.example.com"}),
        ("/", {"Host": "3.example.com"}),
    ],
    versioning.QueryParameterVersioning: [("/", {}), ("/?version=2", {}), ("/?version=3", {})],
}
"""Of each scheme: the default, another, and one that is not allowed."""


@pytest.mark.parametrize("scheme", REQUESTS)
async def test_p8_each_scheme_finds_the_version_and_refuses_what_is_not_allowed(serve, way, scheme):
    answers = []
    for url, headers in REQUESTS[scheme]:
        policies = {"versioning_class": versioned(scheme)}
        theirs = await serve(*urls(scheme, make_view(DRF_OF[way], says_its_version, **policies))).ask_wsgi(
            "GET", url, b"", headers
        )
        ours = await serve(*urls(scheme, make_view(way, says_its_version, **policies))).ask("GET", url, b"", headers)

        assert alike(ours, theirs)
        answers.append(ours)

    default, other, refused = answers
    assert (default.json["version"], other.json["version"]) == ("1", "2")
    assert default.json["scheme"] == scheme.__name__
    assert refused.status == (406 if scheme is versioning.AcceptHeaderVersioning else 404)


async def test_p8_without_a_scheme_there_is_no_version(serve, way):
    answered = await serve(make_view(way, says_its_version, versioning_class=None)).ask()

    assert answered.json == {"version": None, "scheme": "NoneType", "url": None}


@pytest.mark.parametrize("scheme", REQUESTS)
async def test_p8_urls_of_another_version_are_reversed(serve, way, scheme):
    url, headers = REQUESTS[scheme][1]
    view = make_view(way, says_its_version, versioning_class=versioned(scheme))
    answered = await serve(*urls(scheme, view)).ask("GET", url, b"", headers)

    host = headers.get("Host", "testserver")
    assert answered.json["url"] == f"http://{host}{url}"


async def test_p8_an_awaited_scheme_of_a_class_is_its_hook(serve, class_way):
    async def determine_version(self, request, *args, **kwargs):
        return request.query_params["of"], "a scheme of my own"

    def says(request):
        return Response([request.version, request.versioning_scheme])

    view = make_view(class_way, says, determine_version=determine_version)

    assert (await serve(view).ask(url="/?of=7")).json == ["7", "a scheme of my own"]
