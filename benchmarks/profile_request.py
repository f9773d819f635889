"""Where the time of one small authenticated request goes, inside the server.

The application is called in this process, without a socket: GET /api/users/myself/ with a token, on a database of
SQLite that is made for it. First without a profiler, for microseconds per request; then in a second process under
cProfile on every thread, for the functions. A profiler makes small functions look dearer than they are: read its
columns as shares.

    python benchmarks/profile_request.py --requests 5000 --functions 40
"""

import argparse
import asyncio
import cProfile
import os
import pstats
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import uvloop

PATH = "/api/users/myself/"
WARM_UP = 200
CONCURRENT = 16
Message = Mapping[str, Any]  # Any: ASGI's messages and scopes are open dictionaries
Scope = dict[str, Any]  # Any: as above
Application = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def main() -> int:
    given = parse(sys.argv[1:])
    if given.profiled:
        threading.setprofile(PROFILES.begin_on_this_thread)  # before anything starts a thread
    else:
        print(f"GET {PATH}, {given.requests:,} requests", flush=True)
    with tempfile.TemporaryDirectory(prefix="hansa-profile-") as folder:
        for name in [name for name in os.environ if name.startswith("HANSA_")]:
            del os.environ[name]
        os.environ["HANSA_HOME"] = folder
        application, token = prepared()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run((profiled if given.profiled else timed)(application, scope_of(token), given.requests))
    if given.profiled:
        PROFILES.show(given.requests, given.functions, given.sort)
        return 0
    return subprocess.run([sys.executable, __file__, *sys.argv[1:], "--profiled"], check=False).returncode


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000, metavar="N", help="how many in each part (5000)")
    parser.add_argument("--functions", type=int, default=30, metavar="N", help="how many to list (30)")
    parser.add_argument("--sort", choices=["own", "all"], default="own", help="by a function's own time, or all (own)")
    parser.add_argument("--profiled", action="store_true", help="the second part only")
    return parser.parse_args(arguments)


def prepared() -> tuple[Application, str]:
    """The server's application on a new database, and a token of its one user."""
    from hansa.server import config, home

    home.prepare(config.read(os.environ))
    application: Application = import_module("hansa.server.asgi").application  # it sets Django up
    return application, _token()


def _token() -> str:
    from django.core.management import call_command
    from django.utils import timezone

    from hansa.server.accounts import services
    from hansa.server.accounts.models import User

    call_command("migrate", verbosity=0, interactive=False)
    user = User.objects.create_superuser("profiled", "profiled@example.org", secrets.token_hex(16))
    return services.create_token(user_id=user.id, name="profile", expires_in_seconds=None, now=timezone.now()).text


def scope_of(token: str) -> Scope:
    """What granian says of a request by wrk."""
    headers = [(b"host", b"127.0.0.1:8000"), (b"authorization", f"Token {token}".encode())]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "extensions": {},
        "state": {},
    }


async def timed(application: Application, scope: Scope, requests: int) -> None:
    """Print what a request takes without a profiler."""
    await several(application, scope, WARM_UP)
    one_by_one = [await seconds_of(application, scope) for _ in range(requests)]
    began, cpu = time.perf_counter(), time.process_time()
    each = requests // CONCURRENT + 1
    await asyncio.gather(*(several(application, scope, each) for _ in range(CONCURRENT)))
    wall, cpu = (time.perf_counter() - began) / each / CONCURRENT, (time.process_time() - cpu) / each / CONCURRENT
    cuts = statistics.quantiles(one_by_one, n=100)
    print(f"one after the other  {cuts[49] * 1e6:6.0f} µs median, {cuts[98] * 1e6:.0f} µs p99")
    print(f"{CONCURRENT} at a time         {wall * 1e6:6.0f} µs, {cpu * 1e6:.0f} µs of CPU")
    print(f"threads              {threading.active_count():6}")


async def profiled(application: Application, scope: Scope, requests: int) -> None:
    """Collect under the profiler, on this thread and on those that were begun since."""
    await several(application, scope, WARM_UP)
    PROFILES.clear()
    PROFILES.begin_on_this_thread()
    await several(application, scope, requests)
    PROFILES.end()


async def several(application: Application, scope: Scope, count: int) -> None:
    for _ in range(count):
        await seconds_of(application, scope)


async def seconds_of(application: Application, scope: Scope) -> float:
    """Of one request. SystemExit unless it is answered 200."""
    asked, status = False, 0

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # the client stays until the answer has come
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    begin = time.perf_counter()
    await application(dict(scope), receive, send)
    seconds = time.perf_counter() - begin
    if status != 200:
        sys.exit(f"GET {PATH} was answered {status}, so there is nothing to profile.")
    return seconds


class Profiles:
    """cProfile measures one thread; this is one for each."""

    def __init__(self) -> None:
        self._profiles: list[cProfile.Profile] = []

    def begin_on_this_thread(self, *event: object) -> None:
        """Also what a new thread calls at its first step, in place of a profiler written in Python."""
        profile = cProfile.Profile()
        self._profiles.append(profile)
        profile.enable()

    def clear(self) -> None:
        for profile in self._profiles:
            profile.clear()

    def end(self) -> None:
        for profile in self._profiles:
            profile.create_stats()

    def show(self, requests: int, functions: int, order: str) -> None:
        """Two tables in microseconds per request: by package, and by function."""
        first, *others = self._profiles
        stats = pstats.Stats(first)
        for other in others:
            stats.add(other)
        rows = [
            Function(file, name, calls / requests, own / requests * 1e6, total / requests * 1e6)
            for (file, _, name), (_, calls, own, total, _) in stats.stats.items()  # type: ignore[attr-defined]  # public in all but typeshed
            if name not in WAITS
        ]
        whole = sum(row.own for row in rows)
        print(f"\nunder the profiler: {whole:.0f} µs per request\n")
        shares: Counter[str] = Counter()
        for row in rows:
            shares[row.package] += row.own  # type: ignore[assignment]  # a Counter of floats
        for package, own in shares.most_common(12):
            print(f"{own:7.1f} µs {own / whole:6.1%}  {package}")
        print(f"\n{'own µs':>7} {'all µs':>8} {'calls':>6}")
        rows.sort(key=lambda row: getattr(row, order), reverse=True)
        for row in rows[:functions]:
            print(f"{row.own:7.1f} {row.all:8.1f} {row.calls:6.1f}  {row.place}")


@dataclass(frozen=True)
class Function:
    """Calls and microseconds per request."""

    file: str
    name: str
    calls: float
    own: float
    all: float

    @property
    def package(self) -> str:
        """Two levels of the package it is in, or `built in`."""
        if self.file == "~":
            return "built in (C)"
        parts = Path(self.file).with_suffix("").parts
        for root in ("site-packages", "src"):
            if root in parts:
                return ".".join(parts[parts.index(root) + 1 :][: 3 if "hansa" in parts else 2])
        return f"standard library: {parts[-2] if parts[-1] == '__init__' else parts[-1]}"

    @property
    def place(self) -> str:
        return self.name if self.file == "~" else f"{'/'.join(Path(self.file).parts[-3:])}: {self.name}"


PROFILES = Profiles()
WAITS = ("<method 'get' of '_queue.SimpleQueue' objects>", "<method 'acquire' of '_thread.lock' objects>")


if __name__ == "__main__":
    sys.exit(main())
