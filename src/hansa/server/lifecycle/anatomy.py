"""What a view class is made of: which of its hooks are plain, which are awaited, which are DRF's own."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from hansa.server.lifecycle.in_place import is_async, is_framework


class Kind(Enum):
    """How a hook is called in an awaited view."""

    OWN = "the framework's: awaited or called in place, as we know it"
    AWAITED = "an override that gives something to await"
    PLAIN = "a synchronous override: one thread hop"
    IN_PLACE = "a synchronous override that says it does not block"


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The hooks of one class."""

    kinds: dict[str, Kind]
    awaited_hooks: tuple[str, ...]
    """Hooks of the framework that the class overrides by coroutine functions."""


_known: WeakKeyDictionary[type, Anatomy] = WeakKeyDictionary()

HOOKS = (
    "initialize_request",
    "initial",
    "perform_content_negotiation",
    "determine_version",
    "perform_authentication",
    "check_permissions",
    "check_object_permissions",
    "check_throttles",
    "permission_denied",
    "throttled",
    "get_format_suffix",
    "get_permissions",
    "get_throttles",
    "get_authenticate_header",
    "get_exception_handler",
    "get_exception_handler_context",
    "handle_exception",
    "raise_uncaught_exception",
    "finalize_response",
    "http_method_not_allowed",
    "options",
    "get_queryset",
    "get_object",
    "filter_queryset",
    "paginate_queryset",
)
"""The hooks that an awaited view calls itself; others, if awaited, are bridged for the plain code that calls them."""


def of(cls: type, *, fresh: bool = False) -> Anatomy:
    """The anatomy of a view class; `fresh` after its attributes may have changed."""
    if fresh or cls not in _known:
        _known[cls] = _dissect(cls)
    return _known[cls]


def _dissect(cls: type) -> Anatomy:
    kinds = {name: _kind(getattr(cls, name)) for name in HOOKS if hasattr(cls, name)}
    return Anatomy(kinds, tuple(sorted(name for name in _framework_names(cls) if _overrides_by_coroutine(cls, name))))


def _kind(function: Any) -> Kind:  # Any: a hook
    if is_async(function):
        return Kind.AWAITED
    if is_framework(function):
        return Kind.OWN
    return Kind.IN_PLACE if getattr(function, "in_place", False) else Kind.PLAIN


def _framework_names(cls: type) -> frozenset[str]:
    return frozenset().union(*(_public_names(base) for base in cls.__mro__ if is_framework(base)))


@lru_cache(maxsize=256)
def _public_names(base: type) -> frozenset[str]:
    return frozenset(name for name, value in vars(base).items() if not name.startswith("_") and callable(value))


def _overrides_by_coroutine(cls: type, name: str) -> bool:
    return is_async(getattr(cls, name)) and not is_framework(getattr(cls, name)) and not name.startswith("a")


def has_awaited(cls: type, handlers: Iterable[str]) -> bool:
    """Whether any of these handlers, or any hook, is a coroutine function."""
    return bool(of(cls).awaited_hooks) or any(is_async(getattr(cls, name, None)) for name in handlers)
