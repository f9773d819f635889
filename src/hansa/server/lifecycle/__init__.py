"""The request lifecycle of Django REST framework, asynchronous and streaming; usable by any Django project.

Nothing in here knows about federated learning. The names below are imported when they are first used: `views` and
`viewsets` can then stand in for DRF's own classes before DRF's generic views are defined on them. The decorator
`in_place` is not among them: it is in the module of its name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hansa.server.lifecycle.decorators import action, api_view, streams_body
    from hansa.server.lifecycle.events import Event, EventStream, last_event_id
    from hansa.server.lifecycle.generics import GenericAPIView, GenericViewSet
    from hansa.server.lifecycle.messages import MessageView
    from hansa.server.lifecycle.views import APIView
    from hansa.server.lifecycle.viewsets import ViewSet, ViewSetMixin

_HOMES = {
    "APIView": "views",
    "ViewSet": "viewsets",
    "ViewSetMixin": "viewsets",
    "GenericAPIView": "generics",
    "GenericViewSet": "generics",
    "MessageView": "messages",
    "action": "decorators",
    "api_view": "decorators",
    "streams_body": "decorators",
    "Event": "events",
    "EventStream": "events",
    "last_event_id": "events",
}

__all__ = [
    "APIView",
    "Event",
    "EventStream",
    "GenericAPIView",
    "GenericViewSet",
    "MessageView",
    "ViewSet",
    "ViewSetMixin",
    "action",
    "api_view",
    "last_event_id",
    "streams_body",
]


def __getattr__(name: str) -> Any:  # Any: classes and functions
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
