"""What clients call. The messages are in `hansa.protocol.tasks`."""

import re
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.protocol import tasks as wire
from hansa.rounds.decide import LEASE_SECONDS
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.blobs import fetches, serving
from hansa.server.blobs.services import SAFETENSORS
from hansa.server.lifecycle.bridge import call, read, work
from hansa.server.lifecycle.context import note
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.openapi import body, ref, refusals
from hansa.server.lifecycle.shared import share
from hansa.server.measures import CLIENTS_WAITING
from hansa.server.trainings import assignments, attendance, rejections, uploads
from hansa.server.trainings.handout import task_for
from hansa.server.trainings.models import Task
from hansa.server.trainings.services import tasks
from hansa.server.trainings.services.leasing import Ask
from hansa.server.trainings.waiting import wait_for

_SHA256 = re.compile("[0-9a-f]{64}")


class _OfTask(Protocol):
    """Something that is known of a task."""

    @property
    def task(self) -> Task: ...


Found = TypeVar("Found", bound=_OfTask)


class NextTask(MessageView):
    """The client's question for work."""

    @extend_schema(
        parameters=[OpenApiParameter("wait", float, description="Seconds to wait for work, 0 to 120.")],
        request=body(wire.TaskRequest),
        responses={200: ref(wire.Task), 204: None},
    )
    async def post(self, request: Request) -> Response:
        """Lease the next task, waiting for one on the server."""
        seconds = self.query_number("wait", default=0, least=0, most=wire.MAX_WAIT_SECONDS)
        asked = await self.message(wire.TaskRequest)
        user = caller(request)
        await attendance.arrived(user.id, timezone.now())
        ask = Ask(user.id, asked.instance, asked.protocol)

        with CLIENTS_WAITING.track_inprogress():
            task = await wait_for(partial(task_for, ask), key=user.id, seconds=seconds, request=request)
        if task is None:
            return Response(status=204)
        note(task=task.id, training=task.training, round=task.round)
        return Response(task)


class TaskHeartbeat(MessageView):
    """A client at work."""

    @extend_schema(request=body(wire.Heartbeat), responses={200: ref(wire.HeartbeatAnswer)})
    async def post(self, request: Request, task_id: UUID) -> Response:
        """Renew the lease; the answer says whether to go on."""
        alive = await self.message(wire.Heartbeat)
        reason = await share(
            tasks.renew,
            task_id=task_id,
            user_id=caller(request).id,
            now=timezone.now(),
            progress=alive.progress,
        )
        return Response(wire.HeartbeatAnswer(proceed=not reason, lease_seconds=LEASE_SECONDS, reason=reason))


class TaskBase(MessageView):
    """What a task begins from."""

    @extend_schema(
        responses={
            (200, SAFETENSORS): OpenApiResponse(OpenApiTypes.BINARY, "canonical safetensors"),
            304: None,
            **refusals(409),
        }
    )
    async def get(self, request: Request, task_id: UUID) -> HttpResponseBase:
        """Download a version, or in a daisy chain the local model dealt to the caller. ETag, If-None-Match, Range."""
        user = caller(request)
        base = await read(_open, assignments.base, user, task_id)
        return await serving.respond(
            self.unread,
            digest=base.digest,
            media_type=SAFETENSORS,
            filename=f"task-{task_id}-base.safetensors",
            on_sent=fetches.begin(user.id, base.digest) if self.request.method == "GET" else None,
        )

    def head(self, request: Request, task_id: UUID) -> object:
        """As GET, without the bytes."""
        return self.get(request, task_id)


class TaskUpdate(MessageView):
    """The bytes of an update."""

    @extend_schema(responses={200: None}, description="The header Upload-Offset says how many bytes are here.")
    async def head(self, request: Request, task_id: UUID, digest: str) -> Response:
        """How many bytes of this update the server holds."""
        target = await read(_open, assignments.upload_target, caller(request), task_id)
        return Response(headers={wire.OFFSET_HEADER: str(await work(uploads.held, target, _digest(digest)))})

    @extend_schema(
        parameters=[
            OpenApiParameter(wire.OFFSET_HEADER, int, "header", description="Where the body begins; default 0."),
            OpenApiParameter(
                wire.LENGTH_HEADER, int, "header", description="Size of the whole; default Content-Length."
            ),
        ],
        request={"application/octet-stream": {"type": "string", "format": "binary"}},
        responses={200: ref(wire.Upload), **refusals(409, 422)},
    )
    async def put(self, request: Request, task_id: UUID, digest: str) -> Response:
        """Send an update, or the rest of one."""
        target = await read(_open, assignments.upload_target, caller(request), task_id)
        offset = self._header(wire.OFFSET_HEADER, default=0)
        rest = self.unread.announced_length
        length = self._header(wire.LENGTH_HEADER, default=-1 if rest is None else offset + rest)
        if length < 0:
            raise ValidationError(
                {wire.LENGTH_HEADER: ["The size of the update is missing, and no Content-Length came."]}
            )
        if offset > length:
            raise ValidationError({wire.OFFSET_HEADER: [f"{offset} is behind the end of the update, {length}."]})
        place = uploads.Placement(target, _digest(digest), offset, length)
        if offset == length == uploads.stored(target, place.digest):
            return Response(wire.Upload(digest=place.digest, size=length))
        async with rejections.noted(task_id, caller(request).id):
            digests = await uploads.receive(self.unread, place)
        return Response(wire.Upload(digest=digests.sha256, size=digests.size))

    def _header(self, name: str, *, default: int) -> int:
        text = self.unread.headers.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise ValidationError({name: [f"{text[:40]!r} is not a number of bytes."]})
        return int(text)


class TaskReport(MessageView):
    """The commit of a task."""

    @extend_schema(request=body(wire.TaskReport), responses={200: ref(wire.Receipt), **refusals(409, 413, 422)})
    async def post(self, request: Request, task_id: UUID) -> Response:
        """Report a task as done. The same report again gets the same receipt."""
        asked = await self.message(wire.TaskReport)
        user_id = caller(request).id
        async with rejections.noted(task_id, user_id):
            receipt = await share(tasks.report, task_id=task_id, user_id=user_id, report=asked, now=timezone.now())
        return Response(receipt)


class TaskRelease(MessageView):
    """A client that gives up."""

    @extend_schema(request=body(wire.TaskRelease), responses={204: None})
    async def post(self, request: Request, task_id: UUID) -> Response:
        """Give a task back, so that the round does not wait for it."""
        asked = await self.message(wire.TaskRelease)
        await call(
            tasks.give_back, task_id=task_id, user_id=caller(request).id, reason=asked.reason, failed=asked.failed
        )
        return Response(status=204)


def _open(find: Callable[[User, UUID], Found], user: User, task_id: UUID) -> Found:
    """What `find` knows of a task that may still be worked on. Raises as it does, and as `tasks.require_open`."""
    found = find(user, task_id)
    tasks.require_open(found.task)
    return found


def _digest(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise ValidationError({"digest": [f"{text[:80]!r} is not a SHA-256: 64 lower-case hex digits."]})
    return text
