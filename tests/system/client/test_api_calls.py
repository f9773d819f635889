"""Every call of `Api` against a real server: paths, fields and answers are those of the protocol."""

import hashlib

import pytest

from hansa.client import ApiError, CredentialsRefused, Transport, UsageError
from hansa.client.api import Api
from hansa.formats.safetensors import read
from hansa.protocol.trainings import TrainingCreate


def test_people_and_tokens(api, server):
    assert api.myself().username == "root"
    assert "root" in {user.username for user in api.users()}
    made = api.create_token("notebook", 3600.0)
    with Transport(server.url, made.token) as transport:
        assert Api(transport).myself() == api.myself()
    assert made.id in {token.id for token in api.tokens()}
    api.revoke_token(made.id)
    assert made.id not in {token.id for token in api.tokens()}
    with Transport(server.url, made.token) as transport, pytest.raises(CredentialsRefused):
        Api(transport).myself()


def test_an_invitation_becomes_a_client_once(api, server):
    invitation = api.invite("zoe", 60.0)
    with Transport(server.url) as stranger:
        enrolled = Api(stranger).enroll(invitation.code)
        with pytest.raises(ApiError) as refusal:
            Api(stranger).enroll(invitation.code)
    assert refusal.value.code == "invitation_invalid"
    assert enrolled.username == "zoe"
    assert "zoe" in {client.username for client in api.clients()}


def test_models(api, model, tmp_path):
    record = api.model(model)
    assert {array.name: array.kind for array in record.arrays} == {"seen": "buffer", "w": "param"}
    assert model in {one.id for one in api.models()}
    (version,) = api.versions(model)
    assert version == api.version(model, 0)
    api.download(model, 0, tmp_path / "copy")
    assert hashlib.sha256((tmp_path / "copy").read_bytes()).hexdigest() == version.digest
    assert api.model_metrics(model) == []
    assert api.delete_model(model).detail
    with pytest.raises(ApiError) as refusal:
        api.model(model)
    assert refusal.value.status == 404


def test_a_broken_download_goes_on_against_the_real_server(api, model, tmp_path):
    version = api.version(model, 0)
    whole = tmp_path / "whole"
    api.download(model, 0, whole)
    (tmp_path / f".copy.{version.digest[:16]}.part").write_bytes(whole.read_bytes()[:1_000_001])
    api.download(model, 0, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == whole.read_bytes()


def test_buffers_may_be_named_beside_the_file(api, tmp_path):
    import io

    import numpy as np

    from hansa.formats.safetensors import write

    file = io.BytesIO()
    write(file, {"w": np.zeros(3), "running_mean": np.zeros(3)})
    (tmp_path / "plain").write_bytes(file.getvalue())
    model = api.create_model(tmp_path / "plain", name="n", description="d", buffers=["running_mean"]).model_id
    record = api.model(model)
    assert (record.name, record.description) == ("n", "d")
    assert {array.name for array in record.arrays if array.kind == "buffer"} == {"running_mean"}
    api.download(model, 0, tmp_path / "back")
    assert read(tmp_path / "back").keys() == {"w", "running_mean"}


def test_trainings(api, model, enrolled):
    (one, _), (other, _) = enrolled(), enrolled()
    training = api.create_training(TrainingCreate(model_id=model, plan={"rounds": 2}, clients=[one])).training_id
    assert api.training(training).status == "initial"
    assert training in {record.id for record in api.trainings()}
    api.add_clients(training, [other])
    assert [client.username for client in api.training(training).clients] == [one, other]
    api.remove_clients(training, [other])
    before = api.training(training)
    api.start(training)
    after = api.training(training, wait=20, revision=before.revision)
    assert after.revision != before.revision
    api.pause(training)
    assert api.training(training).status == "paused"
    api.resume(training)
    assert [one.number for one in api.rounds(training)] == [1]
    assert {task.username for task in api.round(training, 1).tasks} == {one}
    assert isinstance(api.metrics(training), list)
    api.cancel(training)
    assert api.training(training).status == "cancelled"
    assert api.delete_training(training).detail


def test_the_plans_schema(api):
    assert api.plan_schema()["title"] == "Plan"


def test_field_errors_name_the_field(api):
    with pytest.raises(ApiError) as refusal:
        api.invite("two words")
    assert refusal.value.status == 400
    assert "username" in refusal.value.errors


def test_an_unsound_plan_is_told_with_the_path_of_the_field(api, model):
    with pytest.raises(ApiError, match=r"\$\.rounds") as refusal:
        api.create_training(TrainingCreate(model_id=model, plan={"rounds": 0}))
    assert refusal.value.code == "unsound_plan"


@pytest.mark.parametrize("strange", ["../users", "a/b", "", "ü", "%2e"])
def test_what_is_no_id_is_not_found(api, strange):
    with pytest.raises(ApiError) as refusal:
        api.model(strange)
    assert refusal.value.status == 404


def test_a_file_that_is_not_there_is_told_before_anything_is_sent(api, tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        api.create_model(tmp_path / "none", name="x")
    with pytest.raises(UsageError, match="is not a folder"):
        api.download("x", 0, tmp_path / "none" / "file")
