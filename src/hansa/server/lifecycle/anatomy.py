"""What a view class is made of: which of its hooks are plain, which are awaited, which are DRF's own."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from hansa.server.lifecycle.in_place import is_async, is_framework, may_block


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


_known: WeakKeyDictionary[type, tuple[tuple[object, ...], Anatomy]] = WeakKeyDictionary()

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


_CALLS = {
    "initialize_request": ("get_parsers", "get_authenticators", "get_content_negotiator", "get_parser_context"),
    "perform_content_negotiation": ("get_renderers", "get_content_negotiator"),
    "finalize_response": ("get_renderer_context",),
}
"""Hooks of DRF's that call others, synchronously. Where one of those is overridden, the whole goes to a thread: there
plain ones may block, and awaited ones are bridged."""

_POLICIES = {
    "determine_version": ("versioning_class", "determine_version"),
    "perform_content_negotiation": ("content_negotiation_class", "select_renderer"),
}
"""Hooks of DRF's that leave it to one policy class."""


def of(cls: type, *, fresh: bool = False) -> Anatomy:
    """The anatomy of a view class; `fresh` after its attributes may have changed."""
    hooks = tuple([getattr(cls, name, None) for name in HOOKS])  # a test may have replaced one by a mock
    known = None if fresh else _known.get(cls)
    if known is None or known[0] != hooks:
        known = _known[cls] = hooks, _dissect(cls)
    return known[1]


def of_instance(view: object, found: Anatomy) -> Anatomy:
    """`found` of its class, with hooks which `as_view(…)` or `setup` has set on this very view."""
    own = found.kinds.keys() & vars(view).keys()
    return replace(found, kinds={**found.kinds, **{name: _kind(vars(view)[name]) for name in own}}) if own else found


def asks_a_stranger(view: object, hook: str) -> bool:
    """Whether DRF's hook leaves it to a policy class of the project's own, which may block."""
    if hook not in _POLICIES:
        return False
    policy, method = _POLICIES[hook]
    return may_block(getattr(view, policy), method)


def _dissect(cls: type) -> Anatomy:
    kinds = {name: _kind(getattr(cls, name)) for name in HOOKS if hasattr(cls, name)}
    for name, called in _CALLS.items():
        if kinds.get(name) is Kind.OWN and any(
            _leaves_the_loop(getattr(cls, each)) for each in called if hasattr(cls, each)
        ):
            kinds[name] = Kind.PLAIN
    return Anatomy(kinds, tuple(sorted(name for name in _framework_names(cls) if _overrides_by_coroutine(cls, name))))


def _kind(function: Any) -> Kind:  # Any: a hook
    if is_async(function):
        return Kind.AWAITED
    if is_framework(function):
        return Kind.OWN
    return Kind.IN_PLACE if getattr(function, "in_place", False) else Kind.PLAIN


def _leaves_the_loop(function: Any) -> bool:  # Any: a hook
    return _kind(function) in (Kind.AWAITED, Kind.PLAIN)


def _framework_names(cls: type) -> frozenset[str]:
    return frozenset().union(*(_public_names(base) for base in cls.__mro__ if is_framework(base)))


@lru_cache(maxsize=256)
def _public_names(base: type) -> frozenset[str]:
    return frozenset(name for name, value in vars(base).items() if not name.startswith("_") and callable(value))


def _overrides_by_coroutine(cls: type, name: str) -> bool:
    return is_async(getattr(cls, name)) and not is_framework(getattr(cls, name)) and not name.startswith("a")


def stated(cls: type) -> bool | None:
    """What the class says itself, by `view_is_async = …`."""
    said = next((vars(each)["view_is_async"] for each in cls.__mro__ if "view_is_async" in vars(each)), None)
    return said if isinstance(said, bool) else None


def has_awaited(cls: type, handlers: Iterable[str]) -> bool:
    """Whether any of these handlers, or any hook, is a coroutine function."""
    return bool(of(cls).awaited_hooks) or any(is_async(getattr(cls, name, None)) for name in handlers)
