"""The request lifecycle of Django REST framework, asynchronous and streaming; usable by any Django project.

Nothing in here knows about federated learning. The names below are imported when they are first used: `views` and
`viewsets` can then stand in for DRF's own classes before DRF's generic views are defined on them.
"""

from importlib import import_module
from typing import Any

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
    "in_place": "in_place",
    "Event": "events",
    "EventStream": "events",
    "last_event_id": "events",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # the same names, once


def __getattr__(name: str) -> Any:  # Any: classes and functions
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
