"""The playground: a question by a form, its answer as a picture, its refusal beside the field that is refused."""

import base64
import csv
import io
import json
import re
from urllib.parse import unquote

import pytest
import torch
from torch import nn

from api.inference.conftest import programs  # noqa: F401  # a fixture
from dashboard.conftest import beside, words
from hansa.server.inference.throttle import InferenceThrottle
from support.asking import Weighted, created, png
from support.torchfiles import scripted
from support.work import file_of, small_params

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("programs")]


@pytest.fixture
async def window(browser, alice):
    return await browser(alice)


async def ask(window, model_id, file=None, **fields):
    path = f"/models/{model_id}/ask/"
    await window.get(path)
    said = {**fields, "csrfmiddlewaretoken": window.cookies["csrftoken"]}
    files = {"model_input": file} if file else None
    return await window.post(path, data=said, files=files, headers={"Referer": f"http://localhost{path}"})


def labels(page):
    return re.findall(r'class="label[^>]*>([^<]*)<', page.text)


async def test_numbers_are_answered_with_a_bar_per_class_and_what_the_entropy_is_made_of(window, alice):
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3), nn.Softmax(dim=1))
    model = await created(alice, scripted(net))

    page = await ask(
        window, model, numbers="[[1.0, 2.0, 3.0, 4.0]]", method="mc_dropout", outputs="probabilities", samples="9"
    )

    assert page.status_code == 200, words(page)
    assert sorted(labels(page)) == ["class 0", "class 1", "class 2"]
    assert "mc_dropout, 9 passes" in words(page)
    assert "of the model" in words(page)
    assert 'class="spread"' in page.text
    kept = dict(re.findall(r'href="data:([a-z/]+)(?:;charset=utf-8)?,([^"]*)" download', page.text))
    table = list(csv.DictReader(io.StringIO(unquote(kept["text/csv"]))))
    assert sorted(row["class"] for row in table) == sorted(labels(page))
    assert all(row["input"] and 0 <= float(row["value"]) <= 1 and float(row["std"]) >= 0 for row in table)
    assert json.loads(unquote(kept["application/json"]))["hansa"]["passes"] == 9


async def test_one_version_is_answered_where_another_beside_it_is_not_there(window, alice):
    model = await created(alice, scripted(Weighted(1.0, 2.0)))

    page = await ask(window, model, numbers="[[1.0, 1.0]]", outputs="values", method="none", version="0", against="7")

    assert page.status_code == 404
    assert page.text.count('class="card stack answer"') == 1
    assert ">3</text>" in page.text
    assert beside(page, "against") == "The model has no version 7; it has 0 to 0."


async def test_an_image_is_shown_beside_its_answer_and_asked_again_without_being_sent_again(window, alice):
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    model = await created(alice, scripted(net), input_shape=["None", "1", "2", "2"])
    image = png(b"\0\xff", b"\xff\0")

    first = await ask(window, model, file=("<b>.png", image), outputs="logits", method="none")
    kept = base64.b64encode(image).decode()
    again = await ask(window, model, kept=kept, kept_name="<b>.png", outputs="logits", method="none")

    for page in (first, again):
        assert page.status_code == 200, words(page)
        assert f"data:image/png;base64,{kept}" in page.text
        assert "Asked last: <b>.png" in words(page)
        assert "<b>.png" not in page.text
    assert labels(first) == labels(again)


async def test_an_input_is_made_up_where_the_shape_is_known(window, alice):
    model = await created(alice, scripted(Weighted(1.0, 2.0)), input_shape=["None", "2"])

    page = await ask(window, model, random="1", outputs="values")

    assert page.status_code == 200
    assert re.search(r"<textarea[^>]*>\[\[0\.\d+,0\.\d+\]\]<", page.text)


@pytest.mark.parametrize(
    ("fields", "field", "status", "said"),
    [
        ({}, "model_input", 400, "There is no input"),
        ({"kept": "no base64!"}, "model_input", 400, "There is no input"),
        ({"numbers": "[[1, 2], [3]]"}, "numbers", 400, "nested"),
        ({"numbers": "<script>"}, "numbers", 400, "wanted are nested numbers"),
        ({"numbers": "[[1.0, 2.0, 3.0]]"}, "numbers", 400, "shape"),
        ({"samples": "many"}, "samples", 400, "Write a whole number."),
        ({"version": "x"}, "version", 400, "Write a whole number."),
        ({"version": "9"}, "version", 404, "The model has no version 9; it has 0 to 0."),
        ({"method": "swag"}, "method", 409, "The model has no SWAG moments."),
        ({"method": "ensemble"}, "method", 409, "The model is one model"),
        ({"level": "2"}, "level", 400, "Write a number of 0.999 at most."),
        ({"level": "0.9"}, "level", 409, "Or ask without “Level of sets”."),
    ],
)
async def test_what_cannot_be_answered_is_told_beside_the_field_that_asks_it(
    window, alice, fields, field, status, said
):
    model = await created(alice, scripted(Weighted(1.0, 2.0)), input_shape=["None", "2"])
    numbers = {} if field == "model_input" else {"numbers": "[[1.0, 2.0]]"}

    page = await ask(window, model, **{**numbers, **fields})

    assert page.status_code == status
    assert said in beside(page, field)
    assert model not in beside(page, field)
    assert "<script>" not in page.text


async def test_a_model_of_numbers_alone_says_what_to_upload(window, alice):
    model = await created(alice, file_of(small_params()))

    page = await ask(window, model, numbers="[[1.0]]")

    assert page.status_code == 409
    assert "torch.jit.save" in words(page)
    assert 'href="/models/new/"' in page.text


async def test_nobody_asks_a_model_that_is_not_theirs_to_see(browser, alice, mallory):
    torch.manual_seed(0)
    model = await created(alice, scripted(Weighted(1.0)))

    assert (await ask(await browser(mallory), model, numbers="[[1.0]]")).status_code == 404


async def test_who_asks_too_often_is_told_when_to_come_again(window, alice, monkeypatch):
    monkeypatch.setattr(InferenceThrottle, "rate", "1/min")
    model = await created(alice, scripted(Weighted(1.0)))

    await ask(window, model, numbers="[[1.0]]")

    assert (await ask(window, model, numbers="[[1.0]]")).status_code == 429
    assert (await window.get(f"/models/{model}/ask/")).status_code == 200
