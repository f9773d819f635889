"""Errors that are answered: by which status, which header, which handler. Rows E1 to E5 and E8 of the lifecycle."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from hansa.server.lifecycle.in_place import in_place
from lifecycle.likeness import HOOKED, Serve, escaped, same_as_drf
from lifecycle.project import make_view, place


def ok(request: Any, **kwargs: Any) -> Response:
    return Response({"ok": True})


def raising(error: Exception) -> Callable[..., Response]:
    def answer(request: Any, **kwargs: Any) -> Response:
        raise error

    return answer


# Authenticators. The awaited ones have DRF's method as well, so that plain DRF can be asked the same.


class Ignoring(BaseAuthentication):
    """Knows nobody, and has no scheme to offer."""

    def authenticate(self, request: Any) -> Any:
        return None


class Offering(Ignoring):
    def authenticate_header(self, request: Any) -> str:
        return 'Bearer realm="here"'


class AwaitedOffering(Offering):
    async def aauthenticate(self, request: Any) -> Any:
        return None


class Failing(Ignoring):
    def authenticate(self, request: Any) -> Any:
        raise exceptions.AuthenticationFailed("The credential is not valid.")


class AwaitedFailing(Failing):
    async def aauthenticate(self, request: Any) -> Any:
        return self.authenticate(request)


class Knowing(Offering):
    def authenticate(self, request: Any) -> Any:
        return (get_user_model()(username="ada"), "credential")


class AwaitedKnowing(Knowing):
    async def aauthenticate(self, request: Any) -> Any:
        return self.authenticate(request)


class No(BasePermission):
    message = "Not on Sundays."
    code = "sunday"

    def has_permission(self, request: Any, view: Any) -> bool:
        return False


class AwaitedNo(No):
    async def ahas_permission(self, request: Any, view: Any) -> bool:
        return False


@pytest.mark.parametrize(
    ("authenticators", "status"),
    [
        ((Offering,), 401),
        ((AwaitedOffering,), 401),
        ((Offering, Ignoring), 401),
        ((Ignoring, Offering), 403),
        ((Ignoring, AwaitedOffering), 403),
        ((Offering, Failing), 401),
        ((AwaitedOffering, AwaitedFailing), 401),
        ((Failing, Offering), 403),
        ((AwaitedFailing, Offering), 403),
        ((), 403),
    ],
    ids=lambda value: "+".join(each.__name__ for each in value) if isinstance(value, tuple) else str(value),
)
async def test_e1_the_first_authenticator_decides_between_401_and_403(
    serve: Serve, way: str, authenticators: tuple[type, ...], status: int
) -> None:
    answer = await same_as_drf(
        serve, way, ok, authentication_classes=authenticators, permission_classes=(IsAuthenticated,)
    )
    assert answer.status == status
    assert answer.headers.get("WWW-Authenticate") == ('Bearer realm="here"' if status == 401 else None)


@pytest.mark.parametrize("authenticators", [(Offering,), (Ignoring,), ()], ids=["header", "no header", "none"])
@pytest.mark.parametrize("error", [exceptions.NotAuthenticated, exceptions.AuthenticationFailed])
async def test_e1_holds_for_errors_that_the_handler_raises(
    serve: Serve, way: str, authenticators: tuple[type, ...], error: type[exceptions.APIException]
) -> None:
    answer = await same_as_drf(serve, way, raising(error()), authentication_classes=authenticators)
    assert answer.status == (401 if authenticators == (Offering,) else 403)


@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])
@pytest.mark.parametrize("hooked", HOOKED)
async def test_e1_the_header_may_be_a_hook_of_the_view(serve: Serve, hooked: str, awaited: bool) -> None:
    def plain(self: Any, request: Any) -> str:
        return "Own"

    async def own(self: Any, request: Any) -> str:
        return "Own"

    view = make_view(hooked, raising(exceptions.NotAuthenticated()), get_authenticate_header=own if awaited else plain)
    answer = await serve(view).ask()
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Own")


@pytest.mark.parametrize("no", [No, AwaitedNo])
@pytest.mark.parametrize(
    ("authenticators", "status", "detail"),
    [
        ((Offering,), 401, "Authentication credentials were not provided."),
        ((Ignoring,), 403, "Authentication credentials were not provided."),
        ((Knowing,), 403, "Not on Sundays."),
        ((AwaitedKnowing,), 403, "Not on Sundays."),
        ((Ignoring, AwaitedKnowing), 403, "Not on Sundays."),
        ((), 403, "Not on Sundays."),
    ],
    ids=["unknown", "unknown, no scheme", "known", "known, awaited", "known to the second", "nobody asks"],
)
async def test_e2_who_is_unknown_is_asked_for_credentials_and_who_is_known_is_told_why(
    serve: Serve, way: str, no: type, authenticators: tuple[type, ...], status: int, detail: str
) -> None:
    answer = await same_as_drf(serve, way, ok, authentication_classes=authenticators, permission_classes=(no,))
    assert (answer.status, answer.json) == (status, {"detail": detail})


@pytest.mark.parametrize("hooked", HOOKED)
async def test_e2_message_and_code_of_the_permission_reach_the_exception(serve: Serve, hooked: str) -> None:
    def handler(error: Any, context: Any) -> Response:
        return Response({"code": error.get_codes()}, status=error.status_code)

    view = make_view(hooked, ok, permission_classes=(AwaitedNo,), get_exception_handler=lambda self: handler)
    answer = await serve(view).ask()
    assert (answer.status, answer.json) == (403, {"code": "sunday"})


def throttle(allows: bool, wait: float | None, *, awaited: bool = False) -> type[BaseThrottle]:
    class Throttle(BaseThrottle):
        def allow_request(self, request: Any, view: Any) -> bool:
            return allows

        def wait(self) -> float | None:
            return wait

    class Awaited(Throttle):
        async def aallow_request(self, request: Any, view: Any) -> bool:
            return allows

    return Awaited if awaited else Throttle


@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])
@pytest.mark.parametrize(
    ("waits", "retry_after"),
    [((3, 7.2), "8"), ((7.2, 3), "8"), ((None, 3), "3"), ((3, None), "3"), ((None, None), None), ((0.1,), "1")],
)
async def test_e3_the_longest_wait_of_those_that_refuse_is_told_and_none_is_no_wait(
    serve: Serve, way: str, waits: tuple[float | None, ...], retry_after: str | None, awaited: bool
) -> None:
    throttles = [throttle(False, wait, awaited=awaited) for wait in waits]
    throttles.insert(1, throttle(True, 1000))  # one that allows has no say
    answer = await same_as_drf(serve, way, ok, throttle_classes=throttles)
    assert (answer.status, answer.headers.get("Retry-After")) == (429, retry_after)


class Teapot(exceptions.APIException):
    status_code = 418
    default_detail = "Short and stout."
    default_code = "teapot"


ANSWERED = [
    (Http404(), 404, {"detail": "Not found."}),
    (Http404("No such thing."), 404, {"detail": "No such thing."}),
    (DjangoPermissionDenied(), 403, {"detail": "You do not have permission to perform this action."}),
    (DjangoPermissionDenied("Not yours."), 403, {"detail": "Not yours."}),
    (Teapot(), 418, {"detail": "Short and stout."}),
    (exceptions.ValidationError({"name": ["Too long."]}), 400, {"name": ["Too long."]}),
    (exceptions.ValidationError(["One.", "Two."]), 400, ["One.", "Two."]),
    (exceptions.ValidationError("Only this."), 400, ["Only this."]),
    (exceptions.ParseError("Unreadable."), 400, {"detail": "Unreadable."}),
    (exceptions.Throttled(wait=3), 429, None),
]


@pytest.mark.parametrize(("error", "status", "data"), ANSWERED)
async def test_e4_exceptions_that_are_known_become_their_answer(
    serve: Serve, way: str, error: Exception, status: int, data: Any
) -> None:
    answer = await same_as_drf(serve, way, raising(error))
    assert answer.status == status
    assert data is None or answer.json == data


@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])
async def test_e4_it_is_the_same_for_exceptions_of_policies(serve: Serve, way: str, awaited: bool) -> None:
    class Broken(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            raise Teapot

    class AwaitedBroken(Broken):
        async def ahas_permission(self, request: Any, view: Any) -> bool:
            raise Teapot

    answer = await same_as_drf(serve, way, ok, permission_classes=(AwaitedBroken if awaited else Broken,))
    assert (answer.status, answer.json) == (418, {"detail": "Short and stout."})


async def test_e4_anything_else_is_raised_again_for_the_project_to_see(serve: Serve, way: str) -> None:
    error = ZeroDivisionError("nothing that a client did")
    with escaped() as errors:
        answer = await serve(make_view(way, raising(error))).ask()
    assert answer.status == 500
    assert errors == [error]


def own_answer(error: Exception, context: Mapping[str, Any]) -> Response:
    """All that an exception handler is told, as an answer."""
    told = {
        "error": str(error),
        "context": sorted(context),
        "args": [*context["args"], context["kwargs"]],
        "same request": context["request"] is context["view"].request,
    }
    return Response(told, status=418, headers={"X-Place": place()})


def plain_handler(error: Exception, context: Any) -> Response:
    return own_answer(error, context)


@in_place
def handler_in_place(error: Exception, context: Any) -> Response:
    return own_answer(error, context)


async def awaited_handler(error: Exception, context: Any) -> Response:
    return own_answer(error, context)


@pytest.mark.parametrize("handler", [plain_handler, handler_in_place, awaited_handler])
async def test_e5_the_projects_own_exception_handler_is_told_everything(serve: Serve, way: str, handler: Any) -> None:
    site = serve(make_view(way, raising(LookupError("gone"))), REST_FRAMEWORK={"EXCEPTION_HANDLER": handler})
    answer = await site.ask()
    assert answer.status == 418
    assert answer.json == {
        "error": "gone",
        "context": ["args", "kwargs", "request", "view"],
        "args": [{}],
        "same request": True,
    }


@pytest.mark.parametrize(
    ("handler", "where"), [(plain_handler, "thread"), (handler_in_place, "loop"), (awaited_handler, "loop")]
)
async def test_e5_in_an_awaited_view_only_what_may_block_takes_a_thread(
    serve: Serve, awaited_way: str, handler: Any, where: str
) -> None:
    site = serve(make_view(awaited_way, raising(LookupError())), REST_FRAMEWORK={"EXCEPTION_HANDLER": handler})
    answer = await site.ask()
    assert (answer.headers["X-Place"] == "loop") == (where == "loop")


async def test_e5_an_exception_handler_may_query(serve: Serve, way: str, transactional_db: None) -> None:
    def counting(error: Exception, context: Any) -> Response:
        return Response({"users": get_user_model().objects.count()}, status=418)

    site = serve(make_view(way, raising(LookupError())), REST_FRAMEWORK={"EXCEPTION_HANDLER": counting})
    answer = await site.ask()
    assert (answer.status, answer.json) == (418, {"users": 0})


@pytest.mark.parametrize("hooked", HOOKED)
@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])
async def test_e5_a_view_may_choose_its_handler_and_what_it_tells_it(serve: Serve, hooked: str, awaited: bool) -> None:
    async def awaited_choice(error: Exception, context: Any) -> Response:
        return plain_choice(error, context)

    def plain_choice(error: Exception, context: Any) -> Response:
        return Response(context, status=418)

    view = make_view(
        hooked,
        raising(LookupError()),
        get_exception_handler_context=lambda self: {"only": "this"},
        get_exception_handler=lambda self: awaited_choice if awaited and hooked.startswith("awaited") else plain_choice,
    )
    answer = await serve(view).ask()
    assert (answer.status, answer.json) == (418, {"only": "this"})


@pytest.mark.parametrize("hooked", HOOKED)
async def test_e5_a_context_that_a_view_has_emptied_breaks_nothing(serve: Serve, hooked: str) -> None:
    answer = await same_as_drf(
        serve, hooked, raising(exceptions.ParseError("Unreadable.")), get_exception_handler_context=lambda self: {}
    )
    assert (answer.status, answer.json) == (400, {"detail": "Unreadable."})


@pytest.mark.parametrize("hooked", HOOKED)
async def test_e5_a_handler_that_answers_nothing_leaves_the_error_to_the_project(serve: Serve, hooked: str) -> None:
    error = exceptions.ParseError("Unreadable.")
    with escaped() as errors:
        site = serve(make_view(hooked, raising(error)), REST_FRAMEWORK={"EXCEPTION_HANDLER": lambda *_: None})
        answer = await site.ask()
    assert answer.status == 500
    assert errors == [error]


@pytest.mark.parametrize("error", [None, exceptions.ParseError(), Http404()], ids=["fine", "own", "django's"])
async def test_e8_a_response_made_of_an_exception_says_so(serve: Serve, way: str, error: Exception | None) -> None:
    seen: list[bool] = []

    def middleware(get_response: Any) -> Any:
        def note(request: Any) -> Any:
            response = get_response(request)
            seen.append(response.exception)
            return response

        return note

    site = serve(make_view(way, raising(error) if error else ok), MIDDLEWARE=[middleware])
    await site.ask()
    assert seen == [error is not None]


async def test_e2_who_is_not_known_is_the_anonymous_user_when_the_answer_goes_out(serve: Serve, way: str) -> None:
    users: list[Any] = []

    def middleware(get_response: Any) -> Any:
        def note(request: Any) -> Any:
            response = get_response(request)
            users.append(request.user)
            return response

        return note

    failing = make_view(way, ok, authentication_classes=(AwaitedFailing,))
    answer = await serve(failing, MIDDLEWARE=[middleware]).ask()
    assert answer.status == 403
    assert users == [AnonymousUser()]
