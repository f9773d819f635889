"""POST /api/users/: who may make accounts, of what, and that nothing is left behind by what is refused."""

import asyncio
from dataclasses import replace

import httpx
import pytest
from django.conf import settings as django_settings

from hansa.protocol.accounts import UserCreated
from hansa.server.accounts import registration
from hansa.server.accounts.models import Token, User
from hansa.server.accounts.throttles import SignUpThrottle
from hansa.server.config import Registration
from hansa.server.destinations import Destinations
from hansa.server.lifecycle.bridge import call, read
from support.answers import nothing_changes, refused, refused_field, shown
from support.ticks import Ticks

URL = "/api/users/"
RIGHT = {"username": "dora", "password": "a long enough secret"}
NUL = "a\0b"


def participant(number, **changed):
    """What the older platform's example sends for one of its ten clients."""
    return {
        "message_endpoint": f"http://client-{number:02}:8101/",
        "actor": number == 1,
        "client": True,
        "username": f"mnist-client-{number:02}",
        "first_name": "MNIST",
        "last_name": f"Client {number:02}",
        "email": f"mnist.client-{number:02}@example.com",
        "password": "mnist-secret",
        **changed,
    }


@pytest.fixture(autouse=True)
def quick_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def nobody_has_signed_up(monkeypatch):
    """Limits hold for a process; here every test has its own."""
    monkeypatch.setattr(SignUpThrottle, "_limiters", {})


@pytest.fixture
def configured(monkeypatch, home):
    """Change settings of the server for this test."""

    def change(**settings):
        monkeypatch.setattr(django_settings, "CONFIG", replace(django_settings.CONFIG, **settings))

    return change


@pytest.fixture
def open_to_all(configured):
    configured(registration=Registration.OPEN)


@pytest.fixture
def stranger(open_to_all, nobody):
    """Somebody without an account, where registration is open."""
    return nobody


async def names():
    return await read(lambda: set(User.objects.values_list("username", flat=True)))


# who may


async def test_unless_registration_is_open_strangers_are_asked_who_they_are(nobody):
    async with nothing_changes():
        answer = await nobody.post(URL, json=RIGHT)

    refused(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Token"


async def test_unless_registration_is_open_only_staff_may(alice, bob):
    async with nothing_changes():
        for person in (alice, bob):
            refused(await person.post(URL, json=RIGHT), 403, "permission_denied", "HANSA_REGISTRATION")


@pytest.fixture(params=[{"is_staff": True}, {"is_superuser": True}], ids=["staff", "superuser"])
def registrar(person, request):
    """Who may make accounts, by either role."""
    return person("registrar", **request.param)


async def test_staff_may_always(registrar):
    answer = await registrar.post(URL, json=RIGHT)

    assert shown(answer, UserCreated, 201).username == "dora"


async def test_where_registration_is_open_anybody_may(stranger, bob):
    assert (await stranger.post(URL, json=RIGHT)).status_code == 201
    assert (await bob.post(URL, json={**RIGHT, "username": "emil"})).status_code == 201


async def test_a_wrong_token_is_wrong_also_where_none_is_needed(stranger):
    answer = await stranger.post(URL, json=RIGHT, headers={"Authorization": f"Token {'0' * 40}"})

    refused(answer, 401, "authentication_failed", "Invalid token.")


# what is made


async def test_the_ten_participants_of_the_older_platforms_example(stranger, configured):
    """All eight fields, a password that resembles the name a little, and Basic with it afterwards."""
    configured(push_allow=Destinations.parse(",".join(f"client-{number:02}" for number in range(1, 11))))
    for number in range(1, 11):
        sent = participant(number)

        made = (await stranger.post(URL, json=sent)).raise_for_status()

        assert made.status_code == 201
        record = made.json()
        assert record.keys() == {*sent, "id", "token"} - {"password"}
        assert {field: record[field] for field in sent if field != "password"} == {
            field: value for field, value in sent.items() if field != "password"
        }
        myself = await stranger.get("/api/users/myself/", auth=(sent["username"], sent["password"]))
        assert myself.json() == {field: value for field, value in record.items() if field != "token"}
        with_token = await stranger.get(
            f"/api/users/{record['id']}/", headers={"Authorization": f"Token {record['token']}"}
        )
        assert with_token.json() == record


async def test_name_and_password_are_enough(stranger):
    made = shown(await stranger.post(URL, json=RIGHT), UserCreated, 201)

    row = await read(User.objects.get, id=made.id)
    assert (made.email, made.actor, made.client, made.message_endpoint) == ("", False, False, "")
    assert (row.is_active, row.is_staff, row.is_superuser, row.may_own) == (True, False, False, True)


async def test_password_and_token_are_kept_as_digests_only(stranger):
    made = (await stranger.post(URL, json=RIGHT)).json()

    kept = await read(lambda: str([*User.objects.values(), *Token.objects.values()]))
    assert RIGHT["password"] not in kept
    assert made["token"] not in kept
    assert RIGHT["password"] not in str(made)


@pytest.mark.parametrize("how", ["data", "files"])
async def test_a_form_is_as_good_as_json(stranger, how):
    fields = {**RIGHT, "client": "true", "actor": "False", "first_name": "Dóra"}
    sent = {"data": fields} if how == "data" else {"files": {name: (None, text) for name, text in fields.items()}}

    made = shown(await stranger.post(URL, **sent), UserCreated, 201)

    assert (made.username, made.first_name, made.client, made.actor) == ("dora", "Dóra", True, False)


async def test_a_name_is_kept_in_one_spelling(stranger):
    made = await stranger.post(URL, json={**RIGHT, "username": "\N{FULLWIDTH LATIN SMALL LETTER D}ora"})

    assert made.json()["username"] == "dora"
    refused_field(await stranger.post(URL, json=RIGHT), "username", "already exists")


# what is refused


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_staff", True),
        ("is_superuser", True),
        ("is_active", False),
        ("groups", [1]),
        ("user_permissions", [1]),
        ("id", "00000000-0000-0000-0000-000000000001"),
        ("token", "0" * 40),
        ("invited_by", None),
        ("last_seen", None),
    ],
)
async def test_nobody_gets_more_than_an_account(stranger, field, value):
    async with nothing_changes():
        refused_field(await stranger.post(URL, json={**RIGHT, field: value}), field, "There is no such field.")


@pytest.mark.parametrize("how", ["data", "files"])
async def test_nor_by_a_form(stranger, how):
    fields = {**RIGHT, "is_staff": "true"}
    sent = {"data": fields} if how == "data" else {"files": {name: (None, text) for name, text in fields.items()}}

    async with nothing_changes():
        refused_field(await stranger.post(URL, **sent), "is_staff", "There is no such field.")


@pytest.mark.parametrize("missing", ["username", "password"])
async def test_an_incomplete_user_is_not_made(stranger, missing):
    async with nothing_changes():
        answer = await stranger.post(URL, json={name: value for name, value in RIGHT.items() if name != missing})

    refused_field(answer, missing, "This field is required.")


async def test_a_name_is_given_once(stranger):
    await stranger.post(URL, json=RIGHT)

    async with nothing_changes():
        refused_field(await stranger.post(URL, json=RIGHT), "username", "already exists", "Choose another")


async def test_of_two_who_want_a_name_at_once_one_gets_it_and_nothing_is_left_of_the_other(stranger, monkeypatch):
    both_drafted = asyncio.Barrier(2)

    async def hashed_after_both_drafts(hasher, password):
        await both_drafted.wait()
        return hasher(password)

    monkeypatch.setattr("hansa.server.accounts.api.slowly", hashed_after_both_drafts)
    answers = await asyncio.gather(*(stranger.post(URL, json=RIGHT) for _ in range(2)))

    one, other = sorted(answers, key=lambda answer: answer.status_code)
    assert one.status_code == 201
    refused_field(other, "username", registration.TAKEN)
    assert await read(lambda: (User.objects.count(), Token.objects.count())) == (1, 1)


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("short", "too short"),
        ("password1", "too common"),
        ("dora-the-client", "too similar to the username"),
        ("", "length >= 1"),
        ("x" * 1025, "length <= 1024"),
    ],
)
async def test_a_password_has_to_be_one(stranger, password, words):
    sent = {**RIGHT, "username": "dora-the-clients", "password": password}

    async with nothing_changes():
        refused_field(await stranger.post(URL, json=sent), "password", words)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("username", "", "length >= 1"),
        ("username", "d" * 151, "length <= 150"),
        ("username", "d o", "regex"),
        ("username", "dora\n", "regex"),
        ("username", "(1)", "regex"),
        ("username", "\N{PARENTHESIZED DIGIT ONE}", "valid username"),
        ("username", "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}", "valid username"),
        ("first_name", NUL, "regex"),
        ("first_name", "d" * 151, "length <= 150"),
        ("last_name", "d" * 151, "length <= 150"),
        ("email", "nobody", "valid email"),
        ("email", NUL, "regex"),
        ("email", f"{'d' * 250}@example.org", "length <= 254"),
        ("message_endpoint", "ftp://client-01/", "http"),
        ("message_endpoint", "http://user:secret@client-01/", "password"),
        ("message_endpoint", "http://169.254.169.254/latest/", "169.254.169.254"),
        ("message_endpoint", "http://localhost:8000/", "localhost"),
        ("message_endpoint", NUL, "regex"),
        ("message_endpoint", "http://client-01/" + "d" * 500, "length <= 500"),
        ("actor", "yes", "bool"),
        ("client", 1, "bool"),
        ("username", 7, "str"),
        ("password", ["a", "b"], "str"),
        ("email", None, "str"),
        ("first_name", {"a": 1}, "str"),
    ],
)
async def test_a_field_that_is_wrong_is_named_and_nothing_is_made(stranger, configured, field, value, words):
    configured(push_allow=Destinations.parse("client-01"))

    async with nothing_changes():
        refused_field(await stranger.post(URL, json={**RIGHT, field: value}), field, words)


async def test_an_endpoint_that_the_operator_has_not_listed_is_refused_with_the_setting_that_lists_it(stranger):
    async with nothing_changes():
        answer = await stranger.post(URL, json=participant(1))

    refused_field(answer, "message_endpoint", "HANSA_PUSH_ALLOW")


async def test_everything_that_is_wrong_is_said_at_once(stranger):
    await stranger.post(URL, json=RIGHT)

    answer = await stranger.post(
        URL, json={"username": "dora", "password": "1234", "email": "x", "message_endpoint": "x"}
    )

    assert answer.status_code == 400
    assert answer.json().keys() == {"username", "password", "email", "message_endpoint"}


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"[]", 400, "Expected `object`"),
        (b'"dora"', 400, "Expected `object`"),
        (b"null", 400, "Expected `object`"),
        (b"{", 400, "not valid JSON"),
        (b'{"username": "\xff"}', 400, ""),
        (b'{"username": "\\ud800", "password": "a long enough secret"}', 400, ""),
        (b"[" * 50_000, 400, ""),
        (b'{"username": "' + b"d" * 5_000_000 + b'"}', 413, "bytes"),
    ],
)
async def test_a_body_that_is_no_object_is_refused(stranger, content, status, words):
    async with nothing_changes():
        answer = await stranger.post(URL, content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == status, answer.text
    assert words in answer.text


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"username=%ff&password=a+long+enough+secret", "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"f%d=1" % number for number in range(2000)), "application/x-www-form-urlencoded", 400),
        (b"username=" + b"d" * 5_000_000, "application/x-www-form-urlencoded", 413),
        (b"no boundary in sight", "multipart/form-data; boundary=x", 400),
        (b"--x\r\n", "multipart/form-data", 400),
        (b"d" * 5_000_000, "multipart/form-data; boundary=x", 413),
        (b"<user/>", "application/xml", 415),
        (b"username: dora", "application/yaml", 415),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(stranger, content, kind, status):
    async with nothing_changes():
        answer = await stranger.post(URL, content=content, headers={"Content-Type": kind})

    assert answer.status_code == status, answer.text


async def test_a_file_is_no_field(stranger):
    async with nothing_changes():
        answer = await stranger.post(URL, data=RIGHT, files={"email": ("mail.txt", b"dora@example.org")})

    refused_field(answer, "email", "file")


# how often


@pytest.fixture
def limit(monkeypatch, open_to_all):
    """Strangers may make three accounts an hour, by the test's clock."""
    ticks = Ticks()
    monkeypatch.setattr(SignUpThrottle, "rate", "3/hour")
    monkeypatch.setattr(SignUpThrottle, "clock", ticks)
    return ticks


async def tries(caller, *usernames, **more):
    return [(await caller.post(URL, json={**RIGHT, "username": name, **more})).status_code for name in usernames]


async def test_who_makes_accounts_by_the_dozen_is_told_to_come_again(limit, nobody):
    assert await tries(nobody, "a", "b", "c") == [201, 201, 201]

    refusal = await nobody.post(URL, json={**RIGHT, "username": "d"})

    refused(refusal, 429, "throttled")
    assert refusal.headers["Retry-After"] == "1200"
    assert await names() == {"a", "b", "c"}
    limit.advance(1200)
    assert await tries(nobody, "d", "e") == [201, 429]


async def test_what_is_refused_counts_too(limit, nobody):
    assert await tries(nobody, "a", "b", "c", "d", password="1") == [400, 400, 400, 429]


async def test_the_limit_is_one_of_an_address(limit, nobody, handler):
    assert await tries(nobody, "a", "b", "c", "d") == [201, 201, 201, 429]

    elsewhere = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=handler, client=("198.51.100.7", 4000)), base_url="http://localhost"
    )
    assert await tries(elsewhere, "d") == [201]


async def test_the_list_of_users_and_staff_who_make_accounts_are_not_counted(limit, nobody, root):
    assert await tries(root, "a", "b", "c", "d", "e") == [201] * 5
    assert [(await nobody.get(URL)).status_code for _ in range(5)] == [401] * 5
    assert await tries(nobody, "f") == [201]


async def test_while_too_many_passwords_are_hashed_nobody_is_registered(stranger, monkeypatch):
    monkeypatch.setattr("hansa.server.lifecycle.bridge.SLOW_QUEUE", 0)

    async with nothing_changes():
        refused(await stranger.post(URL, json=RIGHT), 429, "throttled")


async def test_an_account_that_was_made_is_known_at_once(stranger):
    made = (await stranger.post(URL, json=RIGHT)).json()
    header = {"Authorization": f"Token {made['token']}"}
    assert (await stranger.get("/api/users/myself/", headers=header)).status_code == 200

    await call(User.objects.filter(username="dora").delete)

    assert (await stranger.get("/api/users/myself/", headers=header)).status_code == 401
