"""Errors and what becomes of the work done so far: rolled back, raised, or nobody's. Rows E6, E7 and E9 to E11."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections, transaction
from rest_framework import exceptions, renderers
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import WrappedAttributeError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from lifecycle.likeness import HOOKED, BareView, Serve, escaped, same_as_drf
from lifecycle.project import DRF_OF, make_view

User = get_user_model()


@pytest.fixture
def atomic(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """ATOMIC_REQUESTS."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


async def users() -> list[str]:
    return [user.username async for user in User.objects.order_by("username")]


def storing(error: Exception | None) -> Callable[..., Response]:
    def answer(request: Any, **kwargs: Any) -> Response:
        User.objects.create(username="ada")
        if error is not None:
            raise error
        return Response({"in a transaction": transaction.get_connection().in_atomic_block})

    return answer


REFUSALS = [exceptions.ParseError("Unreadable."), exceptions.PermissionDenied(), ZeroDivisionError("unexpected")]


class Awaited(BareView):
    """Stores on the request's thread from an `async def` handler, in each way there is to do that."""

    error: Exception | None = None

    async def get(self, request: Any) -> Response:
        await User.objects.acreate(username="ada")
        await self.hop(User.objects.create, username="bo")
        if self.error:
            raise self.error
        return Response()


PLAIN = ("plain class", "plain handler of an awaited class", "plain viewset", "plain function")
"""Their handlers may query; those of the others have to be awaited."""


@pytest.mark.parametrize("plain", PLAIN)
@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_e6_what_a_plain_handler_stored_is_rolled_back_with_its_error(
    serve: Serve, plain: str, error: Exception, atomic: None
) -> None:
    theirs = await serve(make_view(DRF_OF[plain], storing(error))).ask_wsgi()
    assert await users() == []
    ours = await serve(make_view(plain, storing(error))).ask()
    assert (ours.status, await users()) == (theirs.status, [])


@pytest.mark.parametrize("plain", PLAIN)
async def test_e6_what_a_plain_handler_stored_is_kept_if_it_answers(serve: Serve, plain: str, atomic: None) -> None:
    answer = await serve(make_view(plain, storing(None))).ask()
    assert (answer.json, await users()) == ({"in a transaction": True}, ["ada"])


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_e6_what_an_awaited_handler_stored_is_rolled_back_with_its_error(
    serve: Serve, error: Exception, atomic: None
) -> None:
    site = serve(Awaited.as_view(error=error))
    assert (await site.ask()).status >= 400
    assert await users() == []


async def test_e6_what_an_awaited_handler_stored_is_kept_if_it_answers(serve: Serve, atomic: None) -> None:
    assert (await serve(Awaited.as_view()).ask()).status == 200
    assert await users() == ["ada", "bo"]


async def test_e6_rolling_back_leaves_nothing_behind_for_the_next_request_on_the_thread(
    serve: Serve, atomic: None
) -> None:
    class Either(Awaited):
        async def get(self, request: Any) -> Response:
            self.error = exceptions.ParseError() if "error" in request.query_params else None
            return await super().get(request)

    site = serve(Either.as_view(), LIFECYCLE={"THREADS": 1})
    statuses = [(await site.ask(url=url)).status for url in ("/?error", "/", "/?error")]
    assert statuses == [400, 200, 500]  # the last one meets a name that is taken
    assert await users() == ["ada", "bo"]


async def refuse_awaited(error: Exception, context: Any) -> Any:
    return exception_handler(error, context)


def refuse_plainly(error: Exception, context: Any) -> Any:
    return exception_handler(error, context)


@pytest.mark.parametrize("handler", [refuse_plainly, refuse_awaited])
@pytest.mark.parametrize("view", ["awaited", "plain"])
async def test_e6_an_exception_handler_of_ones_own_that_asks_drfs_rolls_back_as_well(
    serve: Serve, handler: Any, view: str, atomic: None
) -> None:
    error = exceptions.ParseError()
    function = Awaited.as_view(error=error) if view == "awaited" else make_view("plain class", storing(error))
    answer = await serve(function, REST_FRAMEWORK={"EXCEPTION_HANDLER": handler}).ask()
    assert (answer.status, await users()) == (400, [])


async def test_e6_a_hook_that_raises_rolls_back_what_another_stored(serve: Serve, atomic: None) -> None:
    class Storing(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            User.objects.create(username="ada")
            return True

    class Refusing(BasePermission):
        async def ahas_permission(self, request: Any, view: Any) -> bool:
            return False

    answer = await serve(Awaited.as_view(permission_classes=[Storing, Refusing])).ask()
    assert (answer.status, await users()) == (403, [])


async def test_e6_a_view_may_be_exempt_from_transactions(serve: Serve, atomic: None) -> None:
    view = transaction.non_atomic_requests(Awaited.as_view(error=exceptions.ParseError()))
    answer = await serve(view).ask()
    assert (answer.status, await users()) == (400, ["ada", "bo"])


class Page(renderers.StaticHTMLRenderer):
    format = "html"


class Unanswered:
    """A middleware that looks at the request when its view has failed."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)

    def process_exception(self, request: Any, error: Exception) -> None:
        Unanswered.plaintext = request.is_ajax() if hasattr(request, "is_ajax") else None


def broken(request: Any, **kwargs: Any) -> Response:
    raise ZeroDivisionError("a defect")


@pytest.mark.parametrize(
    ("debug", "renderer", "plaintext"),
    [
        (True, renderers.JSONRenderer, True),
        (True, Page, False),
        (True, renderers.BrowsableAPIRenderer, False),
        (True, renderers.AdminRenderer, False),
        (False, renderers.JSONRenderer, None),
    ],
)
async def test_e7_under_debug_the_renderer_decides_how_a_traceback_looks(
    serve: Serve, way: str, debug: bool, renderer: type, plaintext: bool | None
) -> None:
    site = serve(make_view(way, broken, renderer_classes=(renderer,)), DEBUG=debug, MIDDLEWARE=[Unanswered])
    with escaped() as errors:
        answer = await site.ask()
    assert (answer.status, [type(error) for error in errors]) == (500, [ZeroDivisionError])
    assert Unanswered.plaintext == plaintext


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
async def test_e7_the_traceback_under_debug_is_djangos_own(serve: Serve, way: str, accept: str) -> None:
    answer = await serve(make_view(way, broken), DEBUG=True).ask(headers={"Accept": accept})
    assert answer.status == 500
    assert answer.headers["Content-Type"].split(";")[0] == ("text/html" if accept == "*/*" else "text/plain")
    assert b"ZeroDivisionError" in answer.body
    assert b"a defect" in answer.body


@pytest.mark.parametrize("hooked", HOOKED)
@pytest.mark.parametrize("hook", ["initialize_request", "get_parsers", "get_authenticators"])
async def test_e9_errors_before_the_request_is_wrapped_are_nobodys_to_answer(
    serve: Serve, hooked: str, hook: str
) -> None:
    error = exceptions.ParseError("too early")

    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise error

    with escaped() as errors:
        answer = await serve(make_view(hooked, broken, **{hook: refuse})).ask()
    assert (answer.status, errors) == (500, [error])


async def test_e9_is_so_for_an_awaited_hook(serve: Serve) -> None:
    class Early(Awaited):
        async def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            raise exceptions.ParseError("too early")

    with escaped() as errors:
        answer = await serve(Early.as_view()).ask()
    assert (answer.status, [str(error) for error in errors]) == (500, ["too early"])


class Misspelt(BaseAuthentication):
    def authenticate(self, request: Any) -> Any:
        return request.no_such_attribute


class AwaitedMisspelt(Misspelt):
    async def aauthenticate(self, request: Any) -> Any:
        return request.no_such_attribute


class MisspeltParser(BaseParser):
    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return stream.no_such_attribute


class AwaitedMisspeltParser(MisspeltParser):
    async def aparse(self, stream: Any, media_type: Any, parser_context: Any) -> Any:
        return stream.no_such_attribute


@pytest.mark.parametrize("authenticator", [Misspelt, AwaitedMisspelt])
async def test_e10_an_attribute_missing_in_an_authenticator_is_not_taken_for_one_missing_in_the_request(
    serve: Serve, way: str, authenticator: type
) -> None:
    with escaped() as errors:
        answer = await serve(make_view(way, broken, authentication_classes=(authenticator,))).ask()
    assert answer.status == 500
    (error,) = errors
    assert isinstance(error, WrappedAttributeError)
    assert "no_such_attribute" in str(error)


@pytest.mark.parametrize("length", [10, 100_000], ids=["short", "long"])
async def test_e10_an_attribute_missing_in_a_parser_is_not_either(serve: Serve, way: str, length: int) -> None:
    def read(request: Any, **kwargs: Any) -> Response:
        return Response({"data": request.data, "attribute": getattr(request, "data", "swallowed")})

    view = make_view(way, read, ("post",), parser_classes=(MisspeltParser,))
    with escaped() as errors:
        answer = await serve(view).ask("POST", "/", b"x" * length, {"Content-Type": "text/x-own"})
    assert answer.status == 500
    (error,) = errors
    assert "no_such_attribute" in str(error)


async def test_e10_nor_is_one_missing_in_an_awaited_parser(serve: Serve) -> None:
    class Reading(BareView):
        parser_classes = (AwaitedMisspeltParser,)

        async def post(self, request: Any) -> Response:
            return Response(await request.adata())

    with escaped() as errors:
        answer = await serve(Reading.as_view()).ask("POST", "/", b"body", {"Content-Type": "text/x-own"})
    assert answer.status == 500
    (error,) = errors
    assert "no_such_attribute" in str(error)


async def test_e10_no_attribute_is_just_that(serve: Serve, way: str) -> None:
    def ask(request: Any, **kwargs: Any) -> Response:
        return Response([hasattr(request, "no_such_attribute"), hasattr(request, "META")])

    answer = await same_as_drf(serve, way, ask)
    assert answer.json == [False, True]


class Parked(BaseAuthentication):
    """Says when it was reached, and waits for ever."""

    reached: asyncio.Event

    async def aauthenticate(self, request: Any) -> Any:
        Parked.reached.set()
        await asyncio.Event().wait()


class ParkedPermission(BasePermission):
    async def ahas_permission(self, request: Any, view: Any) -> bool:
        Parked.reached.set()
        await asyncio.Event().wait()
        return True


class ParkedView(BareView):
    async def get(self, request: Any) -> Response:
        Parked.reached.set()
        await asyncio.Event().wait()
        return Response()


@pytest.mark.parametrize(
    "policies",
    [{}, {"authentication_classes": (Parked,)}, {"permission_classes": (ParkedPermission,)}],
    ids=["handler", "authenticator", "permission"],
)
async def test_e11_a_cancelled_request_is_never_answered(serve: Serve, policies: dict[str, Any]) -> None:
    asked: list[BaseException] = []

    def handler(error: Exception, context: Any) -> Response:
        asked.append(error)
        return Response("a cancellation was answered")

    Parked.reached = asyncio.Event()
    site = serve(ParkedView.as_view(**policies), REST_FRAMEWORK={"EXCEPTION_HANDLER": handler})
    with escaped() as errors:
        request = asyncio.create_task(site.ask())
        await asyncio.wait_for(Parked.reached.wait(), 10)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert (asked, errors) == ([], [])


async def test_e11_a_cancellation_that_a_handler_raises_itself_is_not_answered_either(serve: Serve) -> None:
    class Giving(BareView):
        async def get(self, request: Any) -> Response:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await serve(Giving.as_view()).ask()
