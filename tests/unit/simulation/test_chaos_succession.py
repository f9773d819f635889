"""Records in which every version has the right bits for its round, and the rounds do not follow one another."""

from dataclasses import replace

import pytest

from hansa.rounds import plan as plans
from hansa.simulation.chaos.findings import Fault
from hansa.simulation.chaos.record import Record, Round, Version
from hansa.simulation.chaos.repetition import digest, mean
from hansa.simulation.chaos.verification import verify
from support.chaos_records import FIRST, asked, carried_through, in_time, recorded, sent

LISTED = in_time(0, 1)


def made(listed, number: int, base):
    """The params of the version that a round makes."""
    return mean([(sent(base, number, ordinal), weight) for ordinal, weight in listed])


def found(record: Record) -> dict[Fault, list[str]]:
    texts: dict[Fault, list[str]] = {}
    for finding in verify(record, []):
        texts.setdefault(finding.fault, []).append(finding.text)
    return texts


def planned(record: Record, **plan: object) -> Record:
    """The same rounds, of a training with another plan."""
    data = plans.to_data(plans.parse({"rounds": len(record.rounds), **plan}))
    return replace(record, trainings={"training": replace(record.trainings["training"], plan=data)})


def with_round(record: Record, of: Round, base, version: Version) -> Record:
    """Its tasks, updates and version beside it."""
    tasks, updates = asked(of, base)
    return replace(
        record,
        versions={**record.versions, version.id: version},
        rounds={**record.rounds, of.id: of},
        tasks={**record.tasks, **{task.id: task for task in tasks}},
        updates={**record.updates, **{update.task: update for update in updates}},
    )


def changed(record: Record, name: str, **fields: object) -> Record:
    """A round of it is another."""
    return replace(record, rounds={**record.rounds, name: replace(record.rounds[name], **fields)})


@pytest.fixture
def honest(tmp_path) -> Record:
    return recorded(tmp_path, [LISTED, in_time(0, 1, 2)], [])


def test_rounds_that_follow_one_another_have_no_fault(honest):
    assert found(honest) == {}


def test_a_plan_of_five_rounds_that_completed_after_two_is_found(honest):
    (text, *more) = found(planned(honest, rounds=5))[Fault.STUCK]
    assert "completed, and its round 3 of 5 was never done" in text
    assert len(more) == 2


def test_a_round_beyond_those_of_the_plan_is_found(honest):
    assert "has round 2 of 1" in found(planned(honest, rounds=1))[Fault.DUPLICATED][0]


def test_a_second_round_begun_from_the_first_version_is_found_though_its_bits_are_right(tmp_path):
    first = planned(recorded(tmp_path, [LISTED], []), rounds=2)
    second = carried_through("2", 2, 0, 2, LISTED, FIRST)
    forked = with_round(first, second, FIRST, Version(2, "model", 2, digest(made(LISTED, 2, FIRST)), None))
    assert found(forked) == {
        Fault.LOST: [f"{second.title} began from version row 0 instead of 1: what came before it is in no model"]
    }


def test_a_round_carried_through_twice_is_found(tmp_path):
    record = recorded(tmp_path, [LISTED, LISTED], [])
    base = made(LISTED, 2, made(LISTED, 1, FIRST))
    again = replace(carried_through("again", 2, 2, 3, LISTED, base), attempt=2)
    twice = with_round(record, again, base, Version(3, "model", 3, digest(made(LISTED, 2, base)), None))
    assert found(twice) == {Fault.DUPLICATED: ["round 2 of training it was carried through 2x"]}


def test_a_base_that_no_row_has_is_found_and_so_is_the_version_that_could_not_be_repeated(honest):
    rotten = replace(honest, versions={**honest.versions, 2: replace(honest.versions[2], digest="f" * 64)})
    texts = found(changed(rotten, "2", base=99))
    assert "began from version row 99 instead of 1" in texts[Fault.LOST][0]
    skipped, unmade = texts[Fault.DIFFERING]
    assert "cannot be computed again: its base, version row 99, was not" in skipped
    assert unmade == "version 2 of training it was computed again 0 times"


def test_a_done_round_whose_list_is_gone_is_found(honest):
    texts = found(changed(honest, "2", accepted=[]))
    assert "version 2 of training it was computed again 0 times" in texts[Fault.DIFFERING]
    assert "the update of client 0 came in time" in texts[Fault.LOST][0]


def test_numbers_of_versions_with_a_gap_are_found(honest):
    gap = replace(honest, versions={**honest.versions, 2: replace(honest.versions[2], number=3)})
    assert "the versions of training it are numbered [0, 1, 3]" in found(gap)[Fault.DIFFERING]


def test_fewer_updates_than_the_plan_needs_are_found(honest):
    (text,) = found(planned(honest, closing={"min_reports": 3}))[Fault.DIFFERING]
    assert "counts 2 updates of 4 clients asked; 3 are needed" in text


def test_another_number_of_clients_than_the_plan_invites_is_found(honest):
    texts = found(planned(honest, cohort={"size": 3}))[Fault.DIFFERING]
    assert [text.partition(" asked ")[2] for text in texts] == ["4 clients; the plan invites 3"] * 2


def test_an_update_in_time_that_the_list_lacks_is_found_without_any_receipt(honest):
    task = replace(honest.tasks["1-3"], state="reported")
    (text, *_) = found(replace(honest, tasks={**honest.tasks, task.id: task}))[Fault.LOST]
    assert "the update of client 3 came in time for" in text


def test_in_a_daisy_chain_the_base_is_the_version_that_was_aggregated_last(honest):
    chained = planned(recorded_chain(honest), rounds=2, daisy_chain={"period": 2})
    assert [text for text in found(chained).get(Fault.LOST, []) if "began from" in text] == []
    elsewhere = changed(chained, "2", base=1)
    assert "began from version row 1 instead of 0" in found(elsewhere)[Fault.LOST][0]


def recorded_chain(record: Record) -> Record:
    """The first round hands its models on; the second makes version 1."""
    versions = {0: record.versions[0], 2: replace(record.versions[2], number=1)}
    return replace(changed(changed(record, "1", version=None), "2", base=0), versions=versions)


def test_a_new_attempt_may_ask_fewer_where_not_all_are_asked_anyhow(honest):
    without_one = replace(honest, tasks={name: task for name, task in honest.tasks.items() if name != "1-3"})
    by_three = planned(without_one, cohort={"size": 4, "over_selection": 0})
    assert "asked 3 clients; the plan invites 4" in found(by_three)[Fault.DIFFERING][0]
    five = replace(by_three.trainings["training"], participants=5)
    left_out = replace(by_three, trainings={"training": five})
    assert "asked 3 clients; the plan invites 4" in found(left_out)[Fault.DIFFERING][0]
    assert found(changed(left_out, "1", attempt=2)) == {}
