"""The pages, as a person with a session gets them."""

import pytest

from dashboard.conftest import words
from hansa.server.accounts.models import Token
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Training

NOT_A_TRAINING = "00000000-0000-4000-8000-000000000000"


async def test_who_is_not_signed_in_is_asked_to_and_comes_back(nobody):
    answer = await nobody.get("/trainings/?status=ongoing")

    assert (answer.status_code, answer.headers["location"]) == (302, "/sign-in/?next=/trainings/%3Fstatus%3Dongoing")


async def test_a_page_is_kept_by_nobody_and_allows_no_inline_script(browser, alice):
    page = await (await browser(alice)).get("/")

    assert page.headers["cache-control"] == "no-store, private"
    assert "script-src" not in page.headers["content-security-policy"], "default-src 'self' covers scripts"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert "style=" not in page.text


async def test_what_is_not_there_is_a_page_that_says_so(browser, alice):
    page = await (await browser(alice)).get(f"/trainings/{NOT_A_TRAINING}/")

    assert page.status_code == 404
    assert f"There is no training {NOT_A_TRAINING}" in words(page)


async def test_names_are_shown_as_the_text_that_they_are(browser, alice, training):
    named = "<script>alert(1)</script>"
    await call(lambda: Training.objects.filter(id=training.id).update(name=named))

    for path in ("/", "/trainings/", f"/trainings/{training.id}/"):
        page = await (await browser(alice)).get(path)
        assert named in words(page)
        assert named not in page.text


async def test_the_lists_show_ones_own_trainings_and_nobody_elses(browser, alice, bob, mallory, training):
    for person, shown in ((alice, True), (bob, True), (mallory, False)):
        page = await (await browser(person)).get("/trainings/")
        assert (str(training.id) in page.text) is shown, person.user.username


async def test_a_list_of_nothing_says_how_to_begin_and_a_leaf_that_is_not_there_is_the_nearest(browser, alice):
    window = await browser(alice)

    assert "No training yet" in words(await window.get("/trainings/"))
    assert (await window.get("/trainings/?status=nonsense&page=nonsense")).status_code == 200


async def test_the_actor_starts_pauses_resumes_and_cancels_by_buttons(browser, alice, training):
    window = await browser(alice)
    path = f"/trainings/{training.id}/"
    for button, status in (("start", "ongoing"), ("pause", "paused"), ("resume", "ongoing"), ("cancel", "cancelled")):
        assert f'action="{path}{button}/"' in (await window.get(path)).text
        assert (await window.send_form(f"{path}{button}/")).headers["location"] == path
        assert (await read(Training.objects.get, id=training.id)).status == status
    assert "<form" not in (await window.get(path)).text.partition("<main")[2], "nothing is left to do with it"


async def test_a_move_that_is_not_possible_is_told_on_the_page(browser, alice, training):
    window = await browser(alice)

    await window.send_form(f"/trainings/{training.id}/pause/")

    assert 'class="notice error"' in (page := await window.get(f"/trainings/{training.id}/")).text
    assert "initial" in words(page)


async def test_a_participant_sees_the_training_and_cannot_move_it(browser, bob, training):
    window = await browser(bob)
    path = f"/trainings/{training.id}/"

    assert f"{path}start/" not in (await window.get(path)).text
    assert (await window.send_form(f"{path}start/")).status_code == 403
    assert (await read(Training.objects.get, id=training.id)).status == "initial"


async def test_a_form_without_the_token_of_its_page_changes_nothing(browser, alice, training):
    window = await browser(alice)

    assert (await window.post(f"/trainings/{training.id}/start/")).status_code == 403
    assert (await read(Training.objects.get, id=training.id)).status == "initial"


@pytest.mark.parametrize("move", ["delete", "start-over"])
async def test_a_training_cannot_be_told_anything_else(browser, alice, training, move):
    assert (await (await browser(alice)).send_form(f"/trainings/{training.id}/{move}/")).status_code == 404


async def test_a_tokens_text_is_shown_once(browser, alice):
    window = await browser(alice)

    page = await window.send_form("/account/", name="the <b>script</b>", days="30")

    assert page.status_code == 201
    text = page.text.partition('class="secret">')[2].partition("<")[0]
    assert len(text) == 40
    assert (await window.get("/api/users/myself/", headers={"Authorization": f"Token {text}"})).status_code == 200
    assert text not in (await window.get("/account/")).text
    assert "the <b>script</b>" in words(await window.get("/account/"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"name": ""}, "This field is required"), ({"name": "x" * 101}, "at most 100"), ({"name": "x", "days": "7"}, "")],
)
async def test_a_token_that_cannot_be_made_says_why(browser, alice, fields, said):
    before = await read(Token.objects.count)

    page = await (await browser(alice)).send_form("/account/", **fields)

    assert page.status_code == 400
    assert said in words(page)
    assert await read(Token.objects.count) == before


async def test_ones_own_token_is_revoked_and_anothers_is_not_there(browser, alice, bob):
    tokens = await read(lambda: {str(token.user_id): token.id for token in Token.objects.all()})
    window = await browser(alice)

    assert (await window.send_form(f"/account/tokens/{tokens[bob.id]}/revoke/")).status_code == 404
    assert (await window.send_form(f"/account/tokens/{tokens[alice.id]}/revoke/")).status_code == 302
    assert await read(lambda: set(Token.objects.values_list("user__username", flat=True))) == {"bob"}


async def test_an_address_that_no_page_has_is_answered_with_a_page_for_anybody(browser, alice, nobody):
    for window in (await browser(alice), nobody):
        page = await window.get("/nowhere/<b>/")
        assert page.status_code == 404
        assert "No page has the address /nowhere/<b>/" in words(page)
