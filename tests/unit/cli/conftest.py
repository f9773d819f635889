"""Commands as a person types them, against a server in memory, in a home of their own."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cli_fakes import TOKEN, URL, FakeApi, FakeServer

from hansa.cli import credentials, main


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Hansa = Callable[..., Ran]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home and current folder, and a terminal of 80 columns without colours."""
    for name in ("HANSA_SERVER", "HANSA_TOKEN", "HANSA_TOKEN_FILE", "HANSA_CA", "HANSA_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return tmp_path


@pytest.fixture
def api():
    return FakeApi()


@pytest.fixture
def server(api, monkeypatch):
    """The server in memory, standing where the real one would be asked."""
    made = FakeServer(api)
    monkeypatch.setattr("hansa.cli.session.connected", made.connected)
    monkeypatch.setattr("hansa.cli.login.connected", made.connected)
    monkeypatch.setattr("hansa.cli.trainings.connected", made.connected)
    monkeypatch.setattr("hansa.cli.login.anonymous", made.anonymous)
    return made


@pytest.fixture
def hansa(capsys) -> Hansa:
    """Runs a command to its end."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        done = capsys.readouterr()
        return Ran(code, done.out, done.err)

    return run


@pytest.fixture
def alice(server):
    """Alice is logged in."""
    saved = credentials.Saved(username="alice", token=TOKEN, token_id="7")
    credentials.save(credentials.Credentials().having(URL, saved))
    return server
