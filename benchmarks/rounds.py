"""How long a round takes, and what it costs the server.

A real server process (`hansa serve`: SQLite, fsync, authentication and throttles as they come) and SDK clients over
loopback, which return the params plus a constant at once. Measured is the training phase: from `start` until the
training is completed, after every client has asked for work.

    python benchmarks/rounds.py --clients 16 --params 2500000 --rounds 5 --json

A round lasts from the opening of the round, when its first task is offered, to its version being downloadable: the
server's own `opened_at` and `aggregated_at`, from GET /api/trainings/<id>/rounds/.

`bytes` counts params: updates received, as the rounds say, plus versions sent, one for each report. Headers, JSON and
repeated transfers are not in it. Memory is the peak of the sum over the server's processes, 40 samples a second;
`server_rss_anon_mib` leaves out the pages of files, which the kernel takes back when it needs them.

With `--peer flower` Flower does the same work afterwards, in an environment of its own (`flower.py`), and `ratio` says
how many times as long its rounds take.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import composed
import flower
import msgspec
import numpy as np
from clients import STEP
from harness import START_SECONDS, BenchmarkError, Child, Server, Usage, child, in_a_folder, measured, serving

from hansa.client.api import Api
from hansa.client.transport import Transport
from hansa.core.params import Params
from hansa.formats import safetensors
from hansa.protocol.trainings import Round, Training, TrainingCreate
from hansa.rounds.plan import parse as parsed_plan
from hansa.rounds.states import TrainingStatus

HERE = Path(__file__).resolve().parent
SHARES = (0.6, 0.25, 0.1, 0.05)
"""Of all params, how many are in each array: a few large ones and some small ones, as in most models."""
PATIENCE_SECONDS = 600.0
"""A training in which nothing has changed for so long is given up."""
PACKAGES = ("hansa", "django", "granian", "httpx", "msgspec", "numpy")
POLL_SECONDS = 1.0
ROUNDED = {
    "whole": 0.0,
    "float16": 6 * 2.0**-11,
    "bfloat16": 6 * 2.0**-8,
    "difference-whole": 1e-6,
    "difference-float16": STEP * 2.0**-11,
    "difference-bfloat16": STEP * 2.0**-8,
}
"""By how much a round may be off, by how updates are sent; the params are random numbers, hardly any beyond 6."""
ENDED = (TrainingStatus.COMPLETED, TrainingStatus.CANCELLED, TrainingStatus.ERROR)


@dataclass(frozen=True)
class Options:
    clients: int
    params: int
    rounds: int
    evaluate: bool
    rule: list[tuple[str, composed.Section]]
    encoding: str
    peer: str
    workers: int
    folder: Path | None
    json: bool


@dataclass(frozen=True)
class Figures:
    """The result: one JSON object with these names."""

    clients: int
    params: int
    rounds: int
    evaluate: bool
    rule: str
    encoding: str
    seconds_per_round_median: float
    seconds_per_round: list[float]
    seconds: float
    """Of the whole training, pauses between rounds included."""
    server_rss_anon_mib: float
    server_rss_mib: float
    cpu_seconds: float
    """Of the server, user and system."""
    bytes: int
    workers: int
    versions: dict[str, str]
    machine: dict[str, str | int]
    peer: flower.Figures | None = None
    ratio: float | None = None
    """The peer's median round to Hansa's, of this call."""


def main() -> int:
    options = parse(sys.argv[1:])

    def train(folder: Path) -> int:
        result = benchmark(options, folder)
        if options.peer:
            result = beside_flower(result, options, folder)
        print(json.dumps(msgspec.to_builtins(result)) if options.json else described(result))
        return 0

    return in_a_folder(train, prefix="hansa-rounds-", parent=options.folder)


def benchmark(options: Options, folder: Path) -> Figures:
    """Start everything, train once, put the figures together. What was started has ended afterwards."""
    with ExitStack() as stack:
        server = stack.enter_context(serving(folder))
        names = [f"client-{number:04}" for number in range(options.clients)]
        tokens = invite(server, names)
        training = make_training(server.api, folder, names, options)
        watched = [server.child]
        for number in range(options.workers):
            share = tokens[number :: options.workers]
            watched.append(stack.enter_context(worker(f"worker-{number}", server.url, share, folder)))
        wait_for_clients(server.api, watched)
        with measured(server.child.process.pid) as usage:
            server.api.start(training)
            record = wait_for_end(server.api, training, watched)
        check_result(server.api, record, folder, options)
        size = server.api.model(record.model).size
        return figures(options, record, server.api.rounds(training), size=size, usage=usage)


def beside_flower(result: Figures, options: Options, folder: Path) -> Figures:
    """The same figures, with those of Flower at the same work."""
    params = random_params(options.params)
    peer = flower.benchmark(params, clients=options.clients, rounds=options.rounds, folder=folder)
    ratio = round(peer.seconds_per_round_median / result.seconds_per_round_median, 2)
    return replace(result, peer=peer, ratio=ratio)


def invite(server: Server, names: Sequence[str]) -> list[str]:
    """A new client under each name; their tokens."""
    with Transport(server.url) as anonymous:
        return [Api(anonymous).enroll(server.api.invite(name).code).token for name in names]


def make_training(api: Api, folder: Path, names: list[str], options: Options) -> str:
    """A training of random params that waits to be started."""
    file = folder / "model.safetensors"
    with file.open("wb") as output:
        safetensors.write(output, random_params(options.params))
    evaluation = {"every": 1 if options.evaluate else 0}
    plan = {"rounds": options.rounds, "seed": 1, "evaluation": evaluation, **dict(options.rule)}
    plan["encoding"] = encoding_of(options.encoding)
    model = api.create_model(file, name="random").model_id
    return api.create_training(TrainingCreate(model_id=model, plan=plan, clients=names)).training_id


def encoding_of(form: str) -> dict[str, str]:
    """Of a plan, from the option's words."""
    content, _, dtype = form.rpartition("-")
    return {"content": content or "params", "dtype": "as_model" if dtype == "whole" else dtype}


def random_params(count: int) -> Params:
    """So many float32 in a few arrays of different sizes."""
    cuts = [round(share * count) for share in np.cumsum(SHARES)[:-1]]
    flat = np.random.default_rng(1).standard_normal(count, dtype=np.float32)
    return {f"layer{number}": part for number, part in enumerate(np.split(flat, cuts)) if part.size}


@contextmanager
def worker(name: str, url: str, tokens: Sequence[str], folder: Path) -> Iterator[Child]:
    """A process with a client for each token."""
    file = folder / f"{name}.tokens"
    file.touch(mode=0o600)
    file.write_text("\n".join(tokens))
    with child(name, [sys.executable, HERE / "clients.py", url, file, folder / name], log=folder / f"{name}.log") as it:
        yield it


def wait_for_clients(api: Api, watched: Sequence[Child]) -> None:
    """Until every one has asked for work, so that no import of theirs is measured."""
    until = time.monotonic() + START_SECONDS
    while missing := [client.username for client in api.clients() if not client.last_seen]:
        if time.monotonic() > until:
            raise BenchmarkError(f"{len(missing)} clients did not ask for work in {START_SECONDS:.0f} s: {missing[:5]}")
        for each in watched:
            each.check()
        time.sleep(0.1)


def wait_for_end(api: Api, training: str, watched: Sequence[Child]) -> Training:
    """The training's record when it has completed. Looked at seldom: to be told each change would be measured too."""
    record, changed = api.training(training), time.monotonic()
    while record.status not in ENDED:
        time.sleep(POLL_SECONDS)
        for each in watched:
            each.check()
        before, record = record, api.training(training)
        if record.revision != before.revision:
            changed = time.monotonic()
        elif time.monotonic() - changed > PATIENCE_SECONDS:
            raise BenchmarkError(f"nothing has changed for {PATIENCE_SECONDS:.0f} s: {record.reason}")
    if record.status != TrainingStatus.COMPLETED:
        raise BenchmarkError(f"the training is {record.status}: {record.reason}")
    return record


def check_result(api: Api, training: Training, folder: Path, options: Options) -> None:
    """Every round moves every param alike, as each client has, by what the plan makes of that; else figures mean
    nothing.
    """
    wanted = composed.moved(parsed_plan(training.plan), STEP, clients=options.clients, params=options.params)
    files = folder / "first.safetensors", folder / "last.safetensors"
    for number, file in zip((0, training.version), files, strict=True):
        api.download(training.model, number, file)
    first, last = map(safetensors.mapped, files)
    for name in first:
        moved = np.subtract(last[name], first[name], dtype=np.float32)
        rounded = training.rounds * ROUNDED[options.encoding]
        if not np.allclose(moved, wanted, rtol=1e-3 if options.rule else 0, atol=training.rounds * 1e-6 + rounded):
            raise BenchmarkError(f"the last version is wrong in {name!r}, so the figures mean nothing")


def figures(options: Options, training: Training, rounds: Sequence[Round], *, size: int, usage: Usage) -> Figures:
    done = [each for each in rounds if each.version is not None]
    seconds = [between(each.opened_at, each.aggregated_at) for each in done]
    return Figures(
        clients=options.clients,
        params=options.params,
        rounds=options.rounds,
        evaluate=options.evaluate,
        rule=composed.named(options.rule),
        encoding=options.encoding,
        seconds_per_round_median=round(statistics.median(seconds), 4),
        seconds_per_round=[round(each, 4) for each in seconds],
        seconds=round(between(training.started_at, training.finished_at), 3),
        server_rss_anon_mib=round(usage.rss_anon_mib, 1),
        server_rss_mib=round(usage.rss_mib, 1),
        cpu_seconds=round(usage.cpu_seconds, 2),
        bytes=sum(each.bytes + each.reported * size for each in done),
        workers=options.workers,
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        machine={"cores": os.cpu_count() or 0, "system": f"{platform.system()} {platform.machine()}"},
    )


def between(start: str | None, end: str | None) -> float:
    """Seconds from one of the server's timestamps to another."""
    if start is None or end is None:
        raise BenchmarkError(
            f"the server's record has no time for a round's or the training's begin or end: {start}, {end}"
        )
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def described(result: Figures) -> str:
    """For people."""
    longest, shortest = max(result.seconds_per_round), min(result.seconds_per_round)
    beside = "" if result.peer is None else f"\n{_beside(result, result.peer)}"
    return f"""{result.clients} clients x {result.params * 4 / 1e6:g} MB, {result.rounds} rounds, {result.rule}
round    {result.seconds_per_round_median:.3f} s (median; {shortest:.3f} to {longest:.3f})
memory   {result.server_rss_anon_mib:.0f} MiB of the server's own, {result.server_rss_mib:.0f} with pages of files
work     {result.cpu_seconds:.2f} s of the server's CPU in {result.seconds:.2f} s
traffic  {result.bytes / 1e6:,.1f} MB of params, sent and received; updates {result.encoding}{beside}"""


def _beside(result: Figures, peer: flower.Figures) -> str:
    longest, shortest = max(peer.seconds_per_round), min(peer.seconds_per_round)
    return f"""Flower {peer.version} at the same work
round    {peer.seconds_per_round_median:.3f} s (median; {shortest:.3f} to {longest:.3f}): {result.ratio:g} times as long
memory   {peer.server_rss_anon_mib:.0f} MiB of the server's own, {peer.server_rss_mib:.0f} with pages of files
work     {peer.cpu_seconds:.2f} s of the server's CPU"""


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="rounds.py"
    )
    parser.add_argument("--clients", type=positive, default=4, metavar="N", help="how many clients (4)")
    parser.add_argument(
        "--params", type=positive, default=250_000, metavar="P", help="float32 in the model (250000: 1 MB)"
    )
    parser.add_argument("--rounds", type=positive, default=5, metavar="R", help="how many rounds (5)")
    parser.add_argument(
        "--evaluate", choices=["on", "off"], default="off", help="by the clients, after every round (off)"
    )
    parser.add_argument(
        "--rule",
        type=composed.section,
        action="append",
        default=[],
        metavar="KIND[:NAME=VALUE,...]",
        help=composed.HELP,
    )
    parser.add_argument(
        "--encoding", choices=ROUNDED, default="whole", help="as what updates are sent: params, or differences (whole)"
    )
    parser.add_argument("--peer", choices=["flower"], default="", help="who does the same work afterwards (nobody)")
    parser.add_argument("--workers", type=positive, metavar="W", help="processes that share the clients (at most 4)")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where to put the temporary data: decides what fsync costs"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a summary")
    given = parser.parse_args(arguments)
    if given.peer and (given.rule or given.encoding != "whole" or given.evaluate == "on"):
        parser.error("--peer does FedAvg with whole params and no evaluation; leave --rule, --encoding, --evaluate out")
    workers = min(given.clients, given.workers or 4)
    return Options(**{**vars(given), "evaluate": given.evaluate == "on", "workers": workers})


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}; wanted is a number of at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
