"""`hansa chaos`: a short storm in which nothing is lost, and the same data doctored, in which every fault is found."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from hansa.simulation.chaos import record
from hansa.simulation.chaos import run as runs
from hansa.simulation.chaos.findings import Fault
from hansa.simulation.chaos.participant import Receipt, receipts
from hansa.simulation.chaos.processes import clean_environment
from hansa.simulation.chaos.run import ChaosError, Options, run
from hansa.simulation.chaos.storm import Storm
from hansa.simulation.chaos.verification import verify
from support.serving import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS, SEED = 5, 41352
"""Of the server: at a moment, at a point, and while it starts; of a client: at a moment, and at a point."""
ZERO = ("lost", "duplicated", "differing_versions", "stuck", "orphans", "unreferenced", "stale_answers")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from hansa.cli import main; raise SystemExit(main())", "chaos", *arguments]


def of_the_run(home: Path, port: int) -> set[str]:
    """The command lines of all processes of a run: they name its folder or its port, or have its data folder."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended meanwhile, or is nobody's business
            words = process.cmdline()
            of_port = any(word == str(port) or f":{port}" in word for word in words)
            in_home = any(word.startswith(str(home)) for word in (*words, process.environ().get("HANSA_HOME", "")))
            if of_port or in_home:
                found.add(f"{process.pid}: {' '.join(words)}")
    return found


@dataclass(frozen=True)
class Ran:
    """What a storm left behind."""

    code: int
    figures: dict[str, Any]  # Any: JSON
    told: str
    home: Path
    port: int
    meanwhile: set[str]
    """Its processes after the last kill."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    home = tmp_path_factory.mktemp("chaos") / "home"
    port = free_port()
    options = ["--kills", str(KILLS), "--seed", str(SEED), "--home", str(home), "--port", str(port), "--json"]
    told = ""
    with subprocess.Popen(
        command(*options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()
    ) as storm:
        assert storm.stdout is not None
        assert storm.stderr is not None
        while "finishing the trainings" not in told and (line := storm.stderr.readline()):
            told += line
        meanwhile = of_the_run(home, port)
        figures, rest = storm.communicate()
    return Ran(storm.returncode, json.loads(figures or "{}"), told + rest, home, port, meanwhile)


def test_after_a_storm_nothing_is_lost_different_or_left_over(ran):
    assert ran.code == 0, ran.told
    figures = ran.figures
    assert {name: figures[name] for name in ZERO} == dict.fromkeys(ZERO, 0)
    assert (figures["seed"], figures["kills"], sum(figures["kills_by"].values())) == (SEED, KILLS, KILLS)
    assert figures["restarts"] >= KILLS
    assert figures["trainings"] >= 3
    assert figures["updates"] >= figures["rounds"] > 0
    assert 0 < figures["serving_seconds"]["median"] <= figures["serving_seconds"]["max"]


def test_the_storm_went_through_what_it_is_to_prove(ran):
    by, covered = ran.figures["kills_by"], ran.figures["covered"]
    assert by["server"] >= 1
    assert by["client"] >= 1
    assert by["point"] == sum(covered["points"].values()) >= 1
    assert covered["points"]["server.opened"] == 1
    assert covered["moments"] >= 1
    assert covered["relayed"] >= 1
    assert covered["answers"] > KILLS


def test_after_a_storm_no_process_is_left(ran):
    roles = Counter(role for words in ran.meanwhile for role in (" serve ", ".participant ") if role in words)
    assert roles == {" serve ": 1, ".participant ": 4}, "the search finds them while they run"
    assert not of_the_run(ran.home, ran.port)


@dataclass(frozen=True)
class Doctored:
    """A copy of the data folder, to be spoiled."""

    home: Path
    receipts: list[Receipt]

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.home / "hansa.sqlite3")) as database, database:
            database.execute("PRAGMA foreign_keys = OFF")
            return database.execute(statement, values).fetchall()

    def faults(self) -> set[Fault]:
        return {finding.fault for finding in verify(record.read(self.home), self.receipts)}

    def a_round(self) -> tuple[str, list[list[object]]]:
        """One that made a version, and its accepted list."""
        query = "SELECT id, accepted FROM trainings_round WHERE version_id IS NOT NULL ORDER BY number, id LIMIT 1"
        ((found, accepted),) = self.sql(query)
        return str(found), json.loads(str(accepted))

    def accept(self, of: str, accepted: list[list[object]]) -> None:
        self.sql("UPDATE trainings_round SET accepted = ? WHERE id = ?", json.dumps(accepted), of)


@pytest.fixture
def doctored(ran: Ran, tmp_path: Path) -> Doctored:
    home = tmp_path / "server"
    shutil.copytree(ran.home / "server", home)
    acknowledged = [receipt for client in (ran.home / "clients").iterdir() for receipt in receipts(client)]
    assert len(acknowledged) > 10
    return Doctored(home, acknowledged)


def test_the_data_as_the_storm_left_it_have_no_fault(doctored):
    assert doctored.faults() == set()


def test_an_acknowledged_update_that_no_list_has_is_found_as_lost(doctored):
    of, accepted = doctored.a_round()
    doctored.accept(of, accepted[1:])
    assert Fault.LOST in doctored.faults()


def test_an_acknowledged_task_that_is_gone_is_found_as_lost(doctored):
    doctored.sql("DELETE FROM trainings_task WHERE kind = 'evaluate'")
    assert Fault.LOST in doctored.faults()


def test_evaluations_whose_metrics_are_gone_are_found_as_lost(doctored):
    doctored.sql("DELETE FROM registry_metric WHERE kind = 'evaluate'")
    assert doctored.faults() == {Fault.LOST}


def test_a_file_that_is_gone_is_found_as_lost(doctored):
    ((digest,),) = doctored.sql("SELECT blob_id FROM registry_modelversion ORDER BY number DESC LIMIT 1")
    next((doctored.home / "blobs").glob(f"*/*/{digest}")).unlink()
    assert doctored.faults() == {Fault.LOST}


def test_a_file_that_the_server_has_set_aside_is_found_as_lost(doctored):
    (doctored.home / "damaged").mkdir(exist_ok=True)
    (doctored.home / "damaged" / ("0" * 64)).touch()
    assert doctored.faults() == {Fault.LOST}


def test_an_update_that_counts_twice_in_its_round_is_found(doctored):
    of, accepted = doctored.a_round()
    doctored.accept(of, [*accepted, accepted[0]])
    assert Fault.DUPLICATED in doctored.faults()


@pytest.mark.parametrize("another", [None, "0" * 64], ids=["the same bytes", "bytes that nobody sent"])
def test_an_update_that_counts_in_a_later_round_as_well_is_found(doctored, another):
    of, accepted = doctored.a_round()
    ordinal, digest, weight = accepted[0]
    query = """SELECT later.id FROM trainings_round AS later JOIN trainings_round AS of ON later.training_id =
               of.training_id AND later.number > of.number AND later.version_id IS NOT NULL WHERE of.id = ? LIMIT 1"""
    ((later,),) = doctored.sql(query, of)
    ((number,),) = doctored.sql("SELECT number FROM trainings_round WHERE id = ?", of)
    folded = json.dumps([[ordinal, another or digest, weight, number]])
    doctored.sql("UPDATE trainings_round SET folded = ? WHERE id = ?", folded, later)
    assert (Fault.DIFFERING if another else Fault.DUPLICATED) in doctored.faults()


def test_an_update_that_nobody_sent_is_found(doctored):
    of, accepted = doctored.a_round()
    accepted[0][1] = "0" * 64
    doctored.accept(of, accepted)
    assert Fault.DUPLICATED in doctored.faults()


def test_a_changed_byte_of_a_version_is_found(doctored):
    ((digest,),) = doctored.sql("SELECT blob_id FROM registry_modelversion ORDER BY number DESC LIMIT 1")
    file = next((doctored.home / "blobs").glob(f"*/*/{digest}"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert doctored.faults() == {Fault.DIFFERING}


def test_a_list_in_the_order_of_arrival_is_found(doctored):
    of, accepted = doctored.a_round()
    doctored.accept(of, accepted[::-1])
    assert doctored.faults() == {Fault.DIFFERING}


def test_another_weight_than_the_one_counted_with_is_found(doctored):
    of, accepted = doctored.a_round()
    accepted[0][2] = 1
    doctored.accept(of, accepted)
    assert doctored.faults() == {Fault.DIFFERING}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trainings_training SET status = 'ongoing'",
        "UPDATE trainings_task SET state = 'leased', lease_until = '2026-11-22 12:00:00' WHERE kind = 'evaluate'",
        "UPDATE trainings_round SET state = 'evaluating' WHERE number = 1 AND version_id IS NOT NULL",
    ],
    ids=["a training", "a lease", "a round"],
)
def test_what_stands_still_is_found(doctored, statement):
    doctored.sql(statement)
    assert Fault.STUCK in doctored.faults()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM trainings_participation",
        "DELETE FROM trainings_update",
        "UPDATE trainings_round SET version_id = NULL",
    ],
    ids=["tasks without a participant", "reports without an update", "versions without a round"],
)
def test_orphans_are_found(doctored, statement):
    doctored.sql(statement)
    assert Fault.ORPHAN in doctored.faults()


def a_stray(home: Path) -> Path:
    folder = home / "blobs" / "00" / "00"
    folder.mkdir(parents=True)
    return folder / ("0" * 64)


@pytest.mark.parametrize(
    "place", [a_stray, lambda home: home / "partial" / "upload", lambda home: home / "tmp" / "file"]
)
def test_files_that_nobody_knows_are_found(doctored, place: Callable[[Path], Path]):
    place(doctored.home).write_bytes(b"")
    assert Fault.UNREFERENCED in doctored.faults()


def test_a_blob_that_nothing_refers_to_is_found(doctored):
    doctored.sql("UPDATE registry_modelversion SET moments_id = NULL")
    doctored.sql("INSERT INTO blobs_blob SELECT 'f', size, media_type, checksums, seen_at FROM blobs_blob LIMIT 1")
    assert Fault.UNREFERENCED in doctored.faults()


def test_ctrl_c_ends_every_process_and_leaves_no_folder(tmp_path):
    environment = {**clean_environment(), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command("--kills", "1000"), env=environment, stderr=subprocess.PIPE, text=True) as storm:
        assert storm.stderr is not None
        assert "starting the server" in storm.stderr.readline()
        children = psutil.Process(storm.pid).children(recursive=True)
        storm.send_signal(signal.SIGINT)
        storm.communicate(timeout=60)
    assert storm.returncode == 130
    assert not psutil.wait_procs(children, timeout=20)[1]
    assert not list(tmp_path.iterdir())


def test_a_process_that_ends_by_itself_is_a_finding_and_the_record_is_verified_all_the_same(tmp_path, monkeypatch):
    def killed_by_somebody_else(storm, kill):
        storm.clients[0].kill()
        storm.mind()

    monkeypatch.setattr(Storm, "strike", killed_by_somebody_else)
    outcome = run(Options(kills=1, seed=1, home=tmp_path / "home"), lambda event: None)
    first, *others = outcome.findings
    assert first.fault is Fault.STUCK
    assert "the run broke off after 0 of 1 kills: client 0 ended by itself (SIGKILL)" in first.text
    assert {finding.fault for finding in others} == {Fault.STUCK}, "the trainings did not complete; nothing is lost"
    assert outcome.report.trainings == 3
    assert outcome.home == tmp_path / "home"


def test_a_server_that_never_came_to_be_leaves_nothing_to_verify_and_the_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "hansa", lambda *_: [sys.executable, "-c", "raise SystemExit('out of order')"])
    with pytest.raises(ChaosError) as refused:
        run(Options(kills=1, seed=1, home=tmp_path / "home"), lambda event: None)
    assert "the server ended by itself (exit code 1)" in str(refused.value)
    assert "ends with: out of order. What the run has left cannot be read" in str(refused.value)
    assert str(refused.value).endswith(f"Look at it in {tmp_path / 'home'}, which is kept.")
