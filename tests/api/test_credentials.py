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


async def test_no_credentials(nobody):
    response = await nobody.get(URL)

    refused(response, 401, "not_authenticated")
    assert response.headers["WWW-Authenticate"] == "Token"


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
