"""One run from an empty folder to a report.

The folder holds the server's data in `server` (but for the rows of one that works on PostgreSQL), each client's in
`clients/NAME`, and the server's output in `log`.
"""

import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hansa.client.api import Api
from hansa.client.errors import HansaError
from hansa.server.database import DatabaseURLError, Postgres
from hansa.simulation.chaos import collection, federation, participant, record, tables
from hansa.simulation.chaos.federation import Federation
from hansa.simulation.chaos.findings import Fault, Finding
from hansa.simulation.chaos.participant import Receipt, receipts
from hansa.simulation.chaos.processes import Process, ProcessError, clean_environment, hansa, run_to_its_end
from hansa.simulation.chaos.record import Record
from hansa.simulation.chaos.report import Report, report
from hansa.simulation.chaos.schedule import schedule
from hansa.simulation.chaos.storm import Storm, StormEvent
from hansa.simulation.chaos.tables import TablesError
from hansa.simulation.chaos.verification import verify
from hansa.simulation.chaos.witness import Witness

USERNAME = "chaos"


class ChaosError(Exception):
    """The run cannot begin as it was asked for, or has left nothing to verify; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for."""

    kills: int
    seed: int
    home: Path | None = None
    """An empty folder that is kept; None: a temporary one."""
    port: int | None = None
    """None: one that is free."""
    clients: int = 4
    database_url: str = ""
    """Of an empty PostgreSQL database, whose tables are left in it; without one SQLite in the folder."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A new part of the run begins."""

    text: str


Event = StormEvent | Phase


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    report: Report
    findings: tuple[Finding, ...]
    home: Path | None
    """The folder with everything, unless it was temporary and nothing is wrong."""


def run(options: Options, tell: Callable[[Event], None]) -> Outcome:
    """Kill as asked, verify, and report. Raises ChaosError where there is nothing to report on.

    A process that ends by itself, or a server that does not answer, ends the run: a finding like others, beside those
    of the record as it is then. Whatever happens, no process is left. A temporary folder stays where something went
    wrong, to be looked at.
    """
    began = time.monotonic()
    _check_database(options.database_url)
    folder, port, witness = _folder(options.home), _port(options.port), Witness()
    try:
        storm = _storm(options, folder, port, tell)
        broken_off = _broken_off(options, folder, storm, witness, tell)
        found, acknowledged = _left(options, folder, broken_off, tell)
        tell(Phase(f"computing every version of {len(found.trainings)} trainings again"))
        findings = [*broken_off, *verify(found, acknowledged, witness)]
    except (KeyboardInterrupt, SystemExit):
        _tidy(options, folder)
        raise
    made = report(
        seed=options.seed,
        tally=storm.tally,
        restarts=storm.restarts,
        record=found,
        witness=witness,
        findings=findings,
        seconds=time.monotonic() - began,
    )
    if made.clean:
        _tidy(options, folder)
    return Outcome(made, tuple(findings), None if made.clean and options.home is None else folder)


def _folder(home: Path | None) -> Path:
    if home is None:
        return Path(tempfile.mkdtemp(prefix="hansa-chaos-"))
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if next(home.iterdir(), None) is not None:
            raise ChaosError(f"{home} is not empty. Name an empty folder by --home, or one that does not exist yet.")
    except OSError as error:
        raise ChaosError(f"{home} cannot be used: {error.strerror}. Name another folder by --home.") from error
    return home


def _check_database(url: str) -> None:
    """What is there is somebody's, and a run is not to be among it."""
    if not url:
        return
    try:
        place = Postgres.parse(url)
    except DatabaseURLError as error:
        raise ChaosError(f"--database-url cannot be used: {error}") from error
    try:
        found = tables.count(url)
    except TablesError as error:
        raise ChaosError(
            f"The {place} cannot be asked: {error}. Look at --database-url, and at that server."
        ) from error
    if found:
        raise ChaosError(f"The {place} has {found} tables already. Make an empty one for this run (createdb).")


def _port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
            probe.listen(1)
        except OSError as error:
            raise ChaosError(
                f"Port {wanted} cannot be used: {error.strerror}. Stop what uses it, or give another by --port."
            ) from error
        return int(probe.getsockname()[1])


def _tidy(options: Options, folder: Path) -> None:
    if options.home is None:
        shutil.rmtree(folder, ignore_errors=True)


def _storm(options: Options, folder: Path, port: int, tell: Callable[[Event], None]) -> Storm:
    server = Process(
        "the server", hansa("serve", "--port", str(port)), _server_environment(options, folder), folder / "log"
    )
    clients = [
        Process(
            f"client {number}",
            [sys.executable, "-m", participant.__name__, f"http://127.0.0.1:{port}", str(place)],
            clean_environment(),
            place / "log",
        )
        for number, place in enumerate(_places(options, folder))
    ]
    kills = schedule(seed=options.seed, kills=options.kills, clients=options.clients)
    return Storm(server, clients, port=port, kills=kills, tell=tell)


def _broken_off(
    options: Options, folder: Path, storm: Storm, witness: Witness, tell: Callable[[Event], None]
) -> list[Finding]:
    """Carry the run out. What ended it before its time, if anything did."""
    try:
        _carry_out(options, folder, storm, witness, tell)
    except (ProcessError, HansaError) as error:
        done = storm.tally.kills_by.total()
        return [Finding(Fault.STUCK, f"the run broke off after {done} of {options.kills} kills: {error}")]
    return []


def _carry_out(options: Options, folder: Path, storm: Storm, witness: Witness, tell: Callable[[Event], None]) -> None:
    """All kills, and then all trainings to their end."""
    with _all_ended(storm):
        tell(Phase("starting the server and its clients"))
        storm.begin()
        names = [place.name for place in _places(options, folder)]
        trainings = Federation(
            _actor(options, storm, folder, names),
            clients=names,
            seed=options.seed,
            folder=folder,
            mind=storm.mind,
            witness=witness,
        )
        storm.join()
        for kill in storm.kills:
            trainings.keep_going()
            storm.strike(kill)
        tell(Phase("finishing the trainings that are not at their end"))
        trainings.finish()


def _actor(options: Options, storm: Storm, folder: Path, names: Sequence[str]) -> Api:
    """An administrator who is also the actor, with an account for each client."""
    password = secrets.token_urlsafe(24)
    account = {
        "DJANGO_SUPERUSER_USERNAME": USERNAME,
        "DJANGO_SUPERUSER_PASSWORD": password,
        "DJANGO_SUPERUSER_EMAIL": f"{USERNAME}@example.org",
    }
    command = hansa("createsuperuser", "--noinput")
    run_to_its_end("createsuperuser", command, {**_server_environment(options, folder), **account}, folder / "log")
    api = federation.actor(storm.url, USERNAME, password)
    federation.enrol(api, names, folder / "clients")
    return api


@contextmanager
def _all_ended(storm: Storm) -> Iterator[None]:
    """Afterwards no process is left: asked to end where all went well, else killed."""
    processes = [*storm.clients, storm.server]
    try:
        yield
        for process in processes:
            process.stop()
    finally:
        for process in processes:
            process.kill()


def _left(
    options: Options, folder: Path, broken_off: Sequence[Finding], tell: Callable[[Event], None]
) -> tuple[Record, list[Receipt]]:
    """What the server has left, after its own collection, and the receipts of its clients."""
    tell(Phase("collecting what nothing refers to"))
    command = [sys.executable, "-m", collection.__name__]
    try:
        run_to_its_end("the collection", command, _server_environment(options, folder), folder / "log")
        found = record.read(folder / "server", options.database_url)
        return found, [receipt for client in (folder / "clients").iterdir() for receipt in receipts(client)]
    except (ProcessError, TablesError, OSError) as error:
        before = "".join(f"{finding.text}. " for finding in broken_off)
        raise ChaosError(
            f"{before}What the run has left cannot be read: {error}. Look at it in {folder}, which is kept."
        ) from error


def _server_environment(options: Options, folder: Path) -> dict[str, str]:
    database = {"HANSA_DATABASE_URL": options.database_url} if options.database_url else {}
    return {**clean_environment(), **database, "HANSA_HOME": str(folder / "server"), "PYTHONUNBUFFERED": "1"}


def _places(options: Options, folder: Path) -> list[Path]:
    return [folder / "clients" / f"client-{number}" for number in range(options.clients)]
