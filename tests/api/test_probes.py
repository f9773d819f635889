"""/livez and /readyz: does the process live, and can it do its work? Anybody may ask, and learns no more than that."""

import asyncio
import logging
import shutil
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import httpx
import pytest
from django.db import OperationalError

from hansa.server import pulse
from hansa.server.blobs import store
from hansa.server.home import DISK_FLOOR
from hansa.server.lifecycle import bridge
from hansa.server.lifecycle.bridge import call
from hansa.server.ops import questions, readiness
from hansa.server.ops.probes import LivezAnswer, ReadyzAnswer
from hansa.server.ops.questions import Question
from hansa.server.trainings.hints import HINTS
from support.answers import shown
from support.people import in_process

CHECKS = {"database", "writer", "store", "disk", "orchestrator", "running"}


@pytest.fixture(autouse=True)
def orchestrated(monkeypatch):
    """The orchestrator has just taken a turn, and nothing was found before."""
    monkeypatch.setattr(questions, "REMEMBERED_SECONDS", 0.0)
    monkeypatch.setattr(readiness, "_unwell", set())
    pulse.beat(pulse.ORCHESTRATOR)
    yield
    pulse.stop(pulse.ORCHESTRATOR)


async def failing(nobody):
    """The checks that are not well, of a server that says it is not ready."""
    answer = shown(await nobody.get("/readyz"), ReadyzAnswer, status=503)
    assert answer.status == "not ready"
    assert answer.checks.keys() == CHECKS
    return {name: check for name, check in answer.checks.items() if not check.ok}


async def test_a_process_that_answers_is_alive(nobody):
    response = await nobody.get("/livez")

    assert shown(response, LivezAnswer) == LivezAnswer(status="alive")
    assert response.headers["Cache-Control"] == "no-store"


async def test_it_is_alive_also_when_its_database_is_not(nobody, monkeypatch):
    monkeypatch.setattr(readiness, "read", None)

    assert (await nobody.get("/livez")).status_code == 200


async def test_a_server_that_can_work_is_ready_and_says_what_it_looked_at(nobody):
    response = await nobody.get("/readyz")

    answer = shown(response, ReadyzAnswer)
    assert (answer.status, answer.checks.keys()) == ("ready", CHECKS)
    assert all(check.ok and check.seen and not check.do for check in answer.checks.values())
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/xml", ""])
async def test_probes_are_answered_whatever_they_accept_and_show(nobody, path, accept):
    headers = {"Accept": accept, "Authorization": "Token nonsense"}

    assert (await nobody.get(path, headers=headers)).headers["Content-Type"] == "application/json"
    assert (await nobody.head(path, headers=headers)).status_code == 200
    assert (await nobody.post(path, headers=headers)).status_code == 405


async def test_a_database_that_refuses_is_named_without_what_it_said(nobody, monkeypatch):
    def refuse():
        raise OperationalError('connection to "db.internal", user "hansa", password "hunter2" failed')

    monkeypatch.setattr(readiness, "_unapplied_migrations", refuse)
    response = await nobody.get("/readyz")

    assert (await failing(nobody)).keys() == {"database"}
    assert "hunter2" not in response.text
    assert "db.internal" not in response.text


async def test_a_database_without_some_migrations_is_not_ready(nobody, monkeypatch):
    monkeypatch.setattr(readiness, "_unapplied_migrations", lambda: 3)

    found = (await failing(nobody))["database"]
    assert (found.seen, "hansa migrate" in found.do) == ("3 migrations are missing", True)


async def test_what_does_not_answer_in_time_is_not_well_and_is_not_asked_twice_at_once(monkeypatch):
    monkeypatch.setattr(questions, "ANSWER_SECONDS", 0.01)
    asked, answer = [], asyncio.Event()

    async def hang():
        asked.append(1)
        await answer.wait()
        return "an answer"

    question = Question(hang, unanswered="none")
    late = [await question.answer(), *await asyncio.gather(*(question.answer() for _ in range(5)))]
    assert late == ["none"] * 6
    assert len(asked) == 1

    monkeypatch.setattr(questions, "ANSWER_SECONDS", 10)
    answer.set()
    assert await question.answer() == "an answer"
    await question.answer()
    assert len(asked) == 2, "answered: the next one asks anew"


async def test_who_leaves_does_not_take_the_answer_from_those_who_stay():
    answer = asyncio.Event()

    async def wait():
        await answer.wait()
        return "an answer"

    question = Question(wait, unanswered="none")
    leaving, staying = asyncio.create_task(question.answer()), asyncio.create_task(question.answer())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    answer.set()

    assert await staying == "an answer"


async def test_who_asks_again_within_a_moment_gets_what_was_found_before(nobody, home, monkeypatch):
    looked = []
    monkeypatch.setattr(readiness, "_write_something", lambda: looked.append("here"))
    monkeypatch.setattr(questions, "REMEMBERED_SECONDS", 60.0)
    for _ in range(3):
        await nobody.get("/readyz")
    assert looked == ["here"]

    monkeypatch.setattr(questions, "REMEMBERED_SECONDS", 0.0)
    await nobody.get("/readyz")
    assert looked == ["here"] * 2


async def test_a_failure_to_ask_is_not_remembered(monkeypatch):
    monkeypatch.setattr(questions, "REMEMBERED_SECONDS", 60.0)
    asked = []

    async def stumble():
        asked.append(1)
        if len(asked) == 1:
            raise ZeroDivisionError
        return "an answer"

    question = Question(stumble, unanswered="none", remembers=True)
    with pytest.raises(ZeroDivisionError):
        await question.answer()
    assert [await question.answer() for _ in range(3)] == ["an answer"] * 3
    assert len(asked) == 2


async def test_a_writer_that_is_stuck_is_not_ready(nobody, monkeypatch):
    monkeypatch.setattr(questions, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(bridge, "_writers", lambda: one)
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as one:
        stuck = asyncio.create_task(call(go_on.wait))
        try:
            found = await failing(nobody)
        finally:
            go_on.set()
            await stuck

        assert found.keys() == {"writer"}
        assert found["writer"].seen == "no answer within 2 s"
        assert (await nobody.get("/readyz")).status_code == 200


async def test_a_store_that_cannot_be_written_is_named_without_its_folder(nobody, home):
    shutil.rmtree(home / "blobs")

    response = await nobody.get("/readyz")
    assert (await failing(nobody)).keys() == {"store"}
    assert str(home) not in response.text


async def test_looking_at_the_store_leaves_nothing_there(nobody, home):
    await nobody.get("/readyz")

    assert list((home / "tmp").iterdir()) == []


async def test_a_disk_that_is_nearly_full_is_not_ready(nobody, monkeypatch):
    usage = namedtuple("usage", "total used free")  # as shutil's
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, DISK_FLOOR - 2**20))

    found = (await failing(nobody))["disk"]
    assert found.seen == "255 MiB are free"
    assert "256 MiB" in found.do


async def test_an_orchestrator_that_has_not_begun_or_hangs_is_not_ready(nobody, monkeypatch):
    pulse.stop(pulse.ORCHESTRATOR)
    assert (await failing(nobody))["orchestrator"].seen == "it has not begun"

    monkeypatch.setattr(pulse, "silence", lambda activity: 61.4)
    assert (await failing(nobody))["orchestrator"].seen == "it has not moved for 61 s"


async def test_the_orchestrator_beats_at_every_turn_and_no_more_once_it_has_ended(nobody, orchestrator):
    pulse.stop(pulse.ORCHESTRATOR)
    async with asyncio.timeout(10):
        while pulse.silence(pulse.ORCHESTRATOR) is None:  # noqa: ASYNC110  # it beats for no one in particular
            await asyncio.sleep(0)


async def test_a_server_that_is_ending_is_not_ready(nobody):
    HINTS.close()

    assert (await failing(nobody)).keys() == {"running"}


async def test_the_log_tells_when_something_fails_and_when_it_is_well_again(nobody, monkeypatch, caplog):
    caplog.set_level(logging.INFO, readiness.__name__)
    with monkeypatch.context() as missing:
        missing.setattr(readiness, "_unapplied_migrations", lambda: 3)
        for _ in range(3):
            await nobody.get("/readyz")
    for _ in range(3):
        await nobody.get("/readyz")

    ours = [record.getMessage() for record in caplog.records if record.name == readiness.__name__]
    assert [line.partition(": ")[0] for line in ours] == ["Not ready", "Well again"]


@asynccontextmanager
async def at(handler, address, **headers):
    """Somebody without credentials at an address."""
    transport = httpx.ASGITransport(app=in_process(handler).app, client=(address, 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


async def test_probes_may_be_asked_from_anywhere(handler, home, transactional_db):
    async with at(handler, "203.0.113.7") as stranger:
        assert (await stranger.get("/livez")).status_code == 200
        assert (await stranger.get("/readyz")).status_code == 200


async def test_figures_are_told_only_where_the_metrics_may_be_read(handler, home, transactional_db, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, 1234 * 2**20))
    monkeypatch.setattr(pulse, "silence", lambda activity: 61.4)
    monkeypatch.setattr(readiness, "_unapplied_migrations", lambda: 3)

    async def seen(address):
        async with at(handler, address) as somebody:
            checks = (await somebody.get("/readyz")).json()["checks"]
        return [checks[name]["seen"] for name in ("disk", "orchestrator", "database")]

    assert await seen("203.0.113.7") == ["enough is free", "it does not move", "migrations are missing"]
    assert await seen("127.0.0.1") == ["1,234 MiB are free", "it has not moved for 61 s", "3 migrations are missing"]


def test_the_store_that_is_looked_at_is_the_one_that_is_used(home):
    assert store.new_file().parent == home / "tmp"
