"""How fast models move between a server and a client in another process, beside a plain copy and beside nginx.

    python benchmarks/transfer.py --sizes 1 100 1000 --repeats 5 --json

A real `hansa serve` (SQLite, fsync, authentication, as it comes) and a client that uses the SDK's own functions, over
loopback. By turns, as often as is asked for: the base of a task down, synced, with its SHA-256 checked; a plain copy of
that file, read and written by 1 MiB and synced; the same file from nginx by the same function; and an update of that
size up, which the server hashes, checks, measures and syncs before it answers. The copy is a new file that takes the
place of the one before, as the download is. nginx is Debian's (`apt-get install
nginx-light`), started here on a port of its own; where there is none its column is empty. Before each, whatever else is
still to be written is written.

The rates are of medians. Memory is the peak of the server's processes (VmRSS) over the whole run, the combining of the
updates included; and by how much the server grew at most while one file was on its way, which is to be as much for a
gigabyte as for a hundredth of it: a few chunks.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from enrolled import name
from harness import BenchmarkError, child, free_port, in_a_folder, measured, serving
from load import enrolled
from mover import Orders, Times
from rounds import random_params

from hansa.formats import safetensors
from hansa.protocol.trainings import TrainingCreate
from hansa.simulation.chaos.processes import clean_environment

HERE = Path(__file__).resolve().parent
GOAL = 0.5
"""Of the speed of a plain copy, for a gigabyte."""
LARGE = 1_000_000_000
ROOM_MIB = 64
"""By which the server may grow while a file is moved, however large that is: buffers, and what Python keeps of them."""


class Figures(msgspec.Struct, frozen=True):
    """Of one size; rates in megabytes a second."""

    bytes: int
    repeats: int
    down: float
    up: float
    copy: float
    nginx: float | None
    down_of_copy: float
    up_of_copy: float
    down_of_nginx: float | None
    memory_mib: float
    grown_mib: float
    """At most, while one file was on its way."""


def main() -> int:
    options = parse(sys.argv[1:])

    def run(folder: Path) -> int:
        found = [moved(folder / str(size), int(size * 1e6), options.repeats) for size in options.sizes]
        print(msgspec.json.encode(found).decode() if options.json else described(found))
        return 1 if options.goals and not all(met for _, met in goals(found)) else 0

    return in_a_folder(run, prefix="hansa-transfer-", parent=options.folder)


def moved(folder: Path, size: int, repeats: int) -> Figures:
    """One size, with a server of its own."""
    shared = folder / "shared"
    shared.mkdir(parents=True)
    with serving(folder) as server, nginx(folder, shared) as peer:
        (token,) = enrolled(folder, 1)
        file = folder / "model.safetensors"
        with file.open("wb") as output:
            safetensors.write(output, random_params(size // 4))
        model = server.api.create_model(file, name="random").model_id
        plan = {"rounds": repeats, "seed": 1, "evaluation": {"every": 0}}
        wanted = TrainingCreate(model_id=model, plan=plan, clients=[name("client", 0)])
        server.api.start(server.api.create_training(wanted).training_id)
        orders = Orders(server.url, token, str(shared), peer, repeats, server.child.process.pid)
        with measured(server.child.process.pid) as usage:
            times = _mover(orders)
    return figures(times, usage.rss_mib)


def _mover(orders: Orders) -> Times:
    done = subprocess.run(
        [sys.executable, HERE / "mover.py"],
        input=msgspec.json.encode(orders),
        env=clean_environment(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"the client failed:\n{done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Times)


def figures(times: Times, memory: float) -> Figures:
    """Rates of medians, and how they stand to each other."""

    def rate(seconds: Sequence[float]) -> float:
        return times.size / 1e6 / statistics.median(seconds)

    down, up, copy, peer = rate(times.down), rate(times.up), rate(times.copy), rate(times.peer) if times.peer else None
    return Figures(
        bytes=times.size,
        repeats=len(times.down),
        down=round(down, 1),
        up=round(up, 1),
        copy=round(copy, 1),
        nginx=None if peer is None else round(peer, 1),
        down_of_copy=round(down / copy, 3),
        up_of_copy=round(up / copy, 3),
        down_of_nginx=None if peer is None else round(down / peer, 3),
        memory_mib=round(memory, 1),
        grown_mib=round(times.grown_kib / 1024, 1),
    )


CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen 127.0.0.1:{port}; location / {{ root {root}; }} }}
}}
"""


@contextmanager
def nginx(folder: Path, root: Path) -> Iterator[str]:
    """The address of an nginx that serves a folder; "" where none is installed."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        yield ""
        return
    folder.chmod(0o755)
    port, configuration = free_port(), folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, root=root))
    with child("nginx", [program, "-p", folder, "-c", configuration], log=folder / "nginx.log"):
        yield f"http://127.0.0.1:{port}"


def goals(found: Sequence[Figures]) -> list[tuple[str, bool]]:
    """What the run says of the goals, and whether they are met."""
    return [goal for each in found if each.bytes >= LARGE for goal in _goals(each)]


def _goals(of: Figures) -> Iterator[tuple[str, bool]]:
    for way, share in (("down", of.down_of_copy), ("up", of.up_of_copy)):
        yield f"{of.bytes:,} bytes {way}: {share:.0%} of a copy's speed, wanted {GOAL:.0%}", share >= GOAL
    grown = f"{of.bytes:,} bytes: the server grew by {of.grown_mib} MiB, wanted at most {ROOM_MIB}"
    yield grown, of.grown_mib <= ROOM_MIB


def described(found: Sequence[Figures]) -> str:
    """A table, and how it stands with the goals."""
    head = ("MB", "copy", "nginx", "down", "of copy", "of nginx", "up", "of copy", "MiB", "grown")
    lines = ["megabytes a second, medians", "{:>6} {:>7} {:>7} {:>7} {:>8} {:>9} {:>7} {:>8} {:>6} {:>6}".format(*head)]
    for each in found:
        peer = "-" if each.nginx is None else f"{each.nginx:.0f}"
        of_peer = "-" if each.down_of_nginx is None else f"{each.down_of_nginx:.0%}"
        down = f"{each.down:7.0f} {each.down_of_copy:8.0%} {of_peer:>9}"
        up = f"{each.up:7.0f} {each.up_of_copy:8.0%}"
        memory = f"{each.memory_mib:6.0f} {each.grown_mib:6.0f}"
        lines.append(f"{each.bytes / 1e6:6.0f} {each.copy:7.0f} {peer:>7} {down} {up} {memory}")
    if any(each.nginx is None for each in found):
        lines.append("no nginx here: apt-get install nginx-light")
    return "\n".join([*lines, *(f"{'met' if met else 'MISSED'}: {words}" for words, met in goals(found))])


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", type=_size, default=[1, 100, 1000], help="in megabytes (1 100 1000)")
    parser.add_argument("--repeats", type=_repeats, default=5, help="of each (5)")
    parser.add_argument("--goals", action="store_true", help="exit with 1 where a goal is missed")
    parser.add_argument("--folder", type=Path, help="where the files are for a while; else where temporary files are")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    return parser.parse_args(arguments)


def _size(text: str) -> float:
    return _from_to(text, 0.001, 100_000, "megabytes")


def _repeats(text: str) -> int:
    return int(_from_to(text, 1, 1000, "repeats"))


def _from_to(text: str, least: float, most: float, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {what} from {least:g} to {most:,}")
    return number


if __name__ == "__main__":
    sys.exit(main())
