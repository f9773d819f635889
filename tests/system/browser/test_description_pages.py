"""The pages that show the API's description, in a browser: complete, and without anybody else's server."""

import pytest
import pytest_asyncio

from support.serving import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def asked(window, server):
    """Where the window's pages have asked for anything, this server left out."""
    elsewhere = []

    def note(request):
        if not request.url.startswith((server.url, "data:")):
            elsewhere.append(request.url)

    window.page.on("request", note)
    yield elsewhere
    assert elsewhere == []


async def test_swagger_ui_shows_every_call(window, asked):
    assert await window.go("/api/schema/swagger-ui/") == 200

    await window.page.locator(".opblock-summary-path", has_text="/api/users/myself/").wait_for()
    described = await window.page.request.get("/api/schema/?format=json")
    calls = sum(len(methods) for methods in (await described.json())["paths"].values())
    assert await window.page.locator(".opblock").count() == calls
    assert await window.page.locator(".errors-wrapper").count() == 0


async def test_on_swagger_ui_a_call_can_be_tried_by_who_is_signed_in(window, asked):
    await window.sign_in("dora", then="/api/schema/swagger-ui/")
    call = window.page.locator(".opblock-post", has=window.page.locator("[data-path='/api/groups/']"))
    await call.locator(".opblock-summary-control").click()
    await call.get_by_role("button", name="Try it out").click()
    await call.locator("textarea").fill('{"name": "tried"}')

    await call.get_by_role("button", name="Execute", exact=True).click()

    await call.locator(".live-responses-table .response-col_status", has_text="201").wait_for()
    groups = await window.page.request.get("/api/users/groups/")
    assert "tried" in [group["name"] for group in await groups.json()]


async def test_on_swagger_ui_a_password_may_be_shown_instead(window, asked):
    await window.go("/api/schema/swagger-ui/")
    await window.page.get_by_role("button", name="Authorize").click()
    form = window.page.locator(
        ".auth-container", has=window.page.locator("#auth_password, [aria-label=auth-basic-password]")
    )
    await form.first.locator("input[type=text], input:not([type])").first.fill("dora")
    await form.first.locator("input[type=password]").fill(PASSWORD)
    await form.first.get_by_role("button", name="Apply credentials").click()
    await window.page.locator(".dialog-ux .close-modal").click()
    call = window.page.locator(".opblock-get", has=window.page.locator("[data-path='/api/users/myself/']"))
    await call.locator(".opblock-summary-control").click()
    await call.get_by_role("button", name="Try it out").click()

    await call.get_by_role("button", name="Execute", exact=True).click()

    await call.locator(".live-responses-table", has_text='"username": "dora"').wait_for()


async def test_redoc_shows_every_call(window, asked):
    assert await window.go("/api/schema/redoc/") == 200

    await window.page.get_by_role("heading", name="Hansa").first.wait_for()
    described = await window.page.request.get("/api/schema/?format=json")
    paths = (await described.json())["paths"]
    calls = [call["operationId"] for methods in paths.values() for call in methods.values()]
    await window.page.get_by_role("heading", name=calls[-1]).wait_for(state="attached")
    sections = window.page.locator("[data-section-id*='operation/']")
    ids = {await section.get_attribute("data-section-id") for section in await sections.all()}
    assert {section.rpartition("/")[2] for section in ids} == set(calls)

    styled = await window.page.locator(".menu-content").evaluate("menu => getComputedStyle(menu).position")
    assert styled == "sticky", "the style sheets that ReDoc writes were taken"
    assert await window.page.get_by_alt_text("redocly logo").count() == 0
