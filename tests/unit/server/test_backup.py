"""Backups as folders; of a real server at work: tests/system/crash/test_restored_elsewhere.py."""

import hashlib
import json
import os
import secrets
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import pytest
from django.utils import timezone

from hansa import crashpoints
from hansa.server import config
from hansa.server.backup.copying import place_of
from hansa.server.backup.making import Terms, back_up
from hansa.server.backup.manifest import BackupError
from hansa.server.backup.restoring import restore
from hansa.server.blobs import holding
from hansa.server.blobs.services import collect_strays
from hansa.server.home import RESTORING, HomeError, HomeLock, prepare

CONTENTS = (b"first" * 1000, b"second" * 300_000, b"")
"""Of three blobs; the second has more than a block."""


def digest_of(content):
    return hashlib.sha256(content).hexdigest()


DIGESTS = sorted(map(digest_of, CONTENTS))


def other_disk():
    """A folder on another disk than temporary files are on."""
    shared = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
    there = os.access(shared, os.W_OK) and shared.stat().st_dev != Path(gettempdir()).stat().st_dev
    return str(shared) if there else None


class Killed(BaseException):
    """As a process is."""


@pytest.fixture
def settings(tmp_path):
    """A server's folder with a small database and three blobs."""
    made = config.read({"HANSA_HOME": str(tmp_path / "home")})
    prepare(made)
    with closing(sqlite3.connect(made.database)) as connection:
        connection.executescript(
            "PRAGMA journal_mode=WAL; CREATE TABLE blobs_blob (sha256 TEXT, size INTEGER);"
            "CREATE TABLE django_migrations (app TEXT, name TEXT);"
            "CREATE TABLE django_session (session_key TEXT PRIMARY KEY, session_data TEXT);"
            "INSERT INTO django_migrations VALUES ('trainings', '0001_initial');"
        )
        for content in CONTENTS:
            connection.execute("INSERT INTO blobs_blob VALUES (?, ?)", (digest_of(content), len(content)))
            place = place_of(made.home, digest_of(content))
            place.parent.mkdir(parents=True)
            place.write_bytes(content)
        connection.commit()
    return made


@pytest.fixture
def backup(settings, tmp_path):
    """A backup of it."""
    back_up(settings, tmp_path / "backup", Terms())
    return tmp_path / "backup"


@pytest.fixture
def elsewhere(tmp_path):
    """The settings of a server with a new folder."""
    return config.read({"HANSA_HOME": str(tmp_path / "elsewhere")})


def blobs_in(folder):
    return {path.name: path.read_bytes() for path in (folder / "blobs").glob("*/*/*")}


def rows_in(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM blobs_blob ORDER BY sha256").fetchall()


def test_what_is_backed_up_is_restored(settings, backup, elsewhere):
    restore(elsewhere, backup, max)

    assert rows_in(elsewhere.database) == rows_in(settings.database)
    assert blobs_in(elsewhere.home) == blobs_in(settings.home)
    assert not (elsewhere.home / RESTORING).exists()


def test_a_backup_is_its_owners_alone_and_has_no_key(backup, elsewhere):
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in backup.rglob("*") if path.is_file()} == {0o600}
    assert not (backup / "secret_key").exists()
    restore(elsewhere, backup, max)
    assert stat.S_IMODE(elsewhere.home.stat().st_mode) == 0o700
    assert len((elsewhere.home / "secret_key").read_text()) >= 32


def test_nobody_is_signed_in_by_what_is_in_a_backup(settings, tmp_path, elsewhere):
    """Not by rows that were deleted either, whose bytes SQLite leaves in the file."""
    keys = [secrets.token_hex(16) for _ in range(500)]
    with closing(sqlite3.connect(settings.database)) as connection:
        connection.executemany("INSERT INTO django_session VALUES (?, ?)", [(key, "x" * 300) for key in keys])
        connection.commit()
        connection.execute("DELETE FROM django_session WHERE rowid % 2")
        connection.commit()

    back_up(settings, tmp_path / "backup", Terms())

    files = [path.read_bytes() for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    assert [key for key in keys if any(key.encode() in content for content in files)] == []
    restore(elsewhere, tmp_path / "backup", max)
    with closing(sqlite3.connect(elsewhere.database)) as connection:
        assert connection.execute("SELECT count(*) FROM django_session").fetchone() == (0,)


def test_the_manifest_names_every_file(backup):
    known = json.loads((backup / "manifest.json").read_text())
    assert [blob["sha256"] for blob in known["blobs"]] == DIGESTS
    assert known["database"]["file"]["sha256"] == digest_of((backup / "hansa.sqlite3").read_bytes())
    assert known["database"]["migrations"] == [["trainings", "0001_initial"]]


def test_linked_files_are_the_same_and_compared_as_well(settings, tmp_path):
    back_up(settings, tmp_path / "backup", Terms(link=True))
    place = place_of(tmp_path / "backup", DIGESTS[0])
    assert place.samefile(place_of(settings.home, DIGESTS[0]))

    place.write_bytes(b"damaged")
    assert back_up(settings, tmp_path / "second", Terms(link=True)).left_out == [DIGESTS[0]]


def test_what_is_damaged_is_left_out_and_said_so(settings, tmp_path, elsewhere):
    place_of(settings.home, DIGESTS[0]).write_bytes(b"damaged")
    place_of(settings.home, DIGESTS[1]).unlink()

    made = back_up(settings, tmp_path / "backup", Terms())

    assert made.left_out == DIGESTS[:2]
    assert list(blobs_in(tmp_path / "backup")) == DIGESTS[2:]
    restore(elsewhere, tmp_path / "backup", max)
    assert list(blobs_in(elsewhere.home)) == DIGESTS[2:]


def test_what_the_disk_does_not_give_is_left_out_as_well(settings, tmp_path):
    """EIO, as a disk says it: of a process's own memory the kernel says it of the first byte."""
    place = place_of(settings.home, DIGESTS[1])
    place.unlink()
    place.symlink_to("/proc/self/mem")

    assert back_up(settings, tmp_path / "backup", Terms()).left_out == [DIGESTS[1]]


def test_what_is_not_the_disks_fault_ends_it(settings, tmp_path):
    place = place_of(settings.home, DIGESTS[1])
    place.unlink()
    place.mkdir()
    with pytest.raises(IsADirectoryError):
        back_up(settings, tmp_path / "backup", Terms())
    assert not (tmp_path / "backup").exists()


@pytest.mark.skipif(not other_disk(), reason="there is one disk here")
def test_links_across_disks_are_refused_with_what_to_do(settings):
    with TemporaryDirectory(dir=other_disk()) as folder, pytest.raises(BackupError, match="Leave --link out"):
        back_up(settings, Path(folder) / "backup", Terms(link=True))


def test_a_second_backup_to_one_place_is_told_whose_it_is(settings, tmp_path):
    def second(point):
        if point == "backup.database_saved":
            with pytest.raises(BackupError, match=f"Process {os.getpid()} makes a backup"):
                back_up(settings, tmp_path / "backup", Terms())
        if point == "backup.written":
            with pytest.raises(BackupError, match="Another process makes a backup"):
                back_up(settings, tmp_path / "backup", Terms())

    with crashpoints.observed(second):
        made = back_up(settings, tmp_path / "backup", Terms())

    assert sorted(blobs_in(tmp_path / "backup")) == [blob.sha256 for blob in made.blobs] == DIGESTS


def test_a_folder_that_is_in_the_way_is_left_alone(settings, tmp_path):
    (tmp_path / "backup.unfinished").mkdir()
    (tmp_path / "backup.unfinished" / "letter").write_text("dear")
    with pytest.raises(BackupError, match="in the way"):
        back_up(settings, tmp_path / "backup", Terms())
    assert (tmp_path / "backup.unfinished" / "letter").exists()


def test_a_folder_with_something_in_it_is_left_alone(settings, backup):
    before = sorted(backup.rglob("*"))
    with pytest.raises(BackupError, match="not empty"):
        back_up(settings, backup, Terms())
    assert sorted(backup.rglob("*")) == before


@pytest.mark.parametrize("where", ["home", "home/backup"])
def test_a_backup_does_not_go_into_what_it_is_of(settings, tmp_path, where):
    with pytest.raises(BackupError, match="inside"):
        back_up(settings, tmp_path / where, Terms())


def test_a_backup_does_not_go_there_by_another_name_either(settings, tmp_path):
    (tmp_path / "alias").symlink_to(settings.home)
    for home, target in ((settings.home, "alias/backup"), (tmp_path / "alias", "home/backup")):
        with pytest.raises(BackupError, match="inside"):
            back_up(replace(settings, home=home), tmp_path / target, Terms())


def test_an_empty_folder_stays_empty_and_can_be_restored_into(backup, elsewhere, tmp_path):
    elsewhere.home.mkdir()
    with pytest.raises(BackupError, match="HANSA_HOME"):
        back_up(elsewhere, tmp_path / "second", Terms())
    assert list(elsewhere.home.iterdir()) == []
    restore(elsewhere, backup, max)


def test_a_backup_of_nothing(elsewhere, tmp_path):
    with pytest.raises(BackupError, match="HANSA_HOME"):
        back_up(elsewhere, tmp_path / "backup", Terms())
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("point", ["backup.database_saved", "backup.written"])
def test_a_backup_that_is_killed_is_none_and_is_made_by_the_same_command(settings, tmp_path, elsewhere, point):
    with crashpoints.observed(dying_at(point)), pytest.raises(Killed):
        back_up(settings, tmp_path / "backup", Terms())
    assert not (tmp_path / "backup").exists()

    back_up(settings, tmp_path / "backup", Terms())
    restore(elsewhere, tmp_path / "backup", max)
    assert sorted(blobs_in(elsewhere.home)) == DIGESTS
    assert not (tmp_path / "backup.unfinished").exists()


@pytest.mark.parametrize("point", ["restore.fetched", "restore.blobs_placed", "restore.database_placed"])
def test_a_restore_that_is_killed_is_no_server_and_is_done_by_the_same_command(backup, elsewhere, point):
    with crashpoints.observed(dying_at(point)), pytest.raises(Killed):
        restore(elsewhere, backup, max)
    assert elsewhere.database.exists() == (point == "restore.database_placed")
    with pytest.raises(HomeError, match="hansa restore"):
        prepare(elsewhere)

    restore(elsewhere, backup, max)
    prepare(elsewhere)
    assert [path.name for path in elsewhere.home.glob(".*")] == []
    assert sorted(blobs_in(elsewhere.home)) == DIGESTS


def dying_at(point):
    def die_there(name):
        if name == point:
            raise Killed

    return die_there


def test_a_home_with_something_in_it_is_left_alone(settings, backup):
    with pytest.raises(BackupError, match="not empty"):
        restore(settings, backup, max)
    assert sorted(blobs_in(settings.home)) == DIGESTS


def test_a_home_that_is_served_is_left_alone(backup, elsewhere):
    elsewhere.home.mkdir()
    with HomeLock(elsewhere.home), pytest.raises(HomeError, match="already serves"):
        restore(elsewhere, backup, max)


@pytest.mark.parametrize("spoiled", ["hansa.sqlite3", *(str(place_of(Path(), each)) for each in DIGESTS)])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_damaged_backup_is_refused_before_anything_is_in_its_place(backup, elsewhere, spoiled, how):
    if how == "gone":
        (backup / spoiled).unlink()
    else:
        (backup / spoiled).write_bytes((backup / spoiled).read_bytes() + b"x")

    with pytest.raises(BackupError, match=spoiled):
        restore(elsewhere, backup, max)

    assert not elsewhere.home.exists()


def test_whoever_is_refused_finds_the_folder_as_it_was_and_a_server_starts_in_it(backup, elsewhere):
    (backup / "hansa.sqlite3").write_bytes(b"x")
    elsewhere.home.mkdir()
    with pytest.raises(BackupError, match="damaged"):
        restore(elsewhere, backup, max)
    assert list(elsewhere.home.iterdir()) == []
    prepare(elsewhere)

    before = sorted(elsewhere.home.iterdir())
    with pytest.raises(BackupError, match="not empty"):
        restore(elsewhere, backup, max)
    assert sorted(elsewhere.home.iterdir()) == before


@pytest.mark.parametrize("digest", ["../../../etc/cron.d/hansa", "ab", "AB" * 32, "ab" * 32 + "\n"])
@pytest.mark.parametrize("where", ["blobs", "left_out"])
def test_no_path_is_made_of_what_is_no_digest(backup, elsewhere, digest, where):
    entry = {"sha256": digest, "size": 1} if where == "blobs" else digest
    changed(backup, lambda known: known[where].append(entry))
    with pytest.raises(BackupError, match="cannot be understood"):
        restore(elsewhere, backup, max)
    assert not elsewhere.home.exists()


def test_what_is_no_backup(tmp_path, elsewhere):
    with pytest.raises(BackupError, match="no backup"):
        restore(elsewhere, tmp_path, max)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BackupError, match="cannot be understood"):
        restore(elsewhere, tmp_path, max)
    assert not elsewhere.home.exists()


def changed(backup, change):
    known = json.loads((backup / "manifest.json").read_text())
    change(known)
    (backup / "manifest.json").write_text(json.dumps(known))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda known: known.update(format=2), "format 2"),
        (lambda known: known["database"].update(kind="postgresql"), "HANSA_DATABASE_URL"),
        (lambda known: known["database"]["migrations"].append(["trainings", "9999_future"]), "trainings.9999_future"),
    ],
)
def test_a_backup_for_another_server(backup, elsewhere, change, said):
    changed(backup, change)
    with pytest.raises(BackupError, match=said):
        restore(elsewhere, backup, max)
    assert not elsewhere.home.exists()


async def test_nothing_is_deleted_from_the_store_while_a_backup_copies_it(home, transactional_db):
    stray = place_of(home, DIGESTS[0])
    stray.parent.mkdir(parents=True)
    stray.write_bytes(CONTENTS[0])
    before = timezone.now() + timedelta(days=1)

    with holding.held(home):
        assert await collect_strays(before=before) == 0
        assert stray.exists()
    assert [path.name for path in home.glob("*lock*")] == [], "a file would belong to whoever came first"
    assert await collect_strays(before=before) == 1
