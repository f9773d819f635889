"""HANSA_CORS_ORIGINS: pages of listed origins may call the API from a browser, and take no cookie along."""

import httpx
import pytest

from hansa.server.accounts import selectors
from hansa.server.lifecycle.asgi import Handler
from support.exchange import Exchange
from support.people import in_process
from support.serving import furnish, serving
from support.work import update

FRONT = "https://front.example"
OTHER = "https://front.example.evil"
CORS = "corsheaders.middleware.CorsMiddleware"
PATHS = (
    "users/",
    "users/myself/",
    "groups/",
    "models/",
    "models/{model}/",
    "models/{model}/metadata/",
    "models/{model}/metrics/",
    "models/{model}/metrics",
    "trainings/",
    "trainings/{training}/",
    "trainings/{training}/start/",
    "trainings/{training}/clients/",
    "schema/",
    "nothing/",
)


@pytest.fixture
def site(settings, home, transactional_db):
    """The server's handler as HANSA_CORS_ORIGINS=https://front.example makes it."""
    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], CORS, *settings.MIDDLEWARE[1:]]
    settings.CORS_ALLOWED_ORIGINS = [FRONT]
    handler = Handler()
    yield handler
    handler.lender.shutdown()


@pytest.fixture
def page(site):
    """A script on a page of the listed origin."""
    return httpx.AsyncClient(transport=in_process(site), base_url="http://localhost", headers={"Origin": FRONT})


@pytest.fixture
def signed_in(page, alice):
    """The same, which knows Alice's token."""
    page.headers["Authorization"] = f"Token {alice.token}"
    return page


def words(text):
    return {word.strip().lower() for word in text.split(",")}


def allowed(answer):
    return answer.headers.get("Access-Control-Allow-Origin")


async def preflight(page, path, method="POST", headers="authorization,content-type"):
    wanted = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return await page.options(path, headers=wanted)


@pytest.mark.parametrize("path", PATHS)
async def test_a_browser_that_asks_first_is_let_on_without_credentials(page, started, path):
    path = path.format(model=started.model_id, training=started.id)

    answer = await preflight(page, f"/api/{path}")

    assert (answer.status_code, answer.content, allowed(answer)) == (200, b"", FRONT)
    assert words(answer.headers["Access-Control-Allow-Methods"]) >= {"get", "post", "put", "patch", "delete"}
    assert words(answer.headers["Access-Control-Allow-Headers"]) >= {
        "authorization",
        "content-type",
        "range",
        "if-none-match",
        "upload-offset",
        "upload-length",
    }
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "origin" in words(answer.headers["Vary"])


async def test_an_answer_can_be_read_with_its_headers(signed_in):
    answer = await signed_in.get("/api/users/myself/")

    assert (answer.json()["username"], allowed(answer)) == ("alice", FRONT)
    assert words(answer.headers["Access-Control-Expose-Headers"]) >= {
        "etag",
        "content-disposition",
        "upload-offset",
        "retry-after",
    }
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "origin" in words(answer.headers["Vary"])


@pytest.mark.parametrize("origin", [OTHER, "http://front.example", "https://front.example:8443", "null", "[", ""])
async def test_pages_of_other_origins_are_told_nothing(signed_in, origin):
    asked = await preflight(signed_in, "/api/users/")
    assert allowed(asked) == FRONT

    signed_in.headers["Origin"] = origin
    for answer in (await preflight(signed_in, "/api/users/"), await signed_in.get("/api/users/myself/")):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "origin" in words(answer.headers["Vary"]), "a cache must not give one origin another's answer"


@pytest.mark.parametrize("path", ["/admin/login/", "/api-auth/login/", "/static/admin/css/base.css"])
async def test_beyond_the_api_nothing_is_shared(page, path):
    answer = await page.get(path)

    assert answer.status_code == 200
    assert allowed(answer) is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/users/myself/", 401),
        ("GET", "/api/nothing/", 404),
        ("GET", "/api/users", 301),
        ("POST", "/api/health/", 405),
        ("POST", "/api/clients/enroll/", 400),
    ],
)
async def test_a_refusal_can_be_read_too(page, method, path, status):
    answer = await page.request(method, path)

    assert (answer.status_code, allowed(answer)) == (status, FRONT)


async def test_a_host_that_is_not_served_and_a_body_that_is_too_large_are_refused_readably(page):
    strange = await page.get("/api/users/", headers={"Host": "evil.example"})
    large = await page.post("/api/clients/enroll/", content=b"x" * 5_000_000)

    assert [(each.status_code, allowed(each)) for each in (strange, large)] == [(400, FRONT), (413, FRONT)]


async def test_a_fault_of_the_server_can_be_read_too(signed_in, monkeypatch):
    def break_down(caller):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(selectors, "users", break_down)

    answer = await signed_in.get("/api/users/")

    assert (answer.status_code, allowed(answer), answer.json()["code"]) == (500, FRONT, "server_error")


async def test_a_body_that_is_not_read_and_one_that_is_streamed_are_answered_alike(site, bob, bobs_task):
    path = f"/api/tasks/{bobs_task.id}/update/{update().digest}/"
    sent = {"Origin": FRONT, "Content-Length": str(len(update())), "Upload-Length": str(len(update()))}

    unread = Exchange(site, bob, "PUT", path, {**sent, "Authorization": f"Token {'0' * 40}"})
    await unread.finished()
    assert (unread.status, unread.asked) == (401, 0)
    assert unread.headers["access-control-allow-origin"] == FRONT

    streamed = Exchange(site, bob, "PUT", path, sent)
    streamed.send(update().content, last=True)
    await streamed.finished()
    assert streamed.status == 200, streamed.json
    assert streamed.headers["access-control-allow-origin"] == FRONT


async def test_a_download_is_streamed_to_the_page(signed_in, model):
    answer = await signed_in.get(
        f"/api/models/{model.id}/versions/0/params/", headers={"Range": "bytes=0-7", "If-None-Match": '"x"'}
    )

    assert (answer.status_code, len(answer.content), allowed(answer)) == (206, 8, FRONT)


async def test_who_waits_is_answered_when_the_time_is_over(signed_in):
    answer = await signed_in.post("/api/tasks/next/?wait=0.01", json={"instance": "a page"})

    assert (answer.status_code, allowed(answer)) == (204, FRONT)


async def test_without_the_setting_nothing_is_said(alice, nobody):
    headers = {"Origin": FRONT, "Access-Control-Request-Method": "GET"}

    for answer in (
        await nobody.options("/api/users/", headers=headers),
        await alice.get("/api/users/", headers=headers),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_the_setting_is_heard_by_the_server_that_is_started(tmp_path):
    origins = {"HANSA_CORS_ORIGINS": f"http://localhost:3000,{FRONT}"}
    with (
        serving(furnish(tmp_path / "home"), settings=origins) as server,
        server.client(Origin=FRONT) as page,
    ):
        assert allowed(page.get("/api/health/")) == FRONT
        assert allowed(page.get("/api/health/", headers={"Origin": "http://localhost:3000"})) == "http://localhost:3000"
        assert allowed(page.get("/api/health/", headers={"Origin": OTHER})) is None
        asked = page.options(
            "/api/models/",
            headers={"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"},
        )
        assert (asked.status_code, allowed(asked)) == (200, FRONT)


def test_a_star_lets_all_origins_read_and_takes_cookies_from_none(tmp_path):
    with (
        serving(furnish(tmp_path / "home"), settings={"HANSA_CORS_ORIGINS": "*"}) as server,
        server.client(Origin=OTHER) as page,
    ):
        answer = page.get("/api/users/myself/")
        assert (answer.status_code, allowed(answer)) == (401, "*")
        assert "Access-Control-Allow-Credentials" not in answer.headers
