"""The errors of services: each knows its HTTP status and its code. `answers.py` turns them into answers.

ServiceError                    raised by services and selectors; knows its status and code
├─ NotFoundError         404
├─ ForbiddenError        403
├─ ConflictError         409
├─ InvalidError          422    readable, but not acceptable
└─ StorageFullError      507
"""

import errno
from collections.abc import Mapping
from types import MappingProxyType

from django.db import DataError, OperationalError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
POSTGRES_DISK_FULL = "53100"
POSTGRES_UNSTORABLE = frozenset({None, "22001", "22003", "22021", "22P05"})
"""NUL characters (None: refused by the driver already), texts that are too long, numbers that are too large."""

SERVER_ERROR = {
    "detail": "The server made a mistake; its log has the details. Nothing you sent was at fault.",
    "code": "server_error",
}
"""What a caller is told of an error that is ours."""


class ServiceError(Exception):
    """Something the caller can act upon. `detail` is for people, `code` for programs."""

    status = 400
    code = "invalid"
    extra: Mapping[str, str] = MappingProxyType({})
    """What programs are told beside the code."""

    def __init__(self, detail: str, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code


class NotFoundError(ServiceError):
    """Unknown, or not the caller's to know of."""

    status = 404
    code = "not_found"


class ForbiddenError(ServiceError):
    """Known to the caller, but not theirs to do."""

    status = 403
    code = "permission_denied"


class ConflictError(ServiceError):
    """Not in the present state; the code says which state is in the way."""

    status = 409
    code = "wrong_state"


class InvalidError(ServiceError):
    """Well-formed, but not acceptable: a wrong shape, an unsound plan."""

    status = 422


class StorageFullError(ServiceError):
    """No room left; nothing was half-written."""

    status = 507
    code = "insufficient_storage"

    def __init__(self) -> None:
        super().__init__("The server's disk is full; nothing was stored. Free some space there, then try again.")


def is_disk_full(exc: BaseException) -> bool:
    """Whether the disk, or the quota, is what stopped it; SQLite says so in words, PostgreSQL by a code."""
    if isinstance(exc, OSError):
        return exc.errno in DISK_FULL
    if not isinstance(exc, OperationalError):
        return False
    return "disk is full" in str(exc) or getattr(exc.__cause__, "sqlstate", None) == POSTGRES_DISK_FULL


def is_unstorable(exc: BaseException) -> bool:
    """Whether the database refused a value as such; SQLite takes any, PostgreSQL no text with a NUL in it."""
    return isinstance(exc, DataError) and getattr(exc.__cause__, "sqlstate", None) in POSTGRES_UNSTORABLE
