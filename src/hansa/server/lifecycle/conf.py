"""The lifecycle's own settings: `LIFECYCLE = {...}` in a project's Django settings, all optional."""

from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True, slots=True)
class Conf:
    """What a project may set."""

    threads: int = 4
    """Threads for synchronous code, each with its database connection; a request borrows one when it needs it."""
    body_limit: int | None = None
    """Bytes of a body that is read for the view. None: no limit, as in Django; a view that streams has its own."""
    watch_after: float = 1.0
    """Seconds after which a request is cancelled if its client has gone. Shorter ones are not worth a watcher."""


def read() -> Conf:
    """The settings of this project. Raises ImproperlyConfigured for a key or a value that cannot be used."""
    given = getattr(settings, "LIFECYCLE", {})
    known = {name.upper(): name for name in Conf.__dataclass_fields__}
    if unknown := sorted(set(given) - set(known)):
        raise ImproperlyConfigured(f"LIFECYCLE has the key {unknown[0]!r}; known ones: {', '.join(sorted(known))}.")
    conf = Conf(**{known[key]: value for key, value in given.items()})
    if not isinstance(conf.threads, int) or conf.threads < 1:
        raise ImproperlyConfigured(f"LIFECYCLE['THREADS'] is {conf.threads!r}; it must be a whole number, at least 1.")
    if conf.body_limit is not None and (not isinstance(conf.body_limit, int) or conf.body_limit < 0):
        raise ImproperlyConfigured(f"LIFECYCLE['BODY_LIMIT'] is {conf.body_limit!r}; it must be bytes, or None.")
    if not isinstance(conf.watch_after, int | float) or conf.watch_after <= 0:
        raise ImproperlyConfigured(f"LIFECYCLE['WATCH_AFTER'] is {conf.watch_after!r}; it must be seconds above 0.")
    return conf
