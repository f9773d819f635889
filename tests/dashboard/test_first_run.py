"""An empty server: its first administrator is made in the browser, by who can read its terminal."""

import pytest

from hansa.server.accounts import attempts, first_run, registration
from hansa.server.accounts.models import User
from hansa.server.lifecycle.bridge import call, read

PASSWORD = "hanse-1241-cogs"


@pytest.fixture(autouse=True)
def begin_anew(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    attempts.forget()
    yield
    attempts.forget()
    first_run._offered.clear()


@pytest.fixture
async def code(nobody):
    """What the terminal shows."""
    return await call(first_run.offer)


@pytest.fixture
def send(nobody):
    """Fill in the form."""

    async def fill_in(**fields):
        await nobody.get("/first-run/")
        token = nobody.cookies.get("csrftoken", "")
        said = {"username": "me", "password": PASSWORD, "again": PASSWORD, "csrfmiddlewaretoken": token, **fields}
        return await nobody.post("/first-run/", data=said, headers={"Referer": "http://localhost/first-run/"})

    return fill_in


async def administrators():
    return await read(lambda: list(User.objects.filter(is_superuser=True).values_list("username", flat=True)))


async def test_the_first_visit_leads_to_the_form_and_the_form_to_the_overview(nobody, code, send):
    assert (await nobody.get("/")).headers["location"] == "/sign-in/?next=/"
    assert (await nobody.get("/sign-in/")).headers["location"] == "/first-run/"

    made = await send(code=code)

    assert (made.status_code, made.headers["location"]) == (302, "/")
    assert await administrators() == ["me"]
    assert (await nobody.get("/")).status_code == 200, "whoever made the account is signed in"


async def test_a_code_may_be_typed_in_any_way(code, send):
    await send(code=code.lower().replace("-", " "))

    assert await administrators() == ["me"]


async def test_a_code_works_once_and_then_the_page_is_gone(nobody, code, send):
    await send(code=code)
    nobody.cookies.delete("sessionid")

    again = await send(code=code, username="thief")

    assert (again.status_code, again.headers["location"]) == (302, "/sign-in/")
    assert await administrators() == ["me"]


async def test_who_is_slower_than_another_is_led_to_signing_in(nobody, code, send, monkeypatch):
    drafted = registration.draft

    def draft(said):
        """While the slower one's password is looked at, the faster one is done."""
        User.objects.create_superuser("faster")
        return drafted(said)

    monkeypatch.setattr(registration, "draft", draft)
    slower = await send(code=code)

    assert (slower.status_code, slower.headers["location"]) == (302, "/sign-in/")
    assert "This server has an administrator already" in (await nobody.get("/sign-in/")).text
    assert await administrators() == ["faster"]


async def test_a_server_with_an_administrator_offers_none(root, nobody):
    assert await call(first_run.offer) is None
    assert (await nobody.get("/first-run/")).headers["location"] == "/sign-in/"


async def test_a_start_takes_the_code_of_the_start_before_back(code, send):
    newer = await call(first_run.offer)

    assert "not the code" in (await send(code=code)).text
    assert await administrators() == []
    await send(code=newer)
    assert await administrators() == ["me"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"code": "AAAA-BBBB-CCCC-DDDD"}, "This is not the code that the server&#x27;s terminal shows"),
        ({"code": "x" * 41}, "at most 40 characters"),
        ({"code": ""}, "This field is required"),
        ({"username": "a b"}, "Enter a valid username"),
        ({"username": "a\0b"}, "Null characters are not allowed"),
        ({"email": "nobody"}, "Enter a valid email address"),
        ({"password": "me", "again": "me"}, "too short"),
        ({"again": "another"}, "The two passwords differ"),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_made(code, send, wrong, said):
    page = await send(**{"code": code, **wrong})

    assert page.status_code == 200
    assert said in page.text
    assert await administrators() == []


async def test_guessing_codes_is_slowed_down_for_the_right_one_too(code, send):
    for _ in range(20):
        await send(code="AAAA-BBBB-CCCC-DDDD")

    assert "Too many attempts" in (await send(code=code)).text
    assert await administrators() == []


async def test_a_form_from_another_site_makes_nothing(nobody, code):
    await nobody.get("/first-run/")
    said = {"code": code, "username": "me", "password": PASSWORD, "again": PASSWORD}

    assert (await nobody.post("/first-run/", data=said)).status_code == 403
    assert await administrators() == []
