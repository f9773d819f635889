"""The program of `http.py`: starts the stacks, checks that they do the same work, and measures them in turns."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx
import idle
import msgspec
import wrk
from databases import KINDS, databases
from harness import START_SECONDS, BenchmarkError, in_a_folder, measured
from stacks import BASELINES, PATH, STACKS, Stack

from hansa.client.errors import HansaError
from hansa.protocol.accounts import User

WARM_UP_SECONDS = 2
FIELDS = {"id", "username", "first_name", "last_name", "email", "actor", "client", "message_endpoint"}
PACKAGES = ("hansa", "django", "djangorestframework", "granian", "msgspec")


@dataclass(frozen=True)
class Options:
    seconds: int
    rounds: int
    only: tuple[str, ...]
    database: tuple[str, ...]
    idle: bool
    connections: tuple[int, ...]
    json: bool


class Figures(msgspec.Struct, frozen=True):
    """Of one stack on one database: medians over the rounds."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    requests_per_cpu_second: float
    rounds: list[float]
    """Requests per second in each."""
    ratio: float | None = None
    """To the better of DRF's two in this run; none if neither has a figure."""


class Row(msgspec.Struct, frozen=True):
    """One stack on one database: figures, or why there are none."""

    stack: str
    database: str
    outcome: str
    """measured, failed or not run"""
    reason: str = ""
    figures: Figures | None = None


@dataclass(frozen=True)
class Ready:
    stack: Stack
    token: str


@dataclass(frozen=True)
class Round:
    load: wrk.Load
    rss_mib: float
    cpu_seconds: float


class FailedError(Exception):
    """A stack answered something else than it has to."""


def main(description: str, arguments: Sequence[str]) -> int:
    options = parse(description, arguments)

    def compare(folder: Path) -> int:
        folder.chmod(0o755)  # the database's server is another user
        if options.idle:
            parked = idle.benchmark(folder, options.connections)
            print(idle.as_json(parked, circumstances()) if options.json else idle.described(parked))
            return 0
        wrk.program()
        rows = [row for kind in options.database for row in benchmark(options, kind, folder / kind)]
        print(as_json(options, rows) if options.json else described(options, rows))
        return 0 if all(row.outcome != "failed" for row in rows) else 1

    return in_a_folder(compare, prefix="hansa-http-")


def benchmark(options: Options, kind: str, folder: Path) -> list[Row]:
    """All stacks on one kind of database, in turns."""
    folder.mkdir()
    rows = {name: Row(name, kind, "not run", "not asked for: --only") for name in STACKS if name not in options.only}
    running: dict[str, Ready] = {}
    with ExitStack() as stack:
        try:
            new_database = stack.enter_context(databases(kind, folder))
        except BenchmarkError as error:
            return [rows.get(name) or Row(name, kind, "not run", str(error)) for name in STACKS]
        for name in options.only:
            (folder / name).mkdir()
            try:
                running[name] = ready(stack.enter_context(STACKS[name](folder / name, new_database(name))))
            except (BenchmarkError, HansaError) as error:
                rows[name] = Row(name, kind, "not run", str(error))
            except FailedError as error:
                rows[name] = Row(name, kind, "failed", str(error))
        rows |= {row.stack: row for row in in_turns(running, kind, options)}
    return with_ratios([rows[name] for name in STACKS])


def ready(stack: Stack) -> Ready:
    """A stack that does the work and is warm. Raises FailedError if it does not, BenchmarkError if it never answers."""
    token = checked_token(stack)
    wrk.load(stack.url + PATH, token, WARM_UP_SECONDS)
    return Ready(stack, token)


def in_turns(running: Mapping[str, Ready], kind: str, options: Options) -> Iterator[Row]:
    """Measure round by round; a stack that fails once is out."""
    rounds: dict[str, list[Round]] = {name: [] for name in running}
    for _ in range(options.rounds):
        for name in list(rounds):
            try:
                rounds[name].append(one_round(running[name], options.seconds))
            except (BenchmarkError, FailedError) as error:
                del rounds[name]
                yield Row(name, kind, "failed", str(error))
    for name, done in rounds.items():
        yield Row(name, kind, "measured", figures=figures(done))


def one_round(it: Ready, seconds: int) -> Round:
    """Raises FailedError if but one request did not go well."""
    with measured(it.stack.child.process.pid) as usage:
        load = wrk.load(it.stack.url + PATH, it.token, seconds)
    it.stack.child.check()
    if load.errors or not load.requests:
        raise FailedError(f"{load.errors or 'no answer'} in {load.requests:,} requests")
    return Round(load, usage.rss_mib, usage.cpu_seconds)


def checked_token(stack: Stack) -> str:
    """A token to measure with, after the stack has shown that it does the work. Raises FailedError if it does not."""
    wait_for(stack)
    ended = stack.new_token()
    expect(stack, ended, 200)
    token = stack.new_token()
    expect(stack, ended, 401)
    for wrong in ("0" * 40, None):
        expect(stack, wrong, 401)
    answer = expect(stack, token, 200)
    if set(answer.json()) != FIELDS:
        raise FailedError(f"the answer has the fields {sorted(answer.json())}; wanted are {sorted(FIELDS)}")
    msgspec.convert(answer.json(), User)
    return token


def expect(stack: Stack, token: str | None, status: int) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Token {token}"}
    answer = httpx.get(stack.url + PATH, headers=headers)
    if answer.status_code != status:
        raise FailedError(f"GET {PATH} answered {answer.status_code}, wanted is {status}: {answer.text[:200]}")
    return answer


def wait_for(stack: Stack) -> None:
    """Until it answers anything."""
    until = time.monotonic() + START_SECONDS
    while True:
        stack.child.check()
        try:
            httpx.get(stack.url + PATH)
        except httpx.TransportError as error:
            if time.monotonic() > until:
                raise BenchmarkError(f"no answer in {START_SECONDS:.0f} s: {error}") from error
            time.sleep(0.05)
        else:
            return


def figures(rounds: Sequence[Round]) -> Figures:
    def median(values: Sequence[float], digits: int = 1) -> float:
        return round(statistics.median(values), digits)

    rates = [each.load.requests_per_second for each in rounds]
    return Figures(
        requests_per_second=median(rates),
        p50_ms=median([each.load.p50 / 1000 for each in rounds], 2),
        p99_ms=median([each.load.p99 / 1000 for each in rounds], 2),
        rss_mib=median([each.rss_mib for each in rounds]),
        requests_per_cpu_second=median([each.load.requests / (each.cpu_seconds or 0.01) for each in rounds]),
        rounds=[round(rate, 1) for rate in rates],
    )


def with_ratios(rows: list[Row]) -> list[Row]:
    """Each stack's requests per second by those of the better of DRF's two."""
    best = max(
        (row.figures.requests_per_second for row in rows if row.stack in BASELINES and row.figures), default=None
    )
    if best is None:
        return rows
    structs = msgspec.structs
    return [
        structs.replace(
            row, figures=structs.replace(row.figures, ratio=round(row.figures.requests_per_second / best, 2))
        )
        if row.figures
        else row
        for row in rows
    ]


def circumstances() -> dict[str, object]:
    """What the figures depend on beside the code."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "machine": {"cores": os.cpu_count() or 0, "system": f"{platform.system()} {platform.machine()}"},
        "load_average": round(os.getloadavg()[0], 2),
    }


def as_json(options: Options, rows: Sequence[Row]) -> str:
    asked = {"seconds": options.seconds, "rounds": options.rounds, "connections": wrk.CONNECTIONS}
    return json.dumps({**asked, **circumstances(), "rows": msgspec.to_builtins(rows)})


def described(options: Options, rows: Sequence[Row]) -> str:
    """For people."""
    lines = [
        f"{wrk.CONNECTIONS} connections, {options.rounds} x {options.seconds} s, medians; times in ms, memory in MiB",
        f"{'':24}{'requests/s':>11}{'p50':>9}{'p99':>9}{'RSS':>7}{'per CPU s':>11}{'to DRF':>9}",
    ]
    for row in rows:
        head = f"{row.database:11}{row.stack:13}"
        if (it := row.figures) is None:
            lines.append(f"{head}{row.outcome:>11}  {row.reason.splitlines()[-1]}")
            continue
        ratio = "not run" if it.ratio is None else f"{it.ratio:.2f}"
        lines.append(
            f"{head}{it.requests_per_second:11,.0f}{it.p50_ms:9.1f}{it.p99_ms:9.1f}{it.rss_mib:7.0f}"
            f"{it.requests_per_cpu_second:11,.0f}{ratio:>9}"
        )
    return "\n".join(lines)


def parse(description: str, arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, prog="http.py"
    )
    parser.add_argument("--seconds", type=positive, default=10, metavar="S", help="length of a round (10)")
    parser.add_argument("--rounds", type=positive, default=3, metavar="R", help="how many rounds (3)")
    parser.add_argument("--only", nargs="+", choices=list(STACKS), metavar="NAME", help=f"of {', '.join(STACKS)} (all)")
    parser.add_argument("--database", default=",".join(KINDS), metavar="KINDS", help=f"({','.join(KINDS)})")
    parser.add_argument("--idle", action="store_true", help="park requests and wake them, in place of the comparison")
    parser.add_argument(
        "--connections",
        type=positive,
        nargs="+",
        default=idle.CONNECTIONS,
        metavar="N",
        help=f"how many to park ({' '.join(map(str, idle.CONNECTIONS))})",
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    given = parser.parse_args(arguments)
    kinds = tuple(given.database.split(","))
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"--database has {unknown[0]!r}; known are {', '.join(KINDS)}")
    only = tuple(name for name in STACKS if name in (given.only or STACKS))
    return Options(**{**vars(given), "only": only, "database": kinds, "connections": tuple(given.connections)})


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}; wanted is a number of at least 1")
    return number
