"""Models, clients and tokens, by id, by the beginning of an id, and by name."""

import io

import pytest
from cli_fakes import NOON, TOKEN, URL, a_model, a_training, uid

from hansa.cli import output
from hansa.formats import safetensors
from hansa.protocol.accounts import Token

pytestmark = pytest.mark.usefixtures("alice")


def test_models_are_listed_in_columns(hansa):
    lines = hansa("models", "list").out.splitlines()
    assert lines[0].split() == ["id", "name", "newest", "params", "size", "created"]
    assert lines[1].split()[:6] == [uid(1)[:8], "digits", "3", "9,930", "40.3", "kB"]


def test_json_is_the_servers_records_and_nothing_else(hansa, api):
    assert hansa("models", "list", "--json").json[0]["name"] == "digits"
    assert hansa("models", "show", "digits", "--json").json["num_params"] == 9930


def test_nothing_there_says_what_to_do(hansa, api):
    api.all_models = []
    assert "hansa models create" in hansa("models", "list").out
    assert hansa("models", "list", "--json").json == []


@pytest.mark.parametrize("wanted", ["digits", uid(1), uid(1).upper(), uid(1)[:5]])
def test_a_model_is_found_by_name_id_or_beginning(hansa, wanted):
    assert uid(1) in hansa("models", "show", wanted).out


def test_a_name_goes_before_the_beginning_of_an_id(hansa, api):
    api.all_models = [a_model(1, name="other"), a_model(2, name="01")]
    assert uid(2) in hansa("models", "show", "01").out


def test_what_is_not_there_is_told_with_what_is(hansa):
    ran = hansa("models", "show", "letters")
    assert ran.code == 1
    assert ran.err == "error: no model 'letters'. There are: digits. See: hansa models list\n"


def lines(ran):
    """What stands on stderr, word by word."""
    return [line.split() for line in ran.err.splitlines()]


def test_a_name_of_several_models_is_told_with_a_table_to_choose_from(hansa, api):
    """As copies of a model have it: what tells them apart is when they were made, and the training that each is of."""
    api.all_trainings = [a_training(7, name="second")]
    later = "2026-01-03T12:00:00+00:00"
    api.all_models = [a_model(1), a_model(2, training=uid(7), created_at=later, version=5)]
    ran = hansa("models", "show", "digits")
    assert (ran.code, ran.out) == (1, "")
    said, head, *rows = lines(ran)
    assert " ".join(said).startswith("error: 'digits' means 2 models, and none was chosen. Give the id of one")
    assert head == ["id", "name", "version", "created", "training"]
    assert [(row[0], row[1], row[2], row[-1]) for row in rows] == [
        (uid(2)[:8], "digits", "5", "second"),
        (uid(1)[:8], "digits", "3", "none"),
    ]


def test_a_name_of_several_trainings_is_told_with_how_far_each_is(hansa, api):
    api.all_trainings = [a_training(1), a_training(2, status="completed", rounds_done=3)]
    said, head, *rows = lines(hansa("trainings", "pause", "first"))
    assert "2 trainings" in " ".join(said)
    assert head == ["id", "name", "status", "rounds", "created", "model"]
    assert {(row[0], row[2]) for row in rows} == {(uid(1)[:8], "ongoing"), (uid(2)[:8], "completed")}


def test_tokens_of_one_name_are_told_apart_by_when_they_were_made(hansa, api):
    api.all_tokens = [Token(id=uid(n), name="laptop", created_at=NOON, expires_at=None) for n in (31, 32)]
    _, head, *rows = lines(hansa("tokens", "revoke", "laptop"))
    assert head == ["id", "name", "created"]
    assert len(rows) == 2


def test_the_beginning_of_several_ids_is_told_with_as_much_of_each_as_tells_them_apart(hansa, api):
    twins = [f"{uid(1)[:-1]}{last}" for last in "12"]
    api.all_models = [a_model(id=twin, name=twin[-1]) for twin in twins]
    _, _, *rows = lines(hansa("models", "show", "0101"))
    assert {row[0] for row in rows} == set(twins)


def test_of_very_many_the_newest_are_shown_and_where_the_others_are(hansa, api):
    api.all_models = [a_model(n, created_at=f"2026-01-{n:02}T12:00:00+00:00") for n in range(1, 31)]
    said, _, *rows = lines(hansa("models", "show", "digits"))
    assert " ".join(said).endswith("Here are the newest 20; all: hansa models list.")
    assert [row[0] for row in rows] == [uid(n)[:8] for n in range(30, 10, -1)]


def test_names_in_such_a_table_cannot_act_on_the_terminal(hansa, api):
    api.all_trainings = [a_training(7, name="\x1b[31mred")]
    api.all_models = [a_model(1, training=uid(7)), a_model(2)]
    assert "\x1b" not in hansa("models", "show", "digits").err


def test_names_of_others_cannot_act_on_the_terminal_or_forge_a_table(hansa, api):
    api.all_models = [a_model(name="\x1b[31m\n\u202ed [bold]b[/] :smile:")]
    out = hansa("models", "list").out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert len(out.splitlines()) == 2
    assert "[bold]b[/] :smile:" in out
    assert "\\u202e" in hansa("models", "list", "--json").out


def test_arrays_are_shown_with_their_shapes(hansa):
    out = hansa("models", "show", "digits").out
    assert "0.weight  float32  16 x 1 x 3 x 3  param" in out


def test_versions_say_what_they_were_made_from(hansa):
    lines = [line for line in hansa("models", "versions", "digits").out.splitlines() if "kB" in line]
    assert "an upload" in lines[0]
    assert lines[1].split()[:2] == ["1", "0"]


@pytest.mark.parametrize("columns", [80, 200])
def test_digests_are_shown_whole_however_narrow_the_terminal(hansa, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = hansa("models", "versions", "digits").out
    assert (out.count("a"), out.count("b")) >= (64, 64)
    assert "…" not in out
    assert max(map(len, map(str.rstrip, out.splitlines()))) <= columns


def test_a_long_word_of_a_sentence_in_a_table_goes_on_in_the_next_line(capsys):
    digest = "073c1ea" * 9
    columns = [output.Column("check"), output.Column("what", give="wrap")]
    output.console().print(output.table(columns, [("blobs", f"its file blobs/{digest} is not in the store")]))
    shown = capsys.readouterr().out
    assert f"blobs/{digest}" in "".join(line[7:].rstrip() for line in shown.splitlines())
    assert "…" not in shown


def test_a_download_takes_the_newest_version_unless_told(hansa, api, home):
    hansa("models", "download", "digits", "-o", "got.safetensors")
    hansa("models", "download", "digits", "1")
    assert api.asked == [("download", uid(1), 3), ("download", uid(1), 1)]
    assert sorted(path.name for path in (home / "here").iterdir()) == [f"{uid(1)[:8]}-1.safetensors", "got.safetensors"]


def test_a_file_becomes_a_model_named_after_it(hansa, api, home):
    (home / "here" / "net.safetensors").write_bytes(b"arrays")
    ran = hansa("models", "create", "--file", "net.safetensors", "--buffers", "mean, count")
    assert ran.code == 0
    assert api.asked == [("create_model", b"arrays", "net", "", ("mean", "count"))]


def test_a_model_is_made_of_one_thing(hansa):
    for arguments in ([], ["--file", "a", "--torch", "b:c"], ["--torch", "b:c", "--buffers", "d"]):
        assert hansa("models", "create", *arguments).code == 2


def test_a_torch_module_becomes_a_model_with_its_buffers(hansa, api, home, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend("")
    (home / "here" / "net_of_mine.py").write_text(
        "from torch import nn\ndef model():\n    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))\n"
    )
    ran = hansa("models", "create", "--torch", "net_of_mine:model", "--name", "mine")
    assert ran.code == 0, ran.err
    [(_, content, name, _, _)] = api.asked
    layout = safetensors.read_layout(io.BytesIO(content), len(content))
    kinds = {array.name: str(array.kind) for array in layout.spec()}
    assert name == "mine"
    assert kinds["0.weight"] == "param"
    assert kinds["1.num_batches_tracked"] == "buffer"


def test_a_model_is_deleted_by_what_it_is_called(hansa, api):
    assert hansa("models", "delete", "digits", "--yes").out == "delete_model is done\n"
    assert api.asked == [("delete_model", uid(1))]


def test_an_invitation_is_a_line_to_paste(hansa, api):
    ran = hansa("clients", "invite", "hospital-a", "--expires", "2h")
    assert ran.out == f"hansa enroll CODE-1234 --server {URL}\n"
    assert "2026-01-03 12:00" in ran.err
    assert "this machine's own address" in ran.err
    assert api.asked == [("invite", "hospital-a", 7200.0)]
    assert hansa("clients", "invite", "hospital-a", "--json").json["code"] == "CODE-1234"


def test_clients_are_listed_with_who_has_enrolled(hansa):
    lines = hansa("clients", "list").out.splitlines()
    assert lines[1].split()[1:3] == ["anna", "yes"]
    assert lines[2].split()[1:] == ["bert", "invited", "never"]


def test_a_new_token_is_shown_once_or_put_in_a_file(hansa, api, home):
    assert hansa("tokens", "create", "ci", "--expires", "30d").out == TOKEN + "\n"
    assert api.asked == [("create_token", "ci", 30 * 86400)]
    ran = hansa("tokens", "create", "ci", "-o", "token")
    assert ran.out == ""
    assert (home / "here" / "token").read_text() == TOKEN + "\n"
    assert (home / "here" / "token").stat().st_mode & 0o777 == 0o600


def test_with_json_a_token_in_a_file_stays_there(hansa):
    answer = hansa("tokens", "create", "ci", "-o", "token", "--json").json
    assert answer["id"] == uid(32)
    assert answer["token_file"] == "token"
    assert "token" not in answer


def test_a_token_is_revoked_by_its_name(hansa, api):
    assert hansa("tokens", "revoke", "laptop").code == 0
    assert api.asked == [("revoke_token", uid(31))]


def test_times_that_are_none_are_usage(hansa, api):
    for wrong in ("soon", "-1h", "0s", "1w", ""):
        assert hansa("clients", "invite", "a", "--expires", wrong).code == 2
    assert api.asked == []


def test_ids_are_shown_as_long_as_they_must_be(hansa, api):
    one, two = uid(1), uid(1)[:-1] + "9"
    api.all_models = [a_model(id=one), a_model(id=two)]
    listed = hansa("models", "list", "--json").json
    assert {each["id"] for each in listed} == {one, two}
    first_words = {line.split()[0] for line in hansa("models", "list").out.splitlines()[1:]}
    assert first_words == {one, two}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("yes\n", 0), ("n\n", 1), ("\n", 1)])
def test_in_a_terminal_deleting_is_asked_about(hansa, api, monkeypatch, typed, code):
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    ran = hansa("models", "delete", "digits")
    assert ran.code == code
    assert "with 4 versions? [y/N]" in ran.err
    assert bool(api.asked) == (code == 0)


def test_elsewhere_deleting_needs_a_yes(hansa, api, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    ran = hansa("models", "delete", "digits")
    assert ran.code == 2
    assert "--yes" in ran.err
    assert api.asked == []
