"""GET /api/dummy/: a training to look at, while debugging; and nothing at all otherwise."""

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from drf_spectacular.generators import SchemaGenerator

from hansa.server.accounts.models import User
from hansa.server.dummy import archives
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Metric
from hansa.server.trainings.models import Training
from support.answers import nothing_changes, refused
from support.people import in_process

URL = "/api/dummy/"


@pytest.fixture
def debugging(settings):
    settings.DEBUG = True


@pytest.fixture
async def made(nobody, debugging):
    answer = await nobody.get(URL)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
async def owner(made, handler):
    headers = {"Authorization": f"Token {made['user_credentials']['token']}"}
    async with httpx.AsyncClient(transport=in_process(handler), base_url="http://localhost", headers=headers) as client:
        yield client


async def named(owner, name):
    return next(each for each in (await owner.get("/api/trainings/")).json() if each["name"] == name)


async def test_it_answers_what_the_older_platform_answers(made):
    assert made.keys() == {"message", "training_uuid", "user_uuid", "user_credentials", "participants"}
    assert made["message"] == "Created Dummy Data in Metrics Database!"
    credentials = made["user_credentials"]
    assert credentials == {"username": "dummy-user", "password": "secret", "token": credentials["token"]}
    assert len(credentials["token"]) == 40
    assert len(set(made["participants"])) == 5


async def test_its_credentials_open_its_account(nobody, owner, made):
    assert (await owner.get("/api/users/myself/")).json()["id"] == made["user_uuid"]
    by_password = await nobody.get("/api/users/myself/", auth=("dummy-user", "secret"))
    assert by_password.json()["id"] == made["user_uuid"]


async def test_the_training_is_completed_after_eighty_updates(owner, made):
    record = await named(owner, "Dummy training")

    assert (record["id"], record["actor"]) == (made["training_uuid"], made["user_uuid"])
    assert (record["state"], record["target_num_updates"], record["rounds_done"]) == ("C", 80, 80)
    assert record["participants"] == made["participants"]


async def test_every_client_has_a_loss_and_an_accuracy_after_every_update(owner, made):
    record = await named(owner, "Dummy training")
    metrics = (await owner.get(f"/api/models/{record['model']}/metrics/")).json()

    points = {(each["key"], each["step"], each["reporter"]) for each in metrics}
    assert len(metrics) == len(points) == 800
    assert points == {
        (key, step, client) for key in ("NLLoss", "Accuracy") for step in range(80) for client in made["participants"]
    }

    def mean(key, step):
        return sum(each["value_float"] for each in metrics if (each["key"], each["step"]) == (key, step)) / 5

    assert mean("NLLoss", 0) > mean("NLLoss", 20) > mean("NLLoss", 79) > 0
    assert mean("Accuracy", 0) < mean("Accuracy", 20) < mean("Accuracy", 79) <= 1
    assert all(0 <= each["value_float"] <= 1 for each in metrics if each["key"] == "Accuracy")


async def test_its_rounds_have_what_a_page_draws_curves_of(owner, made):
    rounds = (await owner.get(f"/api/trainings/{made['training_uuid']}/metrics/")).json()

    assert [each["round"] for each in rounds] == list(range(1, 81))
    first, last = rounds[0]["evaluate"], rounds[-1]["evaluate"]
    assert first["NLLoss"]["mean"] > last["NLLoss"]["mean"] > 0
    assert last["Accuracy"]["minimum"] < last["Accuracy"]["mean"] < last["Accuracy"]["maximum"] <= 1
    assert last["Accuracy"]["clients"] == 5


async def test_the_curves_are_the_same_every_time(nobody, made, debugging):
    def curves(training_id):
        model = Training.objects.get(id=training_id).model_id
        return list(Metric.objects.filter(model_id=model).order_by("id").values_list("key", "step", "value"))

    again = (await nobody.get(URL)).json()
    assert await read(curves, made["training_uuid"]) == await read(curves, again["training_uuid"])


async def test_each_call_adds_a_training_of_the_same_user(nobody, made):
    again = (await nobody.get(URL)).json()

    assert again["user_uuid"] == made["user_uuid"]
    assert again["training_uuid"] != made["training_uuid"]
    assert not set(again["participants"]) & set(made["participants"])
    assert again["user_credentials"]["token"] != made["user_credentials"]["token"], "no token is kept in clear"
    names = await read(lambda: sorted(Training.objects.values_list("name", flat=True)))
    assert names == ["Dummy training", "Dummy training", "Dummy training, paused", "Dummy training, stopped"]


async def test_of_two_first_calls_at_once_both_are_answered(nobody, debugging):
    answers = await asyncio.gather(nobody.get(URL), nobody.get(URL))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.json()["user_uuid"] for answer in answers}) == 1


async def test_the_model_is_a_torchscript_classifier_with_the_shape_of_its_input(owner):
    import torch

    record = await named(owner, "Dummy training")
    model = (await owner.get(f"/api/models/{record['model']}/metadata/")).json()
    assert (model["input_shape"], model["has_preprocessing"]) == ([None, 3, 28, 28], True)
    assert model["stats"]["total_params"] == 10 * (16 * 7 * 7 + 1) + 16 * (8 * 9 + 1) + 8 * (9 + 1)

    content = (await owner.get(f"/api/models/{record['model']}/")).content

    assert torch.jit.load(io.BytesIO(content))(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


async def test_the_preprocessing_makes_what_the_classifier_takes_of_an_image(owner):
    record = await named(owner, "Dummy training")
    content = (await owner.get(f"/api/models/{record['model']}/preprocessing/")).content
    script = (
        "import io, sys, torch\n"
        "library = torch.library.Library('torchvision', 'FRAGMENT')\n"
        "for name in ('nms', 'qnms'):\n"
        "    if not hasattr(torch.ops.torchvision, name):\n"
        "        library.define(name + '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "pipeline = torch.load(io.BytesIO(sys.stdin.buffer.read()), weights_only=False)\n"
        "print(tuple(pipeline(torch.zeros(3, 40, 50, dtype=torch.uint8)).shape))\n"
    )

    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], input=content, capture_output=True, check=False
    )

    assert done.stdout.decode().strip() == "(1, 28, 28)", done.stderr.decode()


def test_the_archives_tell_nothing_of_the_machine_that_wrote_them():
    for path in (Path(archives.__file__).parent / "files").glob("*.pt"):
        assert str(Path.home()).encode() not in path.read_bytes()
        assert b"site-packages" not in path.read_bytes()


async def test_somebody_else_with_that_name_loses_nothing(nobody, debugging, person):
    def take_the_name():
        user = User(username="dummy-user")
        user.set_password("a horse of another colour")
        user.save()

    await call(take_the_name)
    async with nothing_changes():
        refused(await nobody.get(URL), 409, "in_use", "dummy-user", "Rename that account")


@pytest.mark.parametrize("rights", [{"is_superuser": True}, {"is_staff": True}, {"is_active": False}])
async def test_an_account_of_that_name_with_rights_is_not_opened(nobody, made, rights):
    await call(User.objects.filter(username="dummy-user").update, **rights)

    async with nothing_changes():
        refused(await nobody.get(URL), 409, "in_use")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_there_is_nothing_unless_debugging(nobody, alice, root, method):
    for person in (nobody, alice, root):
        async with nothing_changes():
            refused(await person.request(method, URL), 404, "not_found", URL)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_nor_for_who_only_looks(nobody, method):
    assert (await nobody.request(method, URL)).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD"])
async def test_it_is_made_by_get_and_nothing_else(nobody, debugging, method):
    async with nothing_changes():
        assert (await nobody.request(method, URL)).status_code == 405


def test_it_is_no_part_of_the_described_api():
    assert URL not in SchemaGenerator().get_schema(public=True)["paths"]
