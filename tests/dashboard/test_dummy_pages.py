"""After GET /api/dummy/ every page has something to show: a failing client, a refusal, an outlier, uncertainty."""

import pytest

from dashboard.conftest import words
from hansa.server.accounts.models import User
from hansa.server.lifecycle.bridge import read
from support.people import Person


@pytest.fixture
async def made(nobody, settings):
    settings.DEBUG = True
    return (await nobody.get("/api/dummy/")).json()


@pytest.fixture
async def window(browser, made, handler):
    user = await read(User.objects.get, id=made["user_uuid"])
    return await browser(Person(handler, user, made["user_credentials"]["token"]))


async def test_the_overview_has_trainings_in_several_states_and_what_needs_attention(window):
    page = words(await window.get("/"))

    wanted = ("Dummy training, stopped: round 7 was tried 3 times", ": 3 tasks in a row failed", "excluded", "refused")
    assert [each for each in wanted if each not in page] == []
    assert page.count('class="spark"') == 3


async def test_a_training_has_lanes_an_outlier_a_refusal_and_a_plan_with_uncertainty(window, made):
    page = words(await window.get(f"/trainings/{made['training_uuid']}/"))

    assert page.count('<rect class="downloads"') == 5
    assert "Norms and cosines of 5 updates" in page
    assert page.count('class="dot apart"') == 1
    assert "'s update was refused in round 80" in page
    assert "MC dropout" in page
    versions = words(await window.get(f"/trainings/{made['training_uuid']}/parts/versions/"))
    assert "dummy-client" in versions
