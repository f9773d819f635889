"""A client that is stopped, told to stop, or killed: what becomes of its task, and what it does after a restart."""

import threading

import pytest
from running import AddOne
from scripted_server import TOKEN, status, updates

from hansa.client import ApiError, Client
from hansa.client.events import Downloaded, Dropped, Leased, Reconnecting, Reported, Stopped, Trained, Uploaded
from hansa.client.journal import Journal


class Patient(AddOne):
    """Trains until it is told that its result is not wanted."""

    def __init__(self):
        super().__init__()
        self.training = threading.Event()

    def train(self, params, config):
        result = super().train(params, config)
        self.training.set()
        while not config.cancelled():
            threading.Event().wait(0.005)
        return result


def test_a_heartbeat_that_says_stop_cancels_the_training_and_drops_its_result(server, start):
    server.cancelled = "the round has closed"
    server.offer(lease_seconds=0.03)
    client = start(Patient())
    assert client.until(Dropped).reason == "the round has closed"
    assert not updates(server)
    assert not server.releases


def test_stop_ends_the_waiting_for_work_at_once(server, start):
    client = start()
    assert server.parked.wait(10)
    client.stop()
    assert client.error is None
    assert client.events[-1] == Stopped("the client was stopped")


def test_stop_in_mid_training_gives_the_task_back_and_nothing_is_sent(server, start):
    trainer = Patient()
    server.offer()
    client = start(trainer)
    assert trainer.training.wait(10)
    client.stop()
    assert server.releases == [{"task": "train-1", "reason": "the client was stopped", "failed": False}]
    assert not updates(server)


def test_stop_during_an_outage_does_not_wait_for_its_end(server, start, monkeypatch):
    for _ in range(100):
        server.fail_once("POST", "/next/", status(503, Retry_After="60"))
    client = start()
    client.until(Reconnecting)
    client.stop()
    assert client.error is None


def test_a_stop_before_the_run_is_a_stop(server, tmp_path):
    client = Client(server.url, "0" * 40, state=tmp_path, reporter=lambda event: None)
    client.stop()
    client.run(AddOne())
    assert server.requests == []


def test_stop_when_sees_every_event_and_ends_the_run(server, tmp_path):
    server.offer(number=1)
    server.offer(number=2)
    seen = []
    client = Client(server.url, TOKEN, state=tmp_path, reporter=seen.append)
    client.run(AddOne(), stop_when=lambda event: isinstance(event, Reported))
    assert len(server.reports) == 1
    assert isinstance(seen[-1], Stopped)


def stopped_after(event, server, folder, trainer):
    """A client that ran until it came to the event, and was stopped there."""
    client = Client(server.url, TOKEN, state=folder / "state", reporter=lambda event: None)
    client.run(trainer, stop_when=lambda seen: isinstance(seen, event))


@pytest.mark.parametrize("event", [Leased, Downloaded])
def test_a_client_stopped_before_it_has_a_result_gives_the_task_back(server, start, event, tmp_path):
    server.offer()
    first, second = AddOne(), AddOne()
    stopped_after(event, server, tmp_path, first)
    assert server.releases == [{"task": "train-1", "reason": "the client was stopped", "failed": False}]
    server.offer()
    start(second).until(Reported)
    assert len(server.reports) == 1


@pytest.mark.parametrize("event", [Trained, Uploaded])
def test_a_client_stopped_with_a_result_keeps_the_task_and_delivers_it_after_a_restart(server, start, event, tmp_path):
    server.offer()
    first, second = AddOne(), AddOne()
    stopped_after(event, server, tmp_path, first)
    assert server.releases == []  # else the round would go on without the result
    start(second).until(Reported)
    assert (first.trained, second.trained) == (1, 0)
    assert len(server.reports) == 1


def test_a_client_stopped_while_it_cannot_deliver_keeps_the_task(server, start, tmp_path):
    for _ in range(100):
        server.fail_once("POST", "/report/", status(503))
    server.offer()
    client = start()
    client.until(Reconnecting)
    client.stop()
    assert server.releases == []


@pytest.mark.parametrize("event", [Trained, Uploaded])
def test_a_result_is_delivered_after_a_restart_though_nobody_offers_its_task_any_more(server, start, event, tmp_path):
    """As when its round has closed meanwhile, and counts what comes late."""
    server.offer(number=1)
    stopped_after(event, server, tmp_path, AddOne())
    server.close_task("train-1")
    server.offer(number=2)
    second = AddOne()
    client = start(second)
    client.until(Reported, times=2)
    assert [report["task"] for report in server.reports] == ["train-1", "train-2"]
    assert client.of(Leased)[0].resumed
    assert second.trained == 1


def test_a_result_that_is_not_wanted_any_more_is_dropped_after_a_restart_and_the_client_goes_on(
    server, start, tmp_path
):
    server.offer(number=1)
    stopped_after(Trained, server, tmp_path, AddOne())
    server.close_task("train-1")
    server.fail_once("PUT", "/update/", status(409, "round_closed", "round 1 has closed"))
    client = start()
    assert client.until(Dropped).reason == "round 1 has closed"
    server.offer(number=2)
    client.until(Reported)
    assert Journal(tmp_path / "state", server.owner).undelivered() == []


def test_a_result_is_kept_from_another_server_and_delivered_to_its_own(server, large_server, start, tmp_path, caplog):
    server.offer(number=1)
    stopped_after(Trained, server, tmp_path, AddOne())
    large_server.offer(number=2)

    start(at=large_server).until(Reported)
    assert [report["task"] for report in large_server.reports] == ["train-2"]
    assert not any("train-1" in request for request in large_server.requests)
    assert "run their clients again" in caplog.text

    for client in start.running:
        client.stop()
    again = AddOne()
    start(again).until(Reported)
    assert [report["task"] for report in server.reports] == ["train-1"]
    assert again.trained == 0


def test_a_result_whose_task_is_offered_again_waits_for_that(server, start, tmp_path):
    server.offer(number=1)
    stopped_after(Trained, server, tmp_path, AddOne())
    server.fail_once("PUT", "/update/", status(409, "wrong_state", "The task was not leased."))
    second = AddOne()
    client = start(second)
    client.until(Reported)
    assert [report["task"] for report in server.reports] == ["train-1"]
    assert second.trained == 0


@pytest.mark.parametrize("answer", [404, 403, 400])
def test_what_is_not_hansas_server_gets_no_result_and_takes_none_away(server, start, tmp_path, answer):
    server.offer()
    stopped_after(Trained, server, tmp_path, AddOne())
    asked = len(server.requests)
    server.fail_once("GET", "/api/users/myself/", status(answer))
    assert isinstance(start().join().error, ApiError)
    assert server.requests[asked:] == ["GET /api/users/myself/"]
    start().until(Reported)
    assert [report["task"] for report in server.reports] == ["train-1"]


class Killed(BaseException):
    """Stands for kill -9: nothing is tidied up but the lock, which dies with the process."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["trained", "uploaded", "forget"])
def test_a_client_killed_at_a_phase_boundary_does_nothing_twice(server, start, monkeypatch, step, when):
    first, second = AddOne(), AddOne()
    write = getattr(Journal, step)

    def die(self, *arguments):
        if step == "forget" and not server.reports:
            return write(self, *arguments)  # called for a new task too
        if when == "after":
            write(self, *arguments)
        raise Killed

    server.offer(number=1)
    with monkeypatch.context() as context:
        context.setattr(Journal, step, die)
        assert isinstance(start(first).join().error, Killed)
    server.offer(number=2)
    start(second).until(Reported, times=1 if (step, when) == ("forget", "after") else 2)

    assert [report["task"] for report in server.reports] == ["train-1", "train-2"]
    # The result is lost only if it had not yet been written down.
    assert (first.trained, second.trained) == (1, 2 if (step, when) == ("trained", "before") else 1)
    sent = [request for request in updates(server) if "train-1" in request]
    assert len(sent) == (2 if (step, when) == ("uploaded", "before") else 1)


def test_a_result_is_kept_while_another_trainings_task_comes_first(server, start, tmp_path):
    server.offer(number=1)
    first, second = AddOne(), AddOne()
    stopped_after(Trained, server, tmp_path, first)
    server.close_task("train-1")
    server.offer(number=2)
    server.offer(number=1)
    start(second).until(Reported, times=2)
    assert (first.trained, second.trained) == (1, 1)


def test_a_client_leaves_a_training_also_while_it_waits_for_work(server, start):
    client = start()
    assert server.parked.wait(10)
    client.client.leave("training")
    assert "POST /api/trainings/training/leave/" in server.requests
