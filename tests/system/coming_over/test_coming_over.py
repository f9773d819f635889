"""`hansa import dlr`: everything of a DLR platform is here afterwards, and nothing is changed there."""

import io
import json
import signal
import subprocess

import numpy as np
import torch
from safetensors.numpy import load

from hansa.core.moments import param_order, unflatten
from hansa.core.params import ArraySpec, Kind, ParamSpec
from support import databases
from support.older import Small, pickled, scripted
from support.serving import create_superuser, environment, serving
from support.work import small_params
from system.coming_over.commands import PROGRAM, arguments, command, counts, document, dump, reasons, stored_files
from system.coming_over.contents import PASSWORD, TOKEN
from system.processes import eventually

TAKEN = {
    "groups": (2, 0, 0, 0),
    "users": (5, 0, 0, 0),
    "tokens": (4, 0, 0, 0),
    "models": (6, 0, 5, 2),
    "trainings": (4, 0, 2, 0),
    "metrics": (9, 0, 5, 4),
}
HERE = {
    "groups": (0, 2, 0, 0),
    "users": (0, 5, 0, 0),
    "tokens": (0, 4, 0, 0),
    "models": (0, 6, 5, 2),
    "trainings": (0, 4, 2, 0),
    "metrics": (0, 9, 5, 4),
}


def test_a_dry_run_tells_all_and_changes_nothing_on_either_side(old, dlr, home, tmp_path):
    there, here = dlr.dump(), dump(home)

    report = document(home, old.url)

    assert not report["applied"]
    assert counts(report) == TAKEN
    assert dlr.dump() == there
    assert dump(home) == here
    assert stored_files(home) == []
    assert not (tmp_path / "sprung").exists()


def test_what_is_applied_is_what_was_announced_and_a_second_time_there_is_nothing_to_do(old, dlr, home, tmp_path):
    there = dlr.dump()
    announced = document(home, old.url)

    applied = document(home, old.url, "--apply")
    after = dump(home)
    again = document(home, old.url, "--apply")

    assert applied["entries"] == announced["entries"]
    assert counts(applied) == TAKEN
    assert counts(again) == HERE
    assert dump(home) == after
    assert dlr.dump() == there
    assert not (tmp_path / "sprung").exists()


def test_why_something_cannot_be_taken_or_is_left_behind_is_said(old, home):
    report = document(home, old.url)
    refused = reasons(report, "models")
    remarks = {entry["name"]: entry["remarks"] for entry in report["entries"] if entry["remarks"]}

    assert "its weights cannot be read" in refused["bomb"]
    assert refused["empty"] == "it has no weights"
    assert "its member rubbish is not taken" in refused["broken mean"]
    assert "'AVG'" in reasons(report, "trainings")["young"]
    assert "" in refused, "the row without a kind"
    assert "rounds that end there" in reasons(report, "models", "left")["local models"]
    assert [entry["count"] for entry in report["entries"] if entry["name"] == "local models"] == [2]
    metrics = {entry["reason"]: entry["count"] for entry in report["entries"] if entry["kind"] == "metrics"}
    assert metrics["without a reporter, a step or a value"] == 3
    assert metrics["SWAG statistics that were kept as metrics"] == 3
    assert metrics["their model is not taken"] == 1
    assert any("preprocessing cannot be read" in remark for remark in remarks["free"])
    assert "no longer superuser" in remarks["mallory"][0]


def test_everything_is_where_it_was(old, home):
    assert document(home, old.url, "--apply", "--keep-staff", "anna")["applied"]
    models, trainings = old.models, old.trainings

    with serving(home) as server, server.client(Authorization=f"Token {TOKEN}") as anna:
        myself = anna.get("/api/users/myself/").json()
        assert (myself["id"], myself["username"], myself["actor"]) == (old.users["anna"], "anna", True)
        assert anna.get("/api/users/myself/", auth=("anna", PASSWORD)).status_code == 200
        assert [group["name"] for group in anna.get("/api/users/groups/").json()] == ["Kliniken"]

        listed = {each["id"]: each for each in anna.get("/api/models/").json()}
        assert listed.keys() == {models[name] for name in ("script", "module", "free", "swag", "young", "mean")}
        script = listed[models["script"]]
        assert (script["name"], script["round"], script["input_shape"]) == ("Ziffern ✎", 2, [None, 2])
        assert (script["description"], script["has_preprocessing"]) == ("zwei\nZeilen", True)
        assert listed[models["module"]]["input_shape"] is None
        assert listed[models["mean"]]["models"] == [models["swag"], models["module"]]

        for name, add in (("script", 1.0), ("module", 2.0), ("free", 3.0), ("swag", 4.0), ("young", 5.0)):
            arrays = load(anna.get(f"/api/models/{models[name]}/", params={"format": "safetensors"}).content)
            assert arrays.keys() == small_params().keys()
            for key, expected in small_params(add).items():
                assert np.array_equal(arrays[key], expected), (name, key)
        archive = anna.get(f"/api/models/{models['script']}/").content
        assert torch.equal(torch.jit.load(io.BytesIO(archive)).fc.weight, Small(1.0).fc.weight)
        assert anna.get(f"/api/models/{models['script']}/preprocessing/").status_code == 200
        swag = anna.get(f"/api/models/{models['swag']}/metadata/").json()
        assert swag["kind"] == "swag"
        assert swag["swag_first_moment"]
        assert swag["swag_second_moment"]

        states = {name: anna.get(f"/api/trainings/{trainings[name]}/").json() for name in ("under way", "completed")}
        under_way, completed = states["under way"], states["completed"]
        assert (under_way["state"], under_way["status"], under_way["target_num_updates"]) == ("O", "paused", 5)
        assert "2 of 5 rounds are done" in under_way["reason"]
        assert under_way["participants"] == [old.users["jörg"], old.users["Jörg"]]
        assert under_way["options"] == {"note": "✓"}
        assert (completed["state"], completed["aggregation_method"]) == ("C", "FedProx")
        assert completed["model"] == models["module"]

        metrics = anna.get(f"/api/models/{models['module']}/metrics/").json()
        shown = {(each["step"], each["reporter"], each["key"]): each["value_float"] for each in metrics}
        assert shown[3, old.users["Jörg"], "loss"] == 0.25
        assert shown[1, old.users["jörg"], "loss"] == 1.0
        assert {each["key"] for each in metrics if each["value_float"] is None} == {"confusion", "odd"}
        (gone,) = anna.get(f"/api/models/{models['free']}/metrics/").json()
        assert (gone["step"], gone["value_float"]) == (2, 0.5)

        assert anna.get("/api/clients/").status_code == 200


def test_swag_moments_belong_to_the_arrays_that_they_belonged_to_there(dlr, home):
    anna = dlr.user("anna", password=PASSWORD, token=TOKEN)
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for value, param in enumerate(module.parameters(), 1):
            param.fill_(value)
    vector = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
    dlr.swag_model(anna, pickled(module), pickled(vector), pickled(vector**2 + 1), name="swag", behind=1)

    assert document(home, dlr.url, "--apply")["applied"]

    (model,) = databases.rows(home, "SELECT spec, ties, param_order FROM registry_model")
    ((digest,),) = databases.rows(home, "SELECT moments_id FROM registry_modelversion")
    rows, ties, names = (json.loads(column) if isinstance(column, str) else column for column in model)
    spec = ParamSpec(tuple(ArraySpec(name, dtype, tuple(shape), Kind(kind)) for name, dtype, shape, kind in rows))
    (file,) = (path for path in stored_files(home) if path.name == digest)
    first = unflatten(load(file.read_bytes())["first_moment"], spec, param_order(spec, ties, names))
    assert {name: array.shape for name, array in first.items()} == {
        name: tuple(param.shape) for name, param in module.named_parameters()
    }
    for name, param in module.named_parameters():
        assert np.array_equal(first[name], param.detach().numpy()), name


def test_nobody_becomes_staff_by_coming_over_unless_named(old, home):
    document(home, old.url, "--apply", "--keep-staff", "anna")

    rows = databases.rows(home, "SELECT username, is_staff, is_superuser FROM accounts_user")

    assert {row for row in rows if row[1] or row[2]} == {("anna", 1, 1)}


def test_a_training_that_was_under_way_goes_on_from_its_weights(dlr, home):
    anna = dlr.user("anna", password=PASSWORD, token=TOKEN, actor=True)
    client = dlr.user("klinik", client=True, token=TOKEN[::-1])
    model = dlr.model(anna, scripted(Small(1.0)), "digits", behind=2)
    training = dlr.training(model, anna, client, state="O", target_num_updates=3)
    assert command(home, dlr.url, "--apply").returncode == 0

    with serving(home) as server, server.client(Authorization=f"Token {TOKEN}") as api:
        assert api.post(f"/api/trainings/{training}/resume/").status_code == 202
        with server.client(Authorization=f"Token {TOKEN[::-1]}") as worker:
            task = worker.post("/api/tasks/next/?wait=30", json={"instance": "laptop"}).json()
            assert (task["kind"], task["round"]) == ("train", 3)
            file = {"model_file": scripted(Small(7.0))}
            form = {"round": 2, "sample_size": 10, "owner": client}
            sent = worker.post(f"/api/models/{model}/", data=form, files=file)
            assert sent.status_code == 201, sent.text
            task = worker.post("/api/tasks/next/?wait=30", json={"instance": "laptop"}).json()
            assert task["kind"] == "evaluate"
            measured = {"metric_names": ["loss"], "metric_values": ["0.5"]}
            assert worker.post(f"/api/models/{model}/metrics/", data=measured).status_code == 201
        record = api.get(f"/api/trainings/{training}/", params={"wait": 1}).json()
        eventually(lambda: api.get(f"/api/trainings/{training}/").json()["state"] == "C", record["reason"])

        assert api.get(f"/api/models/{model}/metadata/").json()["round"] == 3
        arrays = load(api.get(f"/api/models/{model}/", params={"format": "safetensors"}).content)
        assert np.array_equal(arrays["fc.weight"], small_params(7.0)["fc.weight"])
        assert [each["step"] for each in api.get(f"/api/models/{model}/metrics/").json()] == [3]


def test_somebody_of_the_same_name_is_in_the_way_until_one_of_them_is_renamed(dlr, home):
    root = dlr.user("root", password=PASSWORD, token=TOKEN)
    model = dlr.model(root, pickled(Small()), "net")
    dlr.training(model, root, root)
    assert create_superuser(home, "root").returncode == 0

    refused = document(home, dlr.url, "--apply")
    dlr.connection.execute("UPDATE fl_server_core_user SET username = 'root-2'")
    taken = document(home, dlr.url, "--apply")

    assert counts(refused)["users"] == (0, 0, 1, 0)
    assert "another user has this name here" in reasons(refused, "users")["root"]
    assert reasons(refused, "tokens") == {"root": "its user is not taken"}
    assert reasons(refused, "models") == {"net": "its owner root is not taken"}
    assert reasons(refused, "trainings") == {"net": "its model is not taken"}
    assert {kind: fates[0] for kind, fates in counts(taken).items() if fates[0]} == {
        "users": 1,
        "tokens": 1,
        "models": 1,
        "trainings": 1,
    }


def test_what_was_killed_between_files_and_rows_is_complete_the_next_time(old, home):
    empty = dump(home)
    with databases.unwritable(home):  # the rows have to wait; the files need not
        process = subprocess.Popen(
            [*PROGRAM, *arguments(old.url, "--apply")], env=environment(home), stderr=subprocess.DEVNULL
        )
        eventually(lambda: len(list((home / "blobs").glob("??/??/*"))) >= 12, "the files are in the store")
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert dump(home) == empty

    assert counts(document(home, old.url, "--apply")) == TAKEN
    assert counts(document(home, old.url)) == HERE


def test_it_comes_over_to_postgresql_too_and_new_groups_get_numbers_after_the_old_ones(old, postgres, home):
    with postgres.database() as target:
        settings = {"HANSA_DATABASE_URL": target}

        assert counts(document(home, old.url, "--apply", settings=settings)) == TAKEN
        assert counts(document(home, old.url, "--apply", settings=settings)) == HERE
        with (
            serving(home, settings=settings) as server,
            server.client(Authorization=f"Token {TOKEN}") as anna,
        ):
            made = anna.post("/api/groups/", json={"name": "new"})
            assert made.status_code == 201, made.text
            assert made.json()["id"] > 2
            assert len(anna.get("/api/models/").json()) == 6


def test_a_person_reads_a_table_of_it(old, home):
    done = command(home, old.url)

    lines = done.stdout.splitlines()
    assert lines[0].split("  ")[-1].strip() == "left behind"
    assert ["models", "6", "0", "5", "2"] in [line.split() for line in lines]
    assert "Cannot be taken:" in lines
    assert "Left behind:" in lines
    assert "Not as it was there:" in lines
    assert done.stderr.splitlines()[-1] == "Nothing was taken over yet. To do it, run the same command with --apply."
    assert TOKEN not in done.stdout + done.stderr
    assert "🐙" not in done.stdout
