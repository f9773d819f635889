"""DRF's ViewSetMixin, awaited. Actions keep their names: routers, `self.action` and the schema see what DRF's would.

Apart from `generics.py`, so that this can stand in for DRF's own mixin before any generic view exists.
"""

from typing import Any

from asgiref.sync import markcoroutinefunction
from django.utils.decorators import classonlymethod
from rest_framework import viewsets

from hansa.server.lifecycle import anatomy
from hansa.server.lifecycle.views import APIView


class ViewSetMixin(viewsets.ViewSetMixin):
    """Binds methods to actions, plain or `async def`. A route is awaited if one of its actions, or a hook, is."""

    @classonlymethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Any:  # Any: DRF's own signature  # noqa: N805
        """DRF's view function; a coroutine function if the route is awaited."""
        anatomy.of(cls, fresh=True)
        view: Any = super().as_view(actions, **initkwargs)  # Any: a function with attributes
        view.reads_own_body, view.streams_body = _is_awaited(cls, actions), getattr(cls, "streams_body", False)
        return markcoroutinefunction(view) if view.reads_own_body else view

    def is_awaited(self) -> bool:
        """Whether this request is served on the event loop: by the actions of its route."""
        return _is_awaited(type(self), getattr(self, "action_map", None) or {})


def _is_awaited(cls: type, actions: dict[str, str]) -> bool:
    stated = next((vars(each)["view_is_async"] for each in cls.__mro__ if "view_is_async" in vars(each)), None)
    if isinstance(stated, bool):
        return stated
    return anatomy.has_awaited(cls, actions.values())


class ViewSet(ViewSetMixin, APIView):
    """Actions of your own over the awaited lifecycle."""
