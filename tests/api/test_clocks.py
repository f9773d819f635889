"""Whose time runs when: pauses, restarts, several trainings of the same clients, and an end in the middle."""

import pytest

from hansa.rounds.decide import OFFER_SECONDS
from hansa.rounds.decisions import AbandonRound, DropOffers, Fail, OpenRound, Wait
from hansa.server.accounts import presence
from hansa.server.lifecycle.bridge import call, read
from hansa.server.notifications.models import Notification, State
from hansa.server.trainings import facts
from hansa.server.trainings.models import Round, Task, Update
from hansa.server.trainings.services import rounds, tasks, trainings
from support.work import add_up, lease, settle, start, update, upload_and_report

PAUSE = 120.0
"""Longer than a client may take to come."""
MOMENT = 1.0


def states(training):
    """Every task of the training's newest round by its client."""
    newest = training.rounds.order_by("-number", "-attempt")[0]
    rows = newest.tasks.values_list("participation__client__username", "kind", "state")
    return {(name, kind): state for name, kind, state in rows}


def advance(training, clock):
    return rounds.advance(training_id=training.id, now=clock())


def heartbeat(client, task, clock):
    assert tasks.renew(task_id=task.id, user_id=client.user.id, now=clock()) == ""


def pass_time(clock, seconds, *at_work):
    """Time passes; those at work say every half minute that they are."""
    for _ in range(int(seconds / 30)):
        clock.advance(30)
        for client, task in at_work:
            heartbeat(client, task, clock)


# Pauses and restarts


@pytest.fixture
def pause(clock):
    """Pause a training, and resume it after two minutes in which those at work go on."""

    def pause(training, *at_work):
        trainings.pause(training_id=training.id)
        pass_time(clock, PAUSE, *at_work)
        trainings.resume(training_id=training.id, now=clock())

    return pause


@pytest.fixture
def restart(clock):
    """The server is away for two minutes: no sign of life arrives."""

    def restart(training, *at_work):
        clock.advance(PAUSE)
        assert tasks.forgive_downtime(now=clock()) == len(at_work)

    return restart


@pytest.fixture(params=["pause", "restart"])
def interrupt(request):
    return request.getfixturevalue(request.param)


def test_who_has_not_come_before_an_interruption_is_waited_for_anew(bob, started, clock, interrupt):
    interrupt(started, (bob, bobs := lease(bob)))

    assert isinstance(advance(started, clock), Wait)
    assert states(started) == {("bob", "train"): "leased", ("carol", "train"): "offered"}

    pass_time(clock, OFFER_SECONDS - 30, (bob, bobs))
    assert isinstance(advance(started, clock), Wait)
    pass_time(clock, 30, (bob, bobs))
    assert isinstance(advance(started, clock), DropOffers)


def test_who_was_at_work_when_the_server_went_away_is_at_work_when_it_is_back(bob, carol, started, clock, restart):
    restart(started, (bob, lease(bob)), (carol, lease(carol)))

    assert isinstance(advance(started, clock), Wait)
    assert set(states(started).values()) == {"leased"}


def test_a_deadline_begins_anew_after_an_interruption(bob, carol, make_training, clock, interrupt):
    training = start(make_training(bob, carol, closing={"deadline_seconds": 90}))
    interrupt(training, (bob, bobs := lease(bob)), (carol, carols := lease(carol)))

    pass_time(clock, 60, (bob, bobs), (carol, carols))
    assert isinstance(advance(training, clock), Wait)
    pass_time(clock, 30, (bob, bobs), (carol, carols))
    assert isinstance(advance(training, clock), AbandonRound)


async def test_an_evaluation_that_was_interrupted_waits_for_its_clients_anew(evaluating, clock, interrupt):
    await call(interrupt, evaluating)

    assert isinstance(await call(advance, evaluating, clock), Wait)
    assert (await read(states, evaluating))["bob", "evaluate"] == "offered"

    clock.advance(OFFER_SECONDS)
    assert isinstance(await call(advance, evaluating, clock), DropOffers)


def test_the_clock_of_a_round_that_is_over_does_not_begin_anew(bob, carol, started, clock, restart):
    rounds.abandon(training_id=started.id, reason="for a test", now=clock())
    restart(started)

    assert Round.objects.get(training=started, attempt=1).clock_from is None


# Clients of several trainings


@pytest.fixture
def shared(bob, carol, make_training, clock):
    """Two trainings of Bob and Carol, the first a little older."""
    older = start(make_training(bob, carol))
    clock.advance(MOMENT)
    return older, start(make_training(bob, carol))


@pytest.fixture
def bob_is_in_the_newer(bob, carol, shared, clock):
    """Carol is at work on the older training, and Bob, whom that one has lost, on the newer."""
    _, newer = shared
    bobs, carols = lease(bob), lease(carol)
    tasks.give_back(task_id=bobs.id, user_id=bob.user.id, reason="CUDA out of memory", failed=True)
    bobs = lease(bob)
    assert bobs.round.training_id == newer.id
    return (bob, bobs), (carol, carols)


def test_who_works_for_another_training_is_not_late(bob_is_in_the_newer, shared, carol, clock):
    _, newer = shared
    pass_time(clock, 10 * OFFER_SECONDS, *bob_is_in_the_newer)

    assert isinstance(advance(newer, clock), Wait)
    assert states(newer)["carol", "train"] == "offered"

    _, (_, carols) = bob_is_in_the_newer
    tasks.give_back(task_id=carols.id, user_id=carol.user.id, reason="done with it", failed=True)
    assert lease(carol).round.training_id == newer.id
    assert states(newer) == {("bob", "train"): "leased", ("carol", "train"): "leased"}


async def test_two_trainings_of_the_same_clients_lose_neither(bob, carol, shared, clock):
    """However long the first takes: Bob is done with it early, and Carol late."""
    _, newer = shared
    bobs, carols = await call(lease, bob), await call(lease, carol)
    await upload_and_report(bob, bobs, update(1.0))
    await upload_and_report(bob, await call(lease, bob), update(2.0))
    await call(pass_time, clock, 10 * OFFER_SECONDS, (carol, carols))
    await call(settle, newer)
    await upload_and_report(carol, carols, update(3.0))
    await upload_and_report(carol, await call(lease, carol), update(4.0))

    for training in shared:
        await call(settle, training)
        await call(add_up, training)
        ordinals = [ordinal for ordinal, _, _ in (await read(training.rounds.get)).accepted]
        assert ordinals == [0, 1]


async def test_who_has_just_reported_elsewhere_has_a_moment_to_come(bob_is_in_the_newer, shared, clock):
    """Between a report and the next question for work nobody is at work: the round must not close just then."""
    _, newer = shared
    (bob, bobs), (carol, carols) = bob_is_in_the_newer
    await call(pass_time, clock, 2 * OFFER_SECONDS, (bob, bobs), (carol, carols))
    await upload_and_report(bob, bobs, update(1.0))
    await upload_and_report(carol, carols, update(2.0))

    clock.advance(facts.HANDOVER.total_seconds() - MOMENT)
    assert isinstance(await call(advance, newer, clock), Wait)
    clock.advance(MOMENT)
    assert isinstance(await call(advance, newer, clock), DropOffers)


def test_of_those_who_have_not_come_only_the_idle_are_given_up(person, bob, carol, make_training, clock):
    idle = person("dave", client=True)
    older = start(make_training(carol))
    clock.advance(MOMENT)
    newer = start(make_training(bob, carol, idle))
    at_work = (carol, carols := lease(carol)), (bob, lease(bob))
    assert carols.round.training_id == older.id
    pass_time(clock, OFFER_SECONDS, *at_work)

    assert isinstance(advance(newer, clock), DropOffers)

    assert states(newer) == {
        ("bob", "train"): "leased",
        ("carol", "train"): "offered",
        ("dave", "train"): "lost",
    }
    assert isinstance(advance(newer, clock), Wait)


def test_who_falls_silent_in_a_training_that_is_paused_is_not_waited_for_by_another(bob_is_in_the_newer, shared, clock):
    """Nobody takes leases back while a training is paused: their end is what counts."""
    older, newer = shared
    (bobs, _) = bob_is_in_the_newer
    trainings.pause(training_id=older.id)
    pass_time(clock, 2 * OFFER_SECONDS, bobs)

    assert isinstance(advance(newer, clock), DropOffers)
    assert states(newer)["carol", "train"] == "lost"


# Cohorts nobody comes from


@pytest.fixture
def drawn(bob, carol, make_training):
    """A training that selects one of its two clients at a time; the one selected, and the other."""
    training = start(make_training(bob, carol, cohort={"size": 1}))
    ((name, _),) = states(training)
    return training, *((bob, carol) if name == "bob" else (carol, bob))


def test_another_cohort_is_drawn_when_only_others_come(drawn, clock):
    training, _, other = drawn
    clock.advance(MOMENT)
    presence.saw(other.user.id, clock())
    clock.advance(OFFER_SECONDS - 2 * MOMENT)
    assert isinstance(advance(training, clock), Wait)

    clock.advance(MOMENT)
    assert isinstance(advance(training, clock), AbandonRound)

    training.refresh_from_db()
    assert training.failures == 0, "the training has not come nearer to its end"
    assert advance(training, clock) == OpenRound(1, 2, "round 1 of 1 begins")


def test_the_new_cohort_is_drawn_from_those_who_can_come(drawn, clock):
    training, selected, other = drawn
    clock.advance(OFFER_SECONDS + MOMENT)
    presence.saw(other.user.id, clock())
    settle(training)

    row = training.rounds.get(attempt=2)
    assert row.selection["candidates"] == [training.participations.get(client=other.user).ordinal]
    assert training.participations.get(client=selected.user).absent
    assert lease(other).round == row


def test_cohorts_nobody_comes_from_are_drawn_once_around_and_not_for_ever(person, make_training, clock):
    pushed = [person(f"client{number}", client=True) for number in range(6)]
    for each in pushed:
        each.user.message_endpoint = "https://example.org/"
        each.user.save()
    training = start(make_training(*pushed, cohort={"size": 2}, closing={"min_reports": 1}))
    for _ in range(20):
        Notification.objects.update(state=State.DROPPED)
        clock.advance(OFFER_SECONDS)
        settle(training)

    asked = [tuple(row.selection["selected"]) for row in training.rounds.order_by("attempt")]
    assert len(asked) == 3
    assert sorted(sum(asked, ())) == [*range(6)]


def test_who_is_at_work_elsewhere_is_neither_given_up_nor_drawn_again_at_once(drawn, make_training, person, clock):
    training, selected, other = drawn
    clock.advance(-OFFER_SECONDS)
    start(make_training(selected))
    clock.advance(OFFER_SECONDS)
    held = selected, lease(selected)
    assert held[1].round.training_id != training.id
    pass_time(clock, OFFER_SECONDS, held)
    presence.saw(other.user.id, clock())
    settle(training)

    assert not training.participations.get(client=selected.user).absent
    assert lease(other).round == training.rounds.get(attempt=2)


def test_too_few_others_are_no_cohort(person, make_training, clock):
    clients = [person(f"client{number}", client=True) for number in range(6)]
    training = start(make_training(*clients, cohort={"size": 3}, closing={"min_reports": 2}))
    asked = training.rounds.get().selection["selected"]
    others = [client for ordinal, client in enumerate(clients) if ordinal not in asked]
    clock.advance(OFFER_SECONDS)
    presence.saw(others[0].user.id, clock())
    assert isinstance(advance(training, clock), Wait)

    presence.saw(others[1].user.id, clock())
    assert isinstance(advance(training, clock), AbandonRound)


def test_a_client_with_an_endpoint_never_asks_and_is_there_for_another_cohort(drawn, clock):
    training, _, other = drawn
    other.user.message_endpoint = "https://example.org/"
    other.user.save()
    clock.advance(OFFER_SECONDS)
    settle(training)
    assert training.rounds.get(attempt=2).selection["selected"] == [
        training.participations.get(client=other.user).ordinal
    ]


def test_a_client_whose_account_is_closed_is_not_drawn_and_not_waited_for(drawn, clock):
    training, selected, other = drawn
    other.user.is_active = False
    other.user.save()
    clock.advance(OFFER_SECONDS)
    presence.saw(other.user.id, clock())
    assert isinstance(advance(training, clock), Wait)

    tasks.give_back(task_id=lease(selected).id, user_id=selected.user.id, reason="broken", failed=True)
    settle(training)
    assert training.rounds.get(attempt=2).selection["candidates"] == [
        training.participations.get(client=selected.user).ordinal
    ]


def test_who_left_and_joined_again_is_not_kept_waiting_by_those_who_do_not_come(bob, carol, make_training, clock):
    training = start(make_training(bob, carol))
    trainings.remove_clients(training_id=training.id, clients=[carol.user])
    trainings.add_clients(training_id=training.id, clients=[carol.user])
    clock.advance(OFFER_SECONDS + MOMENT)
    presence.saw(carol.user.id, clock())

    assert isinstance(advance(training, clock), AbandonRound), "she could do nothing in a round that waits for Bob"
    settle(training)
    assert lease(carol).round.training_id == training.id


def test_a_cohort_is_not_drawn_again_because_of_who_came_before_it(drawn, clock):
    training, _, other = drawn
    presence.saw(other.user.id, Round.objects.get(training=training).opened_at)
    clock.advance(10 * OFFER_SECONDS)

    assert isinstance(advance(training, clock), Wait)


def test_the_selected_who_poll_elsewhere_are_no_others(drawn, clock):
    training, selected, _ = drawn
    clock.advance(MOMENT)
    presence.saw(selected.user.id, clock())
    clock.advance(10 * OFFER_SECONDS)

    assert isinstance(advance(training, clock), Wait)


def test_a_training_whose_clients_left_ends_with_the_reason_when_its_next_round_would_begin(
    bob, carol, make_training, clock
):
    training = start(make_training(bob, carol, cohort={"size": 2}, closing={"min_reports": 1}))
    trainings.remove_clients(training_id=training.id, clients=[carol.user])
    bobs = lease(bob)
    tasks.give_back(task_id=bobs.id, user_id=bob.user.id, reason="broken", failed=True)
    assert isinstance(advance(training, clock), AbandonRound)

    decision = advance(training, clock)

    assert isinstance(decision, Fail)
    training.refresh_from_db()
    assert training.status == "error"
    assert "cohort.size is 2, but the training has 1 participants. Add clients" in training.reason


# An end in the middle


async def test_cancelled_while_it_evaluates_the_round_counts_and_its_updates_are_let_go(evaluating, alice, clock):
    answer = await alice.post(f"/api/trainings/{evaluating.id}/cancel/")
    assert answer.status_code == 202

    record = (await alice.get(f"/api/trainings/{evaluating.id}/")).json()
    assert (record["status"], record["rounds_done"], record["version"]) == ("cancelled", 1, 1)
    (only,) = (await alice.get(f"/api/trainings/{evaluating.id}/rounds/")).json()
    assert (only["state"], only["version"], only["done_at"]) == ("done", 1, clock().isoformat())
    assert await read(lambda: [row.blob_id for row in Update.objects.all()]) == [None, None]
    assert not await read(Task.objects.filter(uploaded__isnull=False).exists)
