"""The API in a browser: its pages, the way in and out, and what one can do on them."""

import asyncio
import json

import pytest

from support.serving import PASSWORD
from system.browser.conftest import SCRIPT

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN = "00000000-0000-4000-8000-000000000000"
"""The id of a model that is not there; its own page is not there either."""


async def answer(window):
    """The JSON that the page shows."""
    shown = await window.page.locator(".response-info").inner_text()
    return json.loads(shown[min(shown.index(mark) for mark in "[{" if mark in shown) :])


async def test_who_signs_in_gets_the_page_that_was_asked_for_and_leaves_by_a_button(window):
    assert await window.go("/api/models/") == 401
    await window.page.get_by_role("link", name="Sign in").click()
    await window.page.get_by_label("User name").fill("dora")
    await window.page.get_by_label("Password").fill(PASSWORD)
    assert await window.press("Sign in") == 200
    assert window.path == "/api/models/"
    assert "dora" in await window.page.locator(".navbar").inner_text()

    assert await window.press("Sign out") == 401
    assert window.path == "/api/models/"
    assert await window.go("/api/users/myself/") == 401


async def test_who_signs_in_without_having_asked_for_a_page_sees_their_own_record(window):
    await window.sign_in("dora", then="")

    assert window.path == "/api/users/myself/"
    assert (await answer(window))["username"] == "dora"


async def test_a_wrong_password_is_said_to_be_wrong_and_the_name_stays(window):
    await window.sign_in("dora", "not this one")

    assert window.path == "/api-auth/login/"
    assert "correct username and password" in await window.page.get_by_role("alert").inner_text()
    assert await window.page.get_by_label("User name").input_value() == "dora"


async def test_after_ten_wrong_passwords_the_right_one_is_refused_too_with_the_time_to_wait(window):
    await window.go("/api-auth/login/")
    token = await window.page.locator("[name=csrfmiddlewaretoken]").input_value()
    # At once, and two more: one attempt is given back every six seconds.
    guesses = [{"username": "guessed", "password": f"{n}", "csrfmiddlewaretoken": token} for n in range(12)]
    await asyncio.gather(*(window.page.request.post("/api-auth/login/", form=guess) for guess in guesses))

    await window.sign_in("guessed")

    said = await window.page.get_by_role("alert").inner_text()
    assert window.path == "/api-auth/login/"
    assert "Too many attempts to sign in have failed." in said
    assert "available in" in said
    assert await window.go("/api/users/myself/") == 401


@pytest.mark.parametrize(
    ("path", "status", "heading", "said"),
    [
        ("/api/users/myself/", 200, "Myself", '"username": "dora"'),
        ("/api/users/", 200, "Users", '"username": "guessed"'),
        ("/api/models/", 200, "Models", "[]"),
        ("/api/clients/", 403, "Clients", '"code": "permission_denied"'),
        (f"/api/models/{UNKNOWN}/metadata/", 404, "Model Metadata", '"code": "not_found"'),
        ("/api/tasks/next/", 405, "Next Task", '"code": "method_not_allowed"'),
        ("/api/nothing/", 404, "Nothing here", "GET /api/schema/ lists what there is."),
    ],
)
async def test_a_page_has_its_name_its_answer_and_a_way_up_that_leads_somewhere(window, path, status, heading, said):
    await window.sign_in("dora")

    assert await window.go(path) == status

    assert await window.page.get_by_role("heading", level=1).inner_text() == heading
    assert said in await window.text()
    crumbs = window.page.locator(".breadcrumb a")
    for target in [await crumb.get_attribute("href") for crumb in await crumbs.all()]:
        assert (await window.page.request.get(target)).status != 404 or target == path or UNKNOWN in target


async def test_a_token_is_made_by_the_form_and_revoked_by_the_button(window):
    await window.sign_in("dora", then="/api/tokens/")
    await window.page.get_by_label("Content:").fill('{"name": "by hand"}')
    assert await window.press("POST") == 201
    made = await answer(window)
    assert made["name"] == "by hand"
    with_token = {"Authorization": f"Token {made['token']}", "Cookie": ""}
    assert (await window.page.request.get("/api/users/myself/", headers=with_token)).status == 200

    assert await window.go(f"/api/tokens/{made['id']}/") == 405
    await window.page.get_by_role("button", name="DELETE").click()
    sure = window.page.locator("#deleteModal .btn-danger")  # DRF hides the question from roles, for good
    assert await window.press(sure) == 200  # DRF's pages answer so: a browser shows nothing of a 204
    assert "HTTP 204" in await window.text()

    assert (await window.page.request.get("/api/users/myself/", headers=with_token)).status == 401


async def test_a_form_offers_what_its_view_takes_and_a_wrong_field_is_named(window):
    await window.sign_in("dora", then="/api/tokens/")
    assert await window.page.get_by_label("Media type").locator("option").all_inner_texts() == ["application/json"]

    await window.page.get_by_label("Content:").fill('{"name": 7}')

    assert await window.press("POST") == 400
    assert await answer(window) == {"name": ["Expected `str`, got `int`."]}


async def test_a_form_without_the_token_against_forgery_is_refused(window):
    await window.sign_in("dora", then="/api/tokens/")
    await window.page.evaluate("jQuery.ajaxSetup({beforeSend: () => {}})")
    await window.page.get_by_label("Content:").fill('{"name": "forged"}')

    assert await window.press("POST") == 403
    assert "CSRF" in (await answer(window))["detail"]


async def test_the_button_for_options_shows_what_the_view_takes(window):
    await window.sign_in("dora", then="/api/tokens/")

    assert await window.press("OPTIONS") == 200

    described = await answer(window)
    assert described["parses"] == ["application/json"]
    assert described["description"] == "One's own API tokens."


async def test_the_menu_of_formats_leads_to_the_plain_answer(window):
    await window.sign_in("dora")
    await window.page.locator(".format-selection .dropdown-toggle").click()
    await window.page.get_by_role("link", name="json", exact=True).click()
    await window.page.wait_for_url("**/api/users/myself/?format=json")

    assert json.loads(await window.text())["username"] == "dora"


@pytest.mark.parametrize("path", ["/api/users/myself/", "/api/users/", "/admin/", "/admin/accounts/user/"])
async def test_a_name_that_is_a_script_is_shown_as_text(window, path):
    await window.sign_in(SCRIPT)

    assert await window.go(path) == 200
    assert SCRIPT in (await window.page.locator("body").text_content() or "")


async def test_no_page_of_the_admin_needs_what_the_content_security_policy_forbids(window):
    await window.sign_in(SCRIPT, then="/admin/")
    links = await window.page.locator("a[href^='/admin/']").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    pages = sorted({*links, "/admin/password_change/", "/admin/accounts/user/"})
    assert len(pages) > 10

    for path in pages:
        assert await window.go(path) == 200, path
    await window.page.goto("/admin/accounts/user/")
    await window.page.get_by_role("link", name="dora").click()
    await window.page.get_by_role("button", name="Save", exact=True).click()
    await window.page.wait_for_url("**/admin/accounts/user/")
    assert "was changed successfully" in await window.text()
