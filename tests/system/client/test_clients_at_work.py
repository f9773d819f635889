"""SDK clients as processes, with a real server: killed, stopped, cut off; nothing is trained or counted twice."""

import signal

import pytest

from hansa.client import Api, Transport
from hansa.formats.safetensors import read
from system.processes import eventually


def test_a_training_from_the_first_task_to_the_last_version(api, model, enrolled, started, finished, tmp_path):
    (one, first), (other, second) = enrolled(), enrolled()
    first.start()
    second.start()
    assert finished(started(one, other, rounds=2)) == "completed"

    version = api.download(model, 2, tmp_path / "trained.safetensors")
    assert (read(tmp_path / "trained.safetensors")["w"] == 2).all()
    assert version.parent == f"{model}/1"
    assert first.said().count("training") == 2
    assert {metric.key for metric in api.model_metrics(model)} == {"loss", "mean"}


@pytest.mark.parametrize("event", ["Leased", "Downloaded", "Trained", "Uploaded", "Reported"])
def test_a_client_killed_right_after_any_step_goes_on_and_trains_once(
    api, model, enrolled, started, finished, tmp_path, event
):
    name, client = enrolled()
    training = started(name)
    assert client.start(DIE_AFTER=event).wait() == -signal.SIGKILL
    client.start()
    assert finished(training) == "completed"

    assert client.said().count("training") == 1
    (task, *_) = [task for task in api.round(training, 1).tasks if task.kind == "train"]
    assert (task.state, task.verdict) == ("reported", "accepted")
    api.download(model, 1, tmp_path / "trained.safetensors")
    assert (read(tmp_path / "trained.safetensors")["w"] == 1).all()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_waiting_client_at_once(enrolled, number):
    _, client = enrolled()
    client.start().until("Waiting")
    client.send(number)
    assert client.wait() == 0
    assert client.said()[-2:] == ["Stopped", "ended"]


def test_a_signal_in_mid_training_gives_the_task_back_and_the_next_start_takes_it_again(
    api, enrolled, started, finished
):
    name, client = enrolled()
    training = started(name)
    client.start(HOLD="1").until("training")
    client.send(signal.SIGINT)
    assert client.wait() == 0
    eventually(lambda: api.round(training, 1).tasks[0].state in ("offered", "lost"), "the task was given back")
    client.start()
    assert finished(training) == "completed"


def test_a_client_outlives_its_server(server, enrolled, started, finished):
    name, client = enrolled()
    client.start().until("Waiting")
    server.kill()
    client.until("Reconnecting", times=3)
    server.start()
    assert finished(started(name)) == "completed"


def test_a_server_killed_while_its_client_trains_gets_the_result(api, server, enrolled, started, finished, tmp_path):
    name, client = enrolled()
    training = started(name)
    assert client.start(DIE_AFTER="Trained").wait() == -signal.SIGKILL
    server.kill()
    client.start().until("Reconnecting", times=2)
    server.start()
    assert finished(training) == "completed"
    assert client.said().count("training") == 1


def test_a_second_process_with_the_same_folder_is_refused(enrolled):
    _, client = enrolled()
    client.start().until("Waiting")
    assert client.start().wait() == 1
    assert f"process {client.processes[0].pid}" in client.log()


def test_a_second_process_with_the_same_token_does_not_do_a_task_that_is_held(api, enrolled, started, tmp_path):
    name, client = enrolled()
    started(name)
    client.start(HOLD="1").until("training")
    twin = type(client)(client.server, client.token, tmp_path / "twin")
    try:
        twin.start().until("Waiting")
        client.send(signal.SIGTERM)
        assert client.wait() == 0
        twin.until("Reported")  # given back, it is anybody's
    finally:
        twin.processes[-1].kill()
        twin.wait()


def test_a_revoked_token_ends_the_client_and_says_so(server, enrolled):
    _, client = enrolled()
    client.start(WAIT="0.2").until("Waiting")
    with Transport(server.url, client.token) as transport:
        own = Api(transport)
        own.revoke_token(own.tokens()[0].id)
    assert client.wait() == 1
    assert "CredentialsRefused" in client.log()
