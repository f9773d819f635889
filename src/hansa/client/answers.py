"""The server's answers, read: a Struct of the protocol, or the exception that an error answer means."""

from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import TypeVar

import httpx
import msgspec

from hansa.client.errors import ApiError, BadAnswer, CredentialsRefused, StrangersRefusal
from hansa.protocol.errors import ErrorBody, ErrorCode

T = TypeVar("T")


def decoded(answer: httpx.Response, into: type[T]) -> T:
    """The JSON body of an answer as an `into`; BadAnswer if it is not one."""
    try:
        return msgspec.json.decode(answer.content, type=into)
    except msgspec.DecodeError as error:
        raise BadAnswer(
            f"{answer.url} answered {answer.status_code} with something this client does not understand ({error}). "
            "Is the URL that of a Hansa server, and is this client as new as the server?"
        ) from error


def refuse(answer: httpx.Response) -> None:
    """Raise what an answer outside 2xx means."""
    if answer.is_success:
        return
    if answer.status_code < 400:
        target = answer.headers.get("Location", "nowhere")
        raise BadAnswer(
            f"{answer.url} answered {answer.status_code} and points to {target}. Redirects are not followed, because "
            "credentials would go with them: give the server's own address as the URL."
        )
    status = answer.status_code
    body, errors, kind = _error_body(answer)
    retry_after = _retry_after(answer.headers.get("Retry-After"))
    refusal = CredentialsRefused if status == HTTPStatus.UNAUTHORIZED else kind
    raise refusal(status, body.code, body.detail, errors, retry_after=retry_after)


def _error_body(answer: httpx.Response) -> tuple[ErrorBody, dict[str, list[str]], type[ApiError]]:
    """What an error answer says: a code and a sentence, or a request's field errors, or a stranger's page."""
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(answer.content, type=ErrorBody), {}, ApiError
    with suppress(msgspec.DecodeError):
        errors = msgspec.json.decode(answer.content, type=dict[str, list[str]])
        return ErrorBody(detail="the request is not valid", code=ErrorCode.INVALID), errors, ApiError
    seen = f"{answer.url} answered {answer.status_code} {answer.reason_phrase} without saying why."
    if answer.request.method == "HEAD" and answer.headers.get("Content-Type", "").startswith("application/json"):
        # Hansa's own: what it would say is left out of every answer to HEAD.
        return ErrorBody(detail=f"{answer.url} answered {answer.status_code} to HEAD.", code="unknown"), {}, ApiError
    code = ErrorCode.NOT_FOUND if answer.status_code == HTTPStatus.NOT_FOUND else "unknown"
    return ErrorBody(detail=f"{seen} Is a proxy in front of it?", code=code), {}, StrangersRefusal


def _retry_after(value: str | None) -> float | None:
    """Seconds from now; the header holds seconds or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None
