"""The newest model versions on disk, by digest: what was downloaded once is not downloaded again."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

KEPT = 2
"""The version at hand and one more: evaluating a version and training from it come one after the other."""


class ParamsCache:
    """Files named by their SHA-256. Bytes are not synced: after a restart a file counts only once its digest was
    computed again, so what a power cut left half-written is found and fetched anew.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "params"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._verified: set[str] = set()

    def path(self, digest: str, fetch: Callable[[Path], None]) -> Path:
        """The file with these bytes. `fetch` puts it at the path given, with its digest checked, if it is not there."""
        path = self._folder / f"{digest}.safetensors"
        if digest not in self._verified or not path.exists():
            if not _holds(path, digest):
                fetch(path)
            self._verified.add(digest)
        os.utime(path)
        self._forget_all_but_newest()
        return path

    def _forget_all_but_newest(self) -> None:
        files = sorted(self._folder.iterdir(), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        kept = [file for file in files if file.suffix == ".safetensors"][:KEPT]
        for file in files:
            # Parts of broken downloads are gone on from by their fetch, and of no use once a fetch has succeeded.
            if file not in kept:
                file.unlink()


def _holds(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False
