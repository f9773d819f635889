"""Restoring a backup into an empty data folder."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hansa.crashpoints import crash_point
from hansa.server import home as homes
from hansa.server.backup import dumps, manifest
from hansa.server.backup.copying import Counter, Progress, copied, place_of, sync_folders
from hansa.server.backup.manifest import BackupError, Manifest
from hansa.server.blobs.store import fsync_folder
from hansa.server.config import Config
from hansa.server.home import PLACING, RESTORING, HomeLock

OURS = frozenset({"server.lock", RESTORING, PLACING})
"""What may lie in the folder: the lock, and the marks of an interrupted try."""
PLACED = frozenset({"blobs", "hansa.sqlite3"})
"""What that may have put in its place."""


def restore(config: Config, source: Path, progress: Progress) -> Manifest:
    """Make of an empty folder, `config.home`, the one that was backed up. Raises BackupError, HomeError, OSError.

    Everything is compared with the manifest while it is copied into a folder of its own. Only then it is moved to its
    place, the database last: until then there is no server to start.
    """
    known = manifest.read(source)
    dump = dumps.of(config)
    _check_kind(known, dump)
    _check_version(known)
    with _left_as_found(config.home):
        _check_empty(config.home)
        is_placed = _is_placing(known, config.home) and dump.has(known)
        if not is_placed:
            dump.check_free()
        aside = config.home / RESTORING
        _clear(config.home)
        aside.mkdir(mode=0o700)
        _fetch(known, dump, source, aside, Counter(known.nbytes, progress))
        (aside / "blobs").mkdir(exist_ok=True, mode=0o700)
        sync_folders(aside)
        crash_point("restore.fetched")
        (aside / "blobs").replace(config.home / "blobs")
        _note_placing(known, config.home)
        crash_point("restore.blobs_placed")
        if not is_placed:
            dump.restore(aside / dump.name)
        sync_folders(config.home)
        crash_point("restore.database_placed")
        shutil.rmtree(aside)
        (config.home / PLACING).unlink()
    config.home.chmod(0o700)
    homes.prepare(config)
    return known


@contextmanager
def _left_as_found(home: Path) -> Iterator[None]:
    """The folder, locked. Who is refused before anything is in its place leaves nothing in it."""
    found = {path.name for path in home.iterdir()} if home.is_dir() else None
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with HomeLock(home):
        try:
            yield
        except BackupError:
            if RESTORING not in (found or ()) and not (home / PLACING).exists():
                shutil.rmtree(home / RESTORING, ignore_errors=True)
                if "server.lock" not in (found or ()):
                    (home / "server.lock").unlink()
                if found is None:
                    home.rmdir()
            raise


def _note_placing(known: Manifest, home: Path) -> None:
    """From now on a database that is not empty may be this backup's: whoever finds it so goes on from there."""
    aside = home / RESTORING / PLACING
    with aside.open("w") as file:
        file.write(manifest.identity(known))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(home / PLACING)
    fsync_folder(home)


def _is_placing(known: Manifest, home: Path) -> bool:
    try:
        return (home / PLACING).read_text() == manifest.identity(known)
    except FileNotFoundError:
        return False


def _check_kind(known: Manifest, dump: dumps.Dump) -> None:
    if known.database.kind != dump.kind:
        wanted = "unset HANSA_DATABASE_URL" if known.database.kind == "sqlite" else "name one by HANSA_DATABASE_URL"
        raise BackupError(
            f"The backup is of a {known.database.kind} database, and the settings name a {dump.kind} one: {wanted}."
        )


def _check_version(known: Manifest) -> None:
    """Refuse a database that a newer version has used: this one would not understand it. Needs Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hansa.server.settings")
    import django
    from django.db.migrations.loader import MigrationLoader

    django.setup()
    ours = set(MigrationLoader(None).disk_migrations)
    apps = {app for app, _ in ours}
    if newer := sorted(
        f"{app}.{name}" for app, name in known.database.migrations if app in apps and (app, name) not in ours
    ):
        raise BackupError(
            f"The backup is of a newer Hansa ({known.hansa}; it has {newer[0]}). Restore it with that version or a "
            "later one."
        )


def _check_empty(home: Path) -> None:
    interrupted = (home / RESTORING).exists()
    others = {path.name for path in home.iterdir()} - OURS - (PLACED if interrupted else set())
    if others:
        raise BackupError(
            f"{home} is not empty ({', '.join(sorted(others)[:3])}). A backup is restored into a new folder: name one "
            "by HANSA_HOME, or move this one away."
        )


def _clear(home: Path) -> None:
    """Delete what an interrupted try has left; no server has ever started on it. What marks it goes last."""
    for name in (*PLACED, RESTORING):
        path = home / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _fetch(known: Manifest, dump: dumps.Dump, source: Path, aside: Path, heard: Counter) -> None:
    files = [(source / dump.name, aside / dump.name, known.database.file.sha256)]
    files += [(place_of(source, blob.sha256), place_of(aside, blob.sha256), blob.sha256) for blob in known.blobs]
    for at, to, digest in files:
        try:
            found = copied(at, to, heard)
        except FileNotFoundError as error:
            raise BackupError(f"The backup is not whole: {at} is not there. Use another one.") from error
        if found != digest:
            raise BackupError(
                f"The backup is damaged: {at} has the SHA-256 {found}, not {digest}. Nothing was restored. Use another "
                "one, or put the right file in its place."
            )
