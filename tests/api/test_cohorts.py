"""Cohorts: more invited than wanted, three ways to select them, and the record from which each is selected again."""

import pytest

from hansa.core.sampling import replay
from hansa.protocol.trainings import Round as RoundRecord
from hansa.protocol.trainings import Selection
from hansa.rounds.decisions import Aggregate
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Participation, Round, Task
from hansa.server.trainings.services import trainings
from support.answers import shown
from support.work import add_up, lease, settle, start, update, upload_and_report


@pytest.fixture
def clients(bob, carol, person):
    return {"bob": bob, "carol": carol} | {name: person(name, client=True) for name in ("dave", "erin", "frank")}


async def newest(training):
    return await read(training.rounds.order_by("-number", "-attempt").first)


async def selected(training):
    row = await newest(training)
    return await read(lambda: list(row.tasks.filter(kind="train").values_list("participation__ordinal", flat=True)))


async def do_round(training, clients, examples=lambda name: 10):
    """Everybody who is still asked trains and reports, and the version is made."""
    row = await newest(training)
    names = await read(lambda: [task.participation.client.username for task in row.tasks.filter(state="offered")])
    for name in names:
        await upload_and_report(clients[name], await call(lease, clients[name]), update(), examples(name))
    await call(settle, training)
    await call(add_up, training)


# More invited than wanted


@pytest.fixture
async def over_selected(make_training, clients):
    """Three of the five are asked where two are wanted."""
    everybody = clients.values()
    return await call(lambda: start(make_training(*everybody, rounds=2, cohort={"size": 2, "over_selection": 0.5})))


async def test_more_are_asked_than_are_wanted_and_the_round_says_how_many(alice, over_selected):
    (record,) = shown(await alice.get(f"/api/trainings/{over_selected.id}/rounds/"), list[RoundRecord])
    assert (record.cohort, record.wanted) == (3, 2)


async def test_when_as_many_as_wanted_have_reported_the_round_closes_and_the_slowest_is_told(over_selected, clients):
    row = await newest(over_selected)
    asked = await read(lambda: [clients[task.participation.client.username] for task in row.tasks.all()])
    first, second, slow = [(client, await call(lease, client)) for client in asked]
    await upload_and_report(*first, update(1.0))
    await call(settle, over_selected)
    assert (await newest(over_selected)).state == "collecting"

    await upload_and_report(*second, update(1.0))
    assert isinstance(await call(settle, over_selected), Aggregate)

    client, task = slow
    closed = await read(Task.objects.get, id=task.id)
    assert closed.state == "closed"
    assert closed.reason == ("round 1 closed without it: 2 of 3 invited clients have reported, as many as wanted")
    heartbeat = (await client.post(f"/api/tasks/{task.id}/heartbeat/", json={})).json()
    assert heartbeat["proceed"] is False
    assert (await newest(over_selected)).accepted is not None
    assert (await read(Participation.objects.get, client=client.user)).failures == 0, "being slow is no failure"


async def test_where_nobody_more_can_be_asked_all_are_waited_for(make_training, bob, carol):
    training = await call(lambda: start(make_training(bob, carol, cohort={"size": 2, "over_selection": 0.5})))
    row = await newest(training)
    assert (row.wanted, await selected(training)) == (None, [0, 1])


# Selections are recorded


@pytest.mark.parametrize("rule", ["uniform", "by_examples", "round_robin"])
async def test_every_round_is_selected_again_from_its_record_whoever_joins_leaves_or_is_excluded(
    make_training, clients, rule
):
    *early, frank = clients.values()
    cohort = {"size": 2, "selection": rule}
    training = await call(lambda: start(make_training(*early, rounds=6, cohort=cohort)))
    changes = {
        2: lambda: trainings.add_clients(training_id=training.id, clients=[frank.user]),
        3: lambda: trainings.leave(training_id=training.id, client=clients["bob"].user),
        4: lambda: training.participations.filter(client=clients["dave"].user).update(excluded="it failed"),
        5: lambda: trainings.add_clients(training_id=training.id, clients=[clients["bob"].user]),
    }
    for number in range(1, 6):
        if number in changes:
            await call(changes[number])
        await do_round(training, clients, examples=lambda name: 10 * len(name))
    await call(trainings.leave, training_id=training.id, client=frank.user)

    rows = await read(lambda: list(training.rounds.order_by("number")))
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        asked = await read(lambda row=row: [task.participation.ordinal for task in row.tasks.filter(kind="train")])
        assert replay(row.selection) == row.selection["selected"] == asked
        assert row.selection["rule"] == rule
    assert rows[1].selection["candidates"] == [0, 1, 2, 3]
    assert rows[2].selection["candidates"] == [0, 1, 2, 3, 4]
    assert rows[3].selection["candidates"] == [1, 2, 3, 4]
    assert rows[4].selection["candidates"] == [1, 3, 4]
    assert rows[5].selection["candidates"] == [0, 1, 3, 4]


async def test_in_round_robin_each_round_goes_on_where_the_one_before_stopped(make_training, clients):
    *early, frank = clients.values()
    cohort = {"size": 2, "selection": "round_robin"}
    training = await call(lambda: start(make_training(*early, rounds=9, cohort=cohort)))
    seen = [await selected(training)]

    async def go_on():
        await do_round(training, clients)
        seen.append(await selected(training))

    await go_on()
    assert seen == [[0, 1], [2, 3]]
    await call(trainings.add_clients, training_id=training.id, clients=[frank.user])
    await go_on()
    assert seen[-1] == [0, 4], "the new one has its turn behind those who were there"
    await call(trainings.leave, training_id=training.id, client=clients["carol"].user)
    await go_on()
    assert seen[-1] == [2, 3], "carol's turn is the next one's"


async def test_an_attempt_that_came_to_nothing_had_its_turn_too(make_training, clients):
    training = await call(
        lambda: start(make_training(*clients.values(), rounds=2, cohort={"size": 1, "selection": "round_robin"}))
    )
    bob = clients["bob"]
    task = await call(lease, bob)
    await bob.post(f"/api/tasks/{task.id}/release/", json={"reason": "no data", "failed": True})
    await call(settle, training)

    row = await newest(training)
    assert (row.number, row.attempt, await selected(training)) == (1, 2, [1])


async def test_by_examples_those_last_reported_count_and_who_has_not_reported_counts_as_the_mean(
    make_training, clients
):
    cohort = {"size": 2, "selection": "by_examples"}
    bob, carol, dave, *_ = clients.values()
    training = await call(lambda: start(make_training(bob, carol, dave, rounds=3, cohort=cohort)))
    first = await newest(training)
    assert first.selection["weights"] == [1, 1, 1]

    asked = first.selection["selected"]
    await do_round(training, clients, examples=lambda name: 30 if name == list(clients)[asked[0]] else 60)

    weights = (await newest(training)).selection["weights"]
    (unasked,) = {0, 1, 2} - set(asked)
    assert (weights[asked[0]], weights[asked[1]], weights[unasked]) == (30, 60, 45)


async def test_the_actor_sees_how_a_round_was_selected_and_participants_do_not(alice, bob, root, over_selected):
    url = f"/api/trainings/{over_selected.id}/rounds/1/"
    row = await newest(over_selected)

    for viewer in (alice, root):
        assert shown(await viewer.get(url), RoundRecord).selection == Selection(**row.selection)
    assert shown(await bob.get(url), RoundRecord).selection is None
    (listed,) = shown(await alice.get(f"/api/trainings/{over_selected.id}/rounds/"), list[RoundRecord])
    assert listed.selection is None


async def test_a_round_from_before_selections_were_recorded_shows_none(alice, over_selected):
    await call(lambda: Round.objects.update(selection=None, wanted=None))
    record = shown(await alice.get(f"/api/trainings/{over_selected.id}/rounds/1/"), RoundRecord)
    assert (record.selection, record.wanted) == (None, None)
