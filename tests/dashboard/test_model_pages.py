"""Models as pages: what one may see of them, and how a new one is made without the API."""

import numpy as np
import pytest
import torch
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from torch import nn

from dashboard.conftest import words
from hansa.server.dashboard.models import ModelPage, Models
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry import calibrations, services
from hansa.server.registry.creation import NewModel
from hansa.server.registry.models import Model, ModelVersion
from support.torchfiles import scripted
from support.work import file_of, lease, start, store_model, update, upload_and_report


@pytest.fixture
def net():
    """A program of three layers."""
    torch.manual_seed(0)
    return scripted(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))


async def upload(window, content, **fields):
    """Fill in the form of the page, with a file."""
    await window.get("/models/new/")
    said = {"name": "net", **fields, "csrfmiddlewaretoken": window.cookies["csrftoken"]}
    headers = {"Referer": "http://localhost/models/new/"}
    return await window.post("/models/new/", data=said, files={"model_file": ("net.pt", content)}, headers=headers)


async def test_a_model_is_uploaded_and_told_about_and_found_in_the_list(browser, alice, net):
    window = await browser(alice)

    made = await upload(window, net.content, input_shape="any x 4", description="of three layers")

    assert made.status_code == 302
    page = words(await window.get(made.headers["location"]))
    assert "Found a program of 4 layers: 4 arrays with 23 params" in page
    assert "any \N{MULTIPLICATION SIGN} 4" in page
    assert "ReLU" in page
    model = await read(Model.objects.get)
    assert (model.input_shape, model.description, model.owner_id) == ([None, 4], "of three layers", alice.user.id)
    assert f'href="/models/{model.id}/"' in (await window.get("/models/")).text


async def test_a_large_file_goes_the_same_way_as_a_small_one(browser, alice):
    content = file_of({"w": np.ones(2**20, np.float32)}, frozenset()).content
    assert len(content) > 2**21 + 2**20, "so large that it is never in memory whole"

    made = await upload(await browser(alice), content)

    assert made.status_code == 302
    assert (await read(ModelVersion.objects.get)).number == 0


@pytest.mark.parametrize(
    ("content", "fields", "status", "said"),
    [
        (b"PK\3\4 nonsense", {}, 422, "too few for a zip archive"),
        (b"", {}, 422, "0 bytes"),
        (None, {"name": " "}, 400, "The name has 0 characters"),
        (None, {"input_shape": "4 by 4"}, 400, "'by' is no length"),
        (None, {"buffers": "nothing.like.it"}, 422, "nothing.like.it"),
    ],
)
async def test_what_the_api_would_refuse_is_refused_beside_its_field(
    browser, alice, net, content, fields, status, said
):
    page = await upload(await browser(alice), net.content if content is None else content, **fields)

    assert page.status_code == status
    assert said.lower() in words(page).lower()
    assert 'class="wrong"' in page.text
    assert await read(Model.objects.count) == 0


async def test_a_form_from_another_site_makes_no_model(browser, alice, net):
    window = await browser(alice)

    assert (await window.post("/models/new/", files={"model_file": ("x", net.content)})).status_code == 403
    assert await read(Model.objects.count) == 0


async def test_a_models_page_tells_where_each_version_came_from_and_what_was_measured(
    browser, alice, bob, carol, training
):
    await call(start, training)
    for person in (bob, carol):
        await upload_and_report(person, await call(lease, person), update(1.0))
    window = await browser(alice)

    page = words(await window.get(f"/models/{training.model_id}/"))

    assert "the upload" in page
    assert "norm.running_mean" in page
    assert "numbers, and nothing that computes with them" in page


async def test_a_version_that_was_calibrated_says_what_it_has_of_that(browser, alice, model):
    found = {"temperature": 16.0, "at_edge": True, "rule": "lac"}
    await call(lambda: calibrations.keep(ModelVersion.objects.get(model=model), found))

    page = words(await (await browser(alice)).get(f"/models/{model.id}/"))

    assert ">temperature 16, the last that was tried<" in page
    assert ">sets of a level<" in page


async def test_a_model_that_another_goes_on_from_is_named_to_who_may_see_it_only(browser, alice, root, model):
    copied = await call(services.copy_model, model=model, now=timezone.now())
    await call(lambda: Model.objects.filter(id=copied.id).update(owner=root.user, name="a copy"))

    assert "a copy" in words(await (await browser(root)).get(f"/models/{model.id}/"))
    assert "a copy" not in words(await (await browser(alice)).get(f"/models/{model.id}/"))
    assert "small, version 0" in words(await (await browser(root)).get(f"/models/{copied.id}/"))


async def test_a_mean_names_its_members(browser, alice, model):
    mean = await call(
        services.create_mean,
        owner=alice.user,
        said=NewModel(name="both", kind="mean", members=(model.id,)),
        now=timezone.now(),
    )

    page = words(await (await browser(alice)).get(f"/models/{mean.id}/"))

    assert "models in the mean" in page
    assert f'href="/models/{model.id}/"' in page


async def test_names_of_models_and_arrays_are_shown_as_the_text_that_they_are(browser, alice, home):
    named = "<script>alert(1)</script>"
    model = await call(store_model, alice, {named: np.ones(2, np.float32)}, frozenset(), home)
    await call(lambda: Model.objects.filter(id=model.id).update(name=named, description=named))
    window = await browser(alice)

    for path in ("/models/", f"/models/{model.id}/", f"/models/{model.id}/ask/"):
        page = await window.get(path)
        assert named in words(page)
        assert named not in page.text


async def test_the_list_is_searched_by_name_and_has_leaves(browser, alice, model):
    def many():
        for number in range(30):
            Model.objects.create(owner=alice.user, name=f"net {number}", spec=[], created_at=timezone.now())

    await call(many)
    window = await browser(alice)

    assert "1\N{EN DASH}25 of 31" in words(await window.get("/models/"))
    found = words(await window.get("/models/?q=NET 2"))
    assert "net 29" in found
    assert "net 3<" not in found
    assert "No model of yours has “<b>”" in words(await window.get("/models/?q=<b>"))


@pytest.mark.parametrize("shown", ["list", "model"])
async def test_a_page_asks_as_few_questions_for_many_as_for_one(alice, model, shown):
    def ask():
        view = Models() if shown == "list" else ModelPage()
        view.request = type("", (), {"query_params": {}})()
        with CaptureQueriesContext(connection) as asked:
            view.show(alice.user, model_id=model.id)
        return len(asked)

    def grow():
        (version,) = model.versions.all()
        for number in range(1, 30):
            version = ModelVersion.objects.create(
                model=model, number=number, blob_id=version.blob_id, parent=version, created_at=timezone.now()
            )
        for number in range(20):
            Model.objects.create(owner=alice.user, name=f"net {number}", spec=[], created_at=timezone.now())

    one = await read(ask)
    await call(grow)

    assert await read(ask) <= one + 1
    assert one <= 16
