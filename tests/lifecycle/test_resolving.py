"""Which view a request gets, though it is looked up before the middleware runs: the one that Django would find."""

import pytest
from django.http import Http404, HttpResponse
from django.urls import path, register_converter
from django.utils import translation

from lifecycle.project import alike


class Picky:
    """A converter that does more than it should."""

    regex = "[a-z]+"

    def to_python(self, value):
        if value == "missing":
            raise Http404("Nobody of that name.")
        raise ZeroDivisionError

    def to_url(self, value):
        return value


register_converter(Picky, "picky")


def says(text):
    async def view(request, **kwargs):
        return HttpResponse(text)

    return view


class ByLanguage:
    """A path that is found in one language only, as those of `gettext_lazy` are."""

    regex = "page"

    def to_python(self, value):
        if translation.get_language() != "de":
            raise ValueError
        return value

    def to_url(self, value):
        return value


register_converter(ByLanguage, "german")


async def test_a_middleware_may_rewrite_the_path(serve):
    def rewriting(get_response):
        def middleware(request):
            request.path_info = "/new/"
            return get_response(request)

        return middleware

    site = serve(path("old/", says("old")), path("new/", says("new")), MIDDLEWARE=[rewriting])

    assert (await site.ask("GET", "/old/")).body == b"new"


async def test_a_middleware_may_choose_the_language_that_paths_are_found_in(serve):
    def german(get_response):
        def middleware(request):
            with translation.override("de"):
                return get_response(request)

        return middleware

    paths = path("<german:name>/", says("Seite")), path("<slug:name>/", says("page"))

    assert (await serve(*paths).ask("GET", "/page/")).body == b"page"
    assert (await serve(*paths, MIDDLEWARE=[german]).ask("GET", "/page/")).body == b"Seite"


@pytest.mark.parametrize(("name", "status"), [("missing", 404), ("broken", 500)])
async def test_what_a_converter_raises_is_answered_as_django_answers_it(serve, name, status):
    site = serve(path("<picky:name>/", says("never")), DEBUG_PROPAGATE_EXCEPTIONS=False)

    answered = await site.ask("GET", f"/{name}/")

    assert answered.status == status
    assert name == "broken" or alike(answered, await site.ask_wsgi("GET", f"/{name}/"))
