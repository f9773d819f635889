"""A client killed at any instant goes on without training again what was trained."""

import logging
import shutil
from pathlib import Path

import pytest

from hansa.client import durable
from hansa.client.journal import Journal, Outcome, Phase
from hansa.protocol.tasks import Task, TaskKind

DIGEST = "d" * 64


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


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path)


def trained(journal):
    entry = journal.begin(a_task())
    journal.update.write_bytes(b"update")
    return journal.trained(entry, TRAINED)


def after_a_kill(folder, tmp_path_factory):
    """The journal as another process would find it now."""
    copy = tmp_path_factory.mktemp("restarted") / "state"
    shutil.copytree(folder, copy)
    return Journal(copy)


def test_a_task_that_was_only_leased_begins_anew(journal, tmp_path, tmp_path_factory):
    journal.begin(a_task())
    journal.update.write_bytes(b"half")
    restarted = after_a_kill(tmp_path, tmp_path_factory)
    assert restarted.begin(a_task()).phase is Phase.LEASED
    assert not restarted.update.exists()


def test_a_trained_task_is_not_trained_again(journal, tmp_path, tmp_path_factory):
    trained(journal)
    restarted = after_a_kill(tmp_path, tmp_path_factory)
    entry = restarted.begin(a_task())
    assert (entry.phase, entry.outcome) == (Phase.TRAINED, TRAINED)
    assert restarted.update.read_bytes() == b"update"


def test_an_evaluation_is_not_done_again_either(journal, tmp_path, tmp_path_factory):
    task = a_task(kind=TaskKind.EVALUATE)
    journal.trained(journal.begin(task), EVALUATED)
    assert after_a_kill(tmp_path, tmp_path_factory).begin(task).outcome == EVALUATED


def test_an_uploaded_update_is_not_uploaded_again(journal, tmp_path, tmp_path_factory):
    journal.uploaded(trained(journal))
    entry = after_a_kill(tmp_path, tmp_path_factory).begin(a_task())
    assert (entry.phase, entry.outcome) == (Phase.UPLOADED, TRAINED)


def test_a_reported_task_leaves_no_update_and_begins_anew_if_the_server_forgot_it(journal, tmp_path, tmp_path_factory):
    journal.reported(journal.uploaded(trained(journal)))
    assert not journal.update.exists()
    assert after_a_kill(tmp_path, tmp_path_factory).begin(a_task()).phase is Phase.LEASED


@pytest.mark.parametrize(
    "other",
    [a_task(task_id="two"), a_task(base="c" * 64), a_task(kind=TaskKind.EVALUATE)],
    ids=["task", "base", "kind"],
)
def test_another_task_does_not_get_this_ones_result(journal, other):
    trained(journal)
    entry = journal.begin(other)
    assert (entry.phase, entry.outcome) == (Phase.LEASED, None)
    assert not journal.update.exists()


@pytest.mark.parametrize("left", [None, b"", b"updat", b"update+"])
def test_a_result_whose_update_is_not_whole_is_computed_again(journal, left):
    trained(journal)
    journal.update.unlink()
    if left is not None:
        journal.update.write_bytes(left)
    assert journal.begin(a_task()).phase is Phase.LEASED


@pytest.mark.parametrize("content", [b"", b"\x00" * 300, b'{"task": 1}', b'{"format": 2}', b"[]"])
def test_a_journal_that_cannot_be_read_is_set_aside(journal, tmp_path, content, caplog):
    (tmp_path / "task.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert journal.begin(a_task()).phase is Phase.LEASED
    assert (tmp_path / "task.json.damaged").read_bytes() == content
    assert "its task begins anew" in caplog.text


def test_a_dropped_task_is_forgotten(journal):
    trained(journal)
    journal.drop()
    assert journal.load() is None
    assert not journal.update.exists()
    journal.drop()


def test_the_update_is_on_the_disk_before_the_journal_says_so(journal, tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    trained(journal)
    assert [name.removeprefix(str(tmp_path)) for name in synced] == ["/update.safetensors", "/.task.json.new", ""]


def test_a_kill_while_the_journal_is_written_leaves_the_old_one(journal, tmp_path, monkeypatch):
    """Whatever stands in the temporary file, it is not the journal."""
    trained(journal)
    (tmp_path / ".task.json.new").write_bytes(b'{"task": "hal')
    assert journal.begin(a_task()).phase is Phase.TRAINED


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    durable.replace(tmp_path / "file", b"old")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        durable.replace(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
