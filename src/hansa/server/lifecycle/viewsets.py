"""DRF's ViewSetMixin, awaited. Actions keep their names: routers, `self.action` and the schema see what DRF's would.

Apart from `generics.py`, so that this can stand in for DRF's own mixin before any generic view exists.
"""

from collections.abc import Iterable
from inspect import getmembers
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.utils.decorators import classonlymethod
from rest_framework import viewsets

from hansa.server.lifecycle import anatomy
from hansa.server.lifecycle.views import DISPATCH, APIView


# No docstrings: schema tools describe a view by the first that they find.
class ViewSetMixin(viewsets.ViewSetMixin):  # noqa: D101  # see above
    # Binds methods to actions, plain or `async def`. A route is awaited if one of its actions, or a hook, is.

    @classonlymethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Any:  # Any: DRF's own signature  # noqa: N805
        """DRF's view function; a coroutine function if the route is awaited."""
        anatomy.of(cls, fresh=True)
        awaited = _is_awaited(cls, actions)
        with DISPATCH.taken_off(cls, unless=awaited):
            view: Any = super().as_view(actions, **initkwargs)  # Any: a function with attributes
        view.reads_own_body = awaited
        return markcoroutinefunction(view) if awaited else view

    @classmethod
    def _possible_handlers(cls) -> Iterable[str]:
        return (*_STANDARD_ACTIONS, *(name for name, _ in getmembers(cls, viewsets._is_extra_action)))

    def is_awaited(self) -> bool:
        """Whether this request is served on the event loop: by the actions of its route."""
        return _is_awaited(type(self), getattr(self, "action_map", None) or {})


_STANDARD_ACTIONS = ("list", "create", "retrieve", "update", "partial_update", "destroy")
"""The names that DRF's routers know."""


def _is_awaited(cls: Any, actions: dict[str, str]) -> bool:  # Any: a view class with this mixin
    if (stated := anatomy.stated(cls)) is not None:
        return stated
    return anatomy.has_awaited(cls, (actions or {}).values()) or DISPATCH.is_decorated(cls)


class ViewSet(ViewSetMixin, APIView):  # noqa: D101  # see above
    # Actions of your own over the awaited lifecycle.
    pass
