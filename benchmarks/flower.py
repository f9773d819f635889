"""The work of rounds.py done by Flower: a SuperLink, a SuperNode for each client, and `flwr run`, as they come.

Without TLS and without authentication of nodes, as in Flower's own quickstart, and with its state in memory; Hansa
beside it authenticates, and writes through to the disk. The app is in peers/flower_app: FedAvg over all clients, no
evaluation.

A round lasts from the making of its messages to the mean of their replies, by the clock of its ServerApp. The server is
the SuperLink with the ServerApp that it starts.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import msgspec
import numpy as np
from clients import STEP
from environments import PEERS, installed, programs
from harness import START_SECONDS, BenchmarkError, Child, Usage, child, free_port, measured

from hansa.core.params import Params
from hansa.simulation.chaos.processes import clean_environment

APP = PEERS / "flower_app"
PATIENCE_SECONDS = 900.0
LOOK_SECONDS = 0.2
LAST_CHARACTERS = 1500


class Figures(msgspec.Struct, frozen=True):
    """Under the names that rounds.py has for Hansa."""

    version: str
    seconds_per_round_median: float
    seconds_per_round: list[float]
    server_rss_anon_mib: float
    server_rss_mib: float
    cpu_seconds: float


def benchmark(params: Params, *, clients: int, rounds: int, folder: Path) -> Figures:
    """Train once. Raises BenchmarkError if it does not come to the params that must come out."""
    tools, home, port = programs("flower"), folder / "flower", free_port()
    home.mkdir()
    np.savez(home / "params.npz", **params)  # type: ignore[arg-type]  # numpy's stub has its own bool option in mind
    settings = _settings(tools, home, port)
    with ExitStack() as stack:
        link = stack.enter_context(_link(tools, home, port, settings))
        nodes = [stack.enter_context(_node(tools, home, number, port, settings)) for number in range(clients)]
        _wait_for(lambda: link.log.read_text().count("Activated node_id") >= clients, START_SECONDS, [link, *nodes])
        with measured(link.process.pid) as usage:
            _run(tools, home, settings, clients=clients, rounds=rounds)
            _wait_for((home / "rounds.json").exists, PATIENCE_SECONDS, [link, *nodes])
    check_result(params, home / "last.npz", rounds=rounds)
    return _figures(home / "rounds.json", installed(tools, "flwr"), usage)


def check_result(params: Params, file: Path, *, rounds: int) -> None:
    """Each client has added the same to each param. Raises BenchmarkError if that did not come out."""
    with np.load(file) as last:
        for name, first in params.items():
            if not np.allclose(last[name] - first, rounds * STEP, rtol=0, atol=rounds * 1e-6):
                raise BenchmarkError(f"Flower's params are wrong in {name!r}, so the figures mean nothing")


def _settings(tools: Path, home: Path, port: int) -> dict[str, str]:
    """Environment variables of all of its programs, and its own settings in a folder apart from the user's."""
    own = home / "settings"
    own.mkdir()
    connection = f'[superlink]\ndefault = "bench"\n\n[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    (own / "config.toml").write_text(connection)
    environment = clean_environment()
    path = f"{tools}:{environment.get('PATH', '')}"  # its programs start each other by name
    return {**environment, "PATH": path, "FLWR_HOME": str(own), "FLWR_TELEMETRY_ENABLED": "0"}


def _link(tools: Path, home: Path, port: int, settings: Mapping[str, str]) -> AbstractContextManager[Child]:
    options = ["--insecure", "--disable-runtime-dependency-installation", "--port", str(port)]
    return child("the SuperLink", [tools / "flower-superlink", *options], log=home / "superlink.log", env=settings)


def _node(
    tools: Path, home: Path, ordinal: int, port: int, settings: Mapping[str, str]
) -> AbstractContextManager[Child]:
    address = ["--insecure", "--superlink", f"127.0.0.1:{port}", "--port", str(free_port())]
    command: list[str | Path] = [tools / "flower-supernode", *address, "--node-config", f"ordinal={ordinal}"]
    return child(f"SuperNode {ordinal}", command, log=home / f"node-{ordinal}.log", env=settings)


def _run(tools: Path, home: Path, settings: Mapping[str, str], *, clients: int, rounds: int) -> None:
    config = f'clients={clients} rounds={rounds} step={STEP} params="{home / "params.npz"}" result="{home}"'
    command: list[str | Path] = [tools / "flwr", "run", APP, "bench", "--run-config", config]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"flwr run ended with {done.returncode}: {(done.stdout + done.stderr)[-LAST_CHARACTERS:]}")


def _wait_for(there: Callable[[], bool], seconds: float, watched: Sequence[Child]) -> None:
    until = time.monotonic() + seconds
    while not there():
        for each in watched:
            each.check()
        if time.monotonic() > until:
            said = watched[0].log.read_text(errors="replace")[-LAST_CHARACTERS:]
            raise BenchmarkError(f"Flower did not get on in {seconds:.0f} s. The end of the SuperLink's log:\n{said}")
        time.sleep(LOOK_SECONDS)


def _figures(file: Path, version: str, usage: Usage) -> Figures:
    clock = json.loads(file.read_text())
    seconds = [end - begin for begin, end in zip(clock["began"], clock["ended"], strict=True)]
    return Figures(
        version=version,
        seconds_per_round_median=round(statistics.median(seconds), 4),
        seconds_per_round=[round(each, 4) for each in seconds],
        server_rss_anon_mib=round(usage.rss_anon_mib, 1),
        server_rss_mib=round(usage.rss_mib, 1),
        cpu_seconds=round(usage.cpu_seconds, 2),
    )
