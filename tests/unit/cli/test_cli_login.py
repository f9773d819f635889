import io
import json
import stat

import msgspec
import pytest
from cli_fakes import NOON, TOKEN, URL

from hansa.cli import credentials
from hansa.cli.exits import CommandError
from hansa.cli.session import find_client_target
from hansa.client.errors import CredentialsRefused, Unreachable
from hansa.protocol.accounts import Enrolled, TokenCreated

pytestmark = pytest.mark.usefixtures("server")


def test_login_keeps_a_token_readable_by_its_owner_only(hansa, api, monkeypatch):
    monkeypatch.setenv("HANSA_PASSWORD", "right")
    ran = hansa("login", "--server", URL + "/", "--username", "alice")
    assert (ran.code, ran.out) == (0, "")
    assert f"Logged in to {URL} as alice" in ran.err
    assert credentials.load().saved(URL).token == TOKEN
    assert stat.S_IMODE(credentials.path().stat().st_mode) == 0o600
    assert stat.S_IMODE(credentials.folder().stat().st_mode) == 0o700
    assert list(credentials.folder().iterdir()) == [credentials.path()]


def test_login_reads_the_password_from_a_pipe(hansa, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("right\n"))
    assert hansa("login", "--server", URL, "--username", "alice").code == 0


def test_login_never_keeps_the_password(hansa, monkeypatch):
    monkeypatch.setenv("HANSA_PASSWORD", "right")
    hansa("login", "--server", URL, "--username", "alice")
    assert "right" not in credentials.path().read_text()


def test_login_with_a_wrong_password_says_so_and_keeps_nothing(hansa, monkeypatch):
    monkeypatch.setenv("HANSA_PASSWORD", "wrong")
    ran = hansa("login", "--server", URL, "--username", "alice")
    assert ran.code == 4
    assert "does not know 'alice' with this password" in ran.err
    assert list(credentials.folder().iterdir()) == []


def test_login_without_a_password_says_how_to_give_one(hansa, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    ran = hansa("login", "--server", URL, "--username", "alice")
    assert ran.code == 2
    assert "HANSA_PASSWORD" in ran.err


def test_login_remembers_the_authority_by_its_full_path(hansa, home, server, monkeypatch):
    monkeypatch.setenv("HANSA_PASSWORD", "right")
    assert hansa("login", "--server", URL, "--username", "alice", "--ca", "ca.pem").code == 0
    hansa("models", "list")
    assert server.came[-1].ca == home / "here" / "ca.pem"


def test_login_can_end_by_itself(hansa, api, monkeypatch):
    monkeypatch.setenv("HANSA_PASSWORD", "right")
    hansa("login", "--server", URL, "--username", "alice", "--expires", "12h")
    assert api.asked[0][2] == 12 * 3600


def test_login_to_a_second_server_keeps_the_first(hansa, monkeypatch):
    monkeypatch.setenv("HANSA_PASSWORD", "right")
    hansa("login", "--server", URL, "--username", "alice")
    hansa("login", "--server", "https://other.example", "--username", "bob")
    known = credentials.load()
    assert known.saved(URL).username == "alice"
    assert known.server == "https://other.example"


def test_logging_in_again_revokes_the_token_of_before_if_it_can(hansa, api, alice, monkeypatch):
    monkeypatch.setenv("HANSA_PASSWORD", "right")
    hansa("login", "--server", URL, "--username", "alice")
    assert api.asked[-1] == ("revoke_token", "7")

    def away(token):
        raise Unreachable("no connection")

    monkeypatch.setattr(api, "revoke_token", away)
    assert hansa("login", "--server", URL, "--username", "alice").code == 0


def test_a_login_folder_that_cannot_be_written_is_told_before_a_token_is_made(hansa, api, home, monkeypatch):
    (home / "config").write_text("a file where a folder should be")
    monkeypatch.setenv("HANSA_PASSWORD", "right")
    ran = hansa("login", "--server", URL, "--username", "alice")
    assert ran.code == 1
    assert "cannot be written" in ran.err
    assert api.asked == []


def test_logout_revokes_and_forgets(hansa, api, alice):
    assert hansa("logout").code == 0
    assert api.asked == [("revoke_token", "7")]
    assert credentials.load() == credentials.Credentials()


def test_logout_forgets_a_token_that_the_server_no_longer_knows(hansa, api, alice, monkeypatch):
    def refused(token):
        raise CredentialsRefused(401, "authentication_failed", "no")

    monkeypatch.setattr(api, "revoke_token", refused)
    assert hansa("logout").code == 0
    assert credentials.load().servers == {}


def test_logout_keeps_the_token_while_the_server_cannot_be_told(hansa, api, alice, monkeypatch):
    def away(token):
        raise Unreachable("no connection")

    monkeypatch.setattr(api, "revoke_token", away)
    assert hansa("logout").code == 3
    assert credentials.load().saved(URL) is not None
    assert hansa("logout", "--local").code == 0
    assert credentials.load().servers == {}


def test_logout_when_nobody_is_logged_in_says_so(hansa):
    ran = hansa("logout", "--server", URL)
    assert ran.code == 1
    assert "nobody is logged in" in ran.err


def test_enroll_prints_the_next_line_to_paste_and_nothing_else(hansa, api):
    ran = hansa("enroll", "CODE-1234", "--server", URL)
    token_file = credentials.client_token_path(URL, "clara")
    assert ran.out == f"hansa client run trainer:trainer --server {URL} --token-file {token_file}\n"
    assert "This machine is now clara" in ran.err
    assert token_file.read_text() == TOKEN + "\n"
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert {file.name for file in token_file.parent.iterdir()} == {"clara.token", "server.json"}
    assert api.asked == [("enroll", "CODE-1234")]


def test_enroll_puts_the_token_where_it_is_told_and_repeats_the_authority(hansa, home):
    ran = hansa("enroll", "CODE", "--server", URL, "--token-file", "my token", "--ca", "ca.pem")
    assert ran.out.endswith("--token-file 'my token' --ca ca.pem\n")
    assert (home / "here" / "my token").read_text() == TOKEN + "\n"


def test_enroll_spends_no_code_if_the_token_could_not_be_kept(hansa, api, home):
    (home / "config").write_text("a file where a folder should be")
    assert hansa("enroll", "CODE", "--server", URL).code == 1
    assert api.asked == []


def test_enroll_for_programs_names_the_file_and_never_the_token(hansa):
    ran = hansa("enroll", "CODE", "--server", URL, "--json")
    assert ran.json["username"] == "clara"
    assert ran.json["token_file"].endswith("clara.token")
    assert TOKEN not in ran.out


def test_no_command_shows_a_token_that_is_saved(hansa, alice, capsys):
    for command in (["models", "list"], ["tokens", "list"], ["clients", "list"], ["trainings", "list"]):
        ran = hansa(*command)
        assert TOKEN not in ran.out + ran.err


def test_a_token_is_sent_only_to_the_server_it_is_from(hansa, alice):
    ran = hansa("models", "list", "--server", "https://elsewhere.example")
    assert ran.code == 4
    assert "no credentials for https://elsewhere.example" in ran.err
    assert alice.came == []


def test_a_token_file_goes_before_the_environment_and_that_before_what_is_saved(hansa, alice, home, monkeypatch):
    other, third = "a" * 40, "b" * 40
    (home / "file").write_text(other + "\n")
    hansa("models", "list")
    monkeypatch.setenv("HANSA_TOKEN", third)
    hansa("models", "list")
    hansa("models", "list", "--token-file", home / "file")
    assert [target.token for target in alice.came] == [TOKEN, third, other]


@pytest.mark.parametrize("content", [b"", b"secret", b"\xff\xfe", b"A" * 40, b"0" * 41])
def test_a_file_that_holds_no_token_is_refused_without_repeating_it(hansa, home, content):
    (home / "file").write_bytes(content)
    ran = hansa("models", "list", "--server", URL, "--token-file", home / "file")
    assert ran.code == 4
    assert "does not hold a token" in ran.err
    assert "secret" not in ran.err


def test_a_token_file_that_is_not_there_is_told(hansa, home):
    ran = hansa("models", "list", "--server", URL, "--token-file", home / "none")
    assert (ran.code, ran.err) == (
        4,
        f"error: the token file {home / 'none'} cannot be read: No such file or directory.\n",
    )


def test_credentials_that_somebody_broke_are_told_with_what_to_do(hansa, home):
    credentials.folder().mkdir(parents=True)
    credentials.path().write_text("{")
    ran = hansa("models", "list")
    assert ran.code == 4
    assert "Remove it and log in again" in ran.err


def test_saved_credentials_are_json_for_people_who_look(alice):
    content = json.loads(credentials.path().read_text())
    assert content["server"] == URL
    assert content["servers"][URL]["username"] == "alice"


@pytest.mark.parametrize("name", ["anna", "anna@example.org", "Zoë", "...", ".hidden", "a+b-c_d"])
def test_a_clients_token_is_in_the_folder_under_its_own_name(name):
    assert credentials.client_token_path(URL, name) == credentials.client_folder(URL) / f"{name}.token"


HOSTILE = ["..", ".", "/etc/passwd", "../../x", "a/../../b", "a/b", "a\0b", "", "anna\n", "a b", "\x1b[2J", "x" * 151]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_client_name_cannot_lead_out_of_its_folder(name):
    with pytest.raises(CommandError, match="cannot name a client's file"):
        credentials.client_token_path(URL, name)


@pytest.mark.parametrize("name", HOSTILE)
def test_enroll_writes_nowhere_for_a_server_that_answers_with_a_hostile_name(hansa, api, home, monkeypatch, name):
    monkeypatch.setattr(api, "enroll", lambda code: Enrolled(id="1", username=name, token=TOKEN))
    ran = hansa("enroll", "CODE", "--server", URL)
    assert ran.code == 1
    assert "--token-file FILE" in ran.err
    assert "\x1b" not in ran.err
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["a/b", "anna\n", "", "x" * 151])
def test_an_answer_with_what_is_no_user_name_is_not_understood(name):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"id": "1", "username": name, "token": TOKEN}, Enrolled)


@pytest.mark.parametrize("token", ["", "secret", "A" * 40, "0" * 41, "0" * 40 + "\n", "0" * 39 + "\n"])
def test_an_answer_with_what_is_no_token_is_not_understood_and_not_repeated(token):
    made = {"id": "1", "name": "", "created_at": NOON, "expires_at": None}
    for kind, rest in ((Enrolled, {"id": "1", "username": "anna"}), (TokenCreated, made)):
        with pytest.raises(msgspec.ValidationError) as refusal:
            msgspec.convert({**rest, "token": token}, kind)
        assert not token or token not in str(refusal.value)


def test_one_enrolled_client_needs_no_naming_and_of_several_one_is_named(hansa, api, monkeypatch):
    with pytest.raises(CommandError, match=r"no client of .* is enrolled"):
        find_client_target(URL, None, None)
    hansa("enroll", "CODE", "--server", URL)
    assert find_client_target(URL, None, None).token == TOKEN
    (credentials.client_folder(URL) / "dora.token").write_text("d" * 40)
    with pytest.raises(CommandError, match=r"2 clients .* \(clara, dora\)"):
        find_client_target(URL, None, None)
    assert find_client_target(URL, None, None, client="dora").token == "d" * 40


def test_a_machine_knows_where_its_client_was_enrolled(hansa, tmp_path):
    hansa("enroll", "CODE", "--server", URL, "--ca", "ca.pem")

    target = find_client_target(None, None, None, client="clara")
    assert (target.url, target.token) == (credentials.normal(URL), TOKEN)
    assert target.ca == tmp_path / "here" / "ca.pem"
    assert find_client_target(None, None, None) == target
    assert find_client_target(None, None, tmp_path / "other.pem").ca == tmp_path / "other.pem"


def test_who_was_never_enrolled_is_told_how_to_be(hansa):
    with pytest.raises(CommandError, match=r"no such client is enrolled here.*hansa enroll CODE --server URL"):
        find_client_target(None, None, None, client="nobody")


def test_a_record_of_an_enrolment_that_cannot_be_read_is_left_out(hansa):
    hansa("enroll", "CODE", "--server", URL)
    (credentials.client_folder(URL) / "server.json").write_text("{")
    assert credentials.enrollments() == []


def test_a_person_who_is_logged_in_does_not_take_part_by_mistake(alice):
    with pytest.raises(CommandError, match="no client"):
        find_client_target(URL, None, None)
