"""A Django project on PostgreSQL with ATOMIC_REQUESTS, in a process of its own, as settings are fixed per process.

`python atomic_project.py URL` runs every scenario on that empty database and prints what it saw, as JSON.
"""

import asyncio
import json
import random
import sys
import threading
from types import ModuleType
from typing import Any

import django
import psycopg
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

THREADS = 4
MANY = 200
AFTERWARDS = 5 * THREADS
"""So many are enough to meet every thread."""

NAMES = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
URL = sys.argv[1]

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "ATOMIC_REQUESTS": True,
            "CONN_MAX_AGE": None,
            **{NAMES[name]: value for name, value in conninfo_to_dict(URL).items()},
        }
    },
    ROOT_URLCONF="atomic_urls",
    ALLOWED_HOSTS=["testserver"],
    LIFECYCLE={"THREADS": THREADS, "WATCH_AFTER": 0.001},
    LOGGING_CONFIG=None,
    REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},
)
django.setup()

from django.db import connection, models  # noqa: E402  # Django must be set up before
from django.http import HttpRequest, HttpResponse  # noqa: E402  # as above
from django.urls import path  # noqa: E402  # as above
from rest_framework import exceptions, views  # noqa: E402  # as above
from rest_framework.renderers import JSONRenderer  # noqa: E402  # as above
from rest_framework.response import Response  # noqa: E402  # as above

from hansa.server.lifecycle.asgi import Handler  # noqa: E402  # as above
from hansa.server.lifecycle.views import APIView  # noqa: E402  # as above
from lifecycle.handler.exchanges import Ask, Exchange, ask_asgi  # noqa: E402  # as above


class Row(models.Model):
    class Meta:
        app_label = "atomic"


class Meeting:
    """Where a scenario meets its views."""

    written: asyncio.Semaphore
    gate: threading.Event


def write(request: Any) -> None:
    Row.objects.create()
    if "fail" in request.GET:
        raise {"api": exceptions.APIException("ours"), "error": ValueError("theirs")}[request.GET["fail"]]


def plain(request: HttpRequest) -> HttpResponse:
    write(request)
    return HttpResponse()


async def awaited(request: HttpRequest) -> HttpResponse:
    await Row.objects.acreate()
    if "fail" in request.GET:
        raise ValueError("theirs")
    if "park" in request.GET:
        Meeting.written.release()
        await asyncio.Event().wait()
    return HttpResponse()


class Open:
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    renderer_classes = (JSONRenderer,)


class OfDRF(Open, views.APIView):
    def post(self, request: Any) -> Response:
        write(request)
        return Response()


class Plain(Open, APIView):
    def post(self, request: Any) -> Response:
        write(request)
        return Response()


class Mixed(Open, APIView):
    """A plain handler in an awaited class."""

    async def get(self, request: Any) -> Response:
        return Response()

    def post(self, request: Any) -> Response:
        write(request)
        if "park" in request.GET:
            LOOP[0].call_soon_threadsafe(Meeting.written.release)
            Meeting.gate.wait(30)
        return Response()


class Awaited(Open, APIView):
    async def post(self, request: Any) -> Response:
        await self.hop(write, request)
        if "park" in request.GET:
            Meeting.written.release()
            await asyncio.Event().wait()
        return Response()


KINDS = {
    "plain": plain,
    "awaited": awaited,
    "of-drf": OfDRF.as_view(),
    "plain-api": Plain.as_view(),
    "mixed-api": Mixed.as_view(),
    "awaited-api": Awaited.as_view(),
}
LOOP: list[asyncio.AbstractEventLoop] = []
URLS = ModuleType("atomic_urls")
vars(URLS)["urlpatterns"] = [path(f"{name}/", view) for name, view in KINDS.items()]
sys.modules["atomic_urls"] = URLS


def outside() -> dict[str, int]:
    """What another session sees; it begins anew."""
    with psycopg.connect(URL, autocommit=True) as session:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        counts = {
            "rows": "SELECT count(*) FROM atomic_row",
            "connections": f"SELECT count(*) {others} AND backend_type = 'client backend'",  # no input
            "in transaction": f"SELECT count(*) {others} AND state LIKE 'idle in transaction%'",  # as above
        }
        seen = {name: session.execute(query.encode()).fetchone()[0] for name, query in counts.items()}  # type: ignore[index]  # count(*) has a row
        session.execute("TRUNCATE atomic_row")
    return seen


async def many(handler: Handler, target: str, count: int = MANY) -> dict[str, Any]:
    answers = await asyncio.gather(*(ask_asgi(handler, Ask("POST", target)) for _ in range(count)))
    return {"statuses": sorted({answer.status for answer in answers}), **await asyncio.to_thread(outside)}


async def leaving(handler: Handler, kind: str, way: str) -> dict[str, Any]:
    """As many as there are threads have written and wait, as many again stand in line; then all are given up."""
    Meeting.written, Meeting.gate = asyncio.Semaphore(0), threading.Event()
    exchanges = [Exchange(handler, Ask("POST", f"/{kind}/?park")) for _ in range(2 * THREADS)]
    for each in exchanges:
        each.give(b"", last=True)
    for _ in range(THREADS):
        await Meeting.written.acquire()
    for each in exchanges:
        if way == "left":
            each.leave()
        else:
            each.task.cancel()
    if kind == "mixed-api":
        await asyncio.sleep(0.05)  # each has been told by then; its handler, on a thread, cannot be
    Meeting.gate.set()
    await asyncio.wait([each.task for each in exchanges], timeout=30)
    sent = sum(len(each.sent) for each in exchanges)
    seen = {"sent": sent, **await asyncio.to_thread(outside)}
    return {**seen, "afterwards": await many(handler, f"/{kind}/", AFTERWARDS)}


async def cancelled_anywhere(handler: Handler, seed: int) -> dict[str, Any]:
    """Requests given up at any moment: before, while and after their transaction is open."""
    dice = random.Random(seed)  # noqa: S311  # no secret
    kinds = ["awaited", "awaited-api", "mixed-api", "plain-api"]
    exchanges = [Exchange(handler, Ask("POST", f"/{dice.choice(kinds)}/")) for _ in range(MANY)]

    async def give_up(each: Exchange) -> None:
        each.give(b"", last=True)
        for _ in range(dice.randrange(300)):
            await asyncio.sleep(0)
        each.task.cancel()

    await asyncio.gather(*(give_up(each) for each in exchanges))
    await asyncio.gather(*(each.task for each in exchanges), return_exceptions=True)
    answered = sum(bool(each.sent) for each in exchanges)
    after = await many(handler, "/awaited-api/")
    return {"seed": seed, "answered": answered, "afterwards": {**after, "rows": after["rows"] >= MANY + answered}}


async def main() -> dict[str, Any]:
    LOOP.append(asyncio.get_running_loop())
    await asyncio.to_thread(make_table)
    handler = Handler()
    seen: dict[str, Any] = {}
    for kind in KINDS:
        seen[f"{kind} succeeds"] = await many(handler, f"/{kind}/")
        seen[f"{kind} fails"] = await many(handler, f"/{kind}/?fail=error")
        if kind.endswith(("api", "drf")):
            seen[f"{kind} refuses"] = await many(handler, f"/{kind}/?fail=api")
    for kind in ("awaited", "awaited-api", "mixed-api"):
        for way in ("left", "cancelled"):
            seen[f"{kind} {way}"] = await leaving(handler, kind, way)
    seen["cancelled anywhere"] = await cancelled_anywhere(handler, random.SystemRandom().randrange(10**6))
    return seen


def make_table() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Row)
    connection.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
