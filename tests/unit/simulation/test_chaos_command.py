"""What `hansa chaos` refuses, before anything is started."""

import socket
import sys

import pytest

from hansa.cli import main


def test_a_folder_with_something_in_it_is_refused(tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert main(["chaos", "--kills", "1", "--home", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{tmp_path} is not empty. Name an empty folder by --home" in captured.err


def test_what_is_no_folder_is_refused(tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert main(["chaos", "--kills", "1", "--home", str(tmp_path / "mine")]) == 1
    assert f"{tmp_path / 'mine'} cannot be used: File exists" in capsys.readouterr().err


def test_a_port_in_use_is_refused(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        assert main(["chaos", "--kills", "1", "--home", str(tmp_path / "home"), "--port", port]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"Port {port} cannot be used: Address already in use" in captured.err


@pytest.mark.parametrize("kills", ["0", "-3", "many"])
def test_a_number_of_kills_that_makes_no_sense_is_refused(kills, capsys):
    assert main(["chaos", "--kills", kills]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--kills" in captured.err


def test_without_the_server_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "hansa.server.process", raising=False)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert main(["chaos", "--kills", "1"]) == 1
    assert "hansa chaos needs the server extra ('uvloop' is not installed)" in capsys.readouterr().err
