"""The server's commands only pass on; without the server extra they say what to install."""

import sys
from types import ModuleType

import pytest


@pytest.fixture
def process(monkeypatch):
    """Stands in for hansa.server.process."""
    asked = []
    made = ModuleType("hansa.server.process")
    made.serve = lambda **given: asked.append(given) or 7
    made.manage = lambda arguments: asked.append(arguments) or 0
    package = ModuleType("hansa.server")
    package.process = made
    monkeypatch.setitem(sys.modules, "hansa.server", package)
    monkeypatch.setitem(sys.modules, "hansa.server.process", made)
    return asked


def test_serve_passes_its_options_on_and_ends_with_the_servers_code(hansa, process):
    assert hansa("serve", "--port", "9", "--insecure").code == 7
    [given] = process
    assert given == {"host": "127.0.0.1", "port": 9, "tls_cert": None, "tls_key": None, "insecure": True}


def test_djangos_commands_get_every_argument_even_help(hansa, process):
    hansa("migrate", "--plan", "accounts")
    hansa("createsuperuser", "--noinput", "--username", "alice", "--help")
    assert process == [
        ["migrate", "--plan", "accounts"],
        ["createsuperuser", "--noinput", "--username", "alice", "--help"],
    ]


@pytest.mark.parametrize("command", ["serve", "migrate", "createsuperuser"])
def test_without_the_server_extra_it_is_said_what_to_install(hansa, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "hansa.server", ModuleType("hansa.server"))

    class NoDjango:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "hansa.server.process":
                raise ModuleNotFoundError("No module named 'django'", name="django")

    monkeypatch.delitem(sys.modules, "hansa.server.process", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoDjango, *sys.meta_path])
    monkeypatch.setattr(sys.modules["hansa.server"], "__path__", [], raising=False)
    ran = hansa(command)
    assert ran.code == 1
    assert f"hansa {command} needs the server extra ('django' is not installed)" in ran.err
    assert "pip install '.[server]'" in ran.err


def test_a_port_out_of_range_is_usage(hansa, process):
    assert hansa("serve", "--port", "70000").code == 2
    assert process == []
