"""Making a backup, also of a server that works."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hansa import __version__
from hansa.crashpoints import crash_point
from hansa.server.backup import dumps, manifest
from hansa.server.backup.copying import Counter, Progress, copied, linked, place_of, sync_folders
from hansa.server.backup.manifest import BackupError, Database, Manifest, Stored
from hansa.server.blobs.holding import held
from hansa.server.blobs.store import fsync_folder
from hansa.server.config import Config

MARK = ".unfinished-backup"
"""In a folder that is being written: what has it may be deleted by the next try."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How it is made."""

    link: bool = False
    """Give the blobs a second name, where the disk is the same, instead of copying them."""
    progress: Progress = max


def back_up(config: Config, target: Path, terms: Terms) -> Manifest:
    """Write a backup into the folder `target`, which must not exist, or be empty. Raises BackupError, OSError.

    The database is copied first, at one moment, then the blobs that it has rows of. Each was there before its row was,
    and none is deleted meanwhile.
    """
    if not config.home.is_dir():
        raise BackupError(f"There is no data folder {config.home}. Name the server's by HANSA_HOME.")
    target = target.absolute()
    if target.is_relative_to(config.home):
        raise BackupError(f"{target} is inside the data folder. Name another place, best on another disk.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} is there already, and not empty. Name a new folder.")
    aside = _begun(target)
    dump = dumps.of(config)
    with held(config.home):
        contents = dump.save(aside / dump.name)
        crash_point("backup.database_saved")
        blobs, left_out = _blobs(config.home, aside, contents.blobs, terms)
    made = Manifest(
        hansa=__version__,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        database=Database(dump.kind, manifest.of_file(aside / dump.name), contents.migrations),
        blobs=blobs,
        left_out=left_out,
    )
    manifest.write(made, aside)
    (aside / MARK).unlink()
    sync_folders(aside)
    crash_point("backup.written")
    aside.replace(target)
    fsync_folder(target.parent)
    return made


def _begun(target: Path) -> Path:
    """An empty folder beside the target, in the place of what an interrupted try has left."""
    aside = target.with_name(f"{target.name}.unfinished")
    if (aside / MARK).exists() or (aside / manifest.NAME).exists():
        shutil.rmtree(aside)
    try:
        aside.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        raise BackupError(f"{aside} is in the way, and not of a backup. Move it, or name another folder.") from error
    (aside / MARK).touch()
    return aside


def _blobs(home: Path, aside: Path, wanted: list[Stored], terms: Terms) -> tuple[list[Stored], list[str]]:
    """Those that are in the backup now, and those that could not be: their bytes are not what their names say."""
    heard = Counter(sum(blob.size for blob in wanted), terms.progress)
    bring = linked if terms.link else copied
    there, left_out = [], []
    for blob in wanted:
        place = place_of(aside, blob.sha256)
        try:
            found = bring(place_of(home, blob.sha256), place, heard)
        except FileNotFoundError:
            found = ""
        if found == blob.sha256:
            there.append(blob)
        else:
            left_out.append(blob.sha256)
            place.unlink(missing_ok=True)
    return there, left_out
