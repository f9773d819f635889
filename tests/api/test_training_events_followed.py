"""The event log as a stream: history, then what comes, each event once; nothing held for who does not read."""

import asyncio

import pytest

from hansa.server.accounts.models import Token
from hansa.server.lifecycle.bridge import call
from hansa.server.trainings import event_api, hints
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Event
from hansa.server.trainings.services import trainings
from support.answers import refused, refused_field
from support.followed import Reader
from support.work import lease, start, update, upload_and_report


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(event_api, "SETTLE_SECONDS", 0.0)


@pytest.fixture
async def follow(handler):
    readers = []

    def open_one(person, training, query="", last=None):
        readers.append(Reader(handler, person, f"/api/trainings/{training.id}/events/{query}", last))
        return readers[-1]

    yield open_one
    for reader in readers:
        reader.reads.set()
        reader.disconnect()
        await reader.finished()


async def waiting(training):
    """Wait until a stream has sent what there is, and sleeps."""
    async with asyncio.timeout(10):
        while not any(flag._waiting for flag in HINTS._waiting.get(training.id, ())):  # noqa: ASYNC110  # nobody is told
            await asyncio.sleep(0.001)


CREATED = ["training.created", "participant.added", "participant.added"]


async def test_a_stream_tells_the_history_and_then_what_comes_each_event_once(alice, bob, training, follow):
    reader = follow(alice, training)
    assert await reader.until(3) == CREATED
    assert reader.headers["content-type"] == "text/event-stream"
    await waiting(training)

    await call(start, training)
    await upload_and_report(bob, await call(lease, bob), update())

    told = await reader.until(7)
    assert told == [*CREATED, "training.started", "round.opened", "task.leased", "task.reported"]
    page = (await alice.get(f"/api/trainings/{training.id}/events/")).json()
    assert [data for _, data in reader.events] == page["events"]
    assert [int(number) for number, _ in reader.events] == [event["id"] for event in page["events"]]


async def test_who_comes_again_gets_what_it_has_not(alice, started, follow):
    first = follow(alice, started)
    await first.until(5)
    numbers = [number for number, _ in first.events]

    again = follow(alice, started, last=numbers[1])
    by_query = follow(alice, started, query=f"?after={numbers[3]}")
    both = follow(alice, started, query=f"?after={numbers[0]}", last=numbers[3])

    await again.until(3)
    assert [number for number, _ in again.events] == numbers[2:]
    for reader in (by_query, both):
        await reader.until(1)
        assert [number for number, _ in reader.events] == numbers[4:]


async def test_filters_hold_for_what_comes_too(alice, bob, carol, started, follow):
    reader = follow(alice, started, query="?client=carol&kind=task")
    await waiting(started)

    await call(lease, bob)
    await call(lease, carol)
    await call(trainings.pause, training_id=started.id)

    assert await reader.until(1) == ["task.leased"]
    await waiting(started)
    assert [data["username"] for _, data in reader.events] == ["carol"]


async def test_a_participant_is_sent_nothing_of_others(bob, carol, started, follow):
    reader = follow(bob, started)
    await call(lease, carol)
    await call(lease, bob)
    await call(trainings.pause, training_id=started.id)

    told = await reader.until(6)
    assert told[-2:] == ["task.leased", "training.paused"]
    assert {data["username"] for _, data in reader.events} == {None, "bob"}


async def test_a_lost_hint_is_made_up_for(alice, started, follow, monkeypatch):
    monkeypatch.setattr(hints, "LOST_HINT_SECONDS", 0.01)
    reader = follow(alice, started)
    await reader.until(5)

    HINTS.bind(None)
    await call(trainings.pause, training_id=started.id)

    assert (await reader.until(6))[-1] == "training.paused"


async def test_a_refusal_is_told_at_once(alice, bob, bobs_task, follow):
    training = bobs_task.round.training
    reader = follow(alice, training, query="?kind=task.refused")
    await waiting(training)

    await bob.put(f"/api/tasks/{bobs_task.id}/update/{'0' * 64}/", content=b"x")

    assert await reader.until(1) == ["task.refused"]


async def test_nothing_is_read_ahead_for_a_reader_that_does_not_read(alice, started, follow, monkeypatch):
    monkeypatch.setattr(event_api, "STREAMED_AT_ONCE", 2)
    looks = []
    look = event_api.events.after
    monkeypatch.setattr(event_api.events, "after", lambda *args, **of: looks.append(of["number"]) or look(*args, **of))
    reader = follow(alice, started)
    reader.reads.clear()
    await reader.until(0)
    async with asyncio.timeout(10):
        while reader.status is None:  # noqa: ASYNC110  # nobody is told of it
            await asyncio.sleep(0.001)
    for _ in range(20):
        await asyncio.sleep(0)

    assert looks == [0]
    reader.reads.set()
    await reader.until(5)
    assert len(looks) >= 3


async def test_a_stream_ends_for_who_may_see_no_more(alice, bob, started, follow):
    reader = follow(bob, started)
    await reader.until(4)

    await call(trainings.remove_clients, training_id=started.id, clients=[bob.user])

    await reader.finished()
    assert reader.events[-1][0] == "error"
    assert reader.events[-1][1]["code"] == "not_found"


async def test_a_stream_ends_when_its_token_is_revoked(alice, started, follow):
    reader = follow(alice, started)
    await reader.until(5)
    (token,) = (await alice.get("/api/tokens/")).json()
    assert (await alice.delete(f"/api/tokens/{token['id']}/")).status_code == 204
    assert await call(Token.objects.filter(user=alice.user).count) == 0

    await call(trainings.pause, training_id=started.id)

    await reader.finished()
    assert reader.events[-1][0] == "error"


async def test_a_stream_that_ends_with_the_server_leaves_no_waiter(alice, started, follow):
    reader = follow(alice, started)
    await reader.until(5)
    await waiting(started)

    reader.disconnect()
    await reader.finished()

    assert not HINTS.has_waiter(started.id)


async def test_what_cannot_be_streamed_is_refused_before_it_begins(alice, mallory, training):
    wants = {"Accept": "text/event-stream"}
    url = f"/api/trainings/{training.id}/events/"
    refused(await mallory.get(url, headers=wants), 404, "not_found")
    for wrong in ("first", "-1", "1.5", "9" * 17):
        for accept in (wants, {}):  # a page is not begun with it either
            answer = await alice.get(url, headers={**accept, "Last-Event-ID": wrong})
            refused_field(answer, "last_event_id", "no event's number")
    assert (await alice.head(url, headers=wants)).status_code == 200


async def test_numbers_go_on_after_the_newest_row_is_gone(alice, training):
    """A number that was sent once names that event for ever: it is not given to another."""
    newest = await call(lambda: Event.objects.order_by("-id").values_list("id", flat=True)[0])
    await call(Event.objects.filter(id=newest).delete)
    await call(start, training)

    page = (await alice.get(f"/api/trainings/{training.id}/events/?after={newest}")).json()
    assert [event["kind"] for event in page["events"]] == ["training.started", "round.opened"]
