"""An async view, a ViewSet of both kinds, a long poll, server-sent events, and uploads read as they arrive."""

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from django.conf import settings
from django.http.response import HttpResponseBase
from rest_framework import exceptions, mixins, permissions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.server.lifecycle import APIView, Event, EventStream, GenericViewSet, action, api_view, last_event_id
from hansa.server.lifecycle.bridge import work
from hansa.server.lifecycle.decorators import permission_classes
from hansa.server.lifecycle.events import EventStreamRenderer
from hansa.server.lifecycle.files import RangedFile
from hansa.server.lifecycle.in_place import in_place
from hansa.server.lifecycle.rendering import StructJSONRenderer
from hansa.server.lifecycle.request import AsyncRequest
from hansa.server.lifecycle.waiting import Waiters, wait_for
from notes.models import Note

NEWS: Waiters[str] = Waiters()
"""Who waits for a note. They are woken in this process; several would tell each other, by PostgreSQL's NOTIFY say."""
LONGEST_WAIT = 60
FILES: Path = settings.FILES


class NoteSerializer(serializers.ModelSerializer):
    """DRF's, as it always was."""

    author = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Note
        fields = ("id", "text", "author", "written_at")


class AuthorOrReadOnly(permissions.BasePermission):
    """Who is signed in reads; who wrote a note changes it."""

    message = "Only its author may do this."

    @in_place  # it looks at what is in memory: no thread is needed for that
    def has_object_permission(self, request: Request, view: object, obj: Note) -> bool:
        return request.method in permissions.SAFE_METHODS or obj.author_id == request.user.pk


@api_view(["GET"])
@permission_classes([permissions.AllowAny])
async def count(request: Request) -> Response:
    """How many notes there are. An async function, with Django's async ORM."""
    return Response({"notes": await Note.objects.acount()})


class Notes(mixins.ListModelMixin, GenericViewSet):
    """Notes. `list` is DRF's, plain: it takes one thread hop for all it does. The others are `async def`."""

    queryset = Note.objects.select_related("author")
    serializer_class = NoteSerializer
    permission_classes = (permissions.IsAuthenticated, AuthorOrReadOnly)

    async def create(self, request: AsyncRequest) -> Response:
        """Write a note."""
        note = await self.hop(self._save, await request.adata())
        NEWS.wake(["all"])
        return Response(note, status=status.HTTP_201_CREATED)

    def _save(self, data: object) -> object:
        """Serializer and ORM are synchronous: all of it in one hop."""
        serializer = self.get_serializer(data=data)
        serializer.is_valid(raise_exception=True)
        serializer.save(author=self.request.user)
        return serializer.data

    async def retrieve(self, request: Request, pk: str) -> Response:
        """One note."""
        return Response(await self.aserialize(await self.aget_object()))

    async def destroy(self, request: Request, pk: str) -> Response:
        """Delete one's own note."""
        note = await self.get_queryset().filter(pk=_whole(pk, "id")).afirst()
        if note is None:
            raise exceptions.NotFound(f"There is no note {pk}.")
        await self.acheck_object_permissions(request, note)  # aget_object() does both
        await note.adelete()
        return Response(status=status.HTTP_204_NO_CONTENT)

    @action(detail=False)
    async def newer(self, request: Request) -> Response:
        """The notes after `?after=`, as soon as there are any; 204 if none comes within `?wait=` seconds."""
        after = _whole(request.query_params.get("after", "0"), "after")
        wait = _whole(request.query_params.get("wait", str(LONGEST_WAIT)), "wait")

        async def look() -> object:
            return await self.aserialize(self.get_queryset().filter(pk__gt=after), many=True) or None

        notes = await wait_for(look, waiters=NEWS, key="all", seconds=min(wait, LONGEST_WAIT), request=request)
        return Response(notes) if notes else Response(status=status.HTTP_204_NO_CONTENT)


class Events(APIView):
    """Every note as it is written, for a browser's EventSource; who comes again gets what it has missed."""

    renderer_classes = (EventStreamRenderer, StructJSONRenderer)  # refusals are JSON

    async def get(self, request: Request) -> EventStream:
        """The notes after `Last-Event-ID`, then new ones; a comment after 15 seconds of silence."""
        seen = _whole(last_event_id(request) or "0", "last_event_id")
        return EventStream(_notes_after(seen, request), heartbeat=15)


async def _notes_after(seen: int, request: Request) -> AsyncIterator[Event]:
    async def look() -> list[Note] | None:
        return [note async for note in Note.objects.filter(pk__gt=seen)] or None

    while True:
        found = await wait_for(look, waiters=NEWS, key="all", seconds=LONGEST_WAIT, request=request)
        for note in found or ():
            seen = note.pk
            yield Event({"text": note.text}, event="note", id=str(seen))


class Files(APIView):
    """Files by name, of any size up to the limit; never in memory."""

    streams_body = True
    body_limit = 100 * 2**20

    async def put(self, request: AsyncRequest, name: str) -> Response:
        """Store the body; with `?sha256=` only if that is its hash."""
        # Whoever may not, and whatever announces too much, was refused before the first byte was read.
        digest = hashlib.sha256()
        file = await work(_new_file)
        try:
            async for chunk in request.stream():
                await work(_take, chunk, file, digest)
            found = digest.hexdigest()
            wanted = request.query_params.get("sha256", found)
            if found != wanted:
                raise exceptions.ValidationError({"sha256": [f"{wanted} was announced; what came has {found}."]})
            await work(_keep, file, FILES / name)
        finally:
            await work(_drop, file)  # also when the client has gone in the middle
        return Response({"sha256": found}, status=status.HTTP_201_CREATED)

    async def get(self, request: Request, name: str) -> HttpResponseBase:
        """The file, or a range of it, or 304 for whoever has it already."""
        path = FILES / name
        try:
            found = await work(path.stat)
        except FileNotFoundError:
            raise exceptions.NotFound(f"There is no file {name}.") from None
        etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        offered = RangedFile(source=path, size=found.st_size, etag=etag, media_type="application/octet-stream")
        return offered.respond(request)


def _new_file() -> IO[bytes]:
    FILES.mkdir(exist_ok=True)
    return tempfile.NamedTemporaryFile(dir=FILES, prefix=".", delete=False)


def _take(chunk: bytes, file: IO[bytes], digest: "hashlib._Hash") -> None:
    digest.update(chunk)
    file.write(chunk)


def _keep(file: IO[bytes], path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    Path(file.name).replace(path)


def _drop(file: IO[bytes]) -> None:
    file.close()
    Path(file.name).unlink(missing_ok=True)


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise exceptions.ValidationError({name: [f"{text!r} is not a whole number, 0 or more."]})
    return int(text)
