"""What every page is: a view of the API's lifecycle that answers with HTML.

    class Overview(Page):
        template = "overview.html"

        def show(self, user: User) -> dict[str, Any]:
            return {"trainings": selectors.related(user)}

`show` and the template run on a reader thread: templates may ask the database. Refusals are pages as well, with the
status and the words of the API; who is not signed in is asked to, and comes back to where they wanted to go.
"""

import logging
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, ClassVar, Final
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from rest_framework import exceptions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import StaticHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.dashboard.refusals import plain
from hansa.server.lifecycle.bridge import read
from hansa.server.lifecycle.sessions import SessionAuthentication
from hansa.server.lifecycle.views import APIView

log = logging.getLogger(__name__)

_TOKEN: Final = re.compile(rb'name="csrfmiddlewaretoken" value="[^"]*"')
"""Of a form: another in every answer, and as good as the one before."""

Shown = Mapping[str, Any]  # Any: what a template is given


class AlwaysHTML(DefaultContentNegotiation):
    """Pages come as HTML whatever is asked for: refusals too, which a browser has to show."""

    in_place = True

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:  # Any: DRF's own signature
        """The first."""
        return renderers[0], renderers[0].media_type


class Page(APIView):
    """One page. Subclasses say what they show, and to whom."""

    template: ClassVar[str]
    authentication_classes = (SessionAuthentication,)
    permission_classes: tuple[type[BasePermission], ...] = (IsAuthenticated,)
    renderer_classes = (StaticHTMLRenderer,)
    parser_classes = (FormParser, MultiPartParser)
    content_negotiation_class = AlwaysHTML
    schema = None
    view_is_async = True

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """What the template needs; refuses by the errors of selectors."""
        return {}

    async def get(self, request: Request, **asked: Any) -> HttpResponseBase:  # Any: as above
        """The page."""
        return await read(self._page, request, asked)

    def _page(self, request: Request, asked: Mapping[str, Any]) -> HttpResponse:  # Any: as above
        return self.rendered(request, self.show(caller(request), **asked))

    def rendered(self, request: Request, shown: Shown, *, status: int = 200) -> HttpResponse:
        """The page with these values. Runs the template, which may ask the database."""
        return render(request._request, f"dashboard/{self.template}", shown, status=status)

    async def with_more(self, request: Request, more: Shown, status: int) -> HttpResponse:
        """The page as it is now, and what came of a form on it."""
        return await read(self._with, request, more, status)

    def _with(self, request: Request, more: Shown, status: int) -> HttpResponse:
        return self.rendered(request, {**self.show(caller(request), **self.kwargs), **more}, status=status)

    async def handle_exception(  # type: ignore[override]  # a page instead of DRF's Response
        self, exc: Exception
    ) -> HttpResponseBase:
        """A refusal as a page."""
        request = self.request._request
        if isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
            if not by_script(request):
                return HttpResponseRedirect(f"{reverse('sign-in')}?next={quote(request.get_full_path())}")
            exc = _SignedOut(str(exc.detail))
        refusal: Response = await super().handle_exception(exc)
        page = await read(refusal_page, request, refusal)
        for name in ("Retry-After", "Allow"):
            if name in refusal:
                page[name] = refusal[name]
        return page


class Change(Page):
    """A form that stands on another page: it is sent here, and there is nothing to see."""

    stands_on: ClassVar[str]
    """The name of that page's address."""
    of: ClassVar[tuple[str, ...]] = ()
    """The arguments that the page's address shares with this one."""
    at: ClassVar[str] = ""
    """Where on the page, by the id of an element."""

    def back(self) -> HttpResponseRedirect:
        """To the page that has the form."""
        page = reverse(self.stands_on, kwargs={name: self.kwargs[name] for name in self.of})
        return HttpResponseRedirect(f"{page}#{self.at}" if self.at else page)

    async def get(self, request: Request, **asked: Any) -> HttpResponseBase:  # Any: as above
        """Nothing is changed by looking."""
        return self.back()


class _SignedOut(exceptions.APIException):
    """401 also where a session would be the credential: DRF makes that 403, as it knows no challenge for one."""

    status_code = 401


def by_script(request: HttpRequest) -> bool:
    """Whether a script of ours asks, for a part of a page: it would put a page to sign in on in that part's place."""
    return "HX-Request" in request.headers or "X-Requested-With" in request.headers


def render(request: HttpRequest, template: str, shown: Shown, *, status: int = 200) -> HttpResponse:
    """A template as an answer. Pages show what is, and what only one person may see: nobody keeps them."""
    response = HttpResponse(render_to_string(template, dict(shown), request), status=status)
    response["Cache-Control"] = "no-store, private"
    response["Vary"] = "Cookie, HX-Request, X-Requested-With"
    return response


def render_part(request: HttpRequest, template: str, shown: Shown) -> HttpResponse:
    """A part of a page, for a script that puts it in its place; 304 without it for one that has it as it is."""
    answer = render(request, template, shown)
    answer["ETag"] = f'"{blake2b(_TOKEN.sub(b"", answer.content), digest_size=16).hexdigest()}"'
    if request.headers.get("If-None-Match") != answer["ETag"]:
        return answer
    same = HttpResponse(status=304)
    same["ETag"] = answer["ETag"]
    return same


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404 for a path that no view has. Below /api/ one has all of them, and says it in JSON."""
    shown = {"status": 404, "detail": f"No page has the address {request.path}."}
    return render(request, "dashboard/refusal.html", shown, status=404)


def refusal_page(request: HttpRequest, refusal: Response) -> HttpResponse:
    """What the API would answer, for people."""
    said = refusal.data if isinstance(refusal.data, Mapping) else {"detail": refusal.data}
    sentences = [said["detail"]] if "detail" in said else [" ".join(map(str, each)) for each in said.values()]
    shown = {"status": refusal.status_code, "detail": " ".join(plain(str(each)) for each in sentences)}
    return render(request, "dashboard/refusal.html", shown, status=refusal.status_code)
