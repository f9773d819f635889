"""Files that are either as they were or as they should be, whenever the process is killed or the power goes."""

import os
from pathlib import Path

from hansa.crashpoints import crash_point


def replace(path: Path, content: bytes) -> None:
    """Put `content` at `path`: a reader, or a restart, sees the old file or the new one, whole."""
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    crash_point("client.file_written")
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; syncing a file alone does not keep its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
