"""`@api_view` for plain and `async def` functions; DRF's policy decorators and `@action` as they are."""

from collections.abc import Callable, Sequence
from typing import Any

from rest_framework.decorators import (
    action,
    authentication_classes,
    content_negotiation_class,
    metadata_class,
    parser_classes,
    permission_classes,
    renderer_classes,
    schema,
    throttle_classes,
    throttle_scope,
    versioning_class,
)

from hansa.server.lifecycle.in_place import is_async
from hansa.server.lifecycle.views import APIView

__all__ = [
    "action",
    "api_view",
    "authentication_classes",
    "content_negotiation_class",
    "metadata_class",
    "parser_classes",
    "permission_classes",
    "renderer_classes",
    "schema",
    "streams_body",
    "throttle_classes",
    "throttle_scope",
    "versioning_class",
]

Function = Callable[..., Any]  # Any: a view function has the URL's arguments

_POLICIES = (
    "renderer_classes",
    "parser_classes",
    "authentication_classes",
    "throttle_classes",
    "permission_classes",
    "content_negotiation_class",
    "metadata_class",
    "versioning_class",
    "schema",
    "streams_body",
    "body_limit",
)


def api_view(http_method_names: Sequence[str] | None = None) -> Callable[[Function], Any]:  # Any: DRF's view function
    """Make a view of a function, for these methods (default: GET). Policy decorators stand below this one.

    Raises AssertionError, as DRF does, if the methods are missing (`@api_view` without a call) or are not a list.
    """
    if callable(http_method_names):
        raise AssertionError("@api_view is missing its list of methods: write @api_view(['GET']).")
    if http_method_names is not None and not isinstance(http_method_names, list | tuple):
        raise AssertionError(f"@api_view got {http_method_names!r}; it wants a list of methods: ['GET', 'POST'].")
    names = [name.lower() for name in http_method_names or ("GET",)]

    def decorator(function: Function) -> Any:  # Any: as above
        attributes: dict[str, Any] = {name: getattr(function, name, getattr(APIView, name)) for name in _POLICIES}
        attributes |= dict.fromkeys(names, _handler(function))
        attributes["http_method_names"] = [*names, *({"options"} - set(names))]
        attributes["throttle_scope"] = getattr(function, "throttle_scope", None)
        attributes["__doc__"], attributes["__module__"] = function.__doc__, function.__module__
        view: Any = type(function.__name__, (APIView,), attributes)  # Any: a subclass of APIView, made here
        return view.as_view()

    return decorator


def streams_body(*, limit: int | None = None) -> Callable[[Function], Function]:
    """The function reads the body itself, by `request.stream()`: at most `limit` bytes of it."""

    def decorator(function: Function) -> Function:
        function.streams_body, function.body_limit = True, limit  # type: ignore[attr-defined]  # read by `api_view`
        return function

    return decorator


def _handler(function: Function) -> Function:
    if is_async(function):

        async def awaited(self: APIView, *args: Any, **kwargs: Any) -> Any:  # Any: the URL's arguments
            return await function(*args, **kwargs)

        return awaited

    def plain(self: APIView, *args: Any, **kwargs: Any) -> Any:  # Any: as above
        return function(*args, **kwargs)

    return plain
