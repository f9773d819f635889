"""Error answers: the right status, `{"detail", "code"}`, and DRF's map for field errors."""

import logging
from typing import Any

import msgspec
from django.http import Http404
from django.http.response import HttpResponseBase
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from hansa.server.lifecycle.bridge import BusyError
from hansa.server.lifecycle.context import note
from hansa.server.lifecycle.errors import ServiceError, StorageFullError, is_disk_full, is_unstorable
from hansa.server.lifecycle.fields import errors_of, malformed
from hansa.server.lifecycle.in_place import in_place
from hansa.server.lifecycle.outage import OUTAGES, DatabaseAwayError

log = logging.getLogger(__name__)


@in_place
def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:  # Any: DRF's own context
    """DRF's handler, with codes, and with the errors of services, messages and the disk."""
    response = _answer(exc, context)
    if response is not None:
        note(code=response.data.get("code", "invalid") if isinstance(response.data, dict) else "invalid")
    return response


def _answer(exc: Exception, context: dict[str, Any]) -> Response | None:  # Any: as above
    if is_disk_full(exc):
        log.warning("The disk is full: %s. What was being stored was refused; free some space.", exc)
        exc = StorageFullError()
    is_outage = OUTAGES.met(exc)
    if is_outage:
        exc = DatabaseAwayError()
    if is_unstorable(exc):
        detail = f"The database cannot take a value of this request: {str(exc).splitlines()[0]}. Send another."
        return Response({"detail": detail, "code": "invalid"}, status=status.HTTP_400_BAD_REQUEST)
    if isinstance(exc, ServiceError):
        return Response({"detail": exc.detail, "code": exc.code, **exc.extra}, status=exc.status)
    if isinstance(exc, BusyError):
        exc = exceptions.Throttled(wait=5, detail="Too many passwords are being checked. Use a token, or wait.")
    if isinstance(exc, msgspec.ValidationError):
        exc = exceptions.ValidationError(errors_of(exc))
    elif isinstance(exc, msgspec.DecodeError):
        exc = malformed(exc)
    response = drf_exception_handler(exc, context)
    if response is not None and isinstance(response.data, dict) and "detail" in response.data:
        code = exc.get_codes() if isinstance(exc, exceptions.APIException) else None
        fallback = "not_found" if isinstance(exc, Http404) else "permission_denied"
        response.data = {"detail": response.data["detail"], "code": code if isinstance(code, str) else fallback}
    if is_outage:
        told_already(response)
    return response


def told_already(response: HttpResponseBase | None) -> None:
    """Keep Django from writing a line for this answer: the log has what it needs."""
    if response is not None:
        response._has_been_logged = True  # type: ignore[attr-defined]  # how Django's `log_response` knows
