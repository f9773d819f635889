"""The data folder: made on the first start, kept private, locked by the one process that serves it."""

import errno
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hansa.server import config, home
from hansa.server.home import HomeError, HomeLock


@pytest.fixture
def settings(tmp_path):
    return config.read({"HANSA_HOME": str(tmp_path / "new" / "home")})


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_a_private_folder_with_a_key(settings):
    home.prepare(settings)

    assert {path.name for path in settings.home.iterdir()} == {*home.FOLDERS, "secret_key"}
    assert mode(settings.home) == 0o700
    assert mode(settings.home / "secret_key") == 0o600
    assert len((settings.home / "secret_key").read_text()) >= 64


def test_later_starts_change_nothing(settings):
    home.prepare(settings)
    (settings.home / "blobs" / "kept").write_text("x")
    key = (settings.home / "secret_key").read_text()

    home.prepare(settings)

    assert (settings.home / "secret_key").read_text() == key
    assert (settings.home / "blobs" / "kept").exists()
    assert list((settings.home / "tmp").iterdir()) == []


def test_a_file_in_place_of_the_folder_is_told(settings):
    settings.home.parent.mkdir()
    settings.home.write_text("not a folder")

    with pytest.raises(HomeError, match=r"is not a folder\. Name a folder by HANSA_HOME") as caught:
        home.prepare(settings)
    assert str(settings.home) in str(caught.value)


def test_a_file_on_the_way_to_the_folder_is_told(settings):
    settings.home.parent.write_text("not a folder")

    with pytest.raises(HomeError, match="is not a folder"):
        home.prepare(settings)


@pytest.mark.parametrize("folder", ["/proc/hansa", "/sys/hansa"])
def test_a_place_where_nobody_can_write_is_told(settings, folder):
    """Root has every permission; the kernel's own file systems refuse even root."""
    if not Path(folder).parent.exists():
        pytest.skip(f"this machine has no {Path(folder).parent}")

    with pytest.raises(HomeError) as caught:
        home.prepare(replace(settings, home=Path(folder)))
    assert "HANSA_HOME" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_without_permission_is_told(settings):
    settings.home.mkdir(parents=True)
    settings.home.chmod(0o500)

    with pytest.raises(HomeError, match="No permission to write"):
        home.prepare(settings)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "No permission to write in"),
        (errno.EROFS, "No permission to write in"),
        (errno.ENOSPC, "is full. Free some space"),
        (errno.EDQUOT, "is full"),
        (errno.EIO, "cannot be used: Input/output error"),
    ],
)
def test_whatever_the_system_says_is_told_with_the_next_step(settings, monkeypatch, number, words):
    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)

    with pytest.raises(HomeError, match=words) as caught:
        home.prepare(settings)
    assert str(settings.home) in str(caught.value)
    assert "HANSA_HOME" in str(caught.value)


def test_a_full_disk_is_told(small_disk, settings):
    (small_disk.folder / "filler").write_bytes(b"x" * (2**20 - 40 * 1024))
    small_disk.resize(2**20 - 36 * 1024)

    with pytest.raises(HomeError, match="is full"):
        home.prepare(replace(settings, home=small_disk.folder / "home"))


def test_a_second_server_is_refused_with_the_first_ones_pid(settings):
    home.prepare(settings)

    with (
        HomeLock(settings.home),
        pytest.raises(HomeError, match=rf"process {os.getpid()}\) already serves {settings.home}. Stop it first"),
        HomeLock(settings.home),
    ):
        pass


def test_the_lock_ends_with_its_holder(settings):
    home.prepare(settings)
    with HomeLock(settings.home):
        pass
    with HomeLock(settings.home):
        pass


def test_the_lock_ends_even_if_its_holder_is_killed(settings):
    home.prepare(settings)
    program = f"""
import sys
from pathlib import Path
from hansa.server.home import HomeLock
with HomeLock(Path({str(settings.home)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(HomeError, match=f"process {holder.pid}"), HomeLock(settings.home):
            pass
        holder.kill()
        holder.wait()
        with HomeLock(settings.home):
            pass


def test_a_lock_that_was_deleted_while_it_was_taken_is_taken_anew(settings, monkeypatch):
    """By a restore that was refused, which leaves the folder as it was."""
    home.prepare(settings)
    take = home.fcntl.flock

    def deleted_meanwhile(file, how):
        monkeypatch.undo()
        (settings.home / "server.lock").unlink()
        take(file, how)

    monkeypatch.setattr(home.fcntl, "flock", deleted_meanwhile)
    with HomeLock(settings.home):
        assert (settings.home / "server.lock").read_text() == str(os.getpid())
        with pytest.raises(HomeError, match=f"process {os.getpid()}"), HomeLock(settings.home):
            pass


def test_a_half_written_key_is_never_seen(settings, monkeypatch):
    """A crash while the key is written leaves no key, and the next start makes one."""

    def crash(_descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(KeyboardInterrupt):
            home.prepare(settings)
    assert not (settings.home / "secret_key").exists()

    home.prepare(settings)
    assert len((settings.home / "secret_key").read_text()) >= 64
