"""The state folder: one process at a time, its own name to the server, and nothing secret in it."""

import os
import subprocess
import sys

import pytest

from hansa.client import StateFolderBusy, UsageError
from hansa.client.state import StateFolder, default_folder

TOKEN = "0123456789abcdef0123456789abcdef01234567"


def test_each_server_and_token_has_a_folder_of_its_own_that_does_not_tell_the_token():
    folder = default_folder("https://host:8443", TOKEN, {"XDG_STATE_HOME": "/state"})
    assert folder.parent.as_posix() == "/state/hansa"
    assert folder.name.startswith("host_8443-")
    assert folder == default_folder("https://host:8443/", TOKEN, {"XDG_STATE_HOME": "/state"})
    others = [("https://host", TOKEN), ("https://host:8443", TOKEN[::-1]), ("https://host:8443/below", TOKEN)]
    assert folder not in {default_folder(url, token, {"XDG_STATE_HOME": "/state"}) for url, token in others}
    assert TOKEN[:6] not in folder.name
    assert default_folder("https://[::1]:1", TOKEN, {}).is_absolute()


def test_an_instance_keeps_its_name(tmp_path):
    with StateFolder(tmp_path / "deep" / "state") as folder:
        name = folder.instance
    with StateFolder(tmp_path / "deep" / "state") as folder:
        assert folder.instance == name
    with StateFolder(tmp_path / "other") as folder:
        assert folder.instance != name


@pytest.mark.parametrize("content", ["", "two words\n", "\x00\xff", "x" * 65])
def test_a_damaged_name_is_made_anew(tmp_path, content):
    (tmp_path / "instance").write_text(content)
    with StateFolder(tmp_path) as folder:
        name = folder.instance
    with StateFolder(tmp_path) as folder:
        assert folder.instance == name != content


def test_a_second_client_is_refused_with_the_first_ones_process_id(tmp_path):
    with StateFolder(tmp_path), pytest.raises(StateFolderBusy, match=f"process {os.getpid()}.*another folder"):
        StateFolder(tmp_path)
    StateFolder(tmp_path).close()


def test_the_lock_ends_with_the_process_that_holds_it(tmp_path):
    script = (
        f"from hansa.client.state import *; import os; StateFolder(Path({str(tmp_path)!r})); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    StateFolder(tmp_path).close()


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    """A data loader's workers outlive a parent that was killed, for a while."""
    folder = StateFolder(tmp_path)
    (there, begun), (may_end, end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begun, b"!")
        os.close(end)
        os.read(may_end, 1)
        os._exit(0)
    try:
        os.read(there, 1)
        folder.close()
        StateFolder(tmp_path).close()
    finally:
        os.close(end)
        os.waitpid(child, 0)
        for descriptor in (there, begun, may_end):
            os.close(descriptor)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used: Not a directory"):
        StateFolder(tmp_path / "file" / "state")


def test_others_cannot_read_the_folder(tmp_path):
    with StateFolder(tmp_path / "state") as folder:
        assert folder.path.stat().st_mode & 0o077 == 0
