"""A path without its last slash: who reads is led to the right one, who changes something is told it."""

import pytest

from support.answers import nothing_changes, refused

PATHS = ("users", "users/myself", "groups", "models", "trainings", "models/{id}/metrics", "models/{id}/metadata")


@pytest.fixture(params=[False, True], ids=["", "debug"])
def debug(settings, request):
    settings.DEBUG = request.param


@pytest.fixture(params=PATHS)
def path(debug, model, request):
    return "/api/" + request.param.format(id=model.id)


@pytest.mark.parametrize("query", ["", "?step=1&key=loss", "?a=%20b&c=/d"])
async def test_who_reads_is_led_to_the_path_with_its_slash_and_keeps_the_query(alice, path, query):
    led = await alice.get(f"{path}{query}")

    assert (led.status_code, led.headers["Location"]) == (301, f"{path}/{query}")
    assert (await alice.get(f"{path}{query}", follow_redirects=True)).status_code < 500


async def test_head_is_led_as_well(alice, path):
    led = await alice.head(path)

    assert (led.status_code, led.headers["Location"]) == (301, f"{path}/")


async def test_nobody_need_say_who_they_are_to_be_led(nobody, path):
    assert (await nobody.get(path)).headers["Location"] == f"{path}/"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_who_changes_something_is_told_the_right_path_and_nothing_happens(alice, path, method):
    async with nothing_changes():
        answer = await alice.request(method, path, json={"name": "x"})

    refused(answer, 404, "not_found", f"{method} {path}/")


async def test_a_body_in_a_wrong_place_is_not_read(alice, debug):
    refused(await alice.post("/api/models", content=b"m" * 5_000_000), 404, "not_found", "POST /api/models/")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_not_there_with_a_slash_either_is_not_there(alice, debug, method):
    for path in ("/api/nothing", "/api/nothing/", "/api/models/7/metrics", "/api/"):
        answer = await alice.request(method, path)

        refused(answer, 404, "not_found", f"nothing at {path}", "/api/schema/")
