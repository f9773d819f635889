"""DRF's APIView, awaited.

The order of steps and every hook are DRF's own: wrap the request → negotiate → version → authenticate → permit →
throttle → handler → exception handler → finalize. A class is awaited if a handler or a hook of it is `async def` (or it
says `view_is_async = True`); its handlers and hooks may be of both kinds. Plain ones that may block get a thread hop
each. A class without any `async def` is a plain DRF view, with the same policies.

The body of an awaited view is not read before `initial` has passed, so that a request without a right to be here is
answered before its first megabyte.
"""

import threading
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, ClassVar, TypeVar

from asgiref.sync import async_to_sync
from django.db.models.query import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import classproperty
from rest_framework import exceptions, status, views
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.server.lifecycle import anatomy, atomic, negotiation, policies, threads
from hansa.server.lifecycle.anatomy import Kind
from hansa.server.lifecycle.in_place import is_async, is_framework, is_in_place
from hansa.server.lifecycle.marks import DispatchMark
from hansa.server.lifecycle.promises import Promise, UnawaitedError
from hansa.server.lifecycle.request import AsyncRequest

T = TypeVar("T")


# No docstring: schema tools describe a view by the first that they find.
class APIView(views.APIView):  # noqa: D101  # see above
    # A DRF view whose lifecycle is awaited. Policies, hooks and schema tools work as they do in DRF.

    streams_body: ClassVar[bool] = False
    """The handlers read the body themselves, by `request.stream()`; otherwise it is read before a handler runs."""
    body_limit: ClassVar[int | None] = None
    """Bytes of a body; None: the project's `LIFECYCLE["BODY_LIMIT"]`."""

    _loop_thread: int | None = None
    """Whose event loop serves the request of this view; None while there is none."""

    def __init_subclass__(cls, **kwargs: Any) -> None:  # Any: as in `object`
        """Mark the `dispatch` of an awaited class, so that `method_decorator(…, name="dispatch")` sees what it is."""
        super().__init_subclass__(**kwargs)
        stated = anatomy.stated(cls)
        if anatomy.has_awaited(cls, cls._possible_handlers()) if stated is None else stated:
            DISPATCH.put_on(cls)

    def __init__(self, **kwargs: Any) -> None:  # Any: as_view's own
        super().__init__(**kwargs)
        # From the beginning: schema tools make views, and ask them without a request. `dispatch` comes before it is
        # known where the event loop is; nobody calls it but Django.
        self._anatomy = anatomy.of(type(self))
        self._bridge(name for name in self._anatomy.awaited_hooks if name != "dispatch")

    @classmethod
    def _possible_handlers(cls) -> Iterable[str]:
        return cls.http_method_names

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:  # Any: DRF's own signature
        """DRF's view function; a coroutine function if the class is awaited."""
        anatomy.of(cls, fresh=True)
        with DISPATCH.taken_off(cls, unless=cls.view_is_async):
            view: Any = super().as_view(**initkwargs)  # Any: a function with attributes
        if isinstance(queryset := getattr(cls, "queryset", None), QuerySet):
            # DRF has guarded the synchronous ways of evaluating it, and with them `async for`.
            queryset.aget = partial(_refuse_to_evaluate, queryset)  # type: ignore[method-assign]  # a guard, as DRF's
        view.reads_own_body = cls.view_is_async
        return view

    @classproperty
    def view_is_async(cls) -> bool:  # noqa: N805  # a property of the class
        """Whether a handler or a hook is a coroutine function. Django refuses to mix; here classes may."""
        kind: Any = cls  # Any: what a classproperty takes for an instance
        return anatomy.has_awaited(kind, cls.http_method_names) or DISPATCH.is_decorated(kind)

    def is_awaited(self) -> bool:
        """Whether this request is served on the event loop."""
        return bool(self.view_is_async)

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> Any:  # Any: URL arguments; a response or its promise
        """DRF's dispatch; a coroutine if the view is awaited."""
        if self.is_awaited():
            return self._awaited_dispatch(request, *args, **kwargs)
        return super().dispatch(request, *args, **kwargs)

    async def _awaited_dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:  # Any: as above
        self._loop_thread = threading.get_ident()
        self._anatomy = anatomy.of_instance(self, self._anatomy)
        self._unawaited: set[Promise] = set()
        self.args, self.kwargs = args, kwargs
        wrapped: Request = await self._step("initialize_request", request, *args, **kwargs)
        self.request = wrapped
        if isinstance(wrapped, AsyncRequest):
            wrapped.loop_thread = self._loop_thread
        self.headers = self.default_response_headers
        try:
            await self._step("initial", wrapped, *args, **kwargs)
            response = await self._awaited_handler(wrapped, *args, **kwargs)
        except Exception as exc:  # noqa: BLE001  # DRF's contract: the exception handler decides, and re-raises the rest
            response = await self._step("handle_exception", exc)
        self.response = await self._step("finalize_response", wrapped, response, *args, **kwargs)
        self._bridge_handlers_for_renderers()
        return self.response

    # Steps.

    async def _step(self, name: str, /, *args: Any, **kwargs: Any) -> Any:  # Any: any hook's
        """Call a hook as its kind wants; the framework's own by its awaited twin, if it has one."""
        kind = self._anatomy.kinds[name]
        if kind is Kind.PLAIN or (kind is Kind.OWN and anatomy.asks_a_stranger(self, name)):
            result = await self.hop(getattr(self, name), *args, **kwargs)
        else:
            result = getattr(self, _TWINS.get(name, name) if kind is Kind.OWN else name)(*args, **kwargs)
        # Also of a plain one: a decorator around an `async def` hides what it is. Its type is asked, as `await` does:
        # DRF's request would look for the attribute in three places, and make an error of each.
        return await result if hasattr(type(result), "__await__") else result

    async def _awaited_initial(self, request: Request, *args: Any, **kwargs: Any) -> None:  # Any: URL arguments
        self.format_kwarg = await self._step("get_format_suffix", **kwargs)
        request.accepted_renderer, request.accepted_media_type = await self._step(
            "perform_content_negotiation", request
        )
        request.version, request.versioning_scheme = await self._step("determine_version", request, *args, **kwargs)
        await self._step("perform_authentication", request)
        await self._step("check_permissions", request)
        await self._step("check_throttles", request)

    async def _awaited_perform_authentication(self, request: Request) -> None:
        if isinstance(request, AsyncRequest):
            await request.aauthenticate()
        else:
            await self.hop(getattr, request, "user")

    async def _awaited_check_permissions(self, request: Request) -> None:
        permissions = await self._step("get_permissions")
        denying = await policies.first_denying(permissions, request, self, ready=_is_ready(request))
        if denying is not None:
            await self._awaited_denial(request, denying)

    async def _awaited_check_object_permissions(self, request: Request, obj: object) -> None:
        permissions = await self._step("get_permissions")
        denying = await policies.first_denying_object(permissions, request, self, obj, ready=_is_ready(request))
        if denying is not None:
            await self._awaited_denial(request, denying)

    async def _awaited_denial(self, request: Request, permission: Any) -> None:  # Any: a permission is what denies
        await self._awaited_perform_authentication(request)
        message, code = getattr(permission, "message", None), getattr(permission, "code", None)
        await self._step("permission_denied", request, message=message, code=code)

    async def _awaited_check_throttles(self, request: Request) -> None:
        throttles = await self._step("get_throttles")
        refusing = await policies.refusing_throttles(throttles, request, self, ready=_is_ready(request))
        if refusing:
            await self._step("throttled", request, policies.longest_wait(refusing))

    async def _awaited_handler(
        self, request: Request, *args: Any, **kwargs: Any
    ) -> Any:  # Any: URL arguments; checked by finalize
        self._refuse_unawaited()
        name = (request.method or "").lower()
        handler = self.http_method_not_allowed
        if name in self.http_method_names:
            handler = getattr(self, name, self.http_method_not_allowed)
        awaited = is_async(handler)
        if not awaited and is_framework(handler) and handler.__name__ in _ANSWERED_BY_STEPS:
            return await self._step(handler.__name__, request, *args, **kwargs)
        if not self.streams_body and isinstance(request, AsyncRequest):
            await request.receive(parsed=awaited)
        if awaited or getattr(handler, "in_place", False):
            response = handler(request, *args, **kwargs)
        else:
            response = await self.hop(handler, request, *args, **kwargs)
        if hasattr(response, "__await__"):
            response = await response
        self._refuse_unawaited()
        return response

    def _refuse_unawaited(self) -> None:
        if self._unawaited:
            raise UnawaitedError(self._unawaited.pop().name)

    async def _awaited_options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # Any: URL arguments
        if self.metadata_class is None:
            await self._step("http_method_not_allowed", request, *args, **kwargs)
        metadata: Any = self.metadata_class()  # type: ignore[operator,misc]  # a class here; Any: with or without `a…`
        awaited = policies.awaited_method(metadata, "determine_metadata")
        if awaited is not None:
            data = await awaited(request, self)
        else:
            data = await self.hop(metadata.determine_metadata, request, self)
        return Response(data, status=status.HTTP_200_OK)

    async def _awaited_handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
            header = await self._step("get_authenticate_header", self.request)
            if header:
                exc.auth_header = header  # type: ignore[union-attr]  # DRF's own way to the header
            else:
                exc.status_code = status.HTTP_403_FORBIDDEN
        handler = await self._step("get_exception_handler")
        context = await self._step("get_exception_handler_context")
        if is_async(handler):
            response = await atomic.rolling_back(handler)(exc, context)
        elif atomic.is_requested() or not (is_framework(handler) or getattr(handler, "in_place", False)):
            # `set_rollback` must meet the transaction on the thread that has it open.
            response = await self.hop(handler, exc, context)
        else:
            response = handler(exc, context)
        if response is None:
            await self._step("raise_uncaught_exception", exc)
        response.exception = True
        return response  # type: ignore[no-any-return]  # an exception handler's

    async def _awaited_finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:  # Any: checked by DRF's; URL arguments
        if isinstance(response, Response) and not getattr(request, "accepted_renderer", None):
            negotiated = await self._step("perform_content_negotiation", request, force=True)
            request.accepted_renderer, request.accepted_media_type = negotiated
        return super().finalize_response(request, response, *args, **kwargs)

    # The hooks as others call them: on the event loop something to await, elsewhere DRF's own, synchronously.

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:  # Any: URL arguments
        """DRF's, with a request that has awaited ways."""
        return AsyncRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """DRF's; a choice that depends on nothing but the Accept header is remembered."""
        if not negotiation.is_by_header_alone(self, request):
            return super().perform_content_negotiation(request, force)
        return negotiation.select(self, request) or super().perform_content_negotiation(request, force)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> Any:  # Any: URL arguments; None, or to be awaited
        """DRF's."""
        if self._is_on_the_loop():
            return self._promise("initial", self._awaited_initial(request, *args, **kwargs))
        return super().initial(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> Any:  # Any: None, or to be awaited
        """DRF's."""
        if self._is_on_the_loop():
            return self._promise("perform_authentication", self._awaited_perform_authentication(request))
        return super().perform_authentication(request)

    def check_permissions(self, request: Request) -> Any:  # Any: as above
        """DRF's."""
        if self._is_on_the_loop():
            return self._promise("check_permissions", self._awaited_check_permissions(request))
        for permission in self.get_permissions():
            if not policies.has_permission(permission, request, self):
                self._deny_now(request, permission)
        return None

    def check_object_permissions(self, request: Request, obj: object) -> Any:  # Any: as above
        """DRF's; on the event loop write `await self.acheck_object_permissions(request, obj)`."""
        if self._is_on_the_loop():
            return self._promise("check_object_permissions", self._awaited_check_object_permissions(request, obj))
        for permission in self.get_permissions():
            if not policies.has_object_permission(permission, request, self, obj):
                self._deny_now(request, permission)
        return None

    def acheck_object_permissions(self, request: Request, obj: object) -> "Promise":
        """`check_object_permissions`, to be awaited, whichever way the class overrides it."""
        return self._promise("acheck_object_permissions", self._step("check_object_permissions", request, obj))

    def check_throttles(self, request: Request) -> Any:  # Any: as above
        """DRF's."""
        if self._is_on_the_loop():
            return self._promise("check_throttles", self._awaited_check_throttles(request))
        refusing = [each for each in self.get_throttles() if not policies.allow_request(each, request, self)]
        if refusing:
            self.throttled(request, policies.longest_wait(refusing))  # type: ignore[arg-type]  # DRF takes None as well
        return None

    def options(
        self,
        request: Any,  # Any: DRF's request, where Django's stubs want Django's
        *args: Any,
        **kwargs: Any,
    ) -> Any:  # Any: URL arguments; a response or its promise
        """DRF's, with `adetermine_metadata`."""
        if self._is_on_the_loop():
            return self._awaited_options(request, *args, **kwargs)
        metadata: Any = self.metadata_class and self.metadata_class()  # type: ignore[operator]  # as above
        if awaited := policies.awaited_method(metadata, "determine_metadata"):
            return Response(async_to_sync(awaited)(request, self))
        return super().options(request, *args, **kwargs)

    def handle_exception(self, exc: Exception) -> Any:  # Any: a response or its promise
        """DRF's."""
        if self._is_on_the_loop():
            return self._awaited_handle_exception(exc)
        return super().handle_exception(exc)

    def get_exception_handler(self) -> Any:  # Any: DRF's own
        """DRF's; where synchronous code asks for an awaited one, it is bridged."""
        handler = super().get_exception_handler()
        bridged = is_async(handler) and not self._is_on_the_loop()
        return async_to_sync(atomic.rolling_back(handler)) if bridged else handler

    def _deny_now(self, request: Request, permission: Any) -> None:  # Any: a permission is what denies
        self.permission_denied(
            request, message=getattr(permission, "message", None), code=getattr(permission, "code", None)
        )

    def _is_on_the_loop(self) -> bool:
        return self._loop_thread == threading.get_ident()

    def _promise(self, name: str, coroutine: Coroutine[Any, Any, None]) -> "Promise":  # Any: of no interest here
        promise = Promise(name, coroutine, self._unawaited)
        self._unawaited.add(promise)
        return promise

    # Plain code of an awaited view.

    async def hop(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:  # Any: whatever it takes
        """Call plain code on the request's thread."""
        return await threads.hop(function, *args, **kwargs)

    def _bridge(self, names: Iterable[str]) -> None:
        """Let plain code call what the class has made awaited: DRF's mixins, serializers, renderers."""
        for name in names:
            setattr(self, name, threads.either(getattr(self, name), self._is_on_the_loop))

    def _bridge_handlers_for_renderers(self) -> None:
        """Renderers that ask the view do so on a thread, and DRF's admin renderer calls `view.get()` itself."""
        renderer = getattr(self.request, "accepted_renderer", None)
        if renderer is not None and not is_in_place(renderer, "render"):
            self._bridge(name for name in self.http_method_names if is_async(getattr(self, name, None)))


DISPATCH = DispatchMark(APIView.dispatch)
"""Whether a class's `dispatch` carries the mark of a coroutine function."""

_TWINS = {
    name: f"_awaited_{name}"
    for name in (
        "initial",
        "perform_authentication",
        "check_permissions",
        "check_object_permissions",
        "check_throttles",
        "options",
        "handle_exception",
        "finalize_response",
    )
}
"""Hooks that may block, and the awaited methods that do what DRF's own do."""


_ANSWERED_BY_STEPS = frozenset({"options", "http_method_not_allowed"})


def _is_ready(request: Request) -> bool:
    """Whether reading `request.user` does not authenticate."""
    return not isinstance(request, AsyncRequest) or request.is_authenticated


async def _refuse_to_evaluate(
    queryset: Any, *args: object, **kwargs: object
) -> None:  # Any: a queryset, guarded by DRF
    queryset._fetch_all()
