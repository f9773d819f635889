"""What every answer must be: a message of the protocol to the letter, or a refusal that explains itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec
from django.apps import apps

from hansa.protocol.events import EventKind
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import read
from hansa.server.trainings.models import Event

T = TypeVar("T")


def shown(response: httpx.Response, kind: type[T], status: int = 200) -> T:
    """The answer as a message: exactly its fields, no more and no fewer."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    message = msgspec.json.decode(response.content, type=kind)
    assert msgspec.to_builtins(message) == response.json()
    return message


def refused(response: httpx.Response, status: int, code: str, *words: str) -> str:
    """The sentence of a refusal, which must hold all of `words`."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert body.keys() == {"detail", "code"}
    assert body["code"] == code
    for word in words:
        assert word in body["detail"]
    return str(body["detail"])


def refused_field(response: httpx.Response, field: str, *words: str) -> str:
    """What a 400 says of one field of the request, and of no other."""
    assert response.status_code == 400, response.text
    body = response.json()
    assert body.keys() == {field}, body
    (sentence,) = body[field]
    for word in words:
        assert word in sentence
    return str(sentence)


@asynccontextmanager
async def nothing_changes() -> AsyncIterator[None]:
    """Whatever is done within leaves every row of the database and every file of the store as it was; only that
    something was refused may be in the event log.
    """
    before = await read(_everything)
    yield
    assert await read(_everything) == before


def _everything() -> dict[str, Any]:
    rows = {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in apps.get_models()}
    rows[Event._meta.label] = list(Event.objects.exclude(kind=EventKind.TASK_REFUSED).values())
    files = sorted(str(path.relative_to(store.home())) for path in store.home().rglob("*") if path.is_file())
    return {**rows, "files": files}
