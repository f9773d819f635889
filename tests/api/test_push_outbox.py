"""The outbox: first in, first out for each receiver of a training, and nobody waits for another."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from hansa.server.lifecycle.bridge import call, read
from hansa.server.notifications import deliverer, outcomes, sending, services
from hansa.server.notifications.models import Notification, State
from hansa.server.notifications.outcomes import DELAYS, Answer, outcome_of
from hansa.server.notifications.services import Message
from hansa.tracecontext import received
from support.receiver import Receiver, answers, closes, delivering, hangs

QUEUE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture(autouse=True)
def this_machine(home, promptly, allow):
    allow("127.0.0.0/8")


@pytest.fixture
def push(person, receiver):
    """Makes push clients."""

    async def make(name, at=receiver):
        return await call(person, name, client=True, message_endpoint=at.url)

    return make


async def enqueue(*messages, queue=QUEUE, **fields):
    """Queue messages: pairs of a person and a word."""
    rows = [Message(queue, who.user.id, word, {"notification_type": word}, **fields) for who, word in messages]
    await call(services.enqueue, rows, now=timezone.now())


async def states():
    """What became of each message, in order."""
    return await read(lambda: dict(Notification.objects.values_list("kind", "state")))


async def until(condition, what):
    """Look until it is so; what the deliverer does is only to be seen in rows."""
    try:
        async with asyncio.timeout(20):
            while not await condition():
                pass
    except TimeoutError:
        raise AssertionError(f"{what}; now: {await states()}") from None


async def others_had_their_turn():
    """Time enough for what must not happen, without a clock."""
    for _ in range(50):
        await states()


async def all_settled():
    async def none_pending():
        return not await read(Notification.objects.filter(state=State.PENDING).exists)

    await until(none_pending, "something is still pending")
    return await states()


async def attempted(kind, times):
    async def so_often():
        return await read(Notification.objects.filter(kind=kind, attempts__gte=times).exists)

    await until(so_often, f"{kind} was not attempted {times} times")


async def test_messages_arrive_in_the_order_they_were_queued_in(push, receiver):
    dave = await push("dave")
    words = [f"word-{number}" for number in range(20)]
    await enqueue(*((dave, word) for word in words))

    async with delivering():
        await receiver.has(20)
        await all_settled()

    assert receiver.kinds == words
    assert len({told.id for told in receiver.told}) == 20


async def test_a_message_waits_for_the_one_before_it_to_be_settled(push, receiver, clock):
    dave = await push("dave")
    receiver.then = [closes, closes, answers(202)]
    await enqueue((dave, "first"), (dave, "second"))

    async with delivering():
        await attempted("first", 1)
        clock.advance(0.5)
        await attempted("first", 2)
        assert receiver.kinds == ["first", "first"]
        clock.advance(1)
        await all_settled()

    assert receiver.kinds == ["first", "first", "first", "second"]
    assert len({told.id for told in receiver.told[:3]}) == 1, "attempts at one message have one id"
    spans = [received([told.headers["traceparent"]]) for told in receiver.told]
    assert [span.trace_id for span in spans] == [uuid.UUID(told.id).hex for told in receiver.told], "and are one trace"


async def test_what_is_queued_while_it_runs_is_sent_without_waiting_for_a_sweep(push, receiver, monkeypatch):
    monkeypatch.setattr(deliverer, "SWEEP_SECONDS", 3600)
    dave = await push("dave")

    async with delivering():
        for number in range(3):
            await enqueue((dave, f"word-{number}"))
            await receiver.has(number + 1)


async def test_without_an_answer_it_is_tried_seven_times_with_growing_pauses_and_then_unreachable(
    push, receiver, clock
):
    dave = await push("dave")
    receiver.then = [closes]
    await enqueue((dave, "word"))

    async with delivering():
        for attempt, pause in enumerate(DELAYS, start=1):
            await attempted("word", attempt)
            row = await read(Notification.objects.get)
            assert row.next_attempt_at == clock.now + timedelta(seconds=pause)
            assert "closed the connection" in row.reason
            assert len(receiver.told) == attempt
            clock.advance(pause)
        assert await all_settled() == {"word": State.UNREACHABLE}

    assert len(receiver.told) == 7
    row = await read(Notification.objects.get)
    assert (row.attempts, row.settled_at) == (7, clock.now)
    assert "(7 attempts)" in row.reason
    assert sum(DELAYS) == 31.5


async def test_the_pauses_are_kept_without_waiting_for_a_sweep(push, receiver, monkeypatch):
    monkeypatch.setattr(deliverer, "SWEEP_SECONDS", 3600)
    monkeypatch.setattr(outcomes, "DELAYS", (0.001, 0.002, 0.004))
    dave = await push("dave")
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime.now(UTC))  # time goes on
    receiver.then = [closes]
    await enqueue((dave, "word"))

    async with delivering():
        assert await all_settled() == {"word": State.UNREACHABLE}

    assert len(receiver.told) == 4


async def test_what_waited_behind_an_unreachable_message_has_one_attempt_more(push, receiver, clock):
    dave = await push("dave")
    receiver.then = [closes]
    await enqueue((dave, "first"), (dave, "second"))

    async with delivering():
        for attempt, pause in enumerate(DELAYS, start=1):
            await attempted("first", attempt)
            clock.advance(pause)
        assert await all_settled() == {"first": State.UNREACHABLE, "second": State.UNREACHABLE}

    assert receiver.kinds == [*["first"] * 7, "second"]


async def test_a_restart_goes_on_with_the_attempts(push, receiver, clock):
    dave = await push("dave")
    receiver.then = [closes, closes, answers(202)]
    await enqueue((dave, "word"))
    async with delivering():
        await attempted("word", 1)
    clock.advance(0.5)
    async with delivering():
        await attempted("word", 2)
        assert await states() == {"word": State.PENDING}
        clock.advance(1)
        await all_settled()

    assert len(receiver.told) == 3
    assert len({told.id for told in receiver.told}) == 1


async def test_a_rejection_is_not_tried_again_and_the_next_message_is_sent(push, receiver):
    dave = await push("dave")
    receiver.then = [answers(500), answers(202)]
    await enqueue((dave, "first"), (dave, "second"))

    async with delivering():
        assert await all_settled() == {"first": State.REJECTED, "second": State.DELIVERED}

    assert receiver.kinds == ["first", "second"]


async def test_a_receiver_that_hangs_keeps_no_other_waiting_and_no_other_training_of_its_own(push, receiver):
    async with Receiver(hangs).listening() as hanging:
        slow, quick = await push("slow", hanging), await push("quick")
        await enqueue((slow, "one"), (slow, "two"), (quick, "three"))
        await enqueue((slow, "four"), (quick, "five"), queue=OTHER)

        async with delivering():
            await receiver.has(2)
            await hanging.has(2)

        assert sorted(receiver.kinds) == ["five", "three"]
        assert sorted(hanging.kinds) == ["four", "one"], "two trainings, each with its first message"


async def test_a_training_with_many_receivers_does_not_come_before_one_with_few(push, receiver, monkeypatch):
    monkeypatch.setattr(deliverer, "AT_ONCE", 1)
    monkeypatch.setattr(deliverer, "MOMENT_SECONDS", 3600)
    many = [await push(f"many-{number}") for number in range(30)]
    few = await push("few")
    await enqueue(*((each, "many") for each in many))
    await enqueue((few, "few"), queue=OTHER)

    async with delivering():
        await receiver.has(31)

    # The second of 31 lines to be begun; which of those read beside each other is sent first, the threads decide.
    assert receiver.kinds.index("few") < 15


async def test_of_two_hundred_receivers_the_quarter_that_hangs_is_waited_for_by_nobody(push, receiver, monkeypatch):
    """By order, not by the clock: no hanging one is given up before every other receiver is told."""
    monkeypatch.setattr(deliverer, "AT_ONCE", 16)  # fewer than hang: they would block all others for good
    monkeypatch.setattr(sending, "ANSWER_SECONDS", 600)  # however long a busy machine takes to tell the others
    async with Receiver(hangs).listening() as hanging:
        people = [await push(f"client-{number:03}", hanging if number % 4 == 0 else receiver) for number in range(200)]
        await enqueue(*((each, "word") for each in people))

        async with delivering():
            await receiver.has(150, seconds=120)
            given_up = await read(Notification.objects.exclude(state=State.DELIVERED).filter(attempts__gt=0).count)
            await hanging.has(50, seconds=120)

    assert given_up == 0
    assert len({told.id for told in receiver.told + hanging.told}) == 200


async def test_there_is_an_end_to_how_many_attempts_run_at_once(push, receiver, monkeypatch):
    monkeypatch.setattr(deliverer, "IN_ALL", 3)
    monkeypatch.setattr(deliverer, "MOMENT_SECONDS", 0)
    receiver.gate.clear()
    people = [await push(f"client-{number}") for number in range(6)]
    await enqueue(*((each, "word") for each in people))

    async with delivering():
        await receiver.has(3)
        await others_had_their_turn()
        assert len(receiver.told) == 3
        receiver.gate.set()
        await all_settled()

    assert len(receiver.told) == 6


async def test_a_newer_message_takes_the_place_of_an_older_one_that_was_not_told(push, receiver, clock):
    dave, erin = await push("dave"), await push("erin")
    receiver.then = [closes]
    await enqueue((dave, "start"), (erin, "start-of-erin"))
    await enqueue((dave, "round-1"), (erin, "round-1-of-erin"), supersedable=True)
    await enqueue((dave, "round-2"), supersedable=True)
    await enqueue((dave, "elsewhere"), queue=OTHER, supersedable=True)

    assert await states() == {
        "start": State.PENDING,
        "start-of-erin": State.PENDING,
        "round-1": State.DROPPED,
        "round-1-of-erin": State.PENDING,
        "round-2": State.PENDING,
        "elsewhere": State.PENDING,
    }
    dropped = await read(Notification.objects.get, kind="round-1")
    assert "a newer message" in dropped.reason
    assert dropped.settled_at is not None


async def test_a_message_that_is_dropped_while_it_is_sent_stays_dropped_and_the_next_follows(push, receiver):
    dave = await push("dave")
    receiver.gate.clear()
    await enqueue((dave, "round-1"), supersedable=True)

    async with delivering():
        await receiver.has(1)
        await enqueue((dave, "round-2"), supersedable=True)
        await others_had_their_turn()
        assert receiver.kinds == ["round-1"]
        receiver.gate.set()
        await all_settled()

    assert await states() == {"round-1": State.DROPPED, "round-2": State.DELIVERED}
    assert receiver.kinds == ["round-1", "round-2"]


async def test_the_endpoint_of_the_moment_counts(push, receiver, clock):
    async with Receiver(closes).listening() as before:
        dave = await push("dave", before)
        await enqueue((dave, "word"))
        async with delivering():
            await attempted("word", 1)
            dave.user.message_endpoint = receiver.url
            await call(dave.user.save)
            clock.advance(0.5)
            await all_settled()

    assert (len(before.told), len(receiver.told)) == (1, 1)


@pytest.mark.parametrize("change", [{"message_endpoint": ""}, {"is_active": False}])
async def test_who_has_no_endpoint_any_more_is_not_told(push, receiver, change):
    dave = await push("dave")
    await enqueue((dave, "word"))
    for name, value in change.items():
        setattr(dave.user, name, value)
    await call(dave.user.save)

    async with delivering():
        assert await all_settled() == {"word": State.DROPPED}

    assert receiver.told == []


async def test_a_user_who_is_deleted_while_being_told_leaves_nothing_behind(push, receiver):
    dave, erin = await push("dave"), await push("erin")
    receiver.gate.clear()
    await enqueue((dave, "word"))

    async with delivering():
        await receiver.has(1)
        await call(dave.user.delete)
        receiver.gate.set()
        await enqueue((erin, "other"))
        await all_settled()

    assert await states() == {"other": State.DELIVERED}


async def test_an_endpoint_that_is_no_longer_allowed_is_not_tried_again(push, receiver, allow):
    dave = await push("dave")
    await enqueue((dave, "word"))
    allow("elsewhere")

    async with delivering():
        assert await all_settled() == {"word": State.DROPPED}

    assert receiver.told == []
    assert (await read(Notification.objects.get)).attempts == 1


class Stumbling:
    """A sender with a mistake in it."""

    async def tell(self, **_):
        raise ZeroDivisionError

    def close(self):
        pass


async def test_a_mistake_of_ours_counts_as_no_answer_so_that_nothing_waits_for_ever(push, clock):
    await enqueue((await push("dave"), "word"))

    async with delivering(Stumbling()):
        for attempt, pause in enumerate(DELAYS, start=1):
            await attempted("word", attempt)
            clock.advance(pause)

        assert await all_settled() == {"word": State.UNREACHABLE}


async def test_a_database_in_trouble_is_tried_again(push, receiver, monkeypatch):
    monkeypatch.setattr(deliverer, "TROUBLE_SECONDS", 0.01)
    troubles = iter([True, True, False])
    read_lines = deliverer.selectors.lines

    def lines():
        if next(troubles, False):
            raise RuntimeError("database is locked")
        return read_lines()

    monkeypatch.setattr(deliverer.selectors, "lines", lines)
    await enqueue((await push("dave"), "word"))

    async with delivering():
        await receiver.has(1)
        await all_settled()


async def test_a_server_that_ends_hears_the_answer_to_what_it_has_sent(push, receiver, monkeypatch):
    monkeypatch.setattr(deliverer, "PARTING_SECONDS", 20)
    dave = await push("dave")
    receiver.gate.clear()
    await enqueue((dave, "first"), (dave, "second"))

    async with delivering():
        await receiver.has(1)
        asyncio.get_running_loop().call_later(0.05, receiver.gate.set)

    assert await states() == {"first": State.DELIVERED, "second": State.PENDING}
    assert receiver.kinds == ["first"]


async def test_what_was_settled_days_ago_is_deleted(push, clock):
    dave = await push("dave")
    await enqueue((dave, "old"), (dave, "new"), (dave, "pending"))
    for word in ("old", "new"):
        row = await read(Notification.objects.get, kind=word)
        outcome = outcome_of(id=row.id, queue=row.queue, attempts=0, answer=Answer(State.DELIVERED), now=timezone.now())
        await call(services.record, outcome=outcome, now=timezone.now())
        clock.advance(24 * 3600)

    assert await call(services.tidy, before=clock.now - timedelta(hours=36)) == 1

    assert await states() == {"new": State.DELIVERED, "pending": State.PENDING}


async def test_the_limits_are_those_that_are_documented():
    assert (sending.CONNECT_SECONDS, sending.ANSWER_SECONDS) == (5, 10)
    assert (sending.MAX_REDIRECTS, sending.REST_BYTES) == (3, 65536)
