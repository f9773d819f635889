"""GET /api/trainings/<id>/events/: what happened, in order; who sees what of it."""

from uuid import uuid4

import numpy as np
import pytest
from django.db import transaction

from hansa.protocol.events import Event as WireEvent
from hansa.protocol.events import EventKind, EventPage
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Event, Training
from hansa.server.trainings.services import eventlog, tasks, trainings
from support.answers import refused, refused_field, shown
from support.work import INSTANCE, add_up, lease, report_of, settle, start, update, upload, upload_and_report


def url(training, **query):
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return f"/api/trainings/{training.id}/events/?{asked}"


async def events_of(person, training, **query):
    return shown(await person.get(url(training, **query)), EventPage).events


async def kinds_of(person, training, **query):
    return [event.kind for event in await events_of(person, training, **query)]


async def texts_of(person, training, **query):
    return [event.text for event in await events_of(person, training, **query)]


@pytest.fixture
async def round_done(alice, bob, carol, make_training):
    """A training of one round with an evaluation, up to the end of its round's training."""
    training = await call(lambda: start(make_training(bob, carol, evaluation={"every": 1})))
    for client, add in ((bob, 1.0), (carol, 4.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, training)
    await call(add_up, training)
    return training


async def test_a_round_is_told_from_its_opening_to_its_version(alice, round_done):
    size = len(update())
    assert await texts_of(alice, round_done) == [
        "the training was created",
        "bob takes part",
        "carol takes part",
        "the training was started",
        "round 1 begins from version 0, 2 clients",
        "bob trains in round 1",
        f"bob's update in round 1 was accepted, 10 examples, {size} B, norm 3",
        "carol trains in round 1",
        f"carol's update in round 1 was accepted, 10 examples, {size} B, norm 12",
        "round 1 closed, 2 reports: 2 of 2 clients have reported",
        "round 1 made version 1",
        "round 1 has its version evaluated, 2 clients",
    ]


async def test_an_event_has_its_facts_beside_its_words(alice, bob, round_done, clock):
    (reported,) = await events_of(alice, round_done, kind="task.reported", client="bob")

    assert reported == WireEvent(
        id=reported.id,
        at=clock.now.isoformat(),
        kind="task.reported",
        text=reported.text,
        round=1,
        attempt=1,
        client=bob.id,
        username="bob",
        reason="",
        data={"task": "train", "examples": 10, "bytes": len(update()), "norm": pytest.approx(3.0)},
    )


async def test_events_are_numbered_in_order_and_a_page_says_where_the_next_begins(alice, round_done):
    everything = await events_of(alice, round_done)
    numbers = [event.id for event in everything]
    assert numbers == sorted(set(numbers))

    first = shown(await alice.get(url(round_done, limit=5)), EventPage)
    assert (first.events, first.next, first.more) == (everything[:5], numbers[4], True)
    rest = shown(await alice.get(url(round_done, after=first.next)), EventPage)
    assert (rest.events, rest.next, rest.more) == (everything[5:], numbers[-1], False)
    end = shown(await alice.get(url(round_done, after=rest.next)), EventPage)
    assert (end.events, end.next, end.more) == ([], numbers[-1], False)


async def test_the_last_events_are_found_from_the_end(alice, round_done):
    everything = await events_of(alice, round_done)

    last = shown(await alice.get(url(round_done, before=2**53, limit=5)), EventPage)
    assert (last.events, last.next, last.more) == (everything[-5:], everything[-1].id, True)
    earlier = shown(await alice.get(url(round_done, before=last.events[0].id, limit=100)), EventPage)
    assert (earlier.events, earlier.more) == (everything[:-5], False)
    none = shown(await alice.get(url(round_done, before=0)), EventPage)
    assert (none.events, none.next, none.more) == ([], 0, False)


async def test_events_are_asked_for_by_round_client_and_kind(alice, bob, round_done):
    assert await kinds_of(alice, round_done, kind="training") == ["training.created", "training.started"]
    assert await kinds_of(alice, round_done, kind="round.closed,round.aggregated") == [
        "round.closed",
        "round.aggregated",
    ]
    bobs = ["participant.added", "task.leased", "task.reported"]
    assert await kinds_of(alice, round_done, client="bob") == bobs
    assert await kinds_of(alice, round_done, client=bob.id) == bobs
    assert await kinds_of(alice, round_done, client=bob.id, round=1, kind="task") == bobs[1:]
    assert {event.round for event in await events_of(alice, round_done, round=1)} == {1}
    assert await kinds_of(alice, round_done, round=2) == []


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ({"after": "-1"}, "after", ["'-1'"]),
        ({"limit": "0"}, "limit", ["1 to 1000"]),
        ({"limit": "1001"}, "limit", ["1 to 1000"]),
        ({"round": "two"}, "round", ["'two'"]),
        ({"round": "0.5"}, "round", ["'0.5'", "whole number"]),
        ({"after": "9" * 5000}, "after", ["whole number"]),
        ({"kind": "task.reported,tusk"}, "kind", ["'tusk'", "task.reported", "training"]),
        ({"client": "dave"}, "client", ["'dave'", "no participant"]),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_by_its_field(alice, training, query, field, words):
    refused_field(await alice.get(url(training, **query)), field, *words)


async def test_a_participant_sees_the_training_its_rounds_and_itself_and_nothing_of_others(bob, round_done):
    events = await events_of(bob, round_done)

    assert [event.text for event in events] == [
        "the training was created",
        "bob takes part",
        "the training was started",
        "round 1 begins from version 0",
        "bob trains in round 1",
        f"bob's update in round 1 was accepted, 10 examples, {len(update())} B, norm 3",
        "round 1 closed",
        "round 1 made version 1",
        "round 1 has its version evaluated",
    ]
    of_rounds = [event for event in events if event.kind.startswith("round.")]
    assert [(event.reason, event.data) for event in of_rounds] == [
        ("", {"version": 0}),
        ("", {"phase": "train"}),
        ("", {"version": 1}),
        ("", {"phase": "evaluating"}),
    ]
    refused_field(await bob.get(url(round_done, client="carol")), "client", "'carol'", "no participant")
    assert await kinds_of(bob, round_done, client="bob", kind="task") == ["task.leased", "task.reported"]


async def test_pages_of_a_participant_are_whole_though_they_leave_out_others(bob, round_done):
    everything, found, after = await events_of(bob, round_done), [], 0
    while True:
        page = shown(await bob.get(url(round_done, after=after, limit=2)), EventPage)
        found, after = found + page.events, page.next
        if not page.more:
            break

    assert found == everything
    last = shown(await bob.get(url(round_done, before=2**53, limit=2)), EventPage)
    assert (last.events, last.more) == (everything[-2:], True)


async def test_others_know_of_no_such_log(mallory, training, root, nobody):
    refused(await mallory.get(url(training)), 404, "not_found")
    assert await kinds_of(root, training) == ["training.created", "participant.added", "participant.added"]
    assert (await nobody.get(url(training))).status_code == 401
    unknown = Training(id=uuid4())
    refused(await root.get(url(unknown)), 404, "not_found")


async def test_what_is_undone_has_left_no_event(alice, started):
    before = await kinds_of(alice, started)

    def undone():
        with transaction.atomic():
            trainings.pause(training_id=started.id)
            transaction.set_rollback(True)

    await call(undone)
    refused(await alice.post(f"/api/trainings/{started.id}/resume/"), 409, "wrong_state")
    assert await kinds_of(alice, started) == before


async def test_what_the_actor_does_is_told(alice, bob, carol, dave, started, clock):
    known = (await events_of(alice, started))[-1].id
    await call(trainings.pause, training_id=started.id)
    await call(trainings.resume, training_id=started.id, now=clock.now)
    await call(trainings.add_clients, training_id=started.id, clients=[dave.user, bob.user])
    await call(trainings.remove_clients, training_id=started.id, clients=[carol.user])
    await call(trainings.remove_clients, training_id=started.id, clients=[carol.user])
    await call(trainings.leave, training_id=started.id, client=bob.user)
    await call(trainings.add_clients, training_id=started.id, clients=[bob.user])
    await call(trainings.cancel, training_id=started.id, now=clock.now)

    assert await texts_of(alice, started, after=known) == [
        "the training was paused: paused by its actor",
        "the training was resumed",
        "dave takes part",
        "carol was removed",
        "bob left",
        "bob takes part",
        "the training was cancelled",
        "round 1 was abandoned: the training was cancelled",
    ]


@pytest.fixture
def dave(person):
    return person("dave", client=True)


async def test_what_becomes_of_clients_is_told(alice, bob, carol, make_training, clock):
    plan = {"closing": {"quorum": 1}, "participation": {"exclude_after": 1}, "rounds": 3}
    training = await call(lambda: start(make_training(bob, carol, **plan)))
    known = (await events_of(alice, training))[-1].id
    task = await call(lease, bob)
    await call(tasks.give_back, task_id=task.id, user_id=bob.user.id, reason="out of memory", failed=True)
    await call(lease, carol)
    clock.advance(61)
    await call(settle, training)

    failed = "tasks that failed, or were lost after it had taken them: 1 in a row, the last in round 1"
    gone = "nobody is left to wait for (bob failed, carol was lost)."
    assert await texts_of(alice, training, after=known, kind="task,participant,round.abandoned") == [
        "bob trains in round 1",
        "bob failed in round 1: out of memory",
        f"bob is asked no more: {failed}",
        "carol trains in round 1",
        "carol was lost in round 1: the lease ended without a sign of life",
        f"round 1 was abandoned: only 0 of 2 clients have reported, 1 are needed, and {gone}",
        f"carol is asked no more: {failed}",
    ]
    theirs = await texts_of(carol, training, kind="task,participant,round.abandoned")
    assert "round 1 was abandoned" in theirs
    assert not [text for text in theirs if "bob" in text or "memory" in text]


async def test_whom_a_round_does_not_wait_for_is_told(alice, bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol, closing={"quorum": 1})))
    await call(lease, carol)
    await upload_and_report(bob, await call(lease, bob), update())
    await call(settle, training)

    assert await texts_of(alice, training, kind="task.closed") == [
        "round 1 went on without carol: round 1 closed without it: the quorum of 1 has reported"
    ]


async def test_a_refused_update_is_told_with_its_reason(alice, bob, carol, started, bobs_task):
    known = (await events_of(alice, started))[-1].id
    broken = update(fc__bias=np.float32([0, np.nan, 0]))
    answer = await bob.put(f"/api/tasks/{bobs_task.id}/update/{broken.digest}/", content=broken.content)

    (event,) = await events_of(alice, started, after=known)
    assert (event.kind, event.username, event.data) == ("task.refused", "bob", {"task": "train", "code": "not_finite"})
    assert event.reason == refused(answer, 422, "not_finite")
    assert event.text.startswith("bob's update was refused in round 1: 'fc.bias' holds nan")
    assert await kinds_of(carol, started, after=known) == []
    assert await kinds_of(bob, started, after=known) == ["task.refused"]


async def test_a_refused_report_is_told_and_an_early_one_is_not(alice, bob, started, bobs_task):
    file = update()
    early = await bob.post(f"/api/tasks/{bobs_task.id}/report/", json=report_of(file))
    refused(early, 409, "upload_incomplete")
    await upload(bob, bobs_task, file)
    await bob.post(f"/api/tasks/{bobs_task.id}/report/", json=report_of(None))

    (event,) = await events_of(alice, started, kind="task.refused")
    assert (event.data["code"], "'digest' is missing" in event.reason) == ("invalid", True)


async def test_who_sends_garbage_for_ever_fills_nothing(alice, bob, started, bobs_task):
    for number in range(eventlog.MOST_REPEATED + 5):
        garbage = b"x" * (number + 1)
        answer = await bob.put(f"/api/tasks/{bobs_task.id}/update/{'0' * 64}/", content=garbage)
        refused(answer, 409, "digest_mismatch")

    events = await events_of(alice, started, kind="task.refused")
    assert len(events) == eventlog.MOST_REPEATED
    assert [event.data.get("times") for event in events[-2:]] == [None, 6]
    assert "(6 times): The bytes have the digest" in events[-1].text


async def test_who_takes_a_task_and_gives_it_back_for_ever_fills_nothing(alice, bob, started):
    for _ in range(eventlog.MOST_REPEATED + 5):
        task = await call(lease, bob)
        await call(tasks.give_back, task_id=task.id, user_id=bob.user.id, reason="not now", failed=False)

    assert len(await events_of(alice, started, kind="task.lost")) == eventlog.MOST_REPEATED
    assert len(await events_of(alice, started, kind="task.leased")) == eventlog.MOST_REPEATED


async def test_who_asks_again_for_what_it_holds_has_taken_nothing(alice, bob, started):
    for _ in range(3):
        await bob.post("/api/tasks/next/", json={"instance": INSTANCE})

    assert await kinds_of(alice, started, kind="task") == ["task.leased"]


async def test_a_deleted_training_leaves_no_events(alice, round_done):
    assert (await alice.delete(f"/api/trainings/{round_done.id}/")).status_code == 200

    assert await read(Event.objects.count) == 0


def test_every_kind_has_a_family_and_fits_its_column():
    assert {kind.partition(".")[0] for kind in EventKind} == {"training", "participant", "round", "task"}
    assert max(map(len, EventKind)) <= Event._meta.get_field("kind").max_length
