"""What is in a backup."""

import hashlib
import os
from pathlib import Path
from typing import Annotated

import msgspec

NAME = "manifest.json"
FORMAT = 1


class BackupError(Exception):
    """It cannot be made, or not be restored; the message says why and what to do."""


Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""A SHA-256: paths are made of it."""


class Stored(msgspec.Struct, frozen=True):
    """A file of the backup."""

    sha256: Digest
    size: Annotated[int, msgspec.Meta(ge=0)]


class Database(msgspec.Struct, frozen=True):
    """The copy of the database."""

    kind: str
    """sqlite or postgresql."""
    file: Stored
    migrations: list[tuple[str, str]]
    """Applied in it: (app, name)."""


class Manifest(msgspec.Struct, frozen=True):
    """All files, and where they are from."""

    hansa: str
    made_at: str
    database: Database
    blobs: list[Stored]
    left_out: list[Digest]
    """Digests of blobs that were damaged or missing when the backup was made."""
    format: int = FORMAT

    @property
    def nbytes(self) -> int:
        """Of all its files."""
        return self.database.file.size + sum(blob.size for blob in self.blobs)


def identity(manifest: Manifest) -> str:
    """What tells this backup from others."""
    return hashlib.sha256(msgspec.json.encode(manifest)).hexdigest()


def write(manifest: Manifest, folder: Path) -> None:
    """Durably."""
    with os.fdopen(os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Manifest:
    """The manifest of a backup. Raises BackupError."""
    path = folder / NAME
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise BackupError(
            f"{folder} is no backup: {path} cannot be read ({error.strerror}). Name a folder that hansa backup made."
        ) from error
    except msgspec.DecodeError as error:
        raise BackupError(f"{path} cannot be understood: {error}. Use another backup.") from error
    if manifest.format != FORMAT:
        raise BackupError(
            f"{folder} is of format {manifest.format}; this version of Hansa knows {FORMAT}. Restore it with Hansa "
            f"{manifest.hansa}."
        )
    return manifest


def of_file(path: Path) -> Stored:
    """A file as it is now."""
    with path.open("rb") as file:
        return Stored(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)
