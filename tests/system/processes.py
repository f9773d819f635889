"""Real processes for system tests: a server, clients, and what is known of them. Each ends with its test."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx

from hansa.client.api import Api
from hansa.client.transport import Transport
from support.databases import settings_of
from support.serving import NO_TLS, PASSWORD, furnish

PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
    """Wait for a condition of another process; there is nothing else to wait on."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def hansa(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from hansa.cli import main; main()", *arguments]


@dataclass
class Server:
    """`hansa serve` on a port of its own."""

    home: Path
    port: int = field(default_factory=free_port)
    options: tuple[str, ...] = ()
    ca: Path | None = None
    """The authority of its certificate; None: it serves without TLS."""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"{'https' if self.ca else 'http'}://127.0.0.1:{self.port}"

    @cached_property
    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca)) if self.ca else NO_TLS

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **settings_of(self.home), "HANSA_HOME": str(self.home), "HANSA_ALLOWED_HOSTS": ""}

    def start(self) -> None:
        with (self.home.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                hansa("serve", "--port", str(self.port), *self.options),
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        eventually(self.answers, f"the server answers; its log: {self.log_tail()}")

    def answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}: {self.log_tail()}")
        try:
            answer = httpx.get(f"{self.url}/api/health/", timeout=5, verify=self.trusted)
            return bool(answer.json()["pid"] == self.pid)
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def log_tail(self) -> str:
        log = self.home.parent / "server.log"
        return log.read_text()[-2000:] if log.exists() else ""

    def admin(self) -> Api:
        """The API of `root`, an administrator, who is also an actor."""
        with Transport(self.url, basic=("root", PASSWORD), ca=self.ca) as transport:
            token = Api(transport).create_token("tests", None).token
        return Api(Transport(self.url, token, ca=self.ca))


@contextmanager
def serving(folder: Path, *options: str, ca: Path | None = None) -> Iterator[Server]:
    """A server with an administrator, `root`."""
    server = Server(folder / "home", options=options, ca=ca)
    furnish(server.home)
    server.start()
    try:
        yield server
    finally:
        end(server.process)


@dataclass
class ClientProcess:
    """`hansa client run module:trainer` with a state folder of its own."""

    server: Server
    folder: Path
    trainer: str
    token: str
    environment: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        token_file = self.folder / "token"
        self.folder.mkdir(parents=True, exist_ok=True)
        token_file.write_text(self.token)
        token_file.chmod(0o600)
        state = str(self.folder / "state")
        where = ["--server", self.server.url, "--token-file", str(token_file)]
        where += ["--ca", str(self.server.ca)] if self.server.ca else []
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                hansa("client", "run", self.trainer, "--state", state, *where),
                env={**os.environ, **self.environment},
                cwd=Path(__file__).parent / "crash",
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def log(self) -> str:
        return (self.folder / "log").read_text()


def end(process: "subprocess.Popen[bytes] | None") -> None:
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
