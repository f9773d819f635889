"""Throttles: how often one may ask, and how often one may fail. Django REST framework's interface, in memory.

Rates are named by scope in `REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]`, or written on a class (`rate = "100/min"`); None
is no limit. What counts is kept in the process that counts it: several processes each allow the rate.

A throttle costs a microsecond or two and never blocks, so it is asked on the event loop (`in_place`). DRF's own
`SimpleRateThrottle` reads, unpickles, pickles and writes the list of all requests of the period, each time.
"""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

from hansa.server.lifecycle.addresses import address
from hansa.server.lifecycle.rates import Limiter, Rate

if TYPE_CHECKING:  # DRF's views import the default throttles, which are these
    from rest_framework.views import APIView


class RateThrottle(BaseThrottle):
    """A rate for each key that `get_key` finds in requests. Each subclass counts for itself, whatever its instances."""

    in_place = True
    scope: str | None = None
    rate: str | None = None
    """Instead of the scope's."""
    THROTTLE_RATES: Mapping[str, str | None] | None = None
    """Instead of the setting, which is read at every use."""
    clock: Callable[[], int] = staticmethod(time.monotonic_ns)

    _limiters: ClassVar[dict[str, Limiter]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._limiters = {}

    def __init__(self) -> None:
        self._seconds: float | None = None

    def get_key(self, request: Request, view: "APIView") -> Hashable | None:
        """Whose rate the request is counted on; None: it is not counted. One that queries needs `in_place = False`."""
        raise NotImplementedError(f"{type(self).__name__} must say by `get_key` whose requests it counts.")

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count the request, unless its key has used up its rate.

        Raises ImproperlyConfigured if there is no such rate, or it cannot be read.
        """
        limiter = self._limiter()
        key = None if limiter is None else self.get_key(request, view)
        if limiter is None or key is None:
            return True
        self._seconds = limiter.take(key) or None
        return self._seconds is None

    def wait(self) -> float | None:
        """The seconds until a request would be allowed again; None unless one was just refused."""
        return self._seconds

    def get_ident(self, request: Request) -> str:
        """The address that the request came from, as `addresses.address` tells it."""
        return address(request)

    def _limiter(self) -> Limiter | None:
        if self.rate is not None:
            return _limiter(self._limiters, self.rate, self.clock, where=f"{type(self).__name__}.rate")
        rate = _rate_of(self.scope, self.THROTTLE_RATES, who=type(self).__name__)
        return _limiter(self._limiters, rate, self.clock, where=_setting(self.scope))


class UserRateThrottle(RateThrottle):
    """Counts what a signed-in user asks; anonymous callers are counted by their address only."""

    scope = "user"

    def get_key(self, request: Request, view: "APIView") -> Hashable | None:
        """The user's primary key."""
        user = request.user  # None, where UNAUTHENTICATED_USER is None
        return user.pk if getattr(user, "is_authenticated", False) else None


class AddressRateThrottle(RateThrottle):
    """Counts what comes from an address, whoever asks."""

    scope = "address"

    def get_key(self, request: Request, view: "APIView") -> str:
        """The address."""
        return self.get_ident(request)


class FailureLimit:
    """How often something may fail, for each of many keys: to be asked before work that is dear, and told afterwards.

        limit.check(key)             # raises Throttled
        if dear_work():
            limit.succeeded(key)
        else:
            limit.failed(key)

    Only failures count, so who is right is never made to wait by their own success. Tries that are under way when the
    last failure is counted are not stopped; they are counted too, and waited for afterwards.
    """

    def __init__(self, scope: str, *, detail: str, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._scope = scope
        self._detail = detail
        self._clock = clock
        self._limiters: dict[str, Limiter] = {}

    def check(self, key: Hashable) -> None:
        """Raise Throttled (429, with when to come again) if the key has failed too often."""
        limiter = self._limiter()
        if limiter is not None and (wait := limiter.wait(key)):
            raise Throttled(wait, self._detail)

    def failed(self, key: Hashable) -> bool:
        """Count a failure. Returns whether the next check would be refused."""
        limiter = self._limiter()
        if limiter is None:
            return False
        limiter.charge(key)
        return limiter.wait(key) > 0

    def succeeded(self, key: Hashable) -> None:
        """Forget the key's failures."""
        limiter = self._limiter()
        if limiter is not None:
            limiter.forget(key)

    def clear(self) -> None:
        """Forget all failures."""
        self._limiters.clear()

    def _limiter(self) -> Limiter | None:
        rate = _rate_of(self._scope, None, who=f"FailureLimit({self._scope!r})")
        return _limiter(self._limiters, rate, self._clock, where=_setting(self._scope))


def _rate_of(scope: str | None, rates: Mapping[str, str | None] | None, *, who: str) -> str | None:
    if scope is None:
        raise ImproperlyConfigured(f"{who} has neither a scope nor a rate. Write one of them on the class.")
    known: Mapping[str, Any] = (
        api_settings.DEFAULT_THROTTLE_RATES if rates is None else rates
    )  # Any: read by `_limiter`
    if scope not in known:
        raise ImproperlyConfigured(
            f"{who} needs {_setting(scope)}, and that has only {', '.join(map(repr, known)) or 'nothing'}. "
            f'Add "{scope}": "100/min", or None for no limit.'
        )
    rate: str | None = known[scope]
    return rate


def _limiter(limiters: dict[str, Limiter], rate: str | None, clock: Callable[[], int], *, where: str) -> Limiter | None:
    """The limiter of the rate in force; with another rate, counting begins anew."""
    if rate is None:
        return None
    if (limiter := limiters.get(rate)) is not None:
        return limiter
    try:
        parsed = Rate.parse(str(rate))
    except ValueError as error:
        raise ImproperlyConfigured(f"{where}: {error}") from error
    return limiters.setdefault(rate, Limiter(parsed, clock=clock))


def _setting(scope: str | None) -> str:
    return f'REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]["{scope}"]'
