"""Requests that make something, and come again because their answer was lost: `Idempotency-Key`.

After draft-ietf-httpapi-idempotency-key-header. Who sends a key of their own choosing with such a request, and sends
both again, gets the first answer, and nothing is made twice. The answer is written in the transaction that makes the
thing: either both stand or neither, whenever the process is killed. It is kept for a day. A refusal is not kept: it
made nothing, and may be another one by then.

Answers that hold a secret are not kept, as that would be to store it in clear: requests for tokens take no key.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Generic, TypeVar
from uuid import UUID

import msgspec
from django.db import IntegrityError
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from hansa.protocol.base import IDEMPOTENCY_HEADER
from hansa.protocol.errors import ErrorCode
from hansa.server.accounts.models import Answered
from hansa.server.accounts.permissions import caller
from hansa.server.changes import change
from hansa.server.lifecycle.bridge import read
from hansa.server.lifecycle.errors import ConflictError, InvalidError

KEPT = timedelta(days=1)
KEY_PARAMETER = OpenApiParameter(
    IDEMPOTENCY_HEADER,
    str,
    "header",
    description="1 to 64 visible ASCII characters. The same request under the same key, within a day, gets the first "
    "answer again, and makes nothing twice.",
)
_KEY = re.compile(r'"([!#-~]{1,64})"|([!#-~]{1,64})')
"""The draft has it in quotes; most who send one leave them out."""

A = TypeVar("A", bound=msgspec.Struct)
T = TypeVar("T")

_at_work: set[tuple[UUID, str]] = set()
"""Whose requests under which keys are being answered by this process."""


@dataclass(frozen=True, slots=True)
class Key:
    """Whose request it is, and what it calls itself; an empty `text` if it does not."""

    user_id: UUID
    path: str
    text: str = ""

    def once(self, kind: type[A], *asked: object) -> "Once[A]":
        """The request with what it asks for, which msgspec can encode; it is answered with a `kind`."""
        return Once(self, kind, asked)


@contextmanager
def keyed(request: Request) -> Iterator[Key]:
    """The request's key. Within, another request of this user under the same key is refused.

    Raises ValidationError for what is no key, ConflictError `in_progress`.
    """
    key = Key(caller(request).id, request.path, _text(request.headers.get(IDEMPOTENCY_HEADER)))
    if not key.text:
        yield key
        return
    place = (key.user_id, key.text)
    if place in _at_work:
        raise _in_progress(key)
    _at_work.add(place)
    try:
        yield key
    finally:
        _at_work.remove(place)


@dataclass(frozen=True)
class Once(Generic[A]):
    """A request that makes something, once however often it comes. Without a key: each time."""

    key: Key
    kind: type[A]
    asked: tuple[object, ...]

    async def first_answer(self) -> A | None:
        """What was answered when it came for the first time. Raises InvalidError `key_reused`."""
        return await read(self._known) if self.key.text else None

    def make(self, create: Callable[[], T], answer: Callable[[T], A]) -> A:
        """Make it, by a service, and keep the answer in the same transaction; answers older than a day go."""
        if not self.key.text:
            return answer(create())
        now = timezone.now()
        with change("repeats.make"):
            answered = answer(create())
            Answered.objects.filter(answered_at__lte=now - KEPT).delete()
            try:
                Answered.objects.create(
                    user_id=self.key.user_id,
                    key=self.key.text,
                    request=self._fingerprint,
                    answer=msgspec.json.encode(answered).decode(),
                    answered_at=now,
                )
            except IntegrityError as error:  # another process has made it meanwhile: this one's is rolled back
                raise _in_progress(self.key) from error
        return answered

    def _known(self) -> A | None:
        mine = Answered.objects.filter(user_id=self.key.user_id, key=self.key.text)
        row = mine.filter(answered_at__gt=timezone.now() - KEPT).first()
        if row is None:
            return None
        if row.request != self._fingerprint:
            raise InvalidError(
                f"The {IDEMPOTENCY_HEADER} {self.key.text!r} was sent with another request at {row.answered_at:%H:%M} "
                "UTC. Give each request a key of its own (a random UUID), and repeat it unchanged.",
                ErrorCode.KEY_REUSED,
            )
        return msgspec.json.decode(row.answer, type=self.kind)

    @cached_property
    def _fingerprint(self) -> str:
        asked = msgspec.json.encode([self.key.path, *self.asked], order="deterministic")
        return hashlib.sha256(asked).hexdigest()


def _text(header: str | None) -> str:
    if header is None:
        return ""
    match = _KEY.fullmatch(header.strip())
    if match is None:
        seen = header if len(header) <= 80 else f"{header[:79]}…"
        raise ValidationError(
            {IDEMPOTENCY_HEADER: [f"{seen!r} is no key: send 1 to 64 visible ASCII characters, best a random UUID."]}
        )
    return match[1] or match[2]


def _in_progress(key: Key) -> ConflictError:
    return ConflictError(
        f"The request with the {IDEMPOTENCY_HEADER} {key.text!r} is being answered at this moment. Repeat it in a few "
        "seconds to get its answer.",
        ErrorCode.IN_PROGRESS,
    )
