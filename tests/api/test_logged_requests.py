"""The log of a server: a request can be followed through it, and no secret that was ever shown to it is in it."""

import io
import json
import logging
import logging.config
import sys
from uuid import uuid4

import httpx
import pytest

from hansa.server.accounts import services
from hansa.server.config import LogFormat
from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.observing import Observed
from hansa.server.ops import accounting, logs
from support.federation import Worker, at_work, began, ended, moved_by
from support.people import Person, in_process
from support.work import BUFFERS, report_of, update

MARK = "5ec2e7"
"""In every secret below, and nowhere else."""


@pytest.fixture(params=list(LogFormat))
def log(request, monkeypatch):
    """The server's log from here on, at its most talkative; `log()` is what was written."""
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict} | {
        "": logging.root.level
    }
    handlers = logging.root.handlers[:]
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    logging.config.dictConfig(logs.settings(request.param, "DEBUG", access=True))
    logging.getLogger("httpx").setLevel("WARNING")  # the client of these tests, not the server
    logging.getLogger("httpcore").setLevel("WARNING")
    yield out.getvalue
    logging.root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


json_only = pytest.mark.parametrize("log", [LogFormat.JSON], indirect=True)


def lines(log):
    return [json.loads(line) for line in log().splitlines()]


@pytest.fixture
def observed(handler):
    """The handler as a server runs it."""
    return Observed(handler, accounting.request_ended)


@pytest.fixture
async def stranger(observed, home, transactional_db):
    async with httpx.AsyncClient(transport=in_process(observed), base_url="http://localhost") as client:
        yield client


async def with_password(person: Person, password: str) -> None:
    person.user.set_password(password)
    await call(person.user.save)


async def sign_in_by_form(client, password):
    page = await client.get("/api-auth/login/")
    form = {"username": "alice", "password": password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    answer = await client.post("/api-auth/login/", data=form, headers={"Referer": "http://localhost/api-auth/login/"})
    return page, answer


async def test_no_secret_is_ever_logged(log, stranger, alice):
    password, wrong = f"correct-{MARK}-horse", f"wrong-{MARK}-pony"
    await with_password(alice, password)
    token = f"{MARK}{uuid4().hex}{'0' * 40}"[:40]
    asked = [
        await stranger.get("/api/users/myself/", headers={"Authorization": f"Token {token}"}),
        await stranger.get("/api/users/myself/", headers={"Authorization": f"Bearer {token}"}),
        await stranger.get("/api/users/myself/", auth=(token, "")),
        await stranger.get("/api/users/myself/", auth=("alice", password)),
        await stranger.get("/api/users/myself/", auth=("alice", wrong)),
        await stranger.get("/api/users/myself/", auth=(f"{MARK}\n", wrong)),
        await stranger.get(f"/api/users/myself/?token={token}"),
        await stranger.get(f"/api/nothing/{token}/"),
        await stranger.get(f"/{token}/?password={password}"),
        await stranger.post("/api/tokens/", auth=("alice", password), json={"name": "x"}),
        await stranger.post("/api/clients/enroll/", json={"code": f"{MARK}-code"}),
        await stranger.post("/api/clients/enroll/", content=f'{{"code": "{MARK}'.encode()),
        await stranger.post("/api/users/", auth=("alice", password), json={"username": "new", "password": wrong}),
        *await sign_in_by_form(stranger, wrong),
        *await sign_in_by_form(stranger, password),
        await stranger.get("/admin/", headers={"Cookie": f"sessionid={MARK}"}),
        await stranger.get("/livez", headers={"X-Request-ID": "fine", "tracestate": f"x={MARK}"}),
    ]

    assert {answer.status_code for answer in asked} >= {200, 201, 302, 400, 401, 404}
    assert log().count("hansa.access") >= len(asked) - 1
    assert MARK not in log()


async def test_a_token_and_a_code_that_the_server_makes_are_told_to_their_owner_alone(log, observed, alice, stranger):
    async with Person(observed, alice.user, alice.token) as person:
        token = (await person.post("/api/tokens/", json={"name": "laptop"})).json()["token"]
        code = (await person.post("/api/clients/invitations/", json={"username": "dave"})).json()["code"]
    enrolled = (await stranger.post("/api/clients/enroll/", json={"code": code})).json()["token"]

    assert log().count("hansa.access") == 3
    for secret in (token, code, enrolled, alice.token):
        assert secret not in log()


async def test_an_error_of_ours_is_logged_with_its_request_and_without_what_was_sent(log, stranger, monkeypatch):
    monkeypatch.setattr(services, "enroll", None)
    monkeypatch.setattr("hansa.server.accounts.api.services.enroll", None)
    answer = await stranger.post("/api/clients/enroll/", json={"code": f"{MARK}-code"})

    assert answer.status_code == 500
    assert "TypeError" in log()
    assert log().count(answer.headers["X-Request-ID"]) == 2
    assert MARK not in log()


@json_only
async def test_a_path_that_somebody_made_up_is_not_logged_and_forges_no_line(log, stranger):
    await stranger.get("/api/%0A%7B%22level%22:%22critical%22%7D/")
    await stranger.get("/%0D%0Aforged/")

    told = lines(log)
    assert [line["route"] for line in told if line["logger"] == "hansa.access"] == ["^api/", "unknown"]
    assert not any("forged" in json.dumps(line) for line in told)


@json_only
async def test_the_lines_of_a_task_tell_its_client_training_round_and_request(log, observed, bob, started):
    async with Person(observed, bob.user, bob.token) as client:
        task = (await client.post("/api/tasks/next/", json={"instance": "laptop"})).json()
        file = update()
        await client.put(f"/api/tasks/{task['id']}/update/{file.digest}/", content=file.content)
        await client.post(f"/api/tasks/{task['id']}/report/", json=report_of(file), headers={"X-Request-ID": "mine"})

    told = [line for line in lines(log) if line["logger"] == "hansa.access"]
    assert [line["status"] for line in told] == [200] * 3
    for line in told:
        assert line["client"] == bob.id
        assert (line["training"], line["round"], line["task"]) == (str(started.id), 1, task["id"])
    assert told[-1]["request_id"] == "mine"


@json_only
async def test_a_refusal_tells_its_code(log, observed, bob, bobs_task):
    async with Person(observed, bob.user, bob.token) as client:
        await client.post(f"/api/tasks/{bobs_task.id}/report/", json=report_of(update()))

    assert [line["code"] for line in lines(log) if line["logger"] == "hansa.access"] == ["upload_incomplete"]


@pytest.fixture
def bobs_training(make_training, bob):
    return make_training(bob, rounds=2)


@json_only
async def test_what_the_server_does_by_itself_tells_training_and_round(log, alice, bob, bobs_training, orchestrator):
    await began(alice, bobs_training)
    async with at_work(Worker(bob, moved_by(1.0), buffers=BUFFERS)):
        await ended(alice, bobs_training)

    told = [line for line in lines(log) if line["logger"] == "hansa.server.trainings.orchestrator"]
    assert {line["training"] for line in told} == {str(bobs_training.id)}
    assert [line.get("round") for line in told] == [1] * 4 + [2] * 4 + [None]
