"""Making a backup, also of a server that works."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hansa import __version__
from hansa.crashpoints import crash_point
from hansa.server.backup import dumps, manifest
from hansa.server.backup.copying import Counter, Progress, copied, linked, place_of, sync_folders
from hansa.server.backup.manifest import BackupError, Database, Manifest, Stored
from hansa.server.backup.workplace import MARK, workplace
from hansa.server.blobs.holding import held
from hansa.server.blobs.store import fsync_folder
from hansa.server.config import Config

NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})
"""What a disk says that cannot give a file a second name there."""


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
    target = _checked(config.home, target)
    with workplace(target) as aside:
        made = _written(config, aside, terms)
        (aside / MARK).unlink()
        sync_folders(aside)
        crash_point("backup.written")
        aside.replace(target)
        fsync_folder(target.parent)
    return made


def _checked(home: Path, target: Path) -> Path:
    """The whole path of a target that can be one, of a home that was a server's."""
    if not (home / "blobs").is_dir():
        raise BackupError(f"There is no data folder {home}, or no server was started on it. Name one by HANSA_HOME.")
    target = target.resolve()
    if target.is_relative_to(home.resolve()):
        raise BackupError(f"{target} is inside the data folder. Name another place, best on another disk.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} is there already, and not empty. Name a new folder.")
    return target


def _written(config: Config, aside: Path, terms: Terms) -> Manifest:
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
    return made


def _blobs(home: Path, aside: Path, wanted: list[Stored], terms: Terms) -> tuple[list[Stored], list[str]]:
    """Those that are in the backup now, and those that could not be: their bytes are not what their names say."""
    heard = Counter(sum(blob.size for blob in wanted), terms.progress)
    bring = _linked if terms.link else copied
    there, left_out = [], []
    for blob in wanted:
        place = place_of(aside, blob.sha256)
        try:
            found = bring(place_of(home, blob.sha256), place, heard)
        except FileNotFoundError:
            found = ""
        except OSError as error:
            if error.errno != errno.EIO:  # of another kind it is not the file that is damaged
                raise
            found = ""
        if found == blob.sha256:
            there.append(blob)
        else:
            left_out.append(blob.sha256)
            place.unlink(missing_ok=True)
    return there, left_out


def _linked(source: Path, target: Path, heard: Callable[[int], object]) -> str:
    try:
        return linked(source, target, heard)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        raise BackupError(
            f"{source} cannot have a second name in {target.parent} ({error.strerror}): linking needs one disk and one "
            "owner. Leave --link out, and the files are copied."
        ) from error
