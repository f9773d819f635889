"""A server that is killed after its message was answered, and before it noted that, tells it once more with its id."""

import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from hansa.client.api import Api
from hansa.formats import safetensors
from hansa.protocol.trainings import TrainingCreate
from support import databases
from support.receiver import answers, answers_once, listening_in_a_thread
from support.work import file_of
from system.processes import PASSWORD, Server, eventually, serving

PARAMS = {"w": np.zeros(4, np.float32)}


@dataclass
class Push:
    """A push client: an account with an endpoint, which sends its update over the API."""

    server: Server
    api: Api

    def register(self, endpoint: str) -> None:
        body = {"username": "dave", "password": PASSWORD, "client": True, "message_endpoint": endpoint}
        answer = httpx.post(f"{self.server.url}/api/users/", json=body, auth=("root", PASSWORD), timeout=30)
        assert answer.status_code == 201, answer.text

    def report(self, training: str) -> None:
        """Send the update of the task that it holds."""
        (task,) = self.api.round(training, 1).tasks
        file = file_of({"w": np.ones(4, np.float32)}, frozenset())
        with httpx.Client(base_url=self.server.url, auth=("dave", PASSWORD), timeout=30) as http:
            sent = http.put(f"/api/tasks/{task.id}/update/{file.digest}/", content=file.content)
            assert sent.status_code == 200, sent.text
            report = {"num_examples": 10, "digest": file.digest}
            receipt = http.post(f"/api/tasks/{task.id}/report/", json=report)
            assert receipt.status_code == 200, receipt.text


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HANSA_PUSH_ALLOW", "127.0.0.0/8")
    with serving(tmp_path / "server") as server:
        yield server


def start_training(api: Api, folder: Path) -> str:
    file = folder / "first.safetensors"
    with file.open("wb") as out:
        safetensors.write(out, PARAMS, frozenset())
    model = api.create_model(file, name="small").model_id
    plan = {"rounds": 1, "evaluation": {"every": 0}}
    training = api.create_training(TrainingCreate(model_id=model, plan=plan, clients=["dave"])).training_id
    api.start(training)
    return training


@pytest.mark.slow
def test_killed_between_the_answer_and_the_row_it_tells_exactly_one_message_twice(server, tmp_path):
    allowed, answered = threading.Event(), threading.Event()
    with listening_in_a_thread(answers(200), answers_once(allowed, answered), answers(202)) as receiver:
        api = server.admin()
        client = Push(server, api)
        client.register(receiver.url)
        training = start_training(api, tmp_path)
        eventually(lambda: len(receiver.told) == 2, "the round is told")
        os.kill(server.pid, signal.SIGSTOP)  # it cannot hear the answer
        allowed.set()
        assert answered.wait(20)
        server.kill()
        server.start()
        eventually(lambda: len(receiver.told) == 3, "the round is told again")
        eventually(lambda: api.round(training, 1).tasks[0].state == "leased", "the client is known to be at work")
        client.report(training)
        eventually(lambda: api.training(training).status == "completed", "the training is completed")
        eventually(lambda: len(receiver.told) == 4, "its end is told")

    assert receiver.kinds == ["TRAINING_START", "UPDATE_ROUND_START", "UPDATE_ROUND_START", "TRAINING_FINISHED"]
    first, second = receiver.told[1:3]
    assert (first.id, first.content) == (second.id, second.content)
    assert sorted(Counter(told.id for told in receiver.told).values()) == [1, 1, 2]


@pytest.mark.slow
def test_what_waited_for_its_next_attempt_when_the_server_was_killed_is_tried_again_after_the_restart(server, tmp_path):
    with listening_in_a_thread(answers(202)) as receiver:
        api = server.admin()
        gone = receiver.url.replace(f":{receiver.port}/", ":9/")  # nobody listens on the port of discard
        Push(server, api).register(gone)
        start_training(api, tmp_path)
        eventually(lambda: attempts(server) >= 2, "two attempts without an answer")
        server.kill()
        move(server, receiver.url)
        server.start()
        eventually(lambda: len(receiver.told) == 2, "the start and the round are told")

    assert receiver.kinds == ["TRAINING_START", "UPDATE_ROUND_START"]


def attempts(server: Server) -> int:
    """How often the server has tried, as its database has it."""
    ((most,),) = databases.rows(server.home, "SELECT coalesce(max(attempts), 0) FROM notifications_notification")
    return int(most)


def move(server: Server, endpoint: str) -> None:
    """The client has another endpoint."""
    databases.change(server.home, "UPDATE accounts_user SET message_endpoint = ? WHERE username = 'dave'", [endpoint])
