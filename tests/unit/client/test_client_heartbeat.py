"""Signs of life, from a thread of their own, and what they bring back."""

import math
import threading
from contextlib import contextmanager
from random import Random

import pytest
from scripted_server import TOKEN, cut, page, status

from hansa.client import Transport, heartbeat
from hansa.client.heartbeat import Heart, Held

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def _short_leases(monkeypatch):
    monkeypatch.setattr(heartbeat, "SHORTEST_LEASE", 0.03)


@pytest.fixture
def heart():
    hearts = []

    def make(server):
        heart = Heart(lambda: Transport(server.url, TOKEN), Random(1))  # noqa: S311 - spreads retries
        hearts.append(heart)
        return heart

    yield make
    for heart in hearts:
        heart.close()


@contextmanager
def heard(server, *, beats):
    """An event for when so many heartbeats have arrived."""
    arrived, count = threading.Event(), []

    class Counting(list):
        def append(self, beat):
            super().append(beat)
            count.append(beat)
            if len(count) >= beats:
                arrived.set()

    server.heartbeats = Counting()
    yield arrived
    assert arrived.wait(PATIENCE)


def test_it_beats_while_a_task_is_held_and_says_how_far_it_is(server, heart):
    task = server.offer(lease_seconds=0.03)
    with heard(server, beats=3) as arrived, heart(server).holding(task) as held:
        assert arrived.wait(PATIENCE)
        held.tell_progress(0.25)
        assert eventually(lambda: server.heartbeats[-1] == {"task": task.id, "progress": 0.25})
    assert not held.cancelled()


def test_progress_outside_its_range_is_clipped(server, heart):
    with heart(server).holding(server.offer()) as held:
        held.tell_progress(1.5)
        assert held.progress == 1.0
        held.tell_progress(-1.0)
        assert held.progress == 0.0


def test_a_short_task_needs_no_heartbeat_and_no_connection(server, heart):
    with heart(server).holding(server.offer(lease_seconds=60.0)):
        pass
    assert server.requests == []


def test_it_beats_for_the_task_at_hand_only(server, heart):
    beating = heart(server)
    one, other = server.offer(number=1, lease_seconds=0.03), server.offer(number=2, lease_seconds=0.03)
    with heard(server, beats=1) as arrived, beating.holding(one):
        assert arrived.wait(PATIENCE)
    with heard(server, beats=2) as arrived, beating.holding(other):
        assert arrived.wait(PATIENCE)
    assert [beat["task"] for beat in server.heartbeats][-1] == other.id


def eventually(holds):
    end = threading.Event()
    for _ in range(1000):
        if holds():
            return True
        end.wait(0.01)
    return False


def test_a_server_that_wants_no_more_of_it_cancels_the_task_with_its_reason(server, heart):
    server.cancelled = "the round has closed"
    with heart(server).holding(server.offer(lease_seconds=0.03)) as held:
        assert eventually(held.cancelled)
    assert held.reason == "the round has closed"


@pytest.mark.parametrize("number", [404, 409])
def test_a_task_that_is_gone_is_cancelled(server, heart, number):
    server.fail_once("POST", "/heartbeat/", status(number, "task_closed", "it is gone"))
    with heart(server).holding(server.offer(lease_seconds=0.03)) as held:
        assert eventually(held.cancelled)
    assert held.reason == "it is gone"


@pytest.mark.parametrize("fault", [cut, status(503), status(401), page(404)])
def test_a_beat_that_did_not_arrive_is_followed_by_another(server, heart, fault):
    for _ in range(3):
        server.fail_once("POST", "/heartbeat/", fault)
    with heard(server, beats=1) as arrived, heart(server).holding(server.offer(lease_seconds=0.03)) as held:
        assert arrived.wait(PATIENCE)
    assert not held.cancelled()


@pytest.mark.parametrize("seconds", [1e300, 1e18, math.inf])
def test_an_endless_lease_is_renewed_every_twenty_minutes_all_the_same(server, seconds):
    assert Held(server.offer(lease_seconds=seconds)).interval == 1200.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, -math.inf, math.nan, 1e-300])
def test_a_lease_of_no_time_floods_no_server(server, seconds, monkeypatch):
    monkeypatch.undo()
    assert Held(server.offer(lease_seconds=seconds)).interval == pytest.approx(1 / 3)


def test_an_endless_lease_in_an_answer_is_cut_short_too(server, heart):
    server.lease_seconds = 1e300
    with heart(server).holding(server.offer(lease_seconds=0.03)) as held:
        assert eventually(lambda: held.interval == 1200.0)


def test_closing_ends_the_thread_in_the_middle_of_a_beat(server, heart):
    beating, parked, go_on = heart(server), threading.Event(), threading.Event()

    def park(handler):
        parked.set()
        return not go_on.wait(PATIENCE)

    server.fail_once("POST", "/heartbeat/", park)
    with beating.holding(server.offer(lease_seconds=0.03)):
        assert parked.wait(PATIENCE)
        thread = beating._thread
        beating.close()
        thread.join(PATIENCE)
    go_on.set()
    assert not thread.is_alive()
