"""How long a killed server is away: with a season's data in its folder, and with none.

    python benchmarks/restart.py [--json] [--repeats 9] [--profile]

Each time the server is killed by SIGKILL while it serves, and started at once on the same port; measured is from the
start of the new process to its first answer. The two folders take turns, so that what else the machine does falls on
both. `--profile` shows in addition which modules the start spends its time on.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
from filled import TRAININGS, UPDATES
from harness import HANSA, START_SECONDS, BenchmarkError, Child, child, cpu_seconds, free_port, in_a_folder

from hansa.simulation.chaos.processes import clean_environment

REPEATS = 9
GOAL_SECONDS = 3.0
ASK_SECONDS = 0.005
SHOWN_MODULES = 25


class Starts(msgspec.Struct, frozen=True):
    """Of one folder: seconds from the start of the process to its first answer."""

    folder: str
    p50: float
    max: float
    cpu_p50: float
    """What the process had used until then, by the kernel's account."""


@dataclass(frozen=True)
class Home:
    """A data folder, and the port that its server is always started on."""

    name: str
    place: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of whoever measures."""
        return {**clean_environment(), "HANSA_HOME": str(self.place / "server")}


def benchmark(folder: Path, repeats: int) -> list[Starts]:
    """Both folders in turn."""
    homes = [made(folder, "empty"), made(folder, "season")]
    fill(homes[1])
    seen: dict[str, list[tuple[float, float]]] = {home.name: [] for home in homes}
    for home in homes:
        started(home)  # the first start makes the database, and the files' pages come into memory
    for _ in range(repeats):
        for home in homes:
            seen[home.name].append(started(home))
    return [
        Starts(
            folder=name,
            p50=statistics.median(wall for wall, _ in found),
            max=max(wall for wall, _ in found),
            cpu_p50=statistics.median(cpu for _, cpu in found),
        )
        for name, found in seen.items()
    ]


def made(folder: Path, name: str) -> Home:
    place = folder / name
    place.mkdir()
    return Home(name, place, free_port())


def fill(home: Home) -> None:
    program = Path(__file__).with_name("filled.py")
    done = subprocess.run([sys.executable, program], env=home.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"the season's data could not be written:\n{done.stderr[-2000:]}")


def started(home: Home) -> tuple[float, float]:
    """Start the server, wait for its first answer, and kill it: seconds, and seconds of CPU."""
    began = time.monotonic()
    command: list[str | Path] = [HANSA, "serve", "--port", str(home.port)]
    with ExitStack() as stack:
        server = stack.enter_context(child("the server", command, log=home.place / "log", env=home.environment))
        wait_for_an_answer(home, server, began + START_SECONDS)
        seconds, cpu = time.monotonic() - began, cpu_seconds(server.process.pid)
        server.process.kill()
    return seconds, cpu


def wait_for_an_answer(home: Home, server: Child, until: float) -> None:
    while True:
        server.check()
        connection = http.client.HTTPConnection("127.0.0.1", home.port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/api/health/")
            if json.load(connection.getresponse())["pid"] == server.process.pid:
                return
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > until:
                raise BenchmarkError(f"no answer from the server in {START_SECONDS:.0f} s: {error}") from error
            time.sleep(ASK_SECONDS)
        finally:
            connection.close()


def modules(folder: Path) -> Iterator[str]:
    """The modules whose loading takes longest, with what they load in turn: `python -X importtime`."""
    home = made(folder, "profiled")
    program = "import hansa.cli.app, hansa.server.process; hansa.server.process._setup_django(); "
    program += "import hansa.server.asgi, hansa.server.urls, granian.server.embed"
    command = [sys.executable, "-X", "importtime", "-c", program]
    done = subprocess.run(command, env=home.environment, capture_output=True, text=True, check=True)
    rows = [line.split(":", 1)[1].split("|") for line in done.stderr.splitlines() if line.count("|") == 2]
    timed = [(int(total), name) for _, total, name in rows if total.strip().isdigit()]
    for total, name in sorted(timed, reverse=True)[:SHOWN_MODULES]:
        yield f"{total / 1000:8.0f} ms {name.rstrip()}"


def described(found: Sequence[Starts]) -> str:
    """For people."""
    lines = [
        f"seconds from the start of a killed server to its first answer; {TRAININGS} trainings, {UPDATES:,} updates"
    ]
    lines += [f"{it.folder:8} p50 {it.p50:5.2f}  max {it.max:5.2f}  CPU {it.cpu_p50:5.2f}" for it in found]
    empty, season = found
    lines.append(f"with the season's data {season.p50 / empty.p50:.2f} times as long; the goal is {GOAL_SECONDS:g} s")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="starts of each folder (default: %(default)s)")
    parser.add_argument("--profile", action="store_true", help="the modules whose loading takes longest")
    options = parser.parse_args(arguments)

    def work(folder: Path) -> int:
        found = benchmark(folder, options.repeats)
        figures = {"trainings": TRAININGS, "updates": UPDATES, "rows": msgspec.to_builtins(found)}
        print(json.dumps(figures) if options.json else described(found))
        if options.profile:
            print(*modules(folder), sep="\n", file=sys.stderr)
        return 0

    return in_a_folder(work, prefix="hansa-restart-")


if __name__ == "__main__":
    sys.exit(main())
