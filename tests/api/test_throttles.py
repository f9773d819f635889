"""Who asks too often is told when to come again; who fails too often to sign in, too, and nobody else with them."""

import base64
import logging
import subprocess
import sys

import httpx
import pytest

from hansa.server.accounts import attempts
from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.throttles import AddressRateThrottle, UserRateThrottle
from support.answers import refused
from support.serving import environment
from support.ticks import Ticks

MYSELF = "/api/users/myself/"
HEALTH = "/api/health/"
LOGIN = "/admin/login/"


@pytest.fixture
def ticks():
    return Ticks()


@pytest.fixture
def rates(monkeypatch, ticks):
    """Say how much a user and an address may ask, whatever HANSA_THROTTLES is for whoever runs the tests."""

    def use(*, user="1000/min", address="1000/min"):
        for throttle, rate in ((UserRateThrottle, user), (AddressRateThrottle, address)):
            monkeypatch.setattr(throttle, "rate", rate)
            monkeypatch.setattr(throttle, "clock", ticks)
            monkeypatch.setattr(throttle, "_limiters", {})
        monkeypatch.setattr("rest_framework.views.APIView.throttle_classes", [UserRateThrottle, AddressRateThrottle])

    return use


async def statuses(person, tries, path=MYSELF, **asked):
    return [(await person.get(path, **asked)).status_code for _ in range(tries)]


async def test_who_asks_too_often_is_refused_with_when_to_come_again(alice, rates, ticks):
    rates(user="3/min")
    assert await statuses(alice, 3) == [200, 200, 200]
    ticks.advance(4.2)

    refusal = await alice.get(MYSELF)

    refused(refusal, 429, "throttled", "16 seconds")
    assert refusal.headers["Retry-After"] == "16"
    ticks.advance(16)
    assert await statuses(alice, 2) == [200, 429]


async def test_one_users_limit_is_no_others(alice, bob, rates):
    rates(user="2/min")

    assert await statuses(alice, 3) == [200, 200, 429]
    assert await statuses(bob, 2) == [200, 200]


async def test_all_of_an_address_are_counted_together_also_without_credentials(alice, bob, nobody, rates):
    rates(address="3/min")

    assert [*await statuses(alice, 1), *await statuses(bob, 1), *await statuses(nobody, 2, HEALTH)] == [
        200,
        200,
        200,
        429,
    ]


async def test_a_header_does_not_make_another_address(nobody, rates, settings):
    rates(address="2/min")
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 0}

    told = [(await nobody.get(HEALTH, headers={"X-Forwarded-For": f"198.51.100.{i}"})).status_code for i in range(3)]

    assert told == [200, 200, 429]


async def test_behind_a_trusted_proxy_the_address_is_what_the_proxy_says(nobody, rates, settings):
    rates(address="1/min")
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    headers = [{"X-Forwarded-For": f"{invented}, {real}"} for invented, real in ((1, 8), (1, 9), (2, 9))]

    assert [(await nobody.get(HEALTH, headers=each)).status_code for each in headers] == [200, 200, 429]


def test_it_is_the_trusted_proxy_setting_that_says_whether_there_is_one(tmp_path):
    assert shipped(tmp_path, "REST_FRAMEWORK['NUM_PROXIES']", HANSA_TRUSTED_PROXY="1") == "1"
    assert shipped(tmp_path, "REST_FRAMEWORK['NUM_PROXIES']") == "0"


def test_throttles_are_on_unless_they_are_turned_off(tmp_path):
    names = (
        "[each.__name__ for each in APIView.throttle_classes], set(REST_FRAMEWORK['DEFAULT_THROTTLE_RATES'].values())"
    )

    assert shipped(tmp_path, names, HANSA_THROTTLES="off") == "([], {None})"
    on = shipped(tmp_path, names)
    assert "'UserRateThrottle', 'AddressRateThrottle'" in on
    assert "None" not in on


def shipped(home, what, **variables):
    """What an expression says in a server's process with these variables."""
    program = (
        "import django; django.setup()\n"
        "from hansa.server.lifecycle.views import APIView\n"
        "from hansa.server.settings import REST_FRAMEWORK\n"
        f"print(({what}))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment(home, variables), "DJANGO_SETTINGS_MODULE": "hansa.server.settings"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return told.stdout.strip()


# signing in to the admin


@pytest.fixture
def limits(monkeypatch, settings, ticks):
    """The shipped limits on failed attempts, on the test's clock."""
    rates = {**settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"], "sign_in_address": "20/min", "sign_in": "10/min"}
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates, "NUM_PROXIES": 0}
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    for limit in (attempts.ADDRESSES, attempts.NAMES):
        monkeypatch.setattr(limit, "_clock", ticks)
    attempts.forget()
    yield
    attempts.forget()


@pytest.fixture
async def with_passwords(limits, root, alice):
    """Root is staff, Alice is not; both have the password "correct horse"."""
    for person in (root, alice):
        await call(set_password, person.user)


def set_password(user):
    user.set_password("correct horse")
    user.save()


@pytest.fixture
def hashed(monkeypatch):
    """The names whose passwords were checked."""
    from django.contrib.auth import authenticate

    names = []

    def recorded(request=None, **credentials):
        names.append(credentials["username"])
        return authenticate(request, **credentials)

    monkeypatch.setattr("django.contrib.auth.forms.authenticate", recorded)
    return names


class Browser:
    """A browser at an address, showing the admin's login page."""

    def __init__(self, handler, address):
        transport = httpx.ASGITransport(app=handler, client=(address, 40_000))
        self._http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async def sign_in(self, username, password, **headers):
        self._http.cookies.clear()  # whoever was signed in leaves
        page = await self._http.get(LOGIN)
        form = {"username": username, "password": password, "csrfmiddlewaretoken": page.cookies["csrftoken"]}
        return await self._http.post(f"{LOGIN}?next=/admin/", data=form, headers=headers)


@pytest.fixture
def browser(handler):
    return Browser(handler, "203.0.113.9")


@pytest.fixture
def elsewhere(handler):
    return Browser(handler, "198.51.100.1")


async def fail(browser, times, username="root"):
    for i in range(times):
        answer = await browser.sign_in(username, f"guess {i}")
        assert answer.status_code == 200
        assert "Please enter the correct" in answer.text


def refused_for(answer, seconds):
    assert answer.status_code == 200
    assert "Too many attempts to sign in have failed" in answer.text
    assert f"{seconds} seconds" in answer.text


async def test_after_ten_wrong_passwords_for_a_name_no_more_are_checked(with_passwords, browser, hashed, ticks):
    await fail(browser, 10)

    refused_for(await browser.sign_in("root", "correct horse"), 6)
    assert len(hashed) == 10

    ticks.advance(6)
    assert (await browser.sign_in("root", "correct horse")).status_code == 302


async def test_a_stranger_cannot_lock_anybody_out(with_passwords, browser, elsewhere):
    await fail(browser, 10)

    assert (await elsewhere.sign_in("root", "correct horse")).status_code == 302


async def test_twenty_wrong_passwords_from_an_address_end_it_for_every_name_and_are_logged_once(
    with_passwords, browser, caplog, ticks
):
    with caplog.at_level(logging.WARNING, logger="hansa"):
        for name in "abcd":
            await fail(browser, 5, name)
        refused_for(await browser.sign_in("root", "correct horse"), 3)
        await browser.sign_in("root", "correct horse")

    (line,) = [each.getMessage() for each in caplog.records if each.name.startswith("hansa")]
    assert "203.0.113.9" in line
    ticks.advance(3)
    assert (await browser.sign_in("root", "correct horse")).status_code == 302


async def test_a_right_password_is_never_counted(with_passwords, browser):
    for _ in range(30):
        assert (await browser.sign_in("root", "correct horse")).status_code == 302


async def test_a_right_password_forgets_the_wrong_ones_of_its_name_and_not_those_of_its_address(
    with_passwords, browser
):
    await fail(browser, 9)
    assert (await browser.sign_in("root", "correct horse")).status_code == 302
    await fail(browser, 9)
    assert (await browser.sign_in("root", "correct horse")).status_code == 302
    await fail(browser, 2)

    refused_for(await browser.sign_in("root", "correct horse"), 3)


async def test_whether_it_counted_does_not_tell_that_the_password_of_who_is_not_staff_was_right(
    with_passwords, browser
):
    for _ in range(10):
        assert "Please enter the correct" in (await browser.sign_in("alice", "correct horse")).text

    refused_for(await browser.sign_in("alice", "correct horse"), 6)


async def test_a_header_does_not_make_another_address_of_who_signs_in(with_passwords, browser):
    for i in range(10):
        await browser.sign_in("root", f"guess {i}", **{"X-Forwarded-For": f"198.51.100.{i}"})

    refused_for(await browser.sign_in("root", "correct horse"), 6)


async def test_a_form_that_is_not_filled_in_is_no_attempt(with_passwords, browser):
    for _ in range(30):
        assert "This field is required" in (await browser.sign_in("root", "")).text

    assert (await browser.sign_in("root", "correct horse")).status_code == 302


async def test_names_that_nobody_can_have_do_not_fill_the_memory(limits, rf):
    asked = attempts.attempt(rf.get("/"), "x" * 100_000)

    assert len(asked.username) == 150


# passwords and one-time codes at the API


def basic(username, password):
    return {"Authorization": f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"}


async def test_after_ten_wrong_passwords_in_basic_the_next_is_refused_and_a_token_is_not(
    with_passwords, nobody, alice, ticks
):
    assert [(await nobody.get(MYSELF, headers=basic("alice", f"guess {i}"))).status_code for i in range(10)] == [
        401
    ] * 10

    refusal = await nobody.get(MYSELF, headers=basic("alice", "correct horse"))

    refused(refusal, 429, "throttled", "Too many attempts to sign in have failed")
    assert refusal.headers["Retry-After"] == "6"
    assert (await alice.get(MYSELF)).status_code == 200
    ticks.advance(6)
    assert (await nobody.get(MYSELF, headers=basic("alice", "correct horse"))).status_code == 200


async def test_a_password_that_was_checked_lately_is_let_in_while_guesses_at_it_are_refused(with_passwords, nobody):
    right = basic("alice", "correct horse")
    assert (await nobody.get(MYSELF, headers=right)).status_code == 200
    for i in range(12):
        await nobody.get(MYSELF, headers=basic("alice", f"guess {i}"))

    assert (await nobody.get(MYSELF, headers=right)).status_code == 200


async def test_after_twenty_wrong_codes_from_an_address_not_even_a_right_one_is_taken(limits, nobody, root, ticks):
    code = (await root.post("/api/clients/invitations/", json={"username": "north"})).json()["code"]
    for i in range(20):
        refused(await nobody.post("/api/clients/enroll/", json={"code": f"wrong-{i}"}), 400, "invitation_invalid")

    refused(await nobody.post("/api/clients/enroll/", json={"code": code}), 429, "throttled")
    ticks.advance(3)
    assert (await nobody.post("/api/clients/enroll/", json={"code": code})).status_code == 201
