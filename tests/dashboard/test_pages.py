"""The pages, as a person with a session gets them."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.conftest import words
from hansa.server.accounts import presence
from hansa.server.accounts.models import Token, User
from hansa.server.dashboard.training_cards import cards
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Participation, Training, Update
from hansa.server.trainings.services import trainings
from support.work import lease, report_of, start, update, upload, upload_and_report

NOT_A_TRAINING = "00000000-0000-4000-8000-000000000000"


async def test_who_is_not_signed_in_is_asked_to_and_comes_back(nobody):
    answer = await nobody.get("/trainings/?status=ongoing")

    assert (answer.status_code, answer.headers["location"]) == (302, "/sign-in/?next=/trainings/%3Fstatus%3Dongoing")


@pytest.mark.parametrize("asks", [{"HX-Request": "true"}, {"X-Requested-With": "fetch"}])
async def test_a_script_is_told_that_nobody_is_signed_in_and_not_given_the_page_to_sign_in_on(nobody, training, asks):
    for path in ("", "parts/round/", "data/curves/"):
        answer = await nobody.get(f"/trainings/{training.id}/{path}", headers=asks)
        assert answer.status_code == 401, path
        assert "credentials were not provided" in words(answer)
        assert "password" not in words(answer).lower()


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
    assert "There is no such training, or it is not yours to see." in words(page)
    assert "GET /api" not in page.text


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
    assert 'method="post"' not in (await window.get(path)).text.partition("<main")[2], "nothing is left to do with it"


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


async def test_a_trainings_page_has_its_parts_and_each_can_be_fetched_alone(browser, alice, bob, carol, training):
    await call(start, training)
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    window = await browser(alice)
    whole = (await window.get(f"/trainings/{training.id}/")).text

    for part in ("standing", "round", "updates", "curves", "versions", "clients", "log"):
        page = await window.get(f"/trainings/{training.id}/parts/{part}/")
        assert page.status_code == 200
        assert "<html" not in page.text
        opening = re.search(r"<\w+ [^>]*hx-get=[^>]*>", page.text)[0]
        assert opening in whole, f"{part} is not on the page as it is fetched"
    assert (await window.get(f"/trainings/{training.id}/parts/secrets/")).status_code == 404
    assert "bob&#x27;s update in round 1 was accepted" in whole
    assert "carol" in whole


async def test_a_part_that_is_as_it_was_is_not_sent_again(browser, alice, bob, started):
    window, path = await browser(alice), f"/trainings/{started.id}/parts"
    tags = {part: (await window.get(f"{path}/{part}/")).headers["etag"] for part in ("standing", "clients", "versions")}

    for part, tag in tags.items():
        same = await window.get(f"{path}/{part}/", headers={"If-None-Match": tag})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag), part
    await call(lambda: trainings.pause(training_id=started.id))
    other = await window.get(f"{path}/standing/", headers={"If-None-Match": tags["standing"]})
    assert other.status_code == 200
    assert "paused" in words(other)


async def test_a_participant_sees_who_stands_where_and_not_what_others_measured_or_why_they_failed(
    browser, alice, bob, carol, training
):
    await call(start, training)
    task = await call(lease, bob)
    await upload(bob, task, update(1.0))
    await bob.post(f"/api/tasks/{task.id}/report/", json=report_of(update(1.0), 17_171, {"loss": 4.0}))
    norm = await read(lambda: Update.objects.get().norm)

    for person, sees in ((alice, True), (bob, True), (carol, False)):
        window = await browser(person)
        for path in ("", "parts/round/", "parts/log/"):
            page = (await window.get(f"/trainings/{training.id}/{path}")).text
            assert ("17171" in page or "17,171" in page) is sees, f"{person.user.username} on {path}"
        assert (f"{norm:.3f}" in (await window.get(f"/trainings/{training.id}/parts/round/")).text) is sees


async def test_the_log_is_narrowed_to_a_client_and_a_round(browser, alice, bob, carol, training):
    await call(start, training)
    await call(lease, bob)
    await call(lease, carol)
    window = await browser(alice)

    of_bob = (await window.get(f"/trainings/{training.id}/parts/log/?client=bob&of_round=1")).text
    assert "bob" in of_bob
    assert "carol" not in of_bob
    for nonsense in ("?client=<b>&of_round=-1", "?of_round=99999999999999999999", "?round=999&of_round=2"):
        assert (await window.get(f"/trainings/{training.id}/parts/log/{nonsense}")).status_code == 200
    assert "Nothing of that has happened" in (await window.get(f"/trainings/{training.id}/parts/log/?of_round=7")).text


async def test_a_round_that_there_is_not_is_told(browser, alice, started):
    page = await (await browser(alice)).get(f"/trainings/{started.id}/?round=99")

    assert page.status_code == 404
    assert "so far it has 1" in words(page)


async def test_what_wants_a_person_is_on_the_first_page_of_who_can_do_something(browser, alice, bob, started):
    await call(lambda: Participation.objects.filter(client=bob.user).update(failures=3))
    await call(trainings.cancel, training_id=started.id, now=timezone.now())
    stopped = {"status": "error", "reason": "round 1 was tried 3 times"}
    await call(lambda: Training.objects.filter(id=started.id).update(**stopped))

    assert "round 1 was tried 3 times" in words(await (await browser(alice)).get("/"))
    assert "Needs attention" not in words(await (await browser(bob)).get("/"))
    await call(lambda: Training.objects.filter(id=started.id).update(status="ongoing", reason=""))
    page = words(await (await browser(alice)).get("/"))
    assert "bob in " in page
    assert "3 tasks in a row failed or were lost" in page


async def test_a_training_in_which_nothing_happens_and_nobody_works_is_told_of(browser, alice, bob, started):
    window, a_while_ago = await browser(alice), timezone.now() - timedelta(minutes=25)
    assert "stalled" not in words(await window.get("/"))

    await call(lambda: started.events.update(at=a_while_ago))
    assert "nothing has happened for 25 minutes, and no client works on it" in words(await window.get("/"))
    await call(lease, bob)
    await call(lambda: started.events.update(at=a_while_ago))
    assert "stalled" not in words(await window.get("/")), "who trains for long is at work"


async def test_the_worst_comes_first_and_what_is_left_out_is_counted(browser, alice, make_training, bob, model):
    def troubles():
        for number in range(15):
            made = make_training(bob)
            waits = {"status": "paused", "awaits_clients": True, "reason": f"it waits {number}"}
            Training.objects.filter(id=made.id).update(**waits)
        Training.objects.filter(id=made.id).update(status="error", awaits_clients=False, reason="it broke")

    await call(troubles)
    page = words(await (await browser(alice)).get("/"))

    tones = re.findall(r'<span class="badge (bad|warn)">(?:stopped|waits for clients)', page)
    assert tones == ["bad", *["warn"] * 11]
    assert "and 3 more" in page


async def test_who_is_there_is_counted_of_the_clients_that_one_knows(
    browser, alice, mallory, bob, carol, person, started
):
    await call(lease, bob)
    presence.saw(carol.user.id, timezone.now())
    stranger = await call(person, "stranger", client=True)
    presence.saw(stranger.user.id, timezone.now())
    await call(lambda: User.objects.filter(username__in=("bob", "carol")).update(client=True))

    page = re.sub(r"\s+|<[^>]*>", " ", words(await (await browser(alice)).get("/")))
    for told in ("2 / 2 clients online", "1 waiting for work", "1 at work"):
        assert told in re.sub(" +", " ", page), told


def queries_of_all_cards(viewer):
    with CaptureQueriesContext(connection) as asked:
        cards(Training.objects.all(), viewer, timezone.now())
    return len(asked)


async def test_a_list_takes_as_many_queries_for_many_as_for_one(alice, make_training, bob):
    counted = []
    for trainings_there in (1, 6):
        await call(lambda more=trainings_there: [make_training(bob) for _ in range(more)])
        counted.append(await read(queries_of_all_cards, alice.user))

    assert counted[0] == counted[1] > 0


async def test_the_admin_is_linked_for_who_may_see_it_and_for_nobody_else(browser, alice, person):
    keeper = await call(person, "keeper", is_staff=True)

    assert 'href="/admin/"' in (await (await browser(keeper)).get("/")).text
    assert 'href="/admin/"' not in (await (await browser(alice)).get("/")).text
