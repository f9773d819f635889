"""Attempts at a round that came to nothing, with a reason in the record and without."""

from dataclasses import replace

import pytest

from hansa.rounds import plan as plans
from hansa.simulation.chaos.findings import Fault
from hansa.simulation.chaos.record import Event, Record
from hansa.simulation.chaos.verification import verify
from support.chaos_records import CLIENTS, FIRST, asked, carried_through, in_time, recorded


def vain(folder, *reported: int, gone=(), never_came=False, accepted=False, **plan) -> Record:
    """A training of one round, whose first attempt came to nothing: these had reported, these were lost or failed."""
    record = recorded(folder, [in_time(0, 1)], [])
    done = replace(record.rounds["1"], attempt=2)
    of = replace(carried_through("0", 1, 0, 0, in_time(*reported), FIRST), state="abandoned", version=None)
    tasks, updates = asked(of, FIRST)
    came = [] if never_came else range(CLIENTS)
    lost = dict.fromkeys(gone, "task.lost")
    events = [Event("training", 1, 1, ordinal, "task.leased", "train") for ordinal in came]
    events += [Event("training", 1, 1, ordinal, lost[ordinal], "train") for ordinal in gone]
    data = plans.to_data(plans.parse({"rounds": 1, **plan}))
    return replace(
        record,
        trainings={"training": replace(record.trainings["training"], plan=data)},
        rounds={"0": of if accepted else replace(of, accepted=[]), "1": done},
        tasks={**record.tasks, **{task.id: task for task in tasks}},
        updates={**record.updates, **{update.task: update for update in updates}},
        events=events,
    )


def found(record: Record) -> list[str]:
    texts = []
    for finding in verify(record, []):
        assert finding.fault is Fault.LOST
        texts.append(finding.text)
    return texts


def test_too_few_have_reported_and_all_others_are_gone(tmp_path):
    assert found(vain(tmp_path, 0, gone=[1, 2, 3])) == []


def test_so_few_are_enough_for_its_plan(tmp_path):
    (text,) = found(vain(tmp_path, 0, 1, gone=[2, 3]))
    assert text == "round 1.1 of training training was abandoned, and 2 clients had reported, of whom 2 are enough"


def test_somebody_was_still_at_work(tmp_path):
    (text,) = found(vain(tmp_path, 0, gone=[1, 3]))
    assert text.endswith("was abandoned, and client 2 was still waited for")


def test_who_was_lost_and_came_again_is_waited_for(tmp_path):
    record = vain(tmp_path, 0, gone=[1, 2, 3])
    back = Event("training", 1, 1, 3, "task.leased", "train")
    (text,) = found(replace(record, events=[*record.events, back]))
    assert "client 3 was still waited for" in text


def test_what_befell_another_attempt_is_no_reason(tmp_path):
    record = vain(tmp_path, 0, gone=[1, 2, 3])
    (text,) = found(replace(record, events=[replace(event, attempt=2) for event in record.events]))
    assert "client 1, 2, 3 was still waited for" in text


def test_it_had_a_list_of_what_counts(tmp_path):
    (text,) = found(vain(tmp_path, 0, gone=[1, 2, 3], accepted=True))
    assert "1 updates were accepted for it" in text


def test_time_was_up_by_a_deadline_of_the_plan(tmp_path):
    assert found(vain(tmp_path, 0, closing={"deadline_seconds": 60})) == []


@pytest.mark.parametrize(("plan", "others"), [({"cohort": {"size": 2}}, True), ({}, False)])
def test_nobody_came_and_there_were_others_to_ask(tmp_path, plan, others):
    record = vain(tmp_path, never_came=True, **plan)
    mine = {name: task for name, task in record.tasks.items() if task.ordinal < (2 if others else CLIENTS)}
    assert (found(replace(record, tasks=mine)) == []) is others
