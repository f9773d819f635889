"""How callers prove who they are: tokens, tokens in Basic, passwords."""

import base64
from datetime import timedelta

import httpx
import pytest
from django.utils import timezone

from hansa.server.accounts import services
from hansa.server.accounts.models import Token, User
from hansa.server.lifecycle.bridge import call, read
from support.answers import nothing_changes, refused
from support.people import in_process

URL = "/api/users/myself/"


@pytest.fixture
def visit(nobody):
    """Ask who one is, with a header of the test's choice."""

    async def ask(authorization):
        return await nobody.get(URL, headers={"Authorization": authorization})

    return ask


@pytest.fixture
def quick_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize("scheme", ["Token {}", "token {}", "TOKEN {}", "Token   {} "])
async def test_a_token_in_its_own_scheme(alice, visit, scheme):
    assert (await visit(scheme.format(alice.token))).json()["username"] == "alice"


async def test_a_token_as_basic_user_without_a_password(alice, visit):
    assert (await visit(basic(alice.token, ""))).json()["username"] == "alice"


async def test_a_user_name_with_a_password(alice, visit, quick_passwords):
    await call(set_password, alice.user, "correct horse")

    assert (await visit(basic("alice", "correct horse"))).json()["username"] == "alice"
    refused(await visit(basic("alice", "wrong")), 401, "authentication_failed", "Invalid username/password")


def set_password(user, text):
    user.set_password(text)
    user.save()


async def test_all_four_ways_lead_to_the_same_person(alice, nobody, quick_passwords):
    """In the order in which they are tried: what is shown first is believed, and a cookie last."""
    await call(set_password, alice.user, "correct horse")
    page = await nobody.get("/api-auth/login/")
    form = {"username": "alice", "password": "correct horse", "csrfmiddlewaretoken": page.cookies["csrftoken"]}
    assert (await nobody.post("/api-auth/login/", data=form)).status_code == 302
    session = {"Cookie": f"sessionid={nobody.cookies['sessionid']}"}
    nobody.cookies.clear()

    for headers in (
        {"Authorization": f"Token {alice.token}"},
        {"Authorization": basic(alice.token, "")},
        {"Authorization": basic("alice", "correct horse")},
        session,
    ):
        assert (await nobody.get(URL, headers=headers)).json()["username"] == "alice"
        wrong = {**headers, "Authorization": f"Token {'0' * 40}"}
        refused(await nobody.get(URL, headers=wrong), 401, "authentication_failed", "Invalid token.")


async def test_a_token_in_a_url_is_basic_without_a_password(alice, handler):
    with_token = httpx.AsyncClient(transport=in_process(handler), base_url=f"http://{alice.token}@localhost")

    assert (await with_token.get(URL)).json()["username"] == "alice"


async def test_forty_characters_are_a_user_name_too_where_there_is_a_password(person, visit, quick_passwords):
    """Only without one are they a token."""
    named = "f" * 40
    await call(lambda: set_password(person(named).user, "correct horse"))

    assert (await visit(basic(named, "correct horse"))).json()["username"] == named
    refused(await visit(basic(named, "")), 401, "authentication_failed", "Invalid token.")


async def test_no_credentials(nobody):
    response = await nobody.get(URL)

    refused(response, 401, "not_authenticated", "Authentication credentials were not provided.")
    assert response.headers["WWW-Authenticate"] == "Token"


@pytest.mark.parametrize(
    ("authorization", "detail"),
    [
        (f"Token {'0' * 40}", "Invalid token."),
        (basic("0" * 40, ""), "Invalid token."),
        (basic("alice", "wrong"), "Invalid username/password."),
    ],
)
async def test_wrong_ones_are_told_in_the_contracts_words(alice, visit, quick_passwords, authorization, detail):
    response = await visit(authorization)

    assert response.json() == {"detail": detail, "code": "authentication_failed"}
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Token")


@pytest.mark.parametrize(
    "authorization",
    [
        "Token " + "0" * 40,
        "Token " + "0" * 39,
        "Token",
        "Token not hex",
        "Token \xff",
        basic("0" * 40, ""),
        basic("nobody", "secret"),
        "Basic not-base64!",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    ],
)
async def test_credentials_that_are_not_known(alice, visit, quick_passwords, authorization):
    refused(await visit(authorization.encode("latin1")), 401, "authentication_failed")


@pytest.mark.parametrize("authorization", ["Bearer x", "", "Negotiate abc"])
async def test_a_scheme_that_is_not_known_counts_as_none(visit, authorization):
    refused(await visit(authorization), 401, "not_authenticated")


async def test_an_expired_token_is_refused_from_that_moment_on(alice, visit, clock):
    new = await call(
        services.create_token, user_id=alice.user.id, name="brief", expires_in_seconds=60, now=timezone.now()
    )
    clock.advance(59)
    assert (await visit(f"Token {new.text}")).status_code == 200
    clock.advance(1)
    refused(await visit(f"Token {new.text}"), 401, "authentication_failed", "Invalid token")


async def test_a_user_who_is_no_longer_active_is_refused(alice):
    await call(User.objects.filter(id=alice.id).update, is_active=False)

    refused(await alice.get(URL), 401, "authentication_failed")


async def test_no_secret_is_kept_in_clear(alice):
    stored = await read(lambda: str(list(Token.objects.values())))

    assert alice.token not in stored


async def test_a_host_that_is_not_served_is_refused(alice):
    response = await alice.get(URL, headers={"Host": "evil.example"})

    refused(response, 400, "invalid", "evil.example", "HANSA_ALLOWED_HOSTS")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/", "/admin/", "/static/dashboard/nothing.css"])
async def test_whatever_is_asked_by_another_name_is_told_why_it_is_refused(nobody, path):
    response = await nobody.get(path, headers={"Host": "10.0.0.7:8000"})

    refused(response, 400, "invalid", "10.0.0.7:8000", "HANSA_ALLOWED_HOSTS")


async def test_every_answer_carries_the_security_headers(alice, nobody):
    for response in (await alice.get(URL), await nobody.get(URL), await nobody.get("/api/nothing/")):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in response.headers


async def test_over_tls_browsers_are_told_to_stay_with_it(alice, handler):
    secure = httpx.AsyncClient(transport=httpx.ASGITransport(app=handler), base_url="https://localhost")

    assert "Strict-Transport-Security" in (await secure.get("/api/health/")).headers


async def test_presenting_a_token_writes_nothing(alice, clock):
    async with nothing_changes():
        clock.advance(timedelta(hours=1).total_seconds())
        assert (await alice.get(URL)).status_code == 200
