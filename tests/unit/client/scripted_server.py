"""A server for faults that a real one cannot be made to produce: cut connections, 503s, lost answers.

It follows the protocol of `hansa.protocol.tasks` for one client, from memory, and misbehaves where told to.
"""

import hashlib
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import msgspec

from hansa.client.journal import Owner
from hansa.protocol.accounts import User
from hansa.protocol.tasks import LENGTH_HEADER, OFFSET_HEADER, HeartbeatAnswer, Receipt, Task, TaskKind, Upload, Verdict
from hansa.tracecontext import Span, received

Fault = Callable[["Handler"], bool]
"""Answers in the server's place, and returns True; or False, to let it answer."""

TOKEN = "0123456789abcdef0123456789abcdef01234567"
MYSELF = User(
    id="1", username="client", first_name="", last_name="", email="", actor=False, client=True, message_endpoint=""
)


class ScriptedServer(ThreadingHTTPServer):
    """Tasks are leased in order, each until it is reported, released or closed."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, model: bytes = b""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.model = model
        self.tasks: list[Task] = []
        self.partial: dict[str, bytes] = {}
        self.reports: list[dict] = []
        self.receipts: dict[tuple[str, str | None], Receipt] = {}
        self.releases: list[dict] = []
        self.heartbeats: list[dict] = []
        self.cancelled = ""
        self.lease_seconds = 0.15
        """In answers to heartbeats."""
        self.requests: list[str] = []
        self.spans: list[Span | None] = []
        """The step of a trace that each of them was."""
        self.faults: list[tuple[str, str, Fault]] = []
        self.offered = threading.Condition()
        self.parked = threading.Event()
        """Set while a request for work waits."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, request, client_address):
        """A cut connection is what these tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def owner(self) -> Owner:
        return Owner(self.url, MYSELF.id)

    def offer(self, *, kind=TaskKind.TRAIN, number=1, task_id=None, lease_seconds=60.0, **more) -> Task:
        task = Task(
            id=task_id or f"{kind}-{number}",
            kind=kind,
            training="training",
            round=number,
            rounds=9,
            attempt=1,
            model="model",
            version=number - 1,
            digest=hashlib.sha256(self.model).hexdigest(),
            size=len(self.model),
            ordinal=0,
            seed=7,
            config={"epochs": 1, "client_lr": 0.5, "proximal_mu": 0.0, "colour": "blue"},
            lease_seconds=lease_seconds,
            **more,
        )
        with self.offered:
            self.tasks.append(task)
            self.offered.notify_all()
        return task

    def close_task(self, task_id: str) -> None:
        with self.offered:
            self.tasks = [task for task in self.tasks if task.id != task_id]

    def fail_once(self, method: str, path: str, fault: Fault) -> None:
        """The next request of that method whose path holds `path` meets the fault."""
        self.faults.append((method, path, fault))

    def __exit__(self, *exc):
        with self.offered:
            self.offered.notify_all()
        self.shutdown()
        self.server_close()


def status(number: int, code: str = "", detail: str = "because", **headers: str) -> Fault:
    """An error answer."""

    def answer(handler: "Handler") -> bool:
        handler.read_body()
        handler.reply(number, {"detail": detail, "code": code or "unknown"}, headers)
        return True

    return answer


def page(number: int) -> Fault:
    """What a proxy answers, that knows nothing of Hansa."""

    def answer(handler: "Handler") -> bool:
        handler.read_body()
        handler.reply(number, "404 page not found", {"Content-Type": "text/plain"})
        return True

    return answer


def cut(handler: "Handler") -> bool:
    """The connection goes before there is an answer."""
    handler.hang_up()
    return True


def cut_upload(after: int) -> Fault:
    """The connection goes when so many bytes of the body have been kept."""

    def answer(handler: "Handler") -> bool:
        handler.keep(handler.rfile.read(after))
        handler.hang_up()
        return True

    return answer


def cut_download(after: int) -> Fault:
    """The connection goes when so many bytes were sent."""

    def answer(handler: "Handler") -> bool:
        data = handler.server.model
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:after])
        handler.hang_up()
        return True

    return answer


def lose_answer(handler: "Handler") -> bool:
    """The server does what it was asked, but nobody hears of it."""
    handler.mute = True
    return False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer
    mute = False

    def log_message(self, *args):
        pass

    def handle_any(self):  # noqa: PLR0912  # a table of paths
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        self.server.spans.append(received(self.headers.get_all("traceparent", [])))
        for fault in list(self.server.faults):
            method, part, act = fault
            if method == self.command and part in path:
                self.server.faults.remove(fault)
                if act(self):
                    return
                break
        if self.headers.get("Authorization") != f"Token {TOKEN}":
            self.read_body()
            self.reply(401, {"detail": "no such token", "code": "authentication_failed"})
            return
        parts = path.strip("/").split("/")
        match (self.command, *parts):
            case ("GET", "api", "users", "myself"):
                self.reply(200, MYSELF)
            case ("POST", "api", "tasks", "next"):
                self.lease()
            case ("GET", "api", "models", "model", "versions", _, "params") | ("GET", "api", "tasks", _, "base"):
                self.send_model()
            case ("HEAD", "api", "tasks", _, "update", digest):
                self.reply(200, None, {OFFSET_HEADER: str(len(self.server.partial.get(digest, b"")))})
            case ("PUT", "api", "tasks", task, "update", digest):
                self.receive(task, digest)
            case ("POST", "api", "tasks", task, "report"):
                self.report(task)
            case ("POST", "api", "tasks", task, "heartbeat"):
                self.server.heartbeats.append({"task": task, **json.loads(self.read_body())})
                answer = HeartbeatAnswer(
                    proceed=not self.server.cancelled,
                    lease_seconds=self.server.lease_seconds,
                    reason=self.server.cancelled,
                )
                self.reply(200, answer)
            case ("POST", "api", "tasks", task, "release"):
                self.server.releases.append({"task": task, **json.loads(self.read_body())})
                self.server.close_task(task)
                self.reply(204, None)
            case ("POST", "api", "trainings", _, "leave"):
                self.read_body()
                self.reply(204, None)
            case _:
                self.read_body()
                self.reply(404, {"detail": "nothing here", "code": "not_found"})

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815 - the names that http.server looks for

    def lease(self):
        self.read_body()
        with self.server.offered:
            if not self.server.tasks:
                self.server.parked.set()
                self.server.offered.wait(float(self.path.partition("wait=")[2] or 0))
                self.server.parked.clear()
            task = self.server.tasks[0] if self.server.tasks else None
        self.reply(204 if task is None else 200, task)

    def send_model(self):
        data, start = self.server.model, 0
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        asked = self.headers.get("Range", "")
        if asked and self.headers.get("If-Range") == etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start:])

    def keep(self, data: bytes):
        digest = self.path.strip("/").split("/")[-1]
        offset = int(self.headers[OFFSET_HEADER])
        self.server.partial[digest] = self.server.partial.get(digest, b"")[:offset] + data

    def receive(self, task: str, digest: str):
        held, offset = len(self.server.partial.get(digest, b"")), int(self.headers[OFFSET_HEADER])
        body = self.read_body()
        if offset not in (0, held):
            self.reply(409, {"detail": f"{held} bytes are here", "code": "upload_offset"})
            return
        self.keep(body)
        data = self.server.partial[digest]
        if len(data) != int(self.headers[LENGTH_HEADER]):
            self.reply(409, {"detail": "more is missing", "code": "upload_incomplete"})
        elif hashlib.sha256(data).hexdigest() != digest:
            del self.server.partial[digest]
            self.reply(409, {"detail": "not these bytes", "code": "digest_mismatch"})
        else:
            self.reply(200, Upload(digest=digest, size=len(data)))

    def report(self, task: str):
        report = json.loads(self.read_body())
        key = (task, report.get("digest"))
        if key not in self.server.receipts:
            if report.get("digest") and report["digest"] not in self.server.partial:
                self.reply(409, {"detail": "no such update", "code": "upload_incomplete"})
                return
            self.server.reports.append({"task": task, **report})
            self.server.receipts[key] = Receipt(task=task, verdict=Verdict.ACCEPTED, digest=report.get("digest"))
            self.server.close_task(task)
        self.reply(200, self.server.receipts[key])

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reply(self, number: int, body: object, headers: dict | None = None):
        if self.mute:
            self.hang_up()
            return
        content = b"" if body is None else msgspec.json.encode(body)
        self.send_response(number)
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        if number != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def hang_up(self):
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def updates(server: ScriptedServer) -> list[str]:
    """The requests that sent an update, or a part of one."""
    return [request for request in server.requests if request.startswith("PUT")]
