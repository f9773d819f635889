"""Asking a small CNN about one 28x28 image: one caller, fifty questions in a second, and fifty callers at a time.

    python benchmarks/inference.py --seconds 20 --json

A real `hansa serve` (SQLite, authentication and throttles as they come, the sandbox with all its protections) is asked
by JSON over keep-alive connections of one other process, which compares every class with what the program gives it. All
figures are of one run:

- *first*: of the first question since the server began, which starts the sandbox; and the first one to another model
  while the sandbox is warm.
- *one caller*: the question, beside the forward pass in the callers' process, and beside the least that a request costs
  (GET /api/users/myself/); the three in turn, each from its first byte to the last of its answer.
- *open loop*: questions at even moments, each timed from the moment when it was due, answered or not the one before.
- *closed loop*: callers who ask again as soon as they have their answer.

The callers take a share of the same processors, a load average beside the figures tells who else did.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec
import torch
from askers import Orders, Result
from environments import HERE
from harness import BenchmarkError, child, in_a_folder, serving
from torch import nn

PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Options:
    calls: int
    pace: float
    callers: int
    seconds: float
    seed: int
    folder: Path | None
    json: bool


class Figures(msgspec.Struct, frozen=True):
    """Milliseconds, but for rates, which are of a second."""

    first_ms: float
    first_of_another_model_ms: float
    plain_ms: float
    request_ms: float
    question_ms: float
    above_plain_ms: float
    open_p50_ms: float
    open_p99_ms: float
    closed_per_second: float
    closed_p50_ms: float
    closed_p99_ms: float
    closed_cpu_ms: float
    """Of the server and the sandbox, for each question."""
    load_average: float


@dataclass(frozen=True)
class Goal:
    """A bound for one of the figures."""

    figure: str
    bound: float
    least: bool = False

    def is_met(self, found: Figures) -> bool:
        seen: float = getattr(found, self.figure)
        return seen >= self.bound if self.least else seen <= self.bound


GOALS = (
    Goal("first_ms", 5000),
    Goal("above_plain_ms", 5),
    Goal("open_p99_ms", 25),
    Goal("closed_per_second", 250, least=True),
)


def main() -> int:
    options = parse(sys.argv[1:])

    def run(folder: Path) -> int:
        found = figures(asked(options, folder))
        print(json.dumps(msgspec.to_builtins(found)) if options.json else described(found, options))
        return 0

    return in_a_folder(run, prefix="hansa-inference-", parent=options.folder)


def small_cnn(seed: int) -> nn.Module:
    """A convolution, a pooling and a layer to ten classes: 14 thousand params."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1352, 10)).eval()


def asked(options: Options, folder: Path) -> Result:
    """What the callers saw."""
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(small_cnn(options.seed)), stream)
    file = folder / "model.pt"
    file.write_bytes(stream.getvalue())
    with serving(folder) as server:
        models = [server.api.create_model(file, name=name).model_id for name in ("first", "second")]
        orders = Orders(
            url=server.url,
            server=server.child.process.pid,
            token=server.api.create_token("askers").token,
            model=models[0],
            second=models[1],
            program=stream.getvalue(),
            calls=options.calls,
            pace=options.pace,
            callers=options.callers,
            seconds=options.seconds,
            seed=options.seed,
        )
        told, result, log = folder / "orders.json", folder / "result.json", folder / "askers.log"
        told.touch(mode=0o600)
        told.write_bytes(msgspec.json.encode(orders))
        with child("the callers", [sys.executable, HERE / "askers.py", told, result], log=log) as callers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                callers.process.wait(PATIENCE_SECONDS)
            server.child.check()
    if callers.process.returncode != 0:
        raise BenchmarkError(f"the callers: {log.read_text()[-2000:]}")
    return msgspec.json.decode(result.read_bytes(), type=Result)


def figures(found: Result) -> Figures:
    return Figures(
        first_ms=ms(found.first),
        first_of_another_model_ms=ms(found.first_of_second),
        plain_ms=ms(median(found.plain)),
        request_ms=ms(median(found.least)),
        question_ms=ms(median(found.alone)),
        above_plain_ms=ms(median(found.alone) - median(found.plain)),
        open_p50_ms=ms(median(found.open_loop)),
        open_p99_ms=ms(at(found.open_loop, 0.99)),
        closed_per_second=round(found.closed_rate, 1),
        closed_p50_ms=ms(median(found.closed_loop)),
        closed_p99_ms=ms(at(found.closed_loop, 0.99)),
        closed_cpu_ms=ms(found.closed_cpu),
        load_average=round(os.getloadavg()[0], 1),
    )


def ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


def at(ascending: Sequence[float], share: float) -> float:
    return ascending[round(share * (len(ascending) - 1))]


def described(found: Figures, options: Options) -> str:
    """For people."""
    missed = [goal.figure for goal in GOALS if not goal.is_met(found)]
    one, closed = f"{found.question_ms:.2f} ms", f"{found.closed_per_second:.0f}/s"
    lines = [
        f"first        {found.first_ms:.0f} ms; of another model {found.first_of_another_model_ms:.0f} ms",
        f"one caller   {one}: {found.above_plain_ms:.2f} ms above the forward pass ({found.plain_ms:.2f} ms)",
        f"a request    {found.request_ms:.2f} ms",
        f"open loop    {options.pace:g}/s: p50 {found.open_p50_ms:.1f} ms, p99 {found.open_p99_ms:.1f} ms",
        f"{options.callers} callers   {closed}: p50 {found.closed_p50_ms:.1f} ms, p99 {found.closed_p99_ms:.1f} ms",
        f"work         {found.closed_cpu_ms:.2f} ms of the server's CPU for each of their questions",
        f"load average {found.load_average}",
        "the goals: " + (f"missed by {', '.join(missed)}" if missed else "met by all"),
    ]
    return "\n".join(lines)


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500, metavar="N", help="of the one caller (500)")
    parser.add_argument("--pace", type=float, default=50.0, metavar="N", help="of the open loop, in a second (50)")
    parser.add_argument("--callers", type=int, default=50, metavar="N", help="of the closed loop (50)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of either loop (20)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the program and the images (1)")
    parser.add_argument("--short", action="store_true", help="a moment of each, to see that it runs")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to put the temporary data: what fsync costs")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    given: dict[str, object] = vars(parser.parse_args(arguments))
    if given.pop("short"):
        given |= {"calls": 5, "seconds": 0.5}
    checked: Mapping[str, object] = given
    return Options(**checked)  # type: ignore[arg-type]  # argparse has seen to the types


if __name__ == "__main__":
    sys.exit(main())
