"""Long polls: woken by what they wait for, over in time, without a thread, and nothing leased for who has gone."""

import asyncio
import threading

import pytest

from hansa.server.accounts.models import Token, User
from hansa.server.lifecycle import bridge
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Task
from hansa.server.trainings.services import trainings
from support.answers import refused
from support.exchange import Exchange
from support.work import INSTANCE, lease, settle

PARKED = 50
BODY = b'{"instance": "laptop"}'
JSON = {"content-type": "application/json"}


async def parked(count, key):
    """Wait until so many requests have looked, found nothing, and sleep under a key."""
    async with asyncio.timeout(10):
        while _asleep(key) < count:  # noqa: ASYNC110  # nobody is told of it
            await asyncio.sleep(0.001)


def _asleep(key):
    return sum(flag._waiting is not None for flag in HINTS._waiting.get(key, ()))


def start_it(training):
    trainings.start(training_id=training.id, now=training.created_at)
    settle(training)


async def test_a_client_that_waits_is_woken_by_the_offer(bob, training):
    asking = asyncio.create_task(bob.post("/api/tasks/next/?wait=60", json={"instance": INSTANCE}))
    await parked(1, bob.user.id)

    await call(start_it, training)

    async with asyncio.timeout(10):
        response = await asking
    assert response.status_code == 200
    assert (await read(Task.objects.get, id=response.json()["id"])).state == "leased"


async def test_of_two_waiting_instances_of_one_client_one_gets_the_task(bob, training):
    asking = [
        asyncio.create_task(bob.post("/api/tasks/next/?wait=60", json={"instance": name}))
        for name in ("laptop", "desktop")
    ]
    await parked(2, bob.user.id)

    await call(start_it, training)

    done, waiting = await asyncio.wait(asking, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status_code for task in done] == [200]
    await parked(1, bob.user.id)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert await read(Task.objects.filter(state="leased").count) == 1


async def test_a_poll_without_work_ends_at_its_time(bob, training):
    async with asyncio.timeout(10):
        response = await bob.post("/api/tasks/next/?wait=0.01", json={"instance": INSTANCE})

    assert (response.status_code, response.content) == (204, b"")


async def test_nothing_is_leased_for_a_client_that_has_gone(bob, training, handler):
    exchange = Exchange(handler, bob, "POST", "/api/tasks/next/?wait=60", JSON)
    exchange.send(BODY, last=True)
    await parked(1, bob.user.id)
    exchange.disconnect()
    await exchange.finished()

    await call(start_it, training)

    assert await read(Task.objects.filter(state="leased").count) == 0


async def test_a_request_that_is_cancelled_leaves_no_task_behind(bob, training, handler):
    before = asyncio.all_tasks()
    exchange = Exchange(handler, bob, "POST", "/api/tasks/next/?wait=60", JSON)
    exchange.send(BODY, last=True)
    await parked(1, bob.user.id)

    exchange.task.cancel()
    await exchange.finished()
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before
    assert bob.user.id not in HINTS._waiting


async def test_gone_and_offered_at_the_same_moment_is_gone(bob, training, handler):
    exchange = Exchange(handler, bob, "POST", "/api/tasks/next/?wait=60", JSON)
    exchange.send(BODY, last=True)
    await parked(1, bob.user.id)
    await call(start_it, training)
    exchange.disconnect()
    HINTS.tasks_offered([bob.user.id])
    await exchange.finished()

    leased = await read(Task.objects.filter(state="leased").count)
    assert leased == (1 if exchange.status == 200 else 0), "leased, or not answered"


async def test_a_client_whose_token_is_revoked_while_it_waits_is_given_nothing(bob, training):
    asking = asyncio.create_task(bob.post("/api/tasks/next/?wait=60", json={"instance": INSTANCE}))
    await parked(1, bob.user.id)
    await call(Token.objects.filter(user=bob.user).delete)

    await call(start_it, training)

    async with asyncio.timeout(10):
        refused(await asking, 401, "authentication_failed")
    assert await read(Task.objects.filter(state="leased").count) == 0


async def test_clients_that_wait_hold_no_thread(bob, training, handler):
    await bob.post("/api/tasks/next/", json={"instance": INSTANCE})
    exchanges = [Exchange(handler, bob, "POST", "/api/tasks/next/?wait=60", JSON) for _ in range(PARKED)]
    for exchange in exchanges:
        exchange.send(BODY, last=True)
    await parked(PARKED, bob.user.id)

    assert threading.active_count() <= bound_on_threads()
    async with asyncio.timeout(30):
        assert await read(User.objects.count) == 3, "a reader and its connection are free"

    for exchange in exchanges:
        exchange.disconnect()
    for exchange in exchanges:
        await exchange.finished()
    assert bob.user.id not in HINTS._waiting


def bound_on_threads():
    """The pools at their fullest, and whatever the test runner has of its own."""
    others = [thread for thread in threading.enumerate() if not thread.name.startswith("hansa-")]
    pools = bridge.WRITERS + bridge.READERS + bridge.WORKERS + bridge.COMPUTERS + bridge.LABOURERS
    return len(others) + 1 + pools


async def test_whoever_waits_is_answered_before_the_server_ends(bob, training):
    asking = asyncio.create_task(bob.post("/api/tasks/next/?wait=60", json={"instance": INSTANCE}))
    await parked(1, bob.user.id)

    HINTS.close()

    async with asyncio.timeout(10):
        assert (await asking).status_code == 204


async def test_the_record_of_a_training_can_be_waited_for(alice, bob, started):
    url = f"/api/trainings/{started.id}/"
    known = (await alice.get(url)).json()["revision"]
    asking = asyncio.create_task(alice.get(f"{url}?wait=60&revision={known}"))
    await parked(1, started.id)

    await call(lease, bob)

    async with asyncio.timeout(10):
        record = (await asking).json()
    assert record["revision"] != known
    assert "1 at work" in record["reason"]


async def test_who_does_not_know_the_newest_record_gets_it_at_once(alice, started):
    async with asyncio.timeout(10):
        assert (await alice.get(f"/api/trainings/{started.id}/?wait=60&revision=1")).status_code == 200
        assert (await alice.get(f"/api/trainings/{started.id}/?wait=60")).status_code == 200


async def test_the_same_record_is_sent_when_the_time_is_over(alice, started):
    url = f"/api/trainings/{started.id}/"
    known = (await alice.get(url)).json()

    async with asyncio.timeout(10):
        assert (await alice.get(f"{url}?wait=0.01&revision={known['revision']}")).json() == known


async def test_a_participant_that_is_removed_while_waiting_sees_nothing_more(alice, bob, started):
    url = f"/api/trainings/{started.id}/"
    known = (await bob.get(url)).json()["revision"]
    asking = asyncio.create_task(bob.get(f"{url}?wait=60&revision={known}"))
    await parked(1, started.id)

    await call(trainings.remove_clients, training_id=started.id, clients=[bob.user])

    async with asyncio.timeout(10):
        assert (await asking).status_code == 404


@pytest.mark.parametrize("query", ["wait=121", "wait=x", "revision=x", "wait=1&revision=-2"])
async def test_refuses_to_wait_for_what_is_no_number(alice, started, query):
    assert (await alice.get(f"/api/trainings/{started.id}/?{query}")).status_code == 400
