"""A client killed at any instant goes on without computing again what was computed."""

import logging
import os
import shutil
from itertools import count
from pathlib import Path

import msgspec
import pytest

from hansa.client import durable
from hansa.client.journal import KEPT, Journal, Outcome, Owner
from hansa.protocol.tasks import Task, TaskKind

DIGEST = "d" * 64
ME = Owner("https://hansa.example.org", "7")


def a_task(*, task_id="one", kind=TaskKind.TRAIN, base="b" * 64):
    return Task(
        id=task_id,
        kind=kind,
        training="t",
        round=1,
        rounds=3,
        attempt=1,
        model="m",
        version=0,
        digest=base,
        size=10,
        ordinal=0,
        seed=1,
        config={},
        lease_seconds=60.0,
    )


TRAINED = Outcome(num_examples=7, metrics={"loss": 0.25}, seconds=1.5, digest=DIGEST, size=6)
EVALUATED = Outcome(num_examples=7, metrics={"loss": 0.25}, seconds=1.5)

ticks = count(1)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path, ME)


def trained(journal, task=None):
    """Work on a task until its result stands on disk."""
    task = task or a_task()
    assert journal.find(task) is None
    journal.update(task.id).write_bytes(b"update")
    entry = journal.trained(task, TRAINED)
    for file in journal.update(task.id).parent.glob(f"{journal.update(task.id).stem}.*"):
        os.utime(file, (tick := next(ticks), tick))  # files of one test are made faster than clocks tick
    return entry


def after_a_kill(folder, tmp_path_factory):
    """The journal as another process would find it now."""
    copy = tmp_path_factory.mktemp("restarted") / "state"
    shutil.copytree(folder, copy)
    return Journal(copy, ME)


def test_a_task_killed_in_mid_work_begins_anew_and_what_it_left_is_removed(journal, tmp_path, tmp_path_factory):
    journal.update("one").write_bytes(b"half")
    restarted = after_a_kill(tmp_path, tmp_path_factory)
    assert restarted.find(a_task()) is None
    assert not restarted.update("one").exists()


def test_a_trained_task_is_not_trained_again(journal, tmp_path, tmp_path_factory):
    trained(journal)
    restarted = after_a_kill(tmp_path, tmp_path_factory)
    entry = restarted.find(a_task())
    assert (entry.outcome, entry.uploaded) == (TRAINED, False)
    assert restarted.update("one").read_bytes() == b"update"


def test_an_evaluation_is_not_done_again_either(journal, tmp_path, tmp_path_factory):
    task = a_task(kind=TaskKind.EVALUATE)
    journal.trained(task, EVALUATED)
    assert after_a_kill(tmp_path, tmp_path_factory).find(task).outcome == EVALUATED


def test_an_uploaded_update_is_not_uploaded_again_unless_the_server_lost_it(journal, tmp_path, tmp_path_factory):
    entry = journal.uploaded(trained(journal))
    assert after_a_kill(tmp_path, tmp_path_factory).find(a_task()).uploaded
    journal.uploaded(entry, whole=False)
    assert not after_a_kill(tmp_path, tmp_path_factory).find(a_task()).uploaded


def test_the_mark_of_an_upload_outlives_a_power_cut(journal, monkeypatch):
    entry = trained(journal)
    synced = []
    monkeypatch.setattr("os.fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name))
    journal.uploaded(entry)
    assert synced == [f".{journal.update('one').stem}.json.new", ME.folder]


@pytest.mark.parametrize(
    "other", [Owner("https://elsewhere.example.org", ME.user), Owner(ME.url, "8")], ids=["server", "user"]
)
def test_a_result_of_another_server_or_user_is_neither_delivered_nor_lost(journal, tmp_path, other):
    trained(journal)
    theirs = Journal(tmp_path, other)
    assert theirs.undelivered() == []
    assert theirs.find(a_task()) is None, "though the task has the same id there, as a copy of a server has"
    for number in range(2 * KEPT):
        trained(theirs, a_task(task_id=f"{number}"))
    theirs.forget("one")
    assert theirs.others() == [str(tmp_path / "tasks" / ME.folder)]

    assert [task.id for task in Journal(tmp_path, ME).undelivered()] == ["one"]


@pytest.mark.parametrize("killed", [False, True], ids=["whole", "killed while it took over"])
def test_what_an_earlier_client_has_left_is_taken_over(journal, tmp_path, killed):
    trained(journal)
    journal.update("half").write_bytes(b"ha")
    mine, earlier = tmp_path / "tasks" / ME.folder, tmp_path / "tasks"
    for file in list(mine.iterdir()):
        if not (killed and file == journal.update("one")):
            file.rename(earlier / file.name)

    entry = Journal(tmp_path, ME).find(a_task())

    assert entry.outcome == TRAINED
    assert journal.update("one").read_bytes() == b"update"
    assert [path for path in earlier.iterdir() if path.is_file()] == []


def test_what_is_left_to_deliver_is_known_without_being_asked_for_it(journal, tmp_path, tmp_path_factory):
    for name in ("one", "two"):
        trained(journal, a_task(task_id=name))
    left = after_a_kill(tmp_path, tmp_path_factory).undelivered()
    assert left == [a_task(task_id="one"), a_task(task_id="two")], "the oldest first"
    journal.forget("one")
    assert [task.id for task in journal.undelivered()] == ["two"]
    journal.update("two").write_bytes(b"half")
    assert journal.undelivered() == []


def test_an_entry_of_an_earlier_client_waits_until_its_task_is_offered_again(journal):
    entry = trained(journal)
    durable.replace(
        journal.update("one").with_suffix(".json"), msgspec.json.encode(msgspec.structs.replace(entry, given=None))
    )
    assert journal.undelivered() == []
    assert journal.find(a_task()).outcome == TRAINED


def test_a_delivered_result_leaves_nothing(journal, tmp_path):
    trained(journal)
    journal.forget("one")
    assert journal.find(a_task()) is None
    assert list((tmp_path / "tasks" / ME.folder).iterdir()) == []
    journal.forget("one")


@pytest.mark.parametrize("other", [a_task(base="c" * 64), a_task(kind=TaskKind.EVALUATE)], ids=["base", "kind"])
def test_a_task_that_is_not_the_same_any_more_does_not_get_its_result(journal, other):
    trained(journal)
    assert journal.find(other) is None
    assert not journal.update("one").exists()


def test_a_result_waits_while_another_trainings_tasks_come_first(journal):
    trained(journal, a_task(task_id="one"))
    for number in range(5):
        trained(journal, a_task(task_id=f"other-{number}"))
        journal.forget(f"other-{number}")
    assert journal.find(a_task(task_id="one")).outcome == TRAINED


def test_results_that_nobody_asked_for_again_do_not_pile_up(journal, tmp_path):
    for number in range(6):
        trained(journal, a_task(task_id=f"{number}"))
    assert len(list((tmp_path / "tasks" / ME.folder).iterdir())) == 2 * KEPT
    assert journal.find(a_task(task_id="5"))
    assert journal.find(a_task(task_id="4"))


@pytest.mark.parametrize("left", [None, b"", b"updat", b"update+"])
def test_a_result_whose_update_is_not_whole_is_computed_again(journal, left):
    trained(journal)
    journal.update("one").unlink()
    if left is not None:
        journal.update("one").write_bytes(left)
    assert journal.find(a_task()) is None


@pytest.mark.parametrize("content", [b"", b"\x00" * 300, b'{"task": 1}', b'{"format": 2}', b"[]"])
def test_an_entry_that_cannot_be_read_is_set_aside(journal, tmp_path, content, caplog):
    trained(journal)
    journal.update("one").with_suffix(".json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert journal.find(a_task()) is None
    assert (tmp_path / "damaged.json").read_bytes() == content
    assert "its task begins anew" in caplog.text


@pytest.mark.parametrize("strange", ["../../outside", "a/b", "", "\x00", "x" * 5000])
def test_an_id_from_the_server_is_no_path(journal, tmp_path, strange):
    trained(journal, a_task(task_id=strange))
    assert journal.find(a_task(task_id=strange)).outcome == TRAINED
    assert {file.parent for file in tmp_path.rglob("*.safetensors")} == {tmp_path / "tasks" / ME.folder}


def test_the_update_is_on_the_disk_before_the_journal_says_so(journal, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name))
    trained(journal)
    name = journal.update("one").stem
    assert synced == [f"{name}.safetensors", f".{name}.json.new", ME.folder]


def test_a_kill_while_the_journal_is_written_leaves_the_old_one(journal):
    """Whatever stands in the temporary file, it is not the journal."""
    trained(journal)
    entry = journal.update("one").with_suffix(".json")
    entry.with_name(f".{entry.name}.new").write_bytes(b'{"task": "hal')
    assert journal.find(a_task()).outcome == TRAINED


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    durable.replace(tmp_path / "file", b"old")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        durable.replace(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
