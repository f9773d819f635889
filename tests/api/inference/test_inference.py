"""Questions to models: whoever may download a model may ask it, and what it answers is what torch itself computes."""

import base64
import io

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from hansa.sandbox.messages import Broken
from hansa.server.inference import api as inference_api
from hansa.server.inference import runner
from hansa.server.inference.calls import outputs_of
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Model, ModelVersion
from support.answers import refused, refused_field
from support.asking import (
    URL,
    Restless,
    Scaled,
    Weighted,
    answer,
    ask,
    ask_in_form,
    created,
    give_moments,
    numbers_of,
    png,
    tensor_file,
)
from support.damage import flip_a_bit
from support.torchfiles import pickled, scripted
from support.work import add_up, lease, settle, start, upload_and_report

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("programs")]


async def test_the_answer_is_the_contracts_with_the_number_of_the_likeliest_class(alice):
    net = Restless()
    model_id = await created(alice, scripted(net), input_shape=["None", "4"])
    rows = [[0.0, 1.0, 2.0, 3.0], [-5.0, 1.0, 0.5, 9.0]]

    found = answer(await ask(alice, model_id, rows))

    assert found.inference == net.eval()(torch.tensor(rows)).argmax(dim=1).tolist()
    assert found.uncertainty == {}
    assert (found.hansa.method, found.hansa.version, found.hansa.passes, found.hansa.seed) == ("none", 0, 1, None)


async def test_a_net_saved_in_training_is_asked_in_eval_mode_and_remembers_nothing(alice):
    net = Restless().train()
    model_id = await created(alice, scripted(net))
    row = [[0.3, -1.0, 2.0, 0.1]]
    values = {"uncertainty": {"outputs": "values"}}

    first = answer(await ask(alice, model_id, row, **values)).inference
    for other in ([[9.0, 9.0, 9.0, 9.0]], [[-3.0, 0.0, 1.0, 7.0], [0.0, 0.0, 0.0, 1.0]]):
        answer(await ask(alice, model_id, other, **values))
    again = answer(await ask(alice, model_id, row, **values)).inference

    assert first == again
    assert np.allclose(first, net.eval()(torch.tensor(row)).detach())


async def test_a_module_of_torchs_own_classes_is_asked_as_a_script_is(alice):
    net = nn.Sequential(nn.Linear(3, 2), nn.Softmax(dim=1))
    model_id = await created(alice, pickled(net))

    found = answer(await ask(alice, model_id, [[1.0, 2.0, 3.0]], uncertainty={"outputs": "probabilities"}))

    assert np.allclose(found.hansa.probabilities, net(torch.tensor([[1.0, 2.0, 3.0]])).detach(), atol=1e-6)


async def test_dropout_is_drawn_anew_in_every_pass_and_alike_for_one_seed(alice):
    net = nn.Sequential(nn.Dropout(0.5), Weighted(1.0, 1.0))
    model_id = await created(alice, scripted(net))
    wish = {"uncertainty": {"method": "mc_dropout", "samples": 400}}

    found = answer(await ask(alice, model_id, [[1.0, 1.0]], seed=7, **wish))
    again = answer(await ask(alice, model_id, [[1.0, 1.0]], seed=7, **wish))
    other = answer(await ask(alice, model_id, [[1.0, 1.0]], seed=8, **wish))

    assert found.inference == again.inference != other.inference
    assert (found.hansa.passes, found.hansa.seed) == (400, 7)
    # Each of the two terms is 0 or 2: mean 2, variance 2; five standard errors of 400 draws.
    assert found.inference[0][0] == pytest.approx(2, abs=5 * (2 / 400) ** 0.5)
    assert found.uncertainty["variance"][0][0] == pytest.approx(2, abs=0.6)


async def test_swag_draws_weights_with_their_standard_deviation_not_their_variance(alice):
    model_id = await created(alice, scripted(Weighted(1.0, 2.0)), type="SWAG")
    mean, deviation = np.array([1.0, 2.0]), np.array([0.1, 0.3])
    await give_moments(model_id, mean, mean**2 + deviation**2)
    wish = {"uncertainty": {"method": "swag", "samples": 400}}

    found = answer(await ask(alice, model_id, [[3.0, -1.0]], **wish))

    wanted = np.hypot(3.0 * 0.1, 1.0 * 0.3)  # of a linear model with independent normal weights
    assert found.uncertainty["std"][0][0] == pytest.approx(wanted, rel=0.2)
    assert found.inference[0][0] == pytest.approx(1.0, abs=5 * wanted / 400**0.5)
    assert any("batch norm" in note for note in found.hansa.notes)
    again = answer(await ask(alice, model_id, [[3.0, -1.0]], **wish))
    assert again.uncertainty == found.uncertainty


async def test_the_members_of_a_mean_are_an_ensemble(alice):
    members = [await created(alice, scripted(Weighted(weight, 0.0))) for weight in (1.0, 2.0, 6.0)]
    mean = (await alice.post("/api/models/", json={"name": "m", "type": "MEAN", "models": members})).json()["model_id"]

    found = answer(await ask(alice, mean, [[1.0, 5.0]]))

    assert found.inference == [[3.0]]
    assert found.uncertainty["variance"] == [[7.0]]
    assert (found.hansa.method, found.hansa.passes, found.hansa.version) == ("ensemble", 3, None)
    assert answer(await ask(alice, mean, [[1.0, 5.0]], uncertainty={"method": "none"})).inference == [[3.0]]


async def test_preprocessing_gets_an_image_as_a_tensor_and_a_list_as_one(alice):
    model_id = await created(alice, scripted(Weighted(10.0)), preprocessing=scripted(Scaled()))
    half = png(b"\x00\xff", b"\xff\x00")

    of_image = answer(await ask_in_form(alice, model_id, half, return_format="json"))
    of_list = answer(await ask(alice, model_id, [[[[0, 255], [255, 0]]]]))
    of_two = answer(await ask_in_form(alice, model_id, half, png(b"\xff\xff", b"\xff\xff"), return_format="json"))

    assert of_image.inference == of_list.inference == [[5.0]]
    assert of_two.inference == [[5.0], [10.0]]


async def test_an_image_without_preprocessing_is_a_batch_of_one_within_0_and_1(alice):
    net = nn.Sequential(nn.Flatten(), Weighted(1.0, 2.0, 4.0, 8.0))
    model_id = await created(alice, scripted(net), input_shape=["None", "1", "2", "2"])
    image = png(b"\xff\x00", b"\x00\xff")

    assert answer(await ask_in_form(alice, model_id, image, return_format="json")).inference == [[9.0]]
    of_two = await ask_in_form(alice, model_id, image, image, return_format="json")
    assert answer(of_two).inference == [[9.0], [9.0]]


async def test_base64_of_a_saved_tensor_is_a_tensor(alice):
    model_id = await created(alice, scripted(Weighted(1.0, 2.0)))
    text = base64.b64encode(tensor_file(torch.tensor([[3.0, 4.0]]))).decode()

    assert answer(await ask(alice, model_id, text)).inference == [[11.0]]
    in_form = await ask_in_form(alice, model_id, text.encode(), return_format="json")
    assert answer(in_form).inference == [[11.0]]


async def test_the_binary_answer_is_safetensors_and_a_forms_default(alice):
    model_id = await created(alice, scripted(Weighted(1.0, 2.0)))

    response = await ask_in_form(alice, model_id, tensor_file(torch.tensor([[3.0, 4.0]])))

    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/vnd.safetensors")
    assert safetensors.numpy.load(response.content)["inference"].tolist() == [[11.0]]


@pytest.fixture
async def trained(alice, bob, make_training):
    """A model after one round that made its weights (5, 7), and Bob's local model of that round."""
    model_id = await created(alice, scripted(Weighted(1.0, 2.0)))
    model = await read(Model.objects.get, id=model_id)
    training = await call(lambda: start(make_training(bob, model=model, keep_updates=5)))
    task = await call(lease, bob)
    await upload_and_report(bob, task, numbers_of(Weighted(5.0, 7.0)))
    await call(settle, training)
    await call(add_up, training)
    return model_id, str(task.id)


async def test_every_version_and_local_models_answer_to_those_who_may_see_them(alice, bob, carol, mallory, trained):
    model_id, local_id = trained

    assert answer(await ask(bob, model_id, [[1.0, 1.0]])).inference == [[12.0]]
    assert answer(await ask(alice, model_id, [[1.0, 1.0]], version=0)).inference == [[3.0]]
    of_local = answer(await ask(bob, local_id, [[1.0, 1.0]]))
    assert (of_local.inference, of_local.hansa.version) == ([[12.0]], None)
    for person, asked in ((mallory, model_id), (carol, local_id), (mallory, local_id)):
        refused(await ask(person, asked, [[1.0, 1.0]]), 404, "not_found")
    refused(await ask(alice, model_id, [[1.0, 1.0]], version=9), 404, "not_found", "0 to 1")
    refused_field(await ask(bob, local_id, [[1.0, 1.0]], version=0), "version", "local model")


async def test_the_method_is_the_plans_unless_the_question_names_one(alice, bob, make_training):
    model_id = await created(alice, scripted(nn.Sequential(nn.Dropout(0.5), Weighted(1.0, 1.0))))
    model = await read(Model.objects.get, id=model_id)
    await call(make_training, bob, model=model, uncertainty={"method": "mc_dropout", "samples": 3})

    assert (answer(await ask(bob, model_id, [[1.0, 1.0]])).hansa.passes) == 3
    asked_plainly = answer(await ask(bob, model_id, [[1.0, 1.0]], uncertainty={"method": "none"}))
    assert asked_plainly.inference == [[2.0]]


async def test_what_a_model_cannot_be_asked_is_said_with_the_next_move(alice, trained):
    model_id, local_id = trained
    numbers = await created(alice, numbers_of(Weighted(1.0)))
    state = await created(alice, pickled(Weighted(1.0).state_dict()))

    for asked in (numbers, state):
        refused(await ask(alice, asked, [[1.0]]), 409, "no_program", "torch.jit.save")
    for method, words in (("swag", "no SWAG moments"), ("ensemble", "mean of models")):
        response = await ask(alice, model_id, [[1.0, 1.0]], uncertainty={"method": method})
        refused(response, 409, "impossible_method", words)
    response = await ask(alice, local_id, [[1.0, 1.0]], uncertainty={"method": "swag"})
    refused(response, 409, "impossible_method", "those of versions")


async def test_an_input_that_does_not_fit_is_refused_with_what_was_seen_and_what_is_wanted(alice):
    model_id = await created(alice, scripted(Weighted(1.0, 2.0)), input_shape=["None", "2"])

    refused_field(await ask(alice, model_id, [[1.0, 2.0, 3.0]]), "model_input", "[1, 3]", "[any, 2]")
    refused_field(await ask(alice, model_id, [[1.0], [2.0, 3.0]]), "model_input", "2 entries at [1]")
    response = await alice.post(URL, data={"model_id": model_id}, files={"input": b"[[1.0, 2.0]]"})
    refused_field(response, "model_input", "required")
    refused_field(await ask_in_form(alice, model_id, b"[[1.0, 2.0]]", b"[[1.0]]"), "model_input", "Part 1")
    refused_field(await ask(alice, "nonsense", [[1.0, 2.0]]), "model_id", "no id")
    refused_field(await ask(alice, model_id, [[1.0, 2.0]], return_format="pickle"), "return_format", "json, binary")
    response = await alice.post(URL, content=b"a=b", headers={"Content-Type": "text/plain"})
    refused(response, 415, "unsupported_media_type")


async def test_the_programs_own_error_is_told_and_the_next_caller_notices_nothing(alice):
    model_id = await created(alice, scripted(Weighted(1.0, 2.0)))

    refused(await ask(alice, model_id, [[1.0, 2.0, 3.0]]), 422, "program_failed", "size of tensor")

    assert answer(await ask(alice, model_id, [[1.0, 2.0]])).inference == [[5.0]]


async def test_a_fault_of_the_machine_is_no_fault_of_the_question(alice, monkeypatch):
    model_id = await created(alice, scripted(Weighted(1.0, 2.0)))

    class Faulty:
        async def outputs(self, job):
            return outputs_of(Broken("the process ended at once"))

    monkeypatch.setattr(runner, "_programs", Faulty())
    response = await ask(alice, model_id, [[1.0, 2.0]])

    refused(response, 503, "inference_unavailable", "may be asked again")
    assert response.headers["Retry-After"] == "1"


async def test_an_answer_too_large_for_json_names_the_other_form(alice, monkeypatch):
    model_id = await created(alice, scripted(Weighted(1.0, 2.0)))
    monkeypatch.setattr(inference_api, "MAX_NUMBERS", 4095)
    rows = np.ones((4096, 2), np.float32)

    response = await ask_in_form(alice, model_id, npy(rows), return_format="json")

    assert response.status_code == 422
    assert (response.json()["code"], response.json()["limit"]) == ("limit_exceeded", "answer")
    assert '"return_format": "binary"' in response.json()["detail"]
    assert (await ask_in_form(alice, model_id, npy(rows))).status_code == 200


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


async def test_a_damaged_file_is_told_as_elsewhere(alice):
    model_id = await created(alice, scripted(Weighted(1.5, 2.5)))
    archive = (await read(Model.objects.get, id=model_id)).archive_id
    flip_a_bit(archive, at=200)

    refused(await ask(alice, model_id, [[1.0, 1.0]]), 503, "blob_damaged", archive)


async def test_swag_without_a_number_asks_the_newest_version_that_has_moments(alice, trained):
    model_id, _ = trained
    await give_moments(model_id, np.array([5.0, 7.0]), np.array([25.0, 49.0]))
    newest = await read(ModelVersion.objects.get, model=model_id, number=1)
    await call(
        ModelVersion.objects.create, model_id=model_id, number=2, blob_id=newest.blob_id, created_at=newest.created_at
    )

    found = answer(await ask(alice, model_id, [[1.0, 1.0]], uncertainty={"method": "swag", "samples": 2}))

    assert (found.hansa.version, found.inference, found.uncertainty["std"]) == (1, [[12.0]], [[0.0]])
    response = await ask(alice, model_id, [[1.0, 1.0]], version=2, uncertainty={"method": "swag"})
    refused(response, 409, "impossible_method", "moments of version 1")


async def test_without_a_sandbox_nothing_is_run_anywhere(alice, monkeypatch):
    model_id = await created(alice, scripted(Weighted(1.0)))
    monkeypatch.setattr(runner, "_programs", None)

    refused(await ask(alice, model_id, [[1.0]]), 503, "inference_unavailable", "no sandbox")
