"""Rates, and who has used how much of theirs: one number per key, in the memory of this process.

The rule is the generic cell rate algorithm (ITU-T I.371; a token bucket that stores one number): a key may take its
whole rate at once, and then as much as flows back. In `t` seconds it gets at most `requests * (1 + t / seconds)`. A log
of the requests, as Django REST framework keeps it, is stricter (half of that in one period) and costs a timestamp each.
"""

import re
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

NANOSECONDS = 10**9

MOST_KEYS = 100_000
"""Of how many keys a limiter remembers anything."""

_WORDS = {"s sec second seconds": 1, "m min minute minutes": 60, "h hour hours": 3600, "d day days": 86400}
_UNITS = {word: seconds for words, seconds in _WORDS.items() for word in words.split()}
_RATE = re.compile(r"(?P<requests>\d+(?:_\d+)*)\s*/\s*(?P<units>\d*)\s*(?P<unit>[a-z]+)")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds; both are at least 1."""

    requests: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read a rate. Raises ValueError with what was seen and what is wanted.

        >>> Rate.parse("100_000/min"), Rate.parse("5/10s")
        (Rate(requests=100000, seconds=60), Rate(requests=5, seconds=10))
        """
        match = _RATE.fullmatch(text.strip().lower())
        if match and match["unit"] in _UNITS:
            rate = cls(int(match["requests"]), int(match["units"] or 1) * _UNITS[match["unit"]])
            if rate.requests and rate.seconds:
                return rate
        raise ValueError(
            f"{text!r} is not a rate; write how many, a stroke and a time: 100/s, 100/min, 100/hour, 100/day or 5/10s, "
            "with numbers of at least 1."
        )


class Limiter:
    """What is left of one rate, for each of many keys. May be used from any thread.

    Of a key it knows only when its allowance will be whole again; in whole numbers (nanoseconds times `rate.requests`),
    so that the hundredth of a hundred requests is not lost to rounding.

    The keys are in two generations. A key that takes is in the young one. The old one is dropped once everything in it
    is whole again, which forgets nothing that matters; or when the young one has half of `most_keys`, which forgets who
    has not come for longest. Either costs one step per key, however many there are.
    """

    def __init__(self, rate: Rate, *, most_keys: int = MOST_KEYS, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.rate = rate
        self._clock = clock
        self._cost = rate.seconds * NANOSECONDS
        self._whole = self._cost * rate.requests
        self._young: dict[Hashable, int] = {}
        self._old: dict[Hashable, int] = {}
        self._most_young = max(1, most_keys // 2)
        self._latest = self._old_is_whole_at = self._now()
        # Measured: it costs a tenth of a microsecond, and without it two threads get more than the rate.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def take(self, key: Hashable) -> float:
        """Count a request and return 0.0; if nothing is left, count nothing and return the seconds until there is."""
        with self._lock:
            now = self._now()
            whole_at = max(self._whole_at(key, now), now) + self._cost
            missing = whole_at - now - self._whole
            if missing > 0:
                return self._seconds(missing)
            self._note(key, whole_at, now)
            return 0.0

    def wait(self, key: Hashable) -> float:
        """The seconds until `take` would count; 0.0 if it would now."""
        with self._lock:
            now = self._now()
            missing = self._whole_at(key, now) + self._cost - now - self._whole
            return self._seconds(missing) if missing > 0 else 0.0

    def charge(self, key: Hashable) -> None:
        """Count a request even where nothing is left: what is taken too much is waited for later."""
        with self._lock:
            now = self._now()
            self._note(key, max(self._whole_at(key, now), now) + self._cost, now)

    def forget(self, key: Hashable) -> None:
        """Give the key its whole allowance back."""
        with self._lock:
            self._young.pop(key, None)
            self._old.pop(key, None)

    def _now(self) -> int:
        return self._clock() * self.rate.requests

    def _seconds(self, span: int) -> float:
        return span / (NANOSECONDS * self.rate.requests)

    def _whole_at(self, key: Hashable, now: int) -> int:
        known = self._young.get(key)
        return self._old.get(key, now) if known is None else known

    def _note(self, key: Hashable, whole_at: int, now: int) -> None:
        if now >= self._old_is_whole_at or len(self._young) >= self._most_young:
            self._old, self._young, self._old_is_whole_at = self._young, {}, self._latest
        self._young[key] = whole_at
        self._latest = max(self._latest, whole_at)
