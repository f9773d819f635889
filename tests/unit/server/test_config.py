"""Settings come from HANSA_* variables, and one that cannot be used is named."""

import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from hansa.server import config
from hansa.server.config import ConfigError, read
from hansa.server.destinations import LOOPBACK, Destinations

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


def test_an_empty_environment_is_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    settings = read({})

    assert settings.home == tmp_path / "hansa-data"
    assert settings.database == tmp_path / "hansa-data" / "hansa.sqlite3"
    assert settings.allowed_hosts == ("localhost", "127.0.0.1", "[::1]")
    assert (settings.debug, settings.trusted_proxy, settings.log_level) == (False, False, "INFO")
    assert settings.throttles
    assert (settings.registration, settings.cors_origins) == ("staff", ())
    assert settings.max_model_bytes == 16 * 2**30
    assert list(tmp_path.iterdir()) == [], "reading settings makes no files"


def test_every_variable_is_read(tmp_path):
    settings = read(
        {
            "HANSA_HOME": str(tmp_path),
            "HANSA_DEBUG": "yes",
            "HANSA_SECRET_KEY": "k" * 32,
            "HANSA_ALLOWED_HOSTS": "fl.example.org, localhost",
            "HANSA_TRUSTED_PROXY": "true",
            "HANSA_THROTTLES": "Off",
            "HANSA_REGISTRATION": "Open",
            "HANSA_CORS_ORIGINS": "https://front.example.org, http://localhost:3000",
            "HANSA_MAX_MODEL_BYTES": "1000",
            "HANSA_LOG_LEVEL": "warning",
            "HANSA_LOG_FORMAT": "JSON",
            "HANSA_LOG_ACCESS": "off",
            "HANSA_METRICS_ALLOW": "10.1.0.7, fd00::/8",
            "HANSA_PUSH_ALLOW": "client-01, 10.0.0.0/8",
        }
    )

    assert settings == config.Config(
        home=tmp_path,
        postgres=None,
        debug=True,
        secret_key="k" * 32,
        allowed_hosts=("fl.example.org", "localhost"),
        trusted_proxy=True,
        throttles=False,
        registration=config.Registration.OPEN,
        cors_origins=("https://front.example.org", "http://localhost:3000"),
        max_model_bytes=1000,
        log_level="WARNING",
        log_format=config.LogFormat.JSON,
        log_access=False,
        metrics_allow=(ip_network("10.1.0.7/32"), ip_network("fd00::/8")),
        push_allow=Destinations.parse("client-01,10.0.0.0/8"),
    )


@pytest.mark.parametrize("name", sorted(config.KNOWN))
def test_an_empty_variable_is_as_good_as_none(name):
    assert read({name: ""}).home == read({}).home


def test_a_server_in_debug_answers_to_any_name():
    assert read({"HANSA_DEBUG": "1"}).allowed_hosts == ("*",)


def test_requests_have_lines_of_their_own_in_the_log_of_programs_and_not_in_that_of_people():
    assert [read({"HANSA_LOG_FORMAT": form}).log_access for form in ("console", "json")] == [False, True]
    assert read({"HANSA_LOG_ACCESS": "on"}).log_access


def test_the_metrics_are_for_this_machine_unless_networks_are_named_or_nobody():
    assert read({}).metrics_allow == config.THIS_MACHINE
    assert read({"HANSA_METRICS_ALLOW": "Nobody"}).metrics_allow == ()
    with pytest.raises(ConfigError, match=r"HANSA_METRICS_ALLOW has '10\.0\.0\.1/8'.*10\.1\.0\.0/16"):
        read({"HANSA_METRICS_ALLOW": "127.0.0.1,10.0.0.1/8"})


def test_notifications_go_nowhere_unless_listed_and_in_debug_to_this_machine():
    assert read({}).push_allow == Destinations()
    assert read({"HANSA_DEBUG": "1"}).push_allow == LOOPBACK
    assert read({"HANSA_DEBUG": "1", "HANSA_PUSH_ALLOW": "client-01"}).push_allow == Destinations.parse("client-01")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HANSA_DEBUG", "maybe", ["'maybe'", "1 or 0"]),
        ("HANSA_TRUSTED_PROXY", "2", ["'2'", "1 or 0"]),
        ("HANSA_THROTTLES", "0", ["'0'", "on or off"]),
        ("HANSA_REGISTRATION", "closed", ["'closed'", "staff, open"]),
        ("HANSA_CORS_ORIGINS", "front.example.org", ["'front.example.org'", "https://front.example.org"]),
        ("HANSA_CORS_ORIGINS", "https://a.example,https://b.example/", ["'https://b.example/'", "no slash"]),
        ("HANSA_CORS_ORIGINS", "https://a.example/app", ["no path"]),
        ("HANSA_CORS_ORIGINS", "https://A.example", ["lower case"]),
        ("HANSA_CORS_ORIGINS", "https://a.example:443", ["no :80 or :443"]),
        ("HANSA_CORS_ORIGINS", "https://a.example:70000", ["70000"]),
        ("HANSA_CORS_ORIGINS", "https://a.example,", ["''"]),
        ("HANSA_CORS_ORIGINS", "*,https://a.example", ["'*'", "* alone"]),
        ("HANSA_CORS_ORIGINS", "https://*.example", ["'https://*.example'"]),
        ("HANSA_CORS_ORIGINS", "null", ["'null'"]),
        ("HANSA_CORS_ORIGINS", "file:///", ["'file:///'"]),
        ("HANSA_CORS_ORIGINS", "https://user@a.example", ["user@"]),
        ("HANSA_CORS_ORIGINS", "https://münchen.example", ["münchen"]),
        ("HANSA_MAX_MODEL_BYTES", "0", ["'0'", "at least 1"]),
        ("HANSA_MAX_MODEL_BYTES", "-5", ["'-5'"]),
        ("HANSA_MAX_MODEL_BYTES", "10 GB", ["'10 GB'", "whole number"]),
        ("HANSA_MAX_MODEL_BYTES", "1e9", ["'1e9'"]),
        ("HANSA_LOG_LEVEL", "LOUD", ["'LOUD'", "INFO, DEBUG, WARNING, ERROR"]),
        ("HANSA_PUSH_ALLOW", "http://client-01", ["'http://client-01'", "no http://, no ports"]),
        ("HANSA_PUSH_ALLOW", "client-01:8101", ["'client-01:8101'", "no ports"]),
        ("HANSA_PUSH_ALLOW", "10.1.2.3/8", ["'10.1.2.3/8'", "host bits"]),
        ("HANSA_ALLOWED_HOSTS", "http://fl.example.org", ["'http://fl.example.org'", "no http://"]),
        ("HANSA_ALLOWED_HOSTS", "a,,b", ["''"]),
        ("HANSA_ALLOWED_HOSTS", "a b", ["'a b'"]),
        ("HANSA_SECRET_KEY", "short", ["5 characters", "at least 32"]),
        ("HANSA_SECRET_KEY_FILE", "/nowhere/key", ["/nowhere/key", "No such file"]),
        ("HANSA_SECRET_KEY_FILE", "/", ["cannot read /", "Is a directory"]),
        ("HANSA_HOMES", "x", ["not a setting", "HANSA_HOME, "]),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_the_variables_name(name, value, words):
    with pytest.raises(ConfigError) as caught:
        read({name: value})

    for word in (name, *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["https://[fd00::1]:8443", "http://10.0.0.7", "https://xn--mnchen-3ya.example"])
def test_an_origin_is_what_a_browser_would_send(text):
    assert read({"HANSA_CORS_ORIGINS": text}).cors_origins == (text,)


def test_all_origins_are_a_star_alone():
    assert read({"HANSA_CORS_ORIGINS": "*"}).cors_origins == ("*",)


def test_the_secret_key_may_come_from_a_file(tmp_path):
    file = tmp_path / "key"
    file.write_text("s" * 40 + "\n")

    assert read({"HANSA_SECRET_KEY_FILE": str(file)}).secret_key == "s" * 40
    assert read({"HANSA_SECRET_KEY_FILE": str(file), "HANSA_SECRET_KEY": "k" * 32}).secret_key == "k" * 32


def test_else_it_is_the_one_kept_at_home(tmp_path):
    assert read({"HANSA_HOME": str(tmp_path)}).secret_key != read({"HANSA_HOME": str(tmp_path)}).secret_key

    config.secret_key_file(tmp_path).write_text("h" * 40)
    assert read({"HANSA_HOME": str(tmp_path)}).secret_key == "h" * 40


@pytest.mark.parametrize("content", [b"short", b"\xff" * 40])
def test_a_key_at_home_that_cannot_be_used_is_told(tmp_path, content):
    config.secret_key_file(tmp_path).write_bytes(content)

    with pytest.raises(ConfigError, match="secret_key"):
        read({"HANSA_HOME": str(tmp_path)})


def test_the_page_of_settings_names_every_variable_and_no_other():
    named = re.findall(r"^\| `(HANSA_\w+)` \|", PAGE.read_text(), flags=re.MULTILINE)

    assert sorted(named) == sorted(config.KNOWN)


def test_the_page_tells_the_defaults_as_they_are():
    settings, text = read({}), PAGE.read_text()

    assert f"{settings.max_model_bytes:,}" in text
    assert all(f"`{host}`" in text for host in settings.allowed_hosts)
    assert f"| `{settings.log_level}` |" in text
    assert f"`./{settings.home.name}`" in text
