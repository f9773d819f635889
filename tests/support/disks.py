"""A disk that is full for real: a small file system of its own below the test's folder."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.home import use_home


class SmallDisk:
    """A tmpfs of a size that can be changed while it is in use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, size: int) -> bool:
        """Whether this user may mount, and did."""
        return _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.folder))

    def resize(self, size: int) -> None:
        """Somebody has freed some space, or taken it."""
        assert _run("mount", "-o", f"remount,size={size}", str(self.folder))

    def unmount(self) -> None:
        """Give it back, whatever is still open on it."""
        _run("umount", "-l", str(self.folder))


def _run(*command: str) -> bool:
    program = shutil.which(command[0])
    return (
        program is not None
        and subprocess.run([program, *command[1:]], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture
def small_disk(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    """HANSA_HOME (but not the database) on a disk of 1 MiB; the kernel itself says when it is full."""
    disk = SmallDisk(tmp_path / "small")
    disk.folder.mkdir()
    if not disk.mount(2**20):
        pytest.skip("only root may mount a small disk; test_process.py fills one by a limit that needs no rights")
    use_home(disk.folder, monkeypatch)
    yield disk
    disk.unmount()
