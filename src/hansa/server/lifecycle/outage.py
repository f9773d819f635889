"""The database is away: which errors say so, what a caller is told, and one line in the log for each outage.

A server of its own, as PostgreSQL is, is restarted, moved, or out of connections without this process being at fault.
Meanwhile every request and every chore meets the same error. They are told apart from mistakes here: requests are
answered with 503, chores come again, and nobody writes a traceback of it. An outage is over when a
connection is opened.
"""

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from django.db import InterfaceError, OperationalError
from django.db.backends.signals import connection_created
from rest_framework.exceptions import APIException

log = logging.getLogger(__name__)

CONNECTION_LOST: Final = "08"
"""The class of PostgreSQL's codes for connections that could not be made, or were lost."""
SERVER_ENDING: Final = frozenset({"57P01", "57P02", "57P03", "57P05"})
TOO_MANY_CONNECTIONS: Final = "53300"
FORGOTTEN_SECONDS: Final = 60.0
"""An outage that nobody has met for so long is over, though no connection was opened: the next is told of again."""
_NOT_POSTGRESQL: Final = "not PostgreSQL's"


class DatabaseAwayError(APIException):
    """The database does not answer; what was asked may have been done or not, and can be asked for again."""

    status_code = 503
    default_code = "database_away"
    default_detail = (
        "The server's database does not answer. Nothing you sent was at fault: send it again in some seconds. "
        "Operators: GET /readyz and the server's log say what to look at."
    )
    wait = 5
    """Seconds, for Retry-After."""


def is_away(error: BaseException) -> bool:
    """Whether it was the way to the database that failed, not a statement."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    # The driver's error: without a code, it never came to a statement. SQLite's have none at all.
    code = getattr(error.__cause__, "sqlstate", _NOT_POSTGRESQL)
    if code is None:
        return True
    return bool(code.startswith(CONNECTION_LOST)) or code in SERVER_ENDING or code == TOO_MANY_CONNECTIONS


class Outages:
    """Tells the log of each outage once, whoever meets it, and of its end. Safe on every thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._began: float | None = None
        self._met = 0.0

    def met(self, error: BaseException | None) -> bool:
        """Whether this error is the database's being away; then it is in the log, and needs no other line."""
        if error is None or not is_away(error):
            return False
        with self._lock:
            now = self._clock()
            is_new = self._began is None or now - self._met > FORGOTTEN_SECONDS
            self._began = now if is_new else self._began
            self._met = now
        if is_new:
            log.error(
                "The database is away: %s. Until it is back requests are answered with 503, and the server's own work "
                "waits. Look at whether PostgreSQL runs and lets this machine in, and at its log.",
                " ".join(str(error).split()).rstrip(".?"),
            )
        return True

    def over(self) -> None:
        """A connection was opened."""
        if self._began is None:
            return
        with self._lock:
            began, self._began = self._began, None
        if began is not None:
            log.warning("The database is back after %.0f s.", self._clock() - began)


OUTAGES: Final = Outages()


def _opened(**_: object) -> None:
    OUTAGES.over()


connection_created.connect(_opened, dispatch_uid="hansa.server.lifecycle.outage")
