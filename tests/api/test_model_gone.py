"""A model that is deleted while it is read: between two queries of one answer. It is told as not there."""

from uuid import uuid4

import pytest
from django.utils import timezone

from hansa.server.registry import local_models, selectors
from hansa.server.registry.local_models import LocalModel
from hansa.server.registry.models import Model
from hansa.server.trainings import older_places
from support.answers import nothing_changes, refused
from support.older import Small, pickled, send_update

URL = "/api/models/"


def gone_model(user, model_id=None):
    """As a first query may have found it."""
    return Model(id=model_id or uuid4(), owner=user, name="gone", spec=[], created_at=timezone.now())


def local_of_gone_model(user, model_id=None):
    return LocalModel(
        id=model_id or uuid4(),
        owner_id=user.id,
        base_id=uuid4(),
        training_id=uuid4(),
        round_number=1,
        sample_size=10,
        digest="0" * 64,
        size=100,
        received_at=timezone.now(),
    )


@pytest.fixture(params=[gone_model, local_of_gone_model], ids=["global", "local"])
def first_query(request, monkeypatch):
    """It still finds the model; the next one does not."""
    monkeypatch.setattr(selectors, "model_or_local", request.param)
    monkeypatch.setattr(older_places, "model_or_local", request.param)


@pytest.mark.parametrize("path", ["", "metadata/", "versions/", "versions/0/", "versions/0/params/", "preprocessing/"])
async def test_it_is_told_as_not_there(alice, first_query, path):
    refused(await alice.get(f"{URL}{uuid4()}/{path}"), 404, "not_found")


async def test_so_is_an_update_for_it(alice, first_query):
    async with nothing_changes():
        refused(await send_update(alice, uuid4(), pickled(Small(1.0))), 404, "not_found")


async def test_a_list_is_without_the_local_models_of_one_that_is_gone(alice, monkeypatch):
    monkeypatch.setattr(local_models, "kept_of", lambda user: [local_of_gone_model(user)])

    answer = await alice.get(URL)

    assert (answer.status_code, answer.json()) == (200, [])
