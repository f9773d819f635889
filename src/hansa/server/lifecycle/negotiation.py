"""Content negotiation that is remembered: the same Accept header chooses the same renderer of the same view."""

from typing import Any

from rest_framework import views
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

_MOST = 1_000
"""Choices kept; Accept headers are the callers' to invent."""
_LONGEST = 200
"""Characters of a header that is worth remembering."""

Key = tuple[str, tuple[Any, ...]]  # Any: renderer classes, or what stands for them
_chosen: dict[Key, tuple[int, str]] = {}


def is_by_header_alone(view: views.APIView, request: Request) -> bool:
    """Whether DRF's own negotiation decides, and neither a suffix nor a query parameter has a say."""
    return (
        view.content_negotiation_class is DefaultContentNegotiation
        and type(view).get_renderers is views.APIView.get_renderers
        and type(view).get_content_negotiator is views.APIView.get_content_negotiator
        and not getattr(view, "format_kwarg", None)
        and not (view.settings.URL_FORMAT_OVERRIDE and request._request.META.get("QUERY_STRING"))
    )


def select(view: views.APIView, request: Request) -> tuple[BaseRenderer, str] | None:
    """The renderer, new, and its media type; None if nothing of the view suits the header: DRF then says what is wrong.

    Only for views that are `is_by_header_alone`.
    """
    classes = tuple(view.renderer_classes)
    header = request._request.META.get("HTTP_ACCEPT", "*/*")
    choice = _chosen.get((header, classes))
    if choice is None:
        renderers = view.get_renderers()
        try:
            chosen, media_type = view.get_content_negotiator().select_renderer(request, renderers, None)
        except Exception:  # noqa: BLE001  # DRF's own way again, which says it to the right one
            return None
        choice = renderers.index(chosen), media_type
        if len(header) <= _LONGEST:
            if len(_chosen) >= _MOST:
                _chosen.clear()
            _chosen[(header, classes)] = choice
    index, media_type = choice
    return classes[index](), media_type
