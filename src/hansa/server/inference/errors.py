"""What can stand between a question and its answer.

InputError(ValueError)     the input cannot be used: an error of the field `model_input` (400)
NoProgramError     409     the model is numbers only
ImpossibleError    409     the method does not go with the model
UnsupportedError   422     the program has a class or an operator that is not run
LimitError         422     the program was stopped; the answer names the limit
ProgramError       422     the program's own error
OverloadedError    503     too much at once; Retry-After says when
FaultError         503     the machine's own fault, not the program's; Retry-After says when to ask again
UnavailableError   503     this server runs no programs
"""

from typing import Literal

from rest_framework.exceptions import APIException

from hansa.protocol.errors import ErrorCode
from hansa.server.lifecycle.errors import ConflictError, InvalidError, ServiceError

FIELD = "model_input"


class InputError(ValueError):
    """An input that cannot be used: what was seen, what is wanted."""


class NoProgramError(ConflictError):
    """There are params, and nothing that computes with them."""

    code = ErrorCode.NO_PROGRAM


class ImpossibleError(ConflictError):
    """The model cannot be asked in this way."""

    code = ErrorCode.IMPOSSIBLE_METHOD

    def __init__(self, detail: str, about: Literal["method", "level", "outputs", "samples"] = "method") -> None:
        super().__init__(detail)
        self.about = about
        """The wish that cannot be granted."""


class UnsupportedError(InvalidError):
    """The program is not one that is run here."""

    code = ErrorCode.PROGRAM_UNSUPPORTED


class LimitError(InvalidError):
    """The program wanted more than it may have."""

    code = ErrorCode.LIMIT_EXCEEDED

    def __init__(self, limit: str, detail: str) -> None:
        super().__init__(detail)
        self.extra = {"limit": limit}


class ProgramError(InvalidError):
    """The program failed by itself."""

    code = ErrorCode.PROGRAM_FAILED


class UnavailableError(ServiceError):
    """No programs are run on this server, or at least not now."""

    status = 503
    code = ErrorCode.INFERENCE_UNAVAILABLE


class OverloadedError(APIException):
    """More is asked than can be answered soon."""

    status_code = 503
    default_code = ErrorCode.OVERLOADED
    wait = 1
    """Seconds, for Retry-After."""


class FaultError(OverloadedError):
    """What runs programs failed by itself. Nothing is wrong with the question."""

    default_code = ErrorCode.INFERENCE_UNAVAILABLE
