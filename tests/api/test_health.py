"""GET /api/health/ and /api/schema/, and paths where there is nothing."""

import os

import pytest

import hansa
from hansa.protocol import PROTOCOL_VERSION
from hansa.server.ops.api import HealthAnswer
from support.answers import refused, shown


async def test_anybody_may_ask_whether_the_server_is_well(nobody):
    assert shown(await nobody.get("/api/health/"), HealthAnswer) == HealthAnswer(
        status="ok", pid=os.getpid(), version=hansa.__version__, protocol=PROTOCOL_VERSION
    )


async def test_credentials_that_are_wrong_do_not_matter_to_it(nobody):
    assert (await nobody.get("/api/health/", headers={"Authorization": "Token x"})).status_code == 200


async def test_anybody_may_read_the_apis_description(nobody):
    response = await nobody.get("/api/schema/?format=json")

    assert response.json()["openapi"].startswith("3.1")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_there_is_nothing_at_other_paths_for_anybody(nobody, alice, method):
    for person in (nobody, alice):
        response = await person.request(method, "/api/nothing/here/")
        refused(response, 404, "not_found", "/api/nothing/here/", "/api/schema/")


@pytest.mark.parametrize("path", ["/api/models/%0A%0A/versions/", "/api/%00", "/api/%FF/", "/api/"])
async def test_paths_that_nobody_would_type_lead_nowhere_either(alice, path):
    response = await alice.get(path)

    assert (response.status_code, response.headers["Content-Type"]) == (404, "application/json")


@pytest.mark.parametrize("path", ["/api/models/not-a-uuid/", "/api/models/../../etc/passwd", "/api/trainings/1/"])
async def test_ids_that_are_no_ids_lead_nowhere(alice, path):
    assert (await alice.get(path)).status_code == 404


async def test_a_missing_slash_is_forgiven_where_nothing_is_sent(alice):
    response = await alice.get("/api/models?x=1")

    assert (response.status_code, response.headers["Location"]) == (301, "/api/models/?x=1")
    refused(await alice.post("/api/models"), 404, "not_found")


async def test_a_method_that_is_not_offered_is_refused_with_those_that_are(alice):
    response = await alice.delete("/api/models/")

    refused(response, 405, "method_not_allowed", "DELETE")
    assert response.headers["Allow"] == "GET, POST, HEAD, OPTIONS"


async def test_options_describes_an_endpoint(alice):
    response = await alice.options("/api/tokens/")

    assert response.status_code == 200
    assert response.json()["parses"] == ["application/json"]


async def test_programs_get_json_and_browsers_a_page(alice):
    assert (await alice.get("/api/models/")).headers["Content-Type"] == "application/json"

    page = await alice.get("/api/models/", headers={"Accept": "text/html"})

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Hansa API</title>" in page.text
    assert "Accept" in page.headers["Vary"]


async def test_nothing_else_is_spoken(alice):
    refused(await alice.get("/api/models/", headers={"Accept": "text/csv"}), 406, "not_acceptable")
