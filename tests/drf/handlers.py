"""Handlers made `async def` as late as can be, when a view is made of their class, and callable as DRF's tests call."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.http import HttpRequest

from drf.witness import Witness

METHODS: dict[str, frozenset[str]] = {
    "sync": frozenset(),
    "async": frozenset({"get", "head", "post", "put", "patch", "delete", "options", "trace"}),
    "mixed": frozenset({"get"}),
}
"""The HTTP methods whose handlers a mode makes `async def`."""

Handler = Callable[..., Any]  # Any: handlers take what the URL gives and return what they like
MARKS = ("_is_coroutine", "_is_coroutine_marker")
"""Attributes by which asgiref (below Python 3.12) and Python know a marked function."""


def make_async(view: Any, mixin: Any, methods: frozenset[str], witness: Witness) -> None:  # Any: replaced classes
    """From now on `as_view` of both classes first makes these handlers `async def`, then bridges the view it made."""
    plain_as_view, actions_as_view = view.as_view.__func__, mixin.as_view.__func__

    def convert(cls: type, name: str) -> None:
        function = getattr(cls, name, None)
        inherited = function is getattr(view, name, None)  # `options`, where nobody overrides it
        if inspect.isfunction(function) and not inherited and not iscoroutinefunction(function):
            setattr(cls, name, awaited(function, witness))

    @functools.wraps(plain_as_view)
    def as_view(cls: Any, **initkwargs: object) -> Handler:  # Any: a class with handlers by name
        for name in methods & set(cls.http_method_names):
            convert(cls, name)
        return bridged(plain_as_view(cls, **initkwargs))

    @functools.wraps(actions_as_view)
    def as_view_of_actions(cls: Any, actions: Any = None, **initkwargs: object) -> Handler:  # Any: what tests pass
        for method, name in (actions or {}).items():
            if method in methods:
                convert(cls, name)
        if "options" in methods:
            convert(cls, "options")
        return bridged(actions_as_view(cls, actions, **initkwargs))

    view.as_view = type(inspect.getattr_static(view, "as_view"))(as_view)  # each its own kind of classmethod
    mixin.as_view = type(inspect.getattr_static(mixin, "as_view"))(as_view_of_actions)


def awaited(function: Handler, witness: Witness) -> Handler:
    """`function` as `async def`, on the caller's thread for synchronous code."""

    @functools.wraps(function)
    async def handler(self: object, *args: object, **kwargs: object) -> object:
        answer = await sync_to_async(function)(self, *args, **kwargs)
        if inspect.isawaitable(answer):  # `return super().get(…)`, and that one is async by now
            answer = await answer
        witness.handlers += 1
        return answer

    return handler


def bridged(view: Handler) -> Handler:
    """A view that DRF's tests can call without `await`; one without async handlers is returned as it is."""
    if not iscoroutinefunction(view):
        return view

    @functools.wraps(view)
    def call(request: HttpRequest, *args: object, **kwargs: object) -> object:
        return async_to_sync(view)(request, *args, **kwargs)

    for mark in MARKS:
        vars(call).pop(mark, None)
    return call
