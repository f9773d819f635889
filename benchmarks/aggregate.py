"""Every rule over the updates of one round: seconds, gigabytes of input in a second, and memory.

    python benchmarks/aggregate.py --updates 10 --params 25000000
    python benchmarks/aggregate.py --goals --json

The updates are files of float32 params in a store, as clients leave them there, and what is measured is what the server
does with them: `hansa.server.trainings.aggregation`, checksums, threads and all, up to the version's file with its
SHA-256. Each rule has a process of its own, whose highest resident memory counts. Right before and after it, the same
process reads the same files with plain read() into one buffer of a mebibyte: the ratio is of that, in bytes of the
updates; a rule that reads them twice is not credited with that.

With fewer --files than --updates the same files stand for several updates, at steps of the list: what is read is as
much, from fewer pages of the cache. A disk that cannot hold a hundred gigabytes can show what a thousand updates take.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from harness import BenchmarkError, in_a_folder

from hansa.rounds.plan import parse as parse_plan
from hansa.rounds.rules import rule_of
from hansa.simulation.chaos.processes import clean_environment

if TYPE_CHECKING:  # it takes a Django that is set up
    from hansa.server.trainings.services.aggregation import Job

MIB: Final = 2**20
STEP: Final = 0.01
"""How far clients move from the version, as a standard deviation; params have one of 1."""


def plans(updates: int) -> Mapping[str, Mapping[str, object]]:
    """The settings of each rule, for so many updates."""
    byzantine = max(0, (updates - 3) // 4)
    mean = {"kind": "weighted_mean"}
    return {
        "mean": {"aggregator": mean},
        "clipped mean": {"aggregator": mean, "transforms": [{"kind": "clip_norm", "bound": 1.0}]},
        "sum": {"aggregator": {"kind": "sum"}},
        "norm-bounded mean": {"aggregator": {"kind": "norm_bounded_mean", "bound": 1.0}},
        "median": {"aggregator": {"kind": "median"}},
        "trimmed mean": {"aggregator": {"kind": "trimmed_mean", "trim": 0.2}},
        "krum": {"aggregator": {"kind": "krum", "byzantine": byzantine}},
        "multi-krum": {"aggregator": {"kind": "multi_krum", "byzantine": byzantine, "keep": max(1, updates // 2)}},
        "geometric median": {"aggregator": {"kind": "geometric_median"}},
    }


class Orders(msgspec.Struct, frozen=True):
    """What one process measures."""

    rule: str
    updates: int
    params: int
    files: list[tuple[str, int, str]]
    """Digest, size and checksums (hex) of each, the version that the round began from first."""


class Figures(msgspec.Struct, frozen=True):
    """Of one rule."""

    rule: str
    updates: int
    params: int
    files: int
    seconds: float
    cpu_seconds: float
    """Of all threads: beside `seconds` it tells whether others were at work on the same processors."""
    gigabytes_per_second: float
    """Of input: the updates' bytes."""
    of_plain_read: float
    peak_mib: float
    """The highest resident memory."""
    own_mib: float
    """Of that, what the process had before it began."""
    digest: str


@dataclass(frozen=True)
class Case:
    updates: int
    params: int
    files: int
    rules: Sequence[str]


@dataclass(frozen=True)
class Goal:
    rule: str
    updates: int
    figure: str
    bound: float
    least: bool = False


GOALS = (
    Goal("mean", 10, "of_plain_read", 0.35, least=True),
    Goal("krum", 100, "peak_mib", 2048),
    Goal("median", 1000, "peak_mib", 2048),
)
"""All of 100 MB each."""


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        print(msgspec.json.encode(measured(msgspec.json.decode(sys.stdin.buffer.read(), type=Orders))).decode())
        return 0
    options = parse(sys.argv[1:])

    def run(folder: Path) -> int:
        found = [figures for case in cases(options) for figures in compared(case, folder)]
        print(json.dumps([msgspec.to_builtins(each) for each in found]) if options.json else described(found))
        return 0

    return in_a_folder(run, prefix="hansa-aggregate-", parent=options.folder)


def cases(options: argparse.Namespace) -> Sequence[Case]:
    """One, or those that the goals are of."""
    if not options.goals:
        return [Case(options.updates, options.params, options.files or options.updates, options.rules)]
    return [Case(goal.updates, 25_000_000, min(goal.updates, options.files or 10), [goal.rule]) for goal in GOALS]


def compared(case: Case, folder: Path) -> list[Figures]:
    """Each rule in a process of its own, over the same files."""
    home = folder / f"{case.updates}-{case.params}"
    environment = {**clean_environment(), "HANSA_HOME": str(home)}
    made = _child(["--make", str(case.files), str(case.params)], b"", environment)
    files = msgspec.json.decode(made, type=list[tuple[str, int, str]])
    found = []
    for rule in case.rules:
        orders = msgspec.json.encode(Orders(rule, case.updates, case.params, files))
        found.append(msgspec.json.decode(_child(["--child"], orders, environment), type=Figures))
    return found


def _child(arguments: Sequence[str], given: bytes, environment: Mapping[str, str]) -> bytes:
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    done = subprocess.run(command, input=given, env=dict(environment), capture_output=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(arguments[:2])} failed:\n{done.stderr.decode()[-2000:]}")
    return done.stdout


def make(files: int, params: int) -> list[tuple[str, int, str]]:
    """The version and so many updates from it in the store."""
    _set_up()
    from hansa.core.params import spec_of
    from hansa.formats import safetensors
    from hansa.server.blobs import store

    rng = np.random.default_rng(1)
    version, made = rng.standard_normal(params, np.float32), []
    header, _ = safetensors.canonical(spec_of({"w": version}))
    for place in range(files + 1):
        arrays = version if place == 0 else version + np.float32(STEP) * rng.standard_normal(params, np.float32)
        with store.BlobFile() as file:
            file.write(header)
            content = arrays.data.cast("B")
            for start in range(0, len(content), 4 * MIB):
                file.write(content[start : start + 4 * MIB])
            digests = file.finish()
        store.place(file.path, digests.sha256)
        made.append((digests.sha256, digests.size, digests.checksums.hex()))
    return made


def measured(orders: Orders) -> Figures:
    """One rule, beside plain reads."""
    _set_up()
    from threading import Event

    from hansa.server.blobs import store
    from hansa.server.trainings.aggregation import Findings, aggregate

    job = _job(orders)
    paths = [store.path_of(update.digest) for update in job.updates]
    before = _read(paths)
    own, began, worked = _resident(), time.perf_counter(), time.process_time()
    with store.BlobFile() as blob:
        digests = aggregate(job, blob, Event(), Findings(job.own))
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    plain = min(before, _read(paths))
    size = sum(update.size for update in job.updates)
    return Figures(
        rule=orders.rule,
        updates=orders.updates,
        params=orders.params,
        files=len(orders.files) - 1,
        seconds=round(seconds, 3),
        cpu_seconds=round(cpu, 3),
        gigabytes_per_second=round(size / seconds / 1e9, 3),
        of_plain_read=round(plain / seconds, 3),
        peak_mib=round(peak, 1),
        own_mib=round(own, 1),
        digest=digests.sha256,
    )


def _job(orders: Orders) -> "Job":
    from uuid import uuid4

    from hansa.core.params import ArraySpec, ParamSpec
    from hansa.server.blobs.inspection import Known
    from hansa.server.trainings.services.aggregation import Job, StoredUpdate

    plan = parse_plan({"rounds": 1, **plans(orders.updates)[orders.rule]})
    base, *files = [(digest, size, bytes.fromhex(checksums)) for digest, size, checksums in orders.files]
    updates = [(place, *files[place % len(files)]) for place in range(orders.updates)]
    return Job(
        round_id=uuid4(),
        training_id=uuid4(),
        claim=uuid4(),
        number=1,
        spec=ParamSpec((ArraySpec("w", "float32", (orders.params,)),)),
        updates=tuple(
            StoredUpdate(place, digest, 100 + place, size, checksums) for place, digest, size, checksums in updates
        ),
        base=Known(*base),
        rule=rule_of(plan.aggregator),
        clip=plan.transforms[0].bound if plan.transforms else None,
    )


def _read(paths: Sequence[Path]) -> float:
    """Seconds that plain read() takes."""
    buffer, began = memoryview(bytearray(MIB)), time.perf_counter()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - began


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def _set_up() -> None:
    """The store, and the rows' classes, without a server: nothing here has a database."""
    from hansa.server import config, home
    from hansa.server.process import _setup_django

    home.prepare(config.read(os.environ))
    _setup_django()


def described(found: Sequence[Figures]) -> str:
    """A table, and how it stands with the goals that the run has a figure for."""
    head = ("rule", "updates", "params", "seconds", "cpu s", "GB/s", "of read()", "MiB")
    lines = ["{:18} {:>7} {:>11} {:>8} {:>8} {:>6} {:>9} {:>7}".format(*head)]
    for each in found:
        size = f"{each.rule:18} {each.updates:7} {each.params:11,}"
        speed = f"{each.seconds:8.2f} {each.cpu_seconds:8.2f} {each.gigabytes_per_second:6.2f}"
        shared = f"   from {each.files} files" if each.files < each.updates else ""
        lines.append(f"{size} {speed} {each.of_plain_read:9.0%} {each.peak_mib:7.0f}{shared}")
    for goal in GOALS:
        for each in found:
            if (each.rule, each.updates) == (goal.rule, goal.updates) and each.params == 25_000_000:
                seen = getattr(each, goal.figure)
                met = seen >= goal.bound if goal.least else seen <= goal.bound
                sign = ">=" if goal.least else "<="
                lines.append(f"{'met' if met else 'MISSED'}: {goal.rule}, {goal.figure} {seen} {sign} {goal.bound}")
    return "\n".join(lines)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--updates", type=int, default=10, help="of a round")
    parser.add_argument("--params", type=int, default=2_500_000, help="float32 numbers of the model")
    parser.add_argument("--files", type=int, default=0, help="different ones; the updates are these in turn")
    parser.add_argument("--rules", nargs="+", choices=plans(10), default=list(plans(10)), help="which")
    parser.add_argument("--goals", action="store_true", help="the cases that there are goals for")
    parser.add_argument("--folder", type=Path, help="where the files are for a while; else where temporary files are")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        print(json.dumps(make(int(sys.argv[2]), int(sys.argv[3]))))
        sys.exit()
    sys.exit(main())
