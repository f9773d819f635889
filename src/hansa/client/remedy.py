"""What a client does about an error, as a table.

no answer, 5xx, 408, 429, a damaged download, a stranger's page    try again, for ever
507: the server's disk is full                                     try again, slowly
401: the token is not known                                        stop, and say so
upload_offset, upload_incomplete, digest_mismatch                  try again: the server says what it has
403, 404, 409: the task or its round is closed, or not ours        drop the task
any other 4xx: the update or the report is not what is wanted      give the task back as failed
"""

from enum import Enum, auto

from hansa.client.errors import (
    ApiError,
    CredentialsRefused,
    HansaError,
    NotTrusted,
    StrangersRefusal,
    Unreachable,
    UsageError,
)
from hansa.protocol.errors import ErrorCode


class Remedy(Enum):
    """What to do next."""

    AGAIN = auto()
    SLOWLY = auto()
    DROP = auto()
    FAIL = auto()
    STOP = auto()


_PASSING = {408, 425, 429}
_GONE = {403, 404, 409, 410}
_RESUMABLE = {ErrorCode.UPLOAD_OFFSET, ErrorCode.UPLOAD_INCOMPLETE, ErrorCode.DIGEST_MISMATCH}


def for_task(error: HansaError) -> Remedy:
    """After a call about a task that the client holds."""
    match error:
        case CredentialsRefused():
            return Remedy.STOP
        case StrangersRefusal():
            return Remedy.AGAIN
        case ApiError(status=507):
            return Remedy.SLOWLY
        case ApiError(status=status, code=code) if status >= 500 or status in _PASSING or code in _RESUMABLE:
            return Remedy.AGAIN
        case ApiError(status=status) if status in _GONE:
            return Remedy.DROP
        case ApiError():
            return Remedy.FAIL
        case _:
            return Remedy.AGAIN


def for_lease(error: HansaError, *, known: bool) -> Remedy:
    """After asking for a task. `known`: this server has answered before, as Hansa's server does.

    Until then an answer that makes no sense means a wrong URL or the wrong kind of token, and a person should hear of
    it; afterwards it means that the server is being mended, and the client waits.
    """
    match error:
        case CredentialsRefused():
            return Remedy.STOP
        case UsageError() if not known or not isinstance(error, NotTrusted):
            return Remedy.STOP
        case ApiError(status=status) if status >= 500 or status in _PASSING:
            return Remedy.AGAIN
        case _ if known or isinstance(error, Unreachable):
            return Remedy.AGAIN
        case _:
            return Remedy.STOP
