import json

import pytest
from cli_fakes import TOKEN, URL, a_round, a_task, a_training, uid
from msgspec.structs import replace

from hansa.cli import credentials
from hansa.cli.exits import ExitCode
from hansa.protocol.trainings import TrainingCreated
from hansa.rounds.plan import parse, to_data

pytestmark = pytest.mark.usefixtures("alice")

CREATE = ("trainings", "create", "--model", "digits", "--clients", "bert,anna")


def test_a_training_is_made_of_a_model_clients_in_order_and_a_plan(hansa, api):
    ran = hansa(*CREATE, "--rounds", "10", "--name", "second")
    [(_, made)] = api.asked
    assert (made.model_id, made.clients, made.plan, made.name) == (uid(1), [uid(22), uid(21)], {"rounds": 10}, "second")
    assert "hansa trainings start second" in ran.out


def test_every_option_has_its_place_in_the_plan(hansa, api):
    options = "--rounds 5 --epochs 3 --lr 0.05 --momentum 0.9 --prox 0.1 --quorum 2 --deadline 2m --min-reports 1"
    hansa(*CREATE, *options.split(), "--keep-updates", "4", "--seed", "42")
    assert api.asked[0][1].plan == {
        "rounds": 5,
        "client": {"epochs": 3, "client_lr": 0.05, "momentum": 0.9, "proximal_mu": 0.1},
        "closing": {"quorum": 2, "deadline_seconds": 120.0, "min_reports": 1},
        "keep_updates": 4,
        "seed": 42,
    }


def test_an_option_goes_before_the_plan_file(hansa, api, home):
    plan = {"rounds": 5, "client": {"epochs": 3, "momentum": 0.5}, "evaluation": {"every": 2}}
    (home / "here" / "plan.json").write_text(json.dumps(plan))
    hansa(*CREATE, "--plan", "plan.json", "--momentum", "0")
    assert api.asked[0][1].plan == {**plan, "client": {"epochs": 3, "momentum": 0.0}}


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        ('{"rounds": 5, "closng": {}}', 1, "closng"),
        ('{"rounds": 0}', 1, "rounds"),
        ('{"rounds": 5, "closing": {"quorum": 1, "min_reports": 2}}', 1, "Raise quorum"),
        ('{"rounds": 5, "closing": 3}', 1, "closing"),
        ("{}", 2, "--rounds"),
        ("[]", 2, "not a JSON object"),
        ("{", 2, "not JSON"),
    ],
)
def test_a_plan_that_cannot_work_is_told_before_anything_is_asked(hansa, api, home, content, code, said):
    (home / "here" / "plan.json").write_text(content)
    ran = hansa(*CREATE, "--plan", "plan.json")
    assert ran.code == code
    assert said in ran.err
    assert api.asked == []


def test_an_option_for_a_section_that_is_none_is_told(hansa, home):
    (home / "here" / "plan.json").write_text('{"rounds": 5, "closing": 3}')
    ran = hansa(*CREATE, "--plan", "plan.json", "--quorum", "2")
    assert ran.code == 1
    assert "closing is not an object" in ran.err


def test_no_rounds_is_usage(hansa):
    assert hansa(*CREATE).code == 2


def test_unknown_and_repeated_clients_are_told(hansa, api):
    for clients, said in (("anna,zoe", "no client 'zoe'"), ("anna,anna", "named twice"), (" , ", "no client is named")):
        ran = hansa("trainings", "create", "--model", "digits", "--clients", clients, "--rounds", "1")
        assert ran.code == 1
        assert said in ran.err
    assert api.asked == []


def test_a_client_is_named_by_the_beginning_of_its_id(hansa, api):
    hansa("trainings", "create", "--model", "digits", "--clients", uid(22)[:6], "--rounds", "1")
    assert api.asked[0][1].clients == [uid(22)]


def test_trainings_are_listed_with_how_far_they_are(hansa):
    lines = hansa("trainings", "list").out.splitlines()
    assert lines[1].split()[:5] == [uid(1)[:8], "first", "ongoing", "1/3", "2"]


def test_show_says_where_it_is_and_why_who_takes_part_and_the_rounds(hansa):
    out = hansa("trainings", "show", "first").out
    assert out.startswith("first  ongoing  1 of 3 rounds done\n1 of 2 clients have reported; 1 at work")
    assert "3 rounds, mean weighted by examples, 3 local epochs, learning rate 0.05" in " ".join(out.split())
    assert "train: reported" in out
    assert "train: failed" in out
    assert "0.850..0.950" in out
    assert max(map(len, out.splitlines())) <= 80


def test_show_tells_the_actor_why_clients_failed_or_were_lost_in_the_newest_round(hansa, api):
    lost = "the lease ended without a sign of life"
    api.all_tasks += [
        a_task(23, username="carol", ordinal=2, state="lost", reason=lost),
        a_task(24, username="dora", ordinal=3, state="closed", reason="round 2 closed without it"),
        a_task(21, kind="evaluate", state="failed", reason="ValueError: \x1b[2Jno test data"),
    ]
    lines = hansa("trainings", "show", "first").out.splitlines()
    at = lines.index("In round 2:")
    assert lines[at + 1 : at + 5] == [
        "bert failed (train): TypeError: no",
        f"carol was lost (train): {lost}",
        "anna failed (evaluate): ValueError:  [2Jno test data",
        "",
    ]


def test_show_tells_a_participant_no_reasons_as_it_is_given_none(hansa, api):
    blank = {"reason": "", "num_examples": None, "weight": None, "digest": None, "norm": None, "bytes": None}
    api.all_tasks = [a_task(22, username="bert", ordinal=1, state="failed", verdict=None, metrics={}, **blank)]
    out = hansa("trainings", "show", "first").out
    assert "train: failed" in out
    assert "In round" not in out
    assert hansa("trainings", "show", "first", "--round", "2").code == 0


def test_show_for_programs_is_one_document(hansa):
    document = hansa("trainings", "show", "first", "--json").json
    assert set(document) == {"training", "rounds", "metrics"}
    assert document["training"]["reason"].startswith("1 of 2")


def test_show_before_the_first_round_has_no_rounds(hansa, api):
    api.all_trainings, api.all_rounds, api.all_metrics = [a_training(round=0, rounds_done=0)], [], []
    assert hansa("trainings", "show", "first").code == 0


def test_a_plan_of_a_newer_server_is_left_to_its_json(hansa, api):
    api.all_trainings = [a_training(plan={"rounds": 3, "format": 9})]
    assert "see --json" in hansa("trainings", "show", "first").out


def test_show_of_a_round_says_how_each_client_stands(hansa):
    out = hansa("trainings", "show", "first", "--round", "1").out
    assert "version 0 → 1" in out
    assert "anna" in out
    assert "TypeError: no" in " ".join(out.split())


def test_show_of_a_round_also_says_why_it_closed(hansa, api):
    done = a_round(1, reason="evaluated by 2 of 2", closing_reason="the deadline of 60 s has passed")
    api.round = lambda training, number: done
    out = hansa("trainings", "show", "first", "--round", "1").out
    assert out.index("closed: the deadline of 60 s has passed") < out.index("evaluated by 2 of 2")
    api.round = lambda training, number: a_round(1, reason="the quorum is reached", closing_reason="the quorum is")
    assert "closed:" not in hansa("trainings", "show", "first", "--round", "1").out


@pytest.mark.parametrize("action", ["start", "pause", "resume", "cancel"])
def test_a_move_is_asked_for_and_answered(hansa, api, action):
    ran = hansa("trainings", action, "first")
    assert (ran.code, ran.out) == (0, f"{action} is done\n")
    assert api.asked == [(action, uid(1))]
    assert hansa("trainings", action, "first", "--json").json == {"detail": f"{action} is done"}


def test_clients_come_and_go(hansa, api):
    hansa("trainings", "add-clients", "first", "bert")
    hansa("trainings", "remove-clients", "first", "anna,bert")
    assert api.asked == [("add_clients", uid(1), (uid(22),)), ("remove_clients", uid(1), (uid(21), uid(22)))]


def test_a_client_leaves_with_its_own_credentials_and_never_with_those_of_who_is_logged_in(hansa, api, home):
    refused = hansa("trainings", "leave", "first")
    assert (refused.code, api.asked) == (ExitCode.NOT_ALLOWED, [])
    assert "no client of" in refused.err

    for name in ("anna", "bert"):
        token = credentials.client_token_path(URL, name)
        token.parent.mkdir(parents=True, exist_ok=True)
        token.write_text(TOKEN)
        token.chmod(0o600)
    assert "Name one: --as NAME" in hansa("trainings", "leave", "first").err
    left = hansa("trainings", "leave", "first", "--as", "anna", "--server", URL)
    assert (left.code, left.out) == (0, f"The client takes part in training {uid(1)} no more.\n")
    assert api.asked == [("leave", uid(1))]


COHORTS = [
    ({}, ""),
    ({"cohort": {"size": 10, "over_selection": 0.3}}, "cohort 10, 30% more invited"),
    ({"cohort": {"fraction": 0.5, "selection": "by_examples"}}, "cohort 50%, selected by examples"),
    ({"cohort": {"selection": "round_robin"}}, "selected in turn"),
    (
        {"participation": {"min_to_start": 5, "min_to_go_on": 3, "exclude_after": 2}},
        "starts with 5 clients there, goes on with 3, excludes after 2 failures in a row",
    ),
]


@pytest.mark.parametrize(("parts", "words"), COHORTS)
def test_show_tells_the_cohorts_and_the_participation_of_a_plan_in_words(hansa, api, parts, words):
    api.all_trainings = [a_training(plan=to_data(parse({"rounds": 3, **parts})))]
    plan = ", ".join(filter(None, ("3 rounds, mean weighted by examples", words)))
    assert f"plan {plan} seed" in " ".join(hansa("trainings", "show", "first").out.split())


def test_show_tells_who_is_excluded_why_and_how_to_let_it_in_again(hansa, api):
    anna, bert = a_training().clients
    api.all_trainings = [
        a_training(clients=[anna, replace(bert, failures=3, excluded="tasks that failed: 3 in a row")])
    ]
    lines = hansa("trainings", "show", "first").out.splitlines()
    at = lines.index("bert is excluded: tasks that failed: 3 in a row")
    assert lines[at + 1] == "When that is mended: hansa trainings add-clients first bert"


def test_show_of_a_round_says_how_many_reports_are_wanted_of_those_asked(hansa, api, monkeypatch):
    monkeypatch.setattr(api, "round", lambda training, number: a_round(number, cohort=13, wanted=10))
    assert "10 of 13 wanted" in hansa("trainings", "show", "first", "--round", "1").out


def test_who_has_closed_their_account_can_be_removed(hansa, api):
    api.all_clients = []
    assert hansa("trainings", "remove-clients", "first", "bert").code == 0
    assert hansa("trainings", "add-clients", "first", "bert").code == 1


def test_a_person_who_is_no_actor_names_clients_too(hansa, api):
    api.clients = None
    hansa("trainings", "add-clients", "first", "bert")
    assert api.asked == [("add_clients", uid(1), (uid(22),))]


def test_show_tells_how_it_aggregates_and_where_its_uncertainty_comes_from(hansa, api):
    assert "FedAvg, no uncertainty method (state O)" in hansa("trainings", "show", "first").out
    api.all_trainings = [a_training(aggregation_method="FedDC", uncertainty_method="SWAG", state="S")]
    assert "FedDC, uncertainty by SWAG (state S)" in hansa("trainings", "show", "first").out


def test_a_training_is_deleted(hansa, api):
    hansa("trainings", "delete", "first", "--yes")
    assert api.asked == [("delete_training", uid(1))]


@pytest.mark.parametrize(
    ("status", "words"), [("ongoing", "It is ongoing. End it, and delete the training"), ("completed", "Delete the")]
)
def test_who_deletes_a_training_that_runs_is_told_so(monkeypatch, hansa, api, status, words):
    asked = []
    monkeypatch.setattr("hansa.cli.trainings.confirm", lambda question, yes: asked.append(question))
    api.all_trainings = [a_training(status=status)]
    hansa("trainings", "delete", "first")
    assert asked[0].startswith(words)


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("error", 1), ("cancelled", 1)])
def test_watching_ends_with_the_training_and_says_how_by_its_exit_code(hansa, api, status, code):
    api.all_trainings = [a_training(status=status, reason="the reason")]
    ran = hansa("trainings", "watch", "first")
    assert ran.code == code
    assert ran.out.splitlines()[-1] == f"training {status}: the reason"


def test_watching_for_programs_is_one_document_at_the_end(hansa, api):
    api.all_trainings = [a_training(status="completed")]
    ran = hansa("trainings", "watch", "first", "--json")
    assert ran.json["status"] == "completed"
    assert "training completed" in ran.err


def test_an_abandoned_attempt_is_shown_beside_the_next(hansa, api):
    api.all_rounds = [a_round(1, state="abandoned", reason="only 1 of 2", done_at=None), a_round(1, attempt=2)]
    out = hansa("trainings", "show", "first").out
    assert "abandoned" in out
    assert "1 try 2" in out


def test_show_of_a_round_tells_why_its_earlier_attempts_came_to_nothing(hansa, api, monkeypatch):
    newest = a_round(2, attempt=3)
    lost = "version 2 is lost, its file is not in the store (blob " + "7" * 64 + ")"
    api.all_rounds = [
        a_round(1, state="abandoned", reason="of another round"),
        a_round(2, state="abandoned", reason="only 1 of 2 reported"),
        a_round(2, attempt=2, state="abandoned", reason=lost),
        newest,
    ]
    monkeypatch.setattr(api, "round", lambda training, number: newest)
    lines = hansa("trainings", "show", "first", "--round", "2").out.splitlines()
    assert lines[-3:] == ["", f"attempt 2 abandoned: {lost}", "attempt 1 abandoned: only 1 of 2 reported"]
    assert "abandoned" not in hansa("trainings", "show", "first", "--round", "2", "--json").out


def test_a_training_that_works_on_a_copy_of_the_model_says_so(hansa, api, monkeypatch):
    monkeypatch.setattr(
        api, "create_training", lambda wanted: TrainingCreated(detail="made", training_id=uid(6), model_id=uid(8))
    )
    api.all_models.append(replace(api.all_models[0], id=uid(8), name="digits (2)"))
    ran = hansa(*CREATE, "--rounds", "1")
    assert ran.code == 0
    assert ran.err.split() == (
        f"Another training has this model: this one works on a copy of it, 'digits (2)' (model {uid(8)}).".split()
    )


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"cohort": {"size": 9}}, "cohort.size is 9, but the training has 2 participants"),
        ({"closing": {"quorum": 5}}, "closing.quorum is 5, but a round selects 2 of 2"),
    ],
)
def test_a_plan_that_the_named_clients_cannot_fulfil_is_made_and_warned_of(hansa, api, home, plan, said):
    (home / "here" / "plan.json").write_text(json.dumps({"rounds": 1, **plan}))
    ran = hansa(*CREATE, "--plan", "plan.json")
    assert ran.code == 0
    assert len(api.asked) == 1, "clients may be added before it starts"
    assert ran.err.startswith("warning: hansa trainings start will refuse it as it is. plan: ")
    assert said in ran.err


def test_a_plan_that_waits_for_more_clients_is_not_warned_of(hansa, home):
    plan = {"rounds": 1, "cohort": {"size": 9}, "participation": {"min_to_start": 9}}
    (home / "here" / "plan.json").write_text(json.dumps(plan))
    assert hansa(*CREATE, "--plan", "plan.json").err == ""


def test_no_time_at_all_is_told_as_such(hansa, api):
    ran = hansa(*CREATE, "--rounds", "1", "--deadline", "0s")
    assert (ran.code, api.asked) == (2, [])
    assert "'0s' is not above 0" in ran.err


def test_ending_the_watching_says_that_the_training_goes_on(hansa, api, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "training", interrupted)
    ran = hansa("trainings", "watch", "first")
    assert ran.code == 130
    assert ran.err == "The training goes on. Follow it again: hansa trainings watch first\n"
