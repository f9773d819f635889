"""A storm over small real processes: a server that does nothing but answer with its pid, and clients that wait."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hansa.simulation.chaos import storm as storms
from hansa.simulation.chaos.processes import Process, ProcessError, clean_environment
from hansa.simulation.chaos.schedule import Kill, Target
from hansa.simulation.chaos.storm import Killed, Served, Storm
from support.serving import free_port

CLIENT = "import signal; signal.pause()"
SERVER = """
import http.server, json, os, sys

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": %(pid)s}).encode())
        Health.answers += 1

Health.answers = 0

%(first)s
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""
DIES_AT_ITS_POINT = "if 'HANSA_CRASH_AT' in os.environ: os.kill(os.getpid(), 9)"
NEVER_SERVES_WHEN_AIMED = "import signal\nif 'HANSA_CRASH_AT' in os.environ: signal.pause()"
ENDS_BY_ITSELF = "if 'HANSA_CRASH_AT' in os.environ: sys.exit('out of order')"
POINT = "tasks.report.written:1"


class Watched:
    """A storm, and what it told."""

    def __init__(self, folder: Path, kills: Sequence[Kill], *, first: str = "", pid: str = "os.getpid()") -> None:
        self.told: list[storms.StormEvent] = []
        port, environment = free_port(), clean_environment()
        program = SERVER % {"first": first, "pid": pid}
        server = Process("the server", [sys.executable, "-c", program, str(port)], environment, folder / "log")
        clients = [
            Process(f"client {number}", [sys.executable, "-c", CLIENT], environment, folder / f"{number}")
            for number in range(2)
        ]
        self.storm = Storm(server, clients, port=port, kills=kills, tell=self.told.append)

    def run(self) -> None:
        self.storm.begin()
        self.storm.join()
        for kill in self.storm.kills:
            self.storm.strike(kill)

    def kills(self) -> list[tuple[int, bool]]:
        return [(event.kill.number, event.at_point) for event in self.told if isinstance(event, Killed)]

    def end(self) -> None:
        for process in (self.storm.server, *self.storm.clients):
            process.kill()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[type[Watched]]:
    made = []

    class Ended(Watched):
        def __init__(self, kills: Sequence[Kill], **more: str) -> None:
            super().__init__(tmp_path, kills, **more)
            made.append(self)

    yield Ended
    for each in made:
        each.end()


def server_kill(number: int, **more) -> Kill:
    return Kill(number, Target.SERVER, None, 0.0, **more)


def test_a_killed_server_is_another_process_that_serves_and_its_absence_is_measured(watched):
    it = watched([server_kill(1)])
    it.storm.begin()
    before = it.storm.server.pid
    it.storm.strike(it.storm.kills[0])
    assert it.storm.answers()
    assert it.storm.server.pid != before
    assert isinstance(it.told[1], Served)
    assert it.told[1].seconds > 0


def test_only_who_is_meant_is_killed(watched):
    it = watched([Kill(1, Target.CLIENT, 1, 0.0), Kill(2, Target.BOTH, 0, 0.0)])
    it.run()
    starts = [process.starts for process in (it.storm.server, *it.storm.clients)]
    assert (starts, it.storm.restarts) == ([2, 2, 2], 3)
    assert it.storm.tally.kills_by == {"client": 1, "both": 1}


def test_who_dies_at_its_point_before_its_turn_is_started_again_and_its_turn_is_over(watched):
    it = watched([server_kill(1), Kill(2, Target.CLIENT, 0, 0.0), server_kill(3, point=POINT)], first=DIES_AT_ITS_POINT)
    it.run()
    assert it.kills() == [(1, False), (3, True), (2, False)]
    assert it.storm.server.starts == 3
    assert it.storm.answers()


def test_who_does_not_pass_its_point_is_killed_where_it_is(watched, monkeypatch):
    monkeypatch.setattr(storms, "AIM_SECONDS", 0.1)
    it = watched([server_kill(1), server_kill(2, point=POINT)])
    it.run()
    assert it.kills() == [(1, False), (2, False)]


def test_a_server_may_be_killed_before_it_serves(watched):
    it = watched([server_kill(1), server_kill(2, starting=True)])
    it.run()
    assert it.kills() == [(1, False), (2, False)]
    assert len(it.storm.tally.serving_seconds) == 1, "between the two it did not serve"
    assert it.storm.answers()


def test_a_process_that_ends_by_itself_ends_the_storm_with_its_last_words(watched):
    it = watched([server_kill(1), server_kill(2, point=POINT)], first=ENDS_BY_ITSELF)
    with pytest.raises(ProcessError, match=r"the server ended by itself \(exit code 1\); .* ends with: out of order"):
        it.run()


def test_a_server_that_never_serves_ends_the_storm(watched, monkeypatch):
    it = watched([server_kill(1), server_kill(2, point=POINT)], first=NEVER_SERVES_WHEN_AIMED)
    it.storm.begin()
    monkeypatch.setattr(storms, "START_SECONDS", 0.5)
    with pytest.raises(ProcessError, match=r"does not answer 0\.5 s after its start"):
        it.storm.strike(it.storm.kills[0])


def test_at_every_turn_of_waiting_it_is_asked_who_answers(watched):
    it = watched([Kill(1, Target.CLIENT, 0, 1.0)], pid="os.getpid() if Health.answers < 3 else 1")
    it.run()
    tally = it.storm.tally
    assert tally.answers - tally.stale_answers == 3
    assert tally.stale_answers > 1, "the server was not restarted, and was found out all the same"


def test_the_absence_of_a_server_counts_from_its_death_not_from_when_it_is_noticed(watched):
    it = watched([server_kill(1), server_kill(2, point=POINT), Kill(3, Target.CLIENT, 0, 0.0)])
    it.storm.begin()
    it.storm.join()
    it.storm.strike(it.storm.kills[0])
    os.kill(it.storm.server.pid, signal.SIGKILL)
    assert it.storm.server.died_at <= time.monotonic()
    subprocess.run([sys.executable, "-c", ""], check=True)  # who minds it has something else to do
    noticed = time.monotonic()
    it.storm.mind()
    assert it.storm.tally.serving_seconds[-1] > time.monotonic() - noticed


def test_points_at_which_somebody_died_are_counted_by_name(watched):
    it = watched([server_kill(1), server_kill(2, point=POINT)], first=DIES_AT_ITS_POINT)
    it.run()
    assert it.storm.tally.points == {POINT.partition(":")[0]: 1}


def test_an_answer_of_another_process_is_counted_as_stale(watched):
    it = watched([], pid="1")
    it.storm.server.start()
    while not it.storm.tally.answers:
        assert not it.storm.answers()
    assert it.storm.tally.stale_answers == it.storm.tally.answers
