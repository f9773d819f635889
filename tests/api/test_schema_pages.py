"""GET /api/schema/ and its two pages: public, and served from the installed packages alone."""

import json
import re

import pytest
import yaml

from hansa.server.lifecycle.headers import HEADERS
from support.answers import refused

URL = "/api/schema/"
PAGES = ("swagger-ui/", "redoc/")


@pytest.mark.parametrize("accept", ["*/*", "application/vnd.oai.openapi", "text/html,*/*;q=0.8"])
async def test_the_description_is_yaml_unless_json_is_asked_for(nobody, accept):
    answer = await nobody.get(URL, headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/vnd.oai.openapi")
    assert "json" not in answer.headers["Content-Type"]
    assert "/api/users/" in yaml.safe_load(answer.text)["paths"]


@pytest.mark.parametrize(
    ("query", "accept"),
    [("", "application/json"), ("", "application/vnd.oai.openapi+json"), ("?format=json", "*/*")],
)
async def test_it_is_json_by_accept_or_by_the_query(nobody, query, accept):
    answer = await nobody.get(f"{URL}{query}", headers={"Accept": accept})

    assert "json" in answer.headers["Content-Type"]
    assert "/api/users/" in json.loads(answer.text)["paths"]


async def test_both_say_the_same(nobody):
    as_yaml = yaml.safe_load((await nobody.get(URL)).text)

    assert as_yaml == (await nobody.get(f"{URL}?format=json")).json()


async def test_a_format_that_there_is_not_is_not_found(nobody):
    refused(await nobody.get(f"{URL}?format=xml"), 404, "not_found")


async def test_what_nobody_reads_by_is_left_out(nobody):
    paths = (await nobody.get(f"{URL}?format=json")).json()["paths"]

    assert not [path for path in paths if path.startswith(("/api/dummy/", "/api/schema/"))]


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_is_public_and_every_file_of_it_is_served_here(nobody, page):
    answer = await nobody.get(f"{URL}{page}", headers={"Accept": "text/html,*/*;q=0.8"})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert 'data-url="/api/schema/"' in answer.text
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)
    assert len(files) >= 3
    for file in files:
        assert (await nobody.get(file)).status_code == 200, file
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_has_no_script_and_no_style_of_its_own(nobody, page):
    text = (await nobody.get(f"{URL}{page}")).text

    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", text, re.IGNORECASE)


async def test_swagger_ui_has_the_policy_of_every_page(nobody):
    answer = await nobody.get(f"{URL}swagger-ui/")

    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


async def test_redoc_may_write_style_sheets_that_carry_a_nonce_and_nothing_else(nobody):
    nonces = set()
    for _ in range(2):
        answer = await nobody.get(f"{URL}redoc/")
        (nonce,) = re.findall(r'data-nonce="([\w-]{20,})"', answer.text)
        nonces.add(nonce)
        policy = answer.headers["Content-Security-Policy"]
        assert policy == f"{HEADERS['Content-Security-Policy']}; style-src 'self' 'nonce-{nonce}'"

    assert len(nonces) == 2


@pytest.mark.parametrize("page", ["", *PAGES])
async def test_there_is_nothing_to_send_there(nobody, page):
    refused(await nobody.post(f"{URL}{page}", json={}), 405, "method_not_allowed", "POST")


@pytest.mark.parametrize("page", PAGES)
async def test_without_its_slash_one_is_led_to_it(nobody, page):
    assert (await nobody.get(f"{URL}{page[:-1]}")).headers["Location"] == f"{URL}{page}"
