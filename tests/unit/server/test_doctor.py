"""What `hansa doctor` finds, one thing at a time; in the whole: tests/system/cli/test_doctor_command.py."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from hansa.server import config
from hansa.server.blobs import doubts, inspection, services, store
from hansa.server.blobs.inspection import Known, Wrong
from hansa.server.blobs.models import Blob
from hansa.server.destinations import Destinations
from hansa.server.doctor import blobs, database, examination, home, rows, surroundings
from hansa.server.doctor.finding import Level
from hansa.server.home import DOUBTED, LOCK, HomeLock
from hansa.server.trainings.models import Round, Task, Training
from support.damage import aside, cut_off, flip_a_bit, take_away


@pytest.fixture
def settings(home):
    """The settings of a server on this test's folder."""
    home.chmod(0o700)
    return config.read({"HANSA_HOME": str(home)})


def bad(findings):
    """Of what is not well: level, and all that is said."""
    return [(each.level.value, each.seen, each.wanted, each.do) for each in findings if each.level is not Level.OK]


def the_one(findings):
    """The only thing that is not well, which says what is wanted and what to do."""
    ((level, seen, wanted, do),) = bad(findings)
    assert wanted, seen
    assert do, seen
    return level, seen


# Home and surroundings


def test_a_folder_that_is_not_there(tmp_path):
    level, seen = the_one(home.folder(config.read({"HANSA_HOME": str(tmp_path / "none")})))
    assert (level, "is not there" in seen) == ("error", True)


def test_a_key_that_others_may_read(settings):
    (settings.home / "secret_key").chmod(0o640)
    assert the_one(home.permissions(settings)) == (
        "error",
        f"{settings.home}/secret_key has mode 0640: others may read it",
    )


def test_a_folder_that_others_may_read(settings):
    settings.home.chmod(0o755)
    assert the_one(home.permissions(settings))[0] == "warning"


def test_what_only_its_owner_may_read_is_well(settings):
    assert bad(home.permissions(settings)) == []


def test_a_disk_without_room_for_the_next_round(settings):
    assert bad(home.disk(settings, needed=0)) == []
    assert the_one(home.disk(settings, needed=2**60))[0] == "warning"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"debug": True}, "HANSA_DEBUG"),
        ({"allowed_hosts": ("*",)}, "HANSA_ALLOWED_HOSTS"),
        ({"cors_origins": ("*",)}, "HANSA_CORS_ORIGINS"),
        ({"push_allow": Destinations.parse("0.0.0.0/0")}, "HANSA_PUSH_ALLOW"),
    ],
)
def test_a_server_that_is_open_to_more_than_it_need_be(settings, changes, said):
    level, seen = the_one(surroundings.hosts(replace(settings, **changes), None))
    assert (level, said in seen) == ("warning", True)


def serving(settings, **variables):
    """A process that serves the folder, as it would be found; and when it was started."""
    (settings.home / LOCK).touch()
    return surroundings.Running(1, {"HANSA_HOME": str(settings.home), **variables}, [])


def test_the_key_is_the_running_servers_whatever_this_shell_has(settings):
    theirs = serving(settings, HANSA_SECRET_KEY="k" * 40)
    for mine in ({}, {"HANSA_SECRET_KEY": "m" * 40}):
        (found,) = surroundings.secret(settings, mine, theirs)
        assert (found.level, found.seen) == (Level.OK, "a key from HANSA_SECRET_KEY of the running server")
    (found,) = surroundings.secret(settings, {}, None)
    assert (found.level, found.seen) == (Level.OK, f"a key from {settings.home}/secret_key")


@pytest.mark.parametrize("given", [False, True], ids=["generated", "named"])
def test_a_key_that_was_replaced_under_the_running_server(settings, given, tmp_path):
    file = tmp_path / "mine" if given else settings.home / "secret_key"
    file.write_text("k" * 40)
    theirs = serving(settings, **({"HANSA_SECRET_KEY_FILE": str(file)} if given else {}))
    assert bad(surroundings.secret(settings, {}, theirs)) == []

    later = (settings.home / LOCK).stat().st_mtime + 60
    os.utime(file, (later, later))
    level, seen = the_one(surroundings.secret(settings, {}, theirs))
    assert (level, f"{file} was written after the server was started" in seen) == ("warning", True)


def test_the_key_of_another_users_server_is_not_guessed(settings):
    level, seen = the_one(surroundings.secret(settings, {}, surroundings.Running(1, None, [])))
    assert (level, "this user may not see" in seen) == ("warning", True)


def test_a_process_that_holds_the_folder_and_does_not_answer(settings, unused_tcp_port):
    assert surroundings.running(settings.home) is None
    with HomeLock(settings.home):
        found = surroundings.running(settings.home)
        assert found is not None
        silent = replace(found, arguments=["hansa", "serve", f"--port={unused_tcp_port}"])
        assert silent.url == f"http://127.0.0.1:{unused_tcp_port}"
        level, seen = the_one(surroundings.server(silent))
    assert (level, "does not answer" in seen) == ("error", True)


# The database


@pytest.fixture
def file(tmp_path):
    """A small SQLite database with a reference."""
    path = tmp_path / "hansa.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA journal_mode=WAL; CREATE TABLE a (id INTEGER PRIMARY KEY);"
            "CREATE TABLE b (a INTEGER REFERENCES a(id), t TEXT); INSERT INTO a VALUES (1);"
            "CREATE INDEX i ON b (t);"
        )
        connection.executemany("INSERT INTO b VALUES (1, ?)", [("x" * 500 + str(n),) for n in range(200)])
        connection.commit()
    return path


def test_a_whole_database(file):
    assert bad(database.sqlite(file, quick=False, served=True)) == []


def test_a_database_that_was_restored_has_no_log_until_a_server_is_started_on_it(file):
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    assert bad(database.sqlite(file, quick=False, served=False)) == []
    assert the_one(database.sqlite(file, quick=False, served=True))[0] == "warning"


def test_a_database_that_is_not_there(tmp_path):
    assert the_one(database.sqlite(tmp_path / "none", quick=False, served=True))[0] == "error"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("quick", [False, True])
def test_a_damaged_database(file, quick):
    content = bytearray(file.read_bytes())
    content[4096 * 4 : 4096 * 6] = bytes(4096 * 2)
    file.write_bytes(content)
    assert the_one(database.sqlite(file, quick=quick, served=False))[0] == "error"


def test_something_else_than_a_database(tmp_path):
    (tmp_path / "hansa.sqlite3").write_bytes(b"no database" * 100)
    assert the_one(database.sqlite(tmp_path / "hansa.sqlite3", quick=True, served=False))[0] == "error"


def test_rows_that_refer_to_nothing(file):
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DELETE FROM a")
        connection.commit()
    level, seen = the_one(database.sqlite(file, quick=True, served=False))
    assert (level, "b → a" in seen) == ("error", True)


@pytest.mark.django_db
def test_migrations_of_a_newer_version(settings):
    from django.db import connection
    from django.db.migrations.recorder import MigrationRecorder

    assert bad(database.migrations(settings)) == []
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("trainings", "0001_initial")
    assert the_one(database.migrations(settings))[0] == "warning"
    recorder.record_applied("trainings", "0001_initial")
    recorder.record_applied("trainings", "9999_of_the_future")
    level, seen = the_one(database.migrations(settings))
    assert (level, "trainings.9999_of_the_future" in seen) == ("error", True)


# Rows


def test_the_rows_of_a_training_at_work_agree(bobs_task):
    assert bad(rows.rows()) == []
    assert bad(rows.clock(timezone.now())) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda: Round.objects.update(state="abandoned"), "1 lease in rounds that are over"),
        (lambda: Training.objects.update(status="completed"), "1 live round of trainings that are over"),
        (lambda: Task.objects.update(state="reported"), "2 reports without the update that was reported"),
        (
            lambda: Round.objects.update(state="aggregating", accepted=[[0, "00" * 32, 1]]),
            "1 accepted list that differs from the updates",
        ),
    ],
)
def test_rows_that_cannot_be_true(bobs_task, spoil, said):
    spoil()
    assert said in " ".join(seen for _, seen, _, _ in bad(rows.rows()))


def test_rows_from_the_future(bobs_task):
    assert the_one(rows.clock(timezone.now() - timedelta(hours=1)))[0] == "error"


# The store


def look(**wish):
    return blobs.blobs(**{"quick": False, "set_aside": False, "progress": max, **wish})


@pytest.mark.parametrize(("harm", "quick"), [(flip_a_bit, False), (cut_off, True), (take_away, True)])
def test_a_damaged_blob_is_told_with_what_it_is(bobs_task, harm, quick):
    digest = bobs_task.round.base.blob_id
    assert bad(look(quick=quick)) == []
    harm(digest)
    level, seen = the_one(look(quick=quick))
    assert level == "error"
    assert f"blob {digest} (version 0 of model 'small')" in seen


def test_damage_that_checksums_do_not_show_is_found_by_the_sha256(bobs_task):
    digest = bobs_task.round.base.blob_id
    flip_a_bit(digest)
    Blob.objects.filter(sha256=digest).update(checksums=store.digested(store.path_of(digest)).checksums)
    assert "another SHA-256" in the_one(look())[1]


def test_damaged_checksums_are_no_damage_to_the_file(bobs_task):
    Blob.objects.update(checksums=bytes(8))
    assert the_one(look())[0] == "warning"


def unused(content):
    """A blob that nothing refers to."""
    with store.BlobFile() as file:
        file.write(content)
        digests = file.finish()
    store.place(file.path, digests.sha256)
    return services.record(digests=digests, media_type="x", now=timezone.now()).sha256


def test_the_server_is_told_only_of_what_it_can_ask_for_again_and_nothing_is_moved(bobs_task, home):
    digest = bobs_task.round.base.blob_id
    for each in (digest, unused(b"something")):
        flip_a_bit(each)
    list(look())
    assert doubts.left() == []

    list(look(set_aside=True))
    assert (store.path_of(digest).exists(), aside(home), doubts.left()) == (True, [], [digest])


def test_for_what_nothing_refers_to_no_backup_is_asked(bobs_task):
    flip_a_bit(unused(b"something"))
    ((level, seen, _, do),) = bad(look())
    assert (level, "nothing refers to it" in seen, "backup" in do) == ("warning", True, False)


def test_an_upload_that_was_not_reported_is_asked_for_again(bobs_task):
    digest = unused(b"sent")
    Task.objects.filter(id=bobs_task.id).update(uploaded=digest)
    take_away(digest)
    ((level, seen, _, do),) = bad(look(quick=True))
    assert (level, "not reported yet" in seen, "asks for it again" in do) == ("error", True, True)


def test_a_folder_that_cannot_take_the_note_is_said_so(bobs_task, home):
    flip_a_bit(bobs_task.round.base.blob_id)
    (home / DOUBTED).rmdir()
    assert "the server cannot be told: No such file or directory" in the_one(look(set_aside=True))[1]


def test_what_was_set_aside_is_told(bobs_task):
    flip_a_bit(bobs_task.round.base.blob_id)
    inspection.set_aside(inspection.inspect(Known.of(bobs_task.round.base.blob)))
    assert "damaged file" in the_one(blobs.strays(timezone.now()))[1]


def test_every_damaged_blob_is_named(home, db):
    damaged = {unused(bytes([number])) for number in range(45)}
    for each in damaged:
        flip_a_bit(each)
    told = bad(look())
    assert {seen.split()[1] for _, seen, _, _ in told} == damaged
    assert len(told) == 45


def test_a_file_that_cannot_be_read_is_no_damaged_one(bobs_task):
    """For want of a permission, or of descriptors, or because it is none."""
    path = store.path_of(bobs_task.round.base.blob_id)
    path.unlink()
    path.mkdir()
    Blob.objects.filter(sha256=bobs_task.round.base.blob_id).update(size=path.stat().st_size)

    level, seen = the_one(look(set_aside=True))

    assert (level, "cannot be read (Is a directory)" in seen) == ("error", True)
    assert (path.is_dir(), doubts.left()) == (True, [])


def test_what_the_disk_does_not_give_is_damaged(home):
    """EIO, as a disk says it: of a process's own memory the kernel says it of the first byte."""
    path = store.path_of("ab" * 32)
    path.parent.mkdir(parents=True)
    path.symlink_to("/proc/self/mem")

    found = inspection.inspect_thoroughly(Known("ab" * 32, 0, b""))
    assert (found.wrong, "does not give" in found.seen) == (Wrong.BYTES, True)
    with store.CheckedBlob("ab" * 32, bytes(8), 10) as file, pytest.raises(store.TornBlobError, match="does not give"):
        file.read(10)


def test_a_database_that_stops_answering_is_a_finding(settings, bobs_task, monkeypatch):
    def fail():
        raise OperationalError("database is locked")
        yield

    monkeypatch.setattr(rows, "rows", fail)
    level, seen = the_one(examination._contents(settings, examination.Wish(quick=True)))
    assert (level, "database is locked" in seen) == ("error", True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_in_the_data_folder_that_is_somebody_elses(settings):
    os.chown(settings.home / "tmp", 12345, 12345)
    level, seen = the_one(home.permissions(settings))
    assert (level, seen.endswith(": tmp")) == ("error", True)


def test_what_lies_about_is_told_and_no_fault(bobs_task, home):
    (home / "blobs" / "ab" / "cd").mkdir(parents=True)
    (home / "blobs" / "ab" / "cd" / ("ab" * 32)).write_bytes(b"")
    ((found,)) = blobs.strays(timezone.now())
    assert (found.level, found.seen.startswith("1 file without a row")) == (Level.OK, True)


def test_a_folder_that_cannot_be_looked_through_is_a_finding(bobs_task, home, monkeypatch):
    def refused():
        raise PermissionError(13, "Permission denied", str(home / "blobs" / "ab"))

    monkeypatch.setattr(store, "files", refused)
    level, seen = the_one(list(blobs.strays(timezone.now())))
    assert (level, seen) == ("error", f"{home}/blobs/ab cannot be looked through: Permission denied")


def test_the_room_that_the_next_round_may_need(bobs_task):
    assert blobs.needed_room() == (2 + 2) * bobs_task.round.training.model.param_spec.nbytes
