"""Many clients on one node: what each of their calls takes while 1,000 report, and how soon 5,000 have their tasks.

    python benchmarks/load.py --clients 1000 --seconds 20 --json
    python benchmarks/load.py --only waking --waiting 5000

A real `hansa serve` (SQLite, fsync, authentication and throttles as they come), and clients on raw connections of one
other process, which take next to no work themselves.

*Coming*: the training has started, and the clients come to it at moments drawn uniformly from 20 seconds; each asks for
work, does what it does in *reporting*, and reports two seconds after it came. *Reporting*: all wait for work; the
training starts; each fetches the base of 100 KB, sends one heartbeat, uploads an update of 100 KB and reports it, at a
moment drawn uniformly from 20 seconds, and waits for work again. The version that comes out is compared with the one
that must. *The least* does the same at the same pace in the same run with an ASGI application that only answers, under
the same server program: what a call takes there, it takes for the machine's sake. *Waking*: many more clients wait; the
training starts; how long until each has its task, leased.

A call is timed from its first byte to the last of its answer, but for a question for work that waits on the server:
that is timed from the start of the training ("task after the start"). So its figure is the whole burst: a thousand
leases, answers and, in the same seconds, a thousand bases, which the server puts before further tasks.

Any answer that is not the one expected ends the benchmark without a result. Memory is the peak of the server's
processes; CPU is the server's, user and system, from the start of the training to its end.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from crowd import allow_connections
from enrolled import name
from environments import HERE, PEERS
from harness import BenchmarkError, Child, Usage, child, free_port, in_a_folder, measured, serving
from rounds import random_params
from swarm import Orders, Result

from hansa.formats import safetensors
from hansa.protocol.trainings import TrainingCreate
from hansa.server.process import BACKLOG, BACKPRESSURE

GOAL_SECONDS = 0.25
"""For the p99 of every call."""
PATIENCE_SECONDS = 400.0
PARTS = ("least", "coming", "reporting", "waking")


@dataclass(frozen=True)
class Options:
    clients: int
    waiting: int
    seconds: float
    params: int
    seed: int
    only: tuple[str, ...]
    folder: Path | None
    json: bool


class Call(msgspec.Struct, frozen=True):
    """Milliseconds that one kind of call took."""

    calls: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Figures(msgspec.Struct, frozen=True):
    """Of one part."""

    part: str
    clients: int
    seconds: float
    calls: dict[str, Call]
    last_task: float
    last_report: float
    version: float
    """Seconds from the last report until the version was downloaded, whole and right."""
    rss_mib: float
    rss_anon_mib: float
    cpu_seconds: float
    cpu_ms_per_client: float
    load_average: float
    """Of the machine over the minute before: others' work is in every figure."""


def main() -> int:
    options = parse(sys.argv[1:])

    def run(folder: Path) -> int:
        allow_connections(max(options.clients, options.waiting))
        found = []
        for part in options.only:
            place = folder / part
            place.mkdir()
            found.append(_PARTS[part](options, place))
        print(json.dumps(msgspec.to_builtins(found)) if options.json else "\n\n".join(map(described, found)))
        return 0

    return in_a_folder(run, prefix="hansa-load-", parent=options.folder)


def reporting(options: Options, folder: Path) -> Figures:
    """The clients of a round, from its start to its version."""
    return _trained("reporting", options, folder, clients=options.clients, seconds=options.seconds)


def coming(options: Options, folder: Path) -> Figures:
    """The clients of a round that has begun, as they come."""
    return _trained("coming", options, folder, clients=options.clients, seconds=options.seconds)


def waking(options: Options, folder: Path) -> Figures:
    """Clients that wait, until each has a task."""
    return _trained("waking", options, folder, clients=options.waiting, seconds=0)


def _trained(part: str, options: Options, folder: Path, *, clients: int, seconds: float) -> Figures:
    with serving(folder) as server:
        tokens = enrolled(folder, clients)
        file = folder / "model.safetensors"
        with file.open("wb") as output:
            safetensors.write(output, random_params(options.params))
        model = server.api.create_model(file, name="random").model_id
        plan = {"rounds": 1, "seed": 1, "evaluation": {"every": 0}}
        names = [name("client", number) for number in range(clients)]
        training = server.api.create_training(TrainingCreate(model_id=model, plan=plan, clients=names)).training_id
        orders = Orders(
            url=server.url,
            server=server.child.process.pid,
            actor=server.api.create_token("load").token,
            start=f"/api/trainings/{training}/start/",
            tokens=tokens,
            seconds=seconds,
            seed=options.seed,
            coming=part == "coming",
            version=f"/api/models/{model}/versions/1/params/" if seconds else "",
        )
        return figures(part, orders, *swarmed(orders, folder, server.child))


def least(options: Options, folder: Path) -> Figures:
    """The same clients at the same pace, answered without any work."""
    with answering(folder, size=4 * options.params) as (url, server):
        orders = Orders(
            url=url,
            server=server.process.pid,
            actor="",
            start="/start/",
            tokens=[""] * options.clients,
            seconds=options.seconds,
            seed=options.seed,
        )
        return figures("least", orders, *swarmed(orders, folder, server))


_PARTS = {"least": least, "coming": coming, "reporting": reporting, "waking": waking}


@contextmanager
def answering(folder: Path, size: int) -> Iterator[tuple[str, Child]]:
    """The application that only answers, under granian as `hansa serve` has it."""
    port = str(free_port())
    options = {"host": "127.0.0.1", "port": port, "backlog": BACKLOG, "backpressure": BACKPRESSURE, "http": "1"}
    words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--no-ws", "--log-level", "error", *words]
    settings = {**os.environ, "PYTHONPATH": str(PEERS), "LEAST_BYTES": str(size)}
    with child("the least", [*command, "least:application"], log=folder / "server.log", env=settings) as server:
        yield f"http://127.0.0.1:{port}", server


def enrolled(folder: Path, count: int) -> list[str]:
    """The tokens of so many new clients of the server in this folder."""
    file = folder / "tokens"
    environment = {**os.environ, "HANSA_HOME": str(folder / "server")}
    command = [sys.executable, str(HERE / "enrolled.py"), "client", str(count), str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"no clients could be made: {done.stderr[-500:]}")
    return file.read_text().split()


def swarmed(orders: Orders, folder: Path, server: Child) -> tuple[Result, Usage]:
    """Let the swarm do what it is told, and watch the server meanwhile."""
    told, result, log = folder / "orders.json", folder / "result.json", folder / "swarm.log"
    told.touch(mode=0o600)
    told.write_bytes(msgspec.json.encode(orders))
    with (
        measured(orders.server) as usage,
        child("the swarm", [sys.executable, HERE / "swarm.py", told, result], log=log) as it,
    ):
        with contextlib.suppress(subprocess.TimeoutExpired):
            it.process.wait(PATIENCE_SECONDS)
        server.check()
    if it.process.returncode != 0:
        raise BenchmarkError(f"the swarm: {log.read_text()[-2000:]}")
    return msgspec.json.decode(result.read_bytes(), type=Result), usage


def figures(part: str, orders: Orders, result: Result, usage: Usage) -> Figures:
    clients = len(orders.tokens)
    return Figures(
        part=part,
        clients=clients,
        seconds=orders.seconds,
        calls={kind: call(times) for kind, times in result.calls.items()},
        last_task=round(result.last_task, 3),
        last_report=round(result.last_report, 3),
        version=round(result.version, 3),
        rss_mib=round(usage.rss_mib, 1),
        rss_anon_mib=round(usage.rss_anon_mib, 1),
        cpu_seconds=round(result.cpu, 2),
        cpu_ms_per_client=round(result.cpu / clients * 1000, 2),
        load_average=round(os.getloadavg()[0], 1),
    )


def call(seconds: Sequence[float]) -> Call:
    """Of times in ascending order."""

    def at(share: float) -> float:
        return round(seconds[round(share * (len(seconds) - 1))] * 1000, 1)

    return Call(calls=len(seconds), p50_ms=at(0.5), p99_ms=at(0.99), max_ms=at(1.0))


def goal(calls: Mapping[str, Call]) -> str:
    late = sorted(kind for kind, it in calls.items() if it.p99_ms > GOAL_SECONDS * 1000)
    return f"the goal, a p99 of {GOAL_SECONDS:g} s: " + (f"missed by {', '.join(late)}" if late else "met by all")


def described(found: Figures) -> str:
    """For people."""
    pace = f", reports in {found.seconds:g} s" if found.seconds else ""
    lines = [
        f"{found.part}: {found.clients:,} clients{pace}",
        f"{'ms':24}{'calls':>8}{'p50':>9}{'p99':>9}{'max':>9}",
        *(
            f"  {kind:22}{it.calls:8,}{it.p50_ms:9.1f}{it.p99_ms:9.1f}{it.max_ms:9.1f}"
            for kind, it in found.calls.items()
        ),
        goal(found.calls),
        f"last task {found.last_task:.2f} s, last report {found.last_report:.2f} s, version {found.version:.2f} s on",
        f"memory {found.rss_anon_mib:.0f} MiB of the server's own, {found.rss_mib:.0f} with pages of files",
        f"work {found.cpu_seconds:.2f} s of the server's CPU, {found.cpu_ms_per_client:.1f} ms for each client",
        f"load average {found.load_average}",
    ]
    return "\n".join(lines)


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000, metavar="N", help="how many report (1000)")
    parser.add_argument("--waiting", type=int, default=5000, metavar="N", help="how many are woken (5000)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="in which the reports come (20)")
    parser.add_argument("--params", type=int, default=25_000, metavar="P", help="float32 in the model (25000: 100 KB)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the pace (1)")
    parser.add_argument("--only", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)} (all)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to put the temporary data: what fsync costs")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    given: Mapping[str, object] = vars(parser.parse_args(arguments))
    only = (str(given["only"]),) if given["only"] else PARTS
    return Options(**{**given, "only": only})  # type: ignore[arg-type]  # argparse has seen to the types


if __name__ == "__main__":
    sys.exit(main())
