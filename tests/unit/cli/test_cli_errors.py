"""An error is lines on stderr and an exit code: what was seen, what is wanted, what to do next. Never a traceback."""

import warnings

import pytest
from cli_fakes import URL

from hansa.client.errors import ApiError, BadAnswer, CredentialsRefused, Unreachable, UsageError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("http://127.0.0.1:9: no connection"), 3),
        (CredentialsRefused(401, "authentication_failed", "Invalid token."), 4),
        (ApiError(403, "permission_denied", "Only actors may do this."), 4),
        (ApiError(404, "not_found", "No such model."), 1),
        (ApiError(409, "wrong_state", "The training is completed."), 1),
        (ApiError(503, "unavailable", "Later."), 1),
        (BadAnswer("an HTML page"), 1),
        (UsageError("'x' is not a URL"), 2),
    ],
)
def test_each_kind_of_error_has_its_exit_code(hansa, alice, api, monkeypatch, error, code):
    def fails():
        raise error

    monkeypatch.setattr(api, "models", fails)
    ran = hansa("models", "list")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err == f"error: {error}\n"


def test_with_json_an_error_leaves_stdout_empty(hansa, alice, api, monkeypatch):
    def fails():
        raise Unreachable("no connection")

    monkeypatch.setattr(api, "models", fails)
    assert hansa("models", "list", "--json").out == ""


@pytest.mark.parametrize("arguments", [["models", "sho"], ["trainings", "create", "--rounds", "x"], ["models", "show"]])
def test_a_wrong_call_is_usage(hansa, arguments):
    ran = hansa(*arguments)
    assert ran.code == 2
    assert "Usage: hansa" in ran.err


def test_no_server_is_usage_and_says_how_to_name_one(hansa):
    ran = hansa("models", "list")
    assert ran.code == 2
    assert "hansa login --server" in ran.err


def test_an_address_that_is_none_is_usage(hansa):
    ran = hansa("models", "list", "--server", "hansa.example.org")
    assert ran.code == 2
    assert "is not the address of a server" in ran.err


def test_no_credentials_says_how_to_get_them(hansa):
    ran = hansa("models", "list", "--server", URL)
    assert ran.code == 4
    assert f"hansa login --server {URL}" in ran.err


def test_an_error_cannot_act_on_the_terminal(hansa, alice, api, monkeypatch):
    def fails():
        raise ApiError(409, "wrong_state", "evil \x1b]0;title\x07 [red]name[/red]\r\n")

    monkeypatch.setattr(api, "models", fails)
    ran = hansa("models", "list")
    assert "\x1b" not in ran.err
    assert "\r" not in ran.err
    assert "[red]name[/red]" in ran.err


def test_a_warning_is_a_line_without_the_place_in_the_code(hansa, capsys):
    hansa("version")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("the token travels unencrypted", UserWarning, stacklevel=1)
    err = capsys.readouterr().err
    assert err == "warning: the token travels unencrypted\n"


def test_help_needs_nothing_and_names_the_exit_codes(hansa):
    ran = hansa("--help")
    assert ran.code == 0
    assert "3 server unreachable" in ran.out


def test_version_says_which(hansa):
    assert hansa("version").out.startswith("hansa 0.")
    assert hansa("--version").out == hansa("version").out
    assert set(hansa("version", "--json").json) == {"hansa", "protocol", "python"}
