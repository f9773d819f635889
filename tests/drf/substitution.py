"""Our `APIView` and `ViewSetMixin` in the place of DRF's, so that all that DRF builds on those is built on ours.

Django must be set up: DRF's view classes read their policies from the settings when they are defined.
"""

import importlib
import sys
from typing import Any

from drf.witness import descendants

VIEWS, VIEWSETS = "hansa.server.lifecycle.views", "hansa.server.lifecycle.viewsets"

BUILT_ON_VIEWS = (
    "rest_framework.generics",
    "rest_framework.decorators",
    "rest_framework.viewsets",
    "rest_framework.schemas.views",
    "rest_framework.routers",
    "rest_framework.authtoken.views",
)
"""DRF's modules that take `APIView` from `rest_framework.views` when they are imported, in an order they allow."""


class NotSubstitutedError(Exception):
    """Some view is still built on DRF's own class, so that the run would prove nothing."""


def substitute(order: str) -> tuple[Any, Any]:  # Any: the two classes, whose types DRF's untyped modules decide
    """Install both classes and return them.

    `order` says who came first: with "before", DRF's generics are first imported after `APIView` was replaced; with
    "after", all of DRF and both of our modules are imported as in a project, and DRF's modules are reloaded.
    """
    views = _load("rest_framework.views")
    stock = views.APIView
    if order == "before":
        ours = _load(VIEWS).APIView
        if early := [name for name in BUILT_ON_VIEWS if name in sys.modules]:
            raise NotSubstitutedError(f"importing {VIEWS} imports {', '.join(early)}, which is built on DRF's APIView")
        views.APIView = ours
        for name in BUILT_ON_VIEWS:
            _load(name)
        mixin = _load(VIEWSETS).ViewSetMixin
    else:
        for name in BUILT_ON_VIEWS:
            _load(name)
        ours, mixin = _load(VIEWS).APIView, _load(VIEWSETS).ViewSetMixin
        views.APIView = ours
        for name in BUILT_ON_VIEWS:
            importlib.reload(sys.modules[name])
    _replace_mixin(sys.modules["rest_framework.viewsets"], mixin)
    _check(stock, ours, mixin)
    return ours, mixin


def _load(name: str) -> Any:  # Any: a module, whose names are known when it runs
    return importlib.import_module(name)


def _replace_mixin(viewsets: Any, mixin: type) -> None:  # Any: DRF's module
    stock = viewsets.ViewSetMixin
    for kind in (viewsets.ViewSet, viewsets.GenericViewSet):
        kind.__bases__ = tuple(mixin if base is stock else base for base in kind.__bases__)
    viewsets.ViewSetMixin = mixin


def _check(stock: type, ours: type, mixin: type) -> None:
    """Every view that DRF's modules name is ours; a reload leaves older classes behind, which nobody can name."""
    if not issubclass(ours, stock):
        raise NotSubstitutedError(f"{ours} is no subclass of {stock}: schema tools would not know its views")
    for kind in descendants(stock):
        module = sys.modules[kind.__module__]
        named = module.__name__.startswith("rest_framework.") and getattr(module, kind.__name__, None) is kind
        if named and not issubclass(kind, ours):
            raise NotSubstitutedError(f"{kind} is built on DRF's APIView")
        if named and kind.__name__.endswith("ViewSet") and not issubclass(kind, mixin):
            raise NotSubstitutedError(f"{kind} is built on DRF's ViewSetMixin")
