"""A server and clients that are started again at once when they are killed, and callers that repeat their requests.

A *life* is one process. `deaths` says at which crash point each life is to end, the first life first; lives beyond the
list are told nothing, and last. That a life ended otherwise than by SIGKILL is a failure, told by `alive`.
"""

import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from hansa.crashpoints import VARIABLE
from hansa.protocol.base import IDEMPOTENCY_HEADER
from support.serving import NO_TLS, environment
from system.processes import PATIENCE, eventually, free_port, hansa

BETWEEN_TRIES = 0.05
NOT_NOW = (408, 425, 429, 502, 503, 504)


class Supervised:
    """A program that runs again whenever it is killed."""

    def __init__(self, command: Sequence[str], settings: Mapping[str, str], log: Path, deaths: Sequence[str]) -> None:
        self.log = log
        self.pids: list[int] = []
        self.born = time.monotonic()
        """When the newest life began."""
        self.died_at: list[str] = []
        """The crash points at which lives have ended, as they were asked to; "" for a kill from outside."""
        self._command = command
        self._settings = settings
        self._planned = deque(deaths)
        self._trouble = ""
        self._ending = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._supervise)

    @property
    def unreached(self) -> list[str]:
        """The points at which nobody has died yet."""
        current = [self._point] if self._point else []
        return [*current, *self._planned]

    @property
    def pid(self) -> int:
        """Of the newest life."""
        return self.pids[-1]

    def alive(self) -> None:
        """Raise AssertionError if it ended by itself."""
        assert not self._trouble, self._trouble

    def kill_at(self, moment: float) -> None:
        """Kill it so many seconds after the birth of its newest life, or now if that is past."""
        time.sleep(max(0.0, self.born + moment - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """As a power cut would; it comes again."""
        lives = len(self.pids)
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        eventually(lambda: len(self.pids) > lives, f"{self.log.stem} is started again")

    def __enter__(self) -> "Supervised":
        self._point = ""
        self._thread.start()
        eventually(lambda: self.pids, "the first process runs")
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending = True
        if self._process is not None:
            self._process.kill()
        self._thread.join()

    def _supervise(self) -> None:
        while not self._ending:
            self._point = self._planned.popleft() if self._planned else ""
            with self.log.open("ab") as log:
                told = {VARIABLE: self._point} if self._point else {}
                self._process = subprocess.Popen(
                    self._command,
                    env={**self._settings, **told},
                    cwd=Path(__file__).parent,  # where a client's trainer is
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self.born = time.monotonic()
            self.pids.append(self._process.pid)
            code = self._process.wait()
            if code != -signal.SIGKILL and not self._ending:
                self._trouble = f"{self.log.stem} ended with {code}: {self.log.read_text()[-3000:]}"
                return
            if not self._ending:
                self.died_at.append(self._point)


class SupervisedServer(Supervised):
    """`hansa serve`, always on the same port."""

    def __init__(self, home: Path, deaths: Sequence[str] = (), settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.port = free_port()
        told = {"HANSA_THROTTLES": "off", "HANSA_PUSH_ALLOW": "127.0.0.0/8", **(settings or {})}
        log = home.with_name(f"{home.name}-server.log")
        super().__init__(hansa("serve", "--port", str(self.port)), environment(home, told), log, deaths)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        """Whether the newest process answers; nobody else may, for its forerunner is dead."""
        self.alive()
        try:
            answer = httpx.get(f"{self.url}/api/health/", timeout=5, verify=NO_TLS)
        except httpx.TransportError:
            return False
        return bool(answer.json()["pid"] == self.pid)

    def until_it_answers(self) -> None:
        """Wait for the newest life."""
        eventually(self.answers, "the server answers")


@dataclass
class Caller:
    """Whoever calls the API with these credentials, and calls again until there is an answer."""

    server: SupervisedServer
    token: str = ""
    basic: tuple[str, str] | None = None
    repeated: int = 0
    """How many requests broke off."""
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Token {self.token}"} if self.token else {}
        self.http = httpx.Client(base_url=self.server.url, headers=headers, auth=self.basic, timeout=30, verify=NO_TLS)

    def __call__(
        self, method: str, path: str, *, done: Collection[int] = (), refused: int = 0, **request: Any
    ) -> httpx.Response:
        """The answer. `done`: what a refusal says of a request that had its effect before its answer was lost;
        `refused`: what it says in any case.
        """
        began, broken = time.monotonic(), False
        if method == "POST":
            request["headers"] = {IDEMPOTENCY_HEADER: str(uuid4())}  # for those that heed it: the others are harmless
        while time.monotonic() < max(began, self.server.born) + PATIENCE:
            self.server.alive()
            try:
                answer = self.http.request(method, f"/api/{path}", **request)
            except httpx.TransportError:
                broken, self.repeated = True, self.repeated + 1
                time.sleep(BETWEEN_TRIES)
                continue
            if answer.status_code in NOT_NOW:
                time.sleep(BETWEEN_TRIES)
                continue
            ok = answer.status_code < 400 or answer.status_code == refused or (broken and answer.status_code in done)
            assert ok, f"{method} {path}: {answer.status_code} {answer.text}"
            return answer
        raise AssertionError(f"{method} {path}: no answer in {PATIENCE:g} s")

    def get(self, path: str) -> Any:  # Any: JSON
        """What a GET gives."""
        return self("GET", path).json()

    def post(self, path: str, body: object = None, *, done: Collection[int] = ()) -> Any:  # Any: JSON
        """What a POST of JSON gives; None without a body."""
        answer = self("POST", path, json=body, done=done)
        return answer.json() if answer.content else None

    def until(self, path: str, is_so: Callable[[Any], bool], what: str) -> Any:  # Any: JSON
        """Ask until it is so, and return the answer."""
        last: Any = None

        def asked() -> bool:
            nonlocal last
            last = self.get(path)
            return is_so(last)

        eventually(asked, what)
        return last


@contextmanager
def supervised_client(
    server: SupervisedServer, folder: Path, token: str, deaths: Sequence[str]
) -> Iterator[Supervised]:
    """`hansa client run` in a process of its own, with a state folder that outlives it."""
    folder.mkdir(parents=True, exist_ok=True)
    token_file = folder / "token"
    token_file.write_text(token)
    token_file.chmod(0o600)
    where = ["--server", server.url, "--token-file", str(token_file), "--state", str(folder / "state")]
    command = hansa("client", "run", "steady_trainer:trainer", *where)
    with Supervised(command, environment(folder / "none"), folder / "client.log", deaths) as client:
        yield client
