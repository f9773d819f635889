"""The real server in a process of its own, on a port that was free a moment ago."""

import resource
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from hansa.simulation.chaos.processes import clean_environment
from support.databases import copy_home, settings_of

PASSWORD = "correct horse battery"  # of a server that lives for a test
READY_SECONDS = 60
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of a server without TLS: left to itself httpx loads all public authorities, 25 ms of a processor."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def environment(home: Path, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without the settings of whoever runs the tests, and with these."""
    return {
        **clean_environment(),
        "HANSA_HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        **settings_of(home),
        **(settings or {}),
    }


def serve_program(**arguments: object) -> list[str]:
    """A command that calls `serve` with these arguments and exits with what it returns."""
    shown = ", ".join(
        f"{name}=Path({str(value)!r})" if isinstance(value, Path) else f"{name}={value!r}"
        for name, value in arguments.items()
    )
    program = f"from pathlib import Path\nfrom hansa.server.process import serve\nraise SystemExit(serve({shown}))"
    return [sys.executable, "-c", program]


def refusal(home: Path, settings: Mapping[str, str] | None = None, **arguments: object) -> str:
    """What a server says that does not start: one line on stderr, and exit code 1."""
    done = subprocess.run(
        serve_program(**{"port": free_port(), **arguments}),
        env=environment(home, settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("hansa serve: ")
    return line.removeprefix("hansa serve: ")


class Serving:
    """A server that answers."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, verify: ssl.SSLContext) -> None:
        self.process = process
        self.url = url
        self.verify = verify

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def client(self, **headers: str) -> httpx.Client:
        """A client of this server."""
        return httpx.Client(base_url=self.url, headers=headers, verify=self.verify, timeout=30)

    def stop(self) -> int:
        """End it as an operator would; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(
    home: Path,
    *,
    settings: Mapping[str, str] | None = None,
    verify: ssl.SSLContext = NO_TLS,
    largest_file: int | None = None,
    first: str = "",
    **arguments: object,
) -> Iterator[Serving]:
    """Start a server and wait until it answers; whatever happens, it is gone afterwards.

    `first`: what its process does before anything else, in Python.
    `largest_file`: no file of the server may grow beyond so many bytes; the kernel sees to it, as on a full disk.
    """
    port = arguments.setdefault("port", free_port())
    *python, program = serve_program(**arguments)
    with subprocess.Popen(
        [*python, f"{first}\n{program}"],
        env=environment(home, settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=None if largest_file is None else _limiter(largest_file),  # noqa: PLW1509  # the child starts no thread
    ) as process:
        try:
            scheme = "https" if "tls_cert" in arguments else "http"
            server = Serving(process, f"{scheme}://127.0.0.1:{port}", verify)
            _wait_until_it_answers(server)
            yield server
        finally:
            process.kill()


def _limiter(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _wait_until_it_answers(server: Serving) -> None:
    assert server.process.stdout is not None
    first = server.process.stdout.readline()
    assert first.startswith("Hansa serves"), first + server.process.stdout.read()
    with server.client() as client:  # without retries: who says that it serves does
        assert client.get("/api/health/").status_code == 200


def create_superuser(home: Path, username: str = "root") -> "subprocess.CompletedProcess[str]":
    """`hansa createsuperuser --noinput`."""
    settings = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD, "DJANGO_SUPERUSER_EMAIL": "root@example.org"}
    arguments = ["createsuperuser", "--noinput", "--username", username]
    program = f"from hansa.server.process import manage\nraise SystemExit(manage({arguments!r}))"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment(home, settings), capture_output=True, text=True, check=False)


def furnish(home: Path) -> Path:
    """Make this folder with all tables and the superuser `root` in it, and return it.

    What a server and `create_superuser` would need for it, two seconds of a processor, is spent once for all tests.
    """
    copy_home(Path(_furnished().name) / "home", home)
    return home


@cache
def _furnished() -> "TemporaryDirectory[str]":
    """With the home that others are copies of; gone when nobody runs tests any more."""
    folder: TemporaryDirectory[str] = TemporaryDirectory(prefix="hansa-furnished-")
    done = create_superuser(Path(folder.name) / "home")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def live_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the server that several tests share, with a superuser in it."""
    return furnish(tmp_path_factory.mktemp("live") / "home")


@pytest.fixture(scope="session")
def live(live_home: Path) -> Iterator[Serving]:
    """A server that several tests share."""
    with serving(live_home) as server:
        yield server


@pytest.fixture(scope="session")
def live_token(live: Serving) -> str:
    """A token of its superuser."""
    with live.client() as client:
        answer = client.post("/api/tokens/", auth=("root", PASSWORD), json={"name": "tests"})
        assert answer.status_code == 201, answer.text
        token: str = answer.json()["token"]
    return token
