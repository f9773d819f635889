"""Signals stop a client once, and then do again what they did before."""

import os
import signal
import threading
from contextlib import suppress

import pytest
from running import AddOne
from scripted_server import TOKEN

from hansa.client import Client
from hansa.client.events import Stopped
from hansa.client.signals import caught
from hansa.client.stopping import StopFlag


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_calls_and_the_second_does_what_it_did_before(number):
    calls, earlier = [], []
    before = signal.signal(number, lambda *_: earlier.append(1))
    try:
        with caught(lambda: calls.append(1)):
            os.kill(os.getpid(), number)
            assert (calls, earlier) == ([1], [])
            os.kill(os.getpid(), number)
            assert (calls, earlier) == ([1], [1])
    finally:
        signal.signal(number, before)


def test_afterwards_the_handlers_are_as_before():
    before = signal.getsignal(signal.SIGINT)
    with caught(lambda: None):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_is_ignored_stays_ignored():
    """A shell starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with caught(lambda: None):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_off_the_main_thread_nothing_is_caught():
    seen = []

    def in_thread():
        with caught(lambda: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert seen == [before]


class Endless(AddOne):
    """A training that looks at nothing, and catches whatever it can."""

    def train(self, params, config):
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            with suppress(Exception):
                threading.Event().wait(0.01)


def test_a_signal_breaks_into_a_training_and_the_task_is_given_back(server, tmp_path):
    server.offer()
    events = []
    Client(server.url, TOKEN, state=tmp_path, reporter=events.append).run(Endless())
    assert server.releases == [{"task": "train-1", "reason": "the client was stopped", "failed": False}]
    assert isinstance(events[-1], Stopped)


def test_a_signal_ends_the_waiting_for_work_at_once(server, tmp_path):
    def interrupt():
        assert server.parked.wait(10)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    Client(server.url, TOKEN, state=tmp_path, reporter=lambda event: None).run(AddOne())
    thread.join()


def test_a_stop_flag_may_be_set_where_it_is_waited_for():
    """By a signal handler, in the thread that waits."""
    flag = StopFlag()
    before = signal.signal(signal.SIGALRM, lambda *_: flag.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert flag.wait(10)
        assert flag.is_set()
        assert flag.wait(10)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_stop_flag_that_nobody_sets_ends_its_wait():
    assert not StopFlag().wait(0.001)
