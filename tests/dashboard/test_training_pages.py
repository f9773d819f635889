"""A training's page: lanes and outliers, curves and their numbers, versions, participants, and what each may see."""

import csv
import io
import re
import uuid

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.conftest import beside, words
from hansa.protocol import tasks as protocol
from hansa.rounds import plan as plans
from hansa.server.accounts.models import Invitation, User
from hansa.server.blobs import fetches
from hansa.server.dashboard.outliers import outliers
from hansa.server.dashboard.page import Page
from hansa.server.dashboard.plan_words import told
from hansa.server.dashboard.training_cards import cards
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings import summaries
from hansa.server.trainings.models import Participation, Round, Update
from hansa.server.trainings.services import trainings as services
from support.answers import shown as shown_as
from support.work import add_up, lease, report_of, settle, start, update, upload


@pytest.fixture
async def trained(make_training, bob, carol):
    """A training of two rounds, the first of which is done; Bob measured a loss of 1, Carol one of 3."""
    training = await call(lambda: start(make_training(bob, carol, rounds=2)))
    for person, add, loss in ((bob, 1.0, 1.0), (carol, 4.0, 3.0)):
        task = await call(lease, person)
        await upload(person, task, update(add))
        said = report_of(update(add), 10, {"loss": loss, "=1+1": loss})
        assert (await person.post(f"/api/tasks/{task.id}/report/", json=said)).status_code == 200
    await call(settle, training)
    await call(add_up, training)
    return training


def rows(answer):
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_each_update_is_shown_with_its_cosine_to_what_the_round_came_to(browser, alice, trained):
    cosines = await read(lambda: list(Update.objects.values_list("cosine", flat=True)))
    window = await browser(alice)
    lanes, plane = [await window.get(f"/trainings/{trained.id}/parts/{part}/?round=1") for part in ("round", "updates")]

    assert cosines == [pytest.approx(1.0), pytest.approx(1.0)], "both moved every param by the same"
    assert lanes.text.count(">1.000</td>") == 2
    assert "Norms and cosines of 2 updates" in plane.text


async def test_the_numbers_of_the_curves_are_there_as_csv_and_json(browser, alice, trained):
    window, path = await browser(alice), f"/trainings/{trained.id}/data/curves/"

    found = rows(await window.get(f"{path}?format=csv&client=bob"))
    names = [(row["kind"], row["metric"]) for row in found]
    assert names[:2] == [("train", "loss"), ("train", "'=1+1")], "no spreadsheet takes a name for a formula"
    assert names[2:] == [("update", "cosine"), ("update", "norm"), ("update", "weight")]
    loss = {name: found[0][name] for name in ("kind", "round", "mean", "minimum", "maximum", "clients", "value")}
    assert list(loss.values()) == ["train", "1", "2.0", "1.0", "3.0", "2", "1.0"]
    drawn = (await window.get(f"{path}?client=carol")).json()["curves"][0]
    assert (drawn["round"], drawn["mean"], drawn["value"], drawn["client"]) == ([1], [2.0], [3.0], "carol")


async def of_three(trained):
    """As if a third client had measured as well, and the round were done."""
    row = await read(lambda: trained.rounds.select_related("training").get(number=1))
    measured = await read(summaries.reckoned, row)
    row.measured = {kind: {key: [*each[:3], 3] for key, each in of.items()} for kind, of in measured.items()}
    row.state = "done"
    await read(row.save)


async def test_a_highlight_that_is_nobodys_is_told(browser, alice, bob, trained):
    for who, asked in ((alice, "nemo"), (bob, "carol")):
        page = words(await (await browser(who)).get(f"/trainings/{trained.id}/?highlight={asked}"))
        assert f"{asked} is no participant of this training whose curve is yours to see" in page
        assert "is no participant" not in words(
            await (await browser(who)).get(f"/trainings/{trained.id}/?highlight=bob")
        )


async def test_the_lines_of_the_list_are_there_as_csv_and_json_and_of_means_that_one_may_know(
    browser, alice, bob, mallory, trained
):
    await of_three(trained)
    for who in (alice, bob):
        (row,) = rows(await (await browser(who)).get("/trainings/data/?format=csv"))
        assert list(row.values()) == [str(trained.id), "digits", "loss", "1", "2.0"]
    (line,) = (await (await browser(alice)).get("/trainings/data/?status=ongoing")).json()["lines"]
    assert (line["training"], line["metric"], line["round"], line["mean"]) == ("digits", "loss", [1], [2.0])
    assert (await (await browser(alice)).get("/trainings/data/?status=error")).json() == {"lines": []}
    assert (await (await browser(mallory)).get("/trainings/data/")).json() == {"lines": []}


async def test_the_rounds_numbers_say_which_updates_stand_apart(browser, alice, bob, trained, monkeypatch):
    monkeypatch.setattr("hansa.server.dashboard.plots.outliers", lambda norms, cosines: {min(norms): "far away"})

    told = rows(await (await browser(alice)).get(f"/trainings/{trained.id}/data/round/?round=1&format=csv"))
    assert [(row["username"], row["apart"]) for row in told] == [("bob", "far away"), ("carol", "")]


async def test_two_participants_get_their_own_values_and_no_mean_for_it_tells_each_the_others(
    browser, alice, bob, carol, trained
):
    path = f"/trainings/{trained.id}/data/curves/"
    await of_three(trained)
    row = await read(lambda: trained.rounds.get(number=1))
    row.measured = {kind: {key: [*each[:3], 2] for key, each in of.items()} for kind, of in row.measured.items()}
    await read(row.save)

    for who, own in ((bob, 1.0), (carol, 3.0)):
        window = await browser(who)
        loss = (await window.get(path)).json()["curves"][0]
        assert (loss["mean"], loss["minimum"], loss["maximum"], loss["clients"]) == ([own], [None], [None], [1])
        page = (await window.get(f"/trainings/{trained.id}/")).text
        assert f"loss: {own:g} in round 1" in page
        assert "your own value alone" in page
        assert "loss: 2 in round 1" not in page
        assert (await read(cards, [trained], who.user, timezone.now()))[0].metric == ""
        assert "loss <b>2" not in (await window.get(f"/models/{trained.model_id}/")).text
    window = await browser(alice)
    assert (await window.get(path)).json()["curves"][0]["mean"] == [2.0]
    assert "loss <b>2" in (await window.get(f"/models/{trained.model_id}/")).text


async def test_a_participant_gets_the_curves_of_three_and_of_itself_and_of_nobody_else(browser, bob, trained):
    window, path = await browser(bob), f"/trainings/{trained.id}/data/curves/"
    await of_three(trained)

    assert (await window.get(f"{path}?client=bob")).json()["curves"][0]["value"] == [1.0]
    assert (await window.get(path)).json()["curves"][0]["mean"] == [2.0]
    refused = await window.get(f"{path}?client=carol&format=csv")
    assert refused.status_code == 404
    assert "yours to see" in words(refused)
    page = (await window.get(f"/trainings/{trained.id}/?highlight=carol")).text
    assert "2 in round 1" in page
    assert "over the clients from" not in page, "the ends of a spread are single clients' values"
    drawn = (await window.get(path)).json()["curves"][0]
    assert (drawn["minimum"], drawn["maximum"]) == ([None], [None])
    assert {row["minimum"] + row["maximum"] for row in rows(await window.get(f"{path}?format=csv"))} == {""}
    assert 'class="own"' not in page
    assert "client=carol" not in page


async def test_a_mean_of_one_client_is_for_nobody_but_that_client_and_who_steers(browser, alice, bob, carol, trained):
    def only_carols(measured):
        return {kind: {key: [1.625, 1.625, 1.625, 1] for key in each} for kind, each in measured.items()}

    row = await read(lambda: trained.rounds.select_related("training").get(number=1))
    row.measured, row.state = only_carols(row.measured), "done"
    await read(row.save)
    await read(lambda: row.tasks.filter(participation__client=bob.user).update(metrics={}))
    path = f"/trainings/{trained.id}/data/curves/"

    told = (await (await browser(bob)).get(path)).json()["curves"]
    assert {each["kind"] for each in told} == {"update"}, "what was measured of its own update"
    for who in (alice, carol):
        assert (await (await browser(who)).get(path)).json()["curves"][0]["mean"] == [1.625]
    headlines = [(await read(cards, [trained], who.user, timezone.now()))[0].metric for who in (alice, bob)]
    assert headlines == ["loss 1.625", ""]
    for page in (f"/models/{trained.model_id}/", f"/trainings/{trained.id}/"):
        assert "1.625" in (await (await browser(alice)).get(page)).text, page
        assert "1.625" not in (await (await browser(bob)).get(page)).text, page


async def test_a_participant_gets_the_rounds_numbers_without_those_of_others(browser, bob, trained):
    window = await browser(bob)

    tasks = (await window.get(f"/trainings/{trained.id}/data/round/?round=1")).json()["tasks"]
    seen = {task["username"]: (task["norm"] is None, task["cosine"] is None, task["bytes"] is None) for task in tasks}
    assert seen == {"bob": (False, False, False), "carol": (True, True, True)}


@pytest.mark.parametrize("asked", ["data/nothing/", "data/curves/?format=xml"])
async def test_a_plot_that_there_is_not_is_told(browser, alice, trained, asked):
    answer = await (await browser(alice)).get(f"/trainings/{trained.id}/{asked}")

    assert answer.status_code == 404
    assert "There are curves and round, as csv and json" in words(answer)


async def test_a_version_tells_where_it_comes_from_and_whose_updates_are_in_it(browser, alice, trained):
    page = words(await (await browser(alice)).get(f"/trainings/{trained.id}/parts/versions/"))

    assert "version 0, <a " in page
    assert "bob, carol" in page
    assert f"/api/models/{trained.model_id}/versions/1/params/" in page
    assert "the model as it was given" in page


async def test_clients_are_added_and_removed_by_forms(browser, alice, bob, mallory, trained):
    window, path = await browser(alice), f"/trainings/{trained.id}/participants"

    await window.send_form(f"{path}/add/", names="mallory,  bob")
    await window.send_form(f"{path}/{bob.id}/remove/")

    active = Participation.objects.filter(training=trained, active=True).order_by("ordinal")
    assert await read(lambda: list(active.values_list("client__username", flat=True))) == ["carol", "mallory"]


async def test_whom_there_is_not_is_told_beside_the_field_which_keeps_what_was_typed(browser, alice, bob, trained):
    page = await (await browser(alice)).send_form(f"/trainings/{trained.id}/participants/add/", names="bob, nemo")

    assert page.status_code == 404
    assert beside(page, "names-to-add") == "There is no user 'nemo'."
    assert 'value="bob, nemo"' in page.text
    assert 'id="part-clients"' in page.text


async def test_a_new_machine_is_connected_by_one_line_that_is_shown_once(browser, alice, nobody, trained):
    window, path = await browser(alice), f"/trainings/{trained.id}/participants/connect/"

    page = words(await window.send_form(path, username="hospital-a"))

    line = page.partition('class="secret">')[2].partition("<")[0]
    command, verb, code, option, server = line.split()
    assert (command, verb, option, server) == ("hansa", "enroll", "--server", "http://localhost")
    assert (await nobody.post("/api/clients/enroll/", json={"code": code})).json()["username"] == "hospital-a"
    assert "hospital-a" in (await window.get(f"/trainings/{trained.id}/parts/clients/")).text
    assert code not in (await window.get(f"/trainings/{trained.id}/")).text


@pytest.mark.parametrize(("name", "said"), [("a b", "letters, digits"), ("bob", "is taken")])
async def test_a_name_that_cannot_be_had_is_told(browser, alice, trained, name, said):
    window = await browser(alice)

    page = await window.send_form(f"/trainings/{trained.id}/participants/connect/", username=name)

    assert said in beside(page, "name-to-connect")
    assert f'value="{name}"' in page.text
    assert not await read(Invitation.objects.exists)


async def test_a_machine_that_cannot_join_is_not_invited_either(browser, alice, trained):
    await call(lambda: services.cancel(training_id=trained.id, now=timezone.now()))

    window = await browser(alice)
    page = await window.send_form(f"/trainings/{trained.id}/participants/connect/", username="hospital-a")

    assert page.status_code == 409
    assert "nobody can join it any more" in words(page)
    assert not await read(User.objects.filter(username="hospital-a").exists)
    assert not await read(Invitation.objects.exists)


async def test_a_lane_tells_of_the_download_and_of_each_step_behind_it(browser, alice, bob, make_training, clock):
    training = await call(lambda: start(make_training(bob, rounds=1)))
    window, path = await browser(alice), f"/trainings/{training.id}/parts/round/"

    def shown(page):
        lane = re.search(r'<svg class="lane".*?</svg>', page.text)[0]
        return re.findall('<rect class="([a-z]+)"', lane), "trains</span>" in page.text

    clock.advance(1)
    task = shown_as(await bob.post("/api/tasks/next/", json={"instance": "one"}), protocol.Task)
    clock.advance(1)
    assert shown(await window.get(path)) == (["waits", "works"], True), "it may have the version already"
    assert len((await bob.get(task.params)).content) > 0
    clock.advance(1)
    assert shown(await window.get(path)) == (["waits", "downloads", "works"], True)
    await upload(bob, task, update(1.0))
    assert "has sent its update" in (await window.get(path)).text
    assert (await bob.post(f"/api/tasks/{task.id}/report/", json=report_of(update(1.0), 10))).status_code == 200
    done = await window.get(path)
    assert shown(done)[0][:3] == ["waits", "downloads", "works"]
    assert ">accepted" in done.text
    kept = await read(lambda: training.rounds.get(number=1).tasks.get().downloaded_at)
    assert kept is not None, "it is still known after a restart"
    numbers = (await window.get(f"/trainings/{training.id}/data/round/")).json()["tasks"][0]
    assert numbers["downloaded_at"] == kept.isoformat()


async def test_a_download_that_goes_on_is_shown_as_one(browser, alice, bob, make_training):
    training = await call(lambda: start(make_training(bob, rounds=1)))
    task = shown_as(await bob.post("/api/tasks/next/", json={"instance": "one"}), protocol.Task)
    fetches.begin(bob.user.id, task.digest)

    page = (await (await browser(alice)).get(f"/trainings/{training.id}/parts/round/")).text
    assert '<span class="small quiet">downloads</span>' in page
    assert '<rect class="works"' not in page


async def test_links_of_one_list_keep_the_place_in_the_others(browser, alice, trained):
    window = await browser(alice)
    page = (await window.get(f"/trainings/{trained.id}/?round=1&highlight=bob&what=task&evil=<b>")).text

    assert f'href="/trainings/{trained.id}/?round=2&amp;highlight=bob&amp;what=task#round"' in page
    assert f'hx-get="/trainings/{trained.id}/parts/curves/?round=1&amp;highlight=bob&amp;what=task"' in page
    assert page.count('<input type="hidden" name="highlight" value="bob">') >= 1
    assert "evil" not in page


async def test_any_round_of_many_is_a_number_away(browser, alice, trained):
    def many():
        row = trained.rounds.get(number=2)
        for number in range(3, 8):
            row.pk = row.id = uuid.uuid4()
            row.number, row.state, row.done_at, row._state.adding = number, "abandoned", timezone.now(), True
            row.save()

    await call(many)
    page = (await (await browser(alice)).get(f"/trainings/{trained.id}/?lanes=reported")).text
    form = re.search(r'<form[^>]*id="to-a-round".*?</form>', page, re.DOTALL)[0]
    assert 'placeholder="1\N{EN DASH}7"' in form
    assert '<input type="hidden" name="lanes" value="reported">' in form
    assert "Round 4" in (await (await browser(alice)).get(f"/trainings/{trained.id}/?round=4")).text


async def test_lanes_can_be_narrowed_and_turned_over(browser, alice, bob, trained, monkeypatch):
    monkeypatch.setattr("hansa.server.dashboard.rounds.LANES_PER_PAGE", 1)
    window, path = await browser(alice), f"/trainings/{trained.id}/parts/round/?round=1"

    first, second = (await window.get(path)).text, (await window.get(f"{path}&leaf=2")).text
    assert ("bob</td>" in first, "carol</td>" in first) == (True, False)
    assert ("bob</td>" in second, "carol</td>" in second) == (False, True)
    assert "1\N{EN DASH}1 of 2" in first
    assert (await window.get(f"{path}&lanes=nonsense&leaf=nonsense")).status_code == 200


@pytest.fixture
def counted(monkeypatch):
    """How many queries each page that is asked for takes."""
    counts, page = [], Page._page

    def counting(self, request, asked):
        with CaptureQueriesContext(connection) as found:
            answer = page(self, request, asked)
        counts.append(len(found))
        return answer

    monkeypatch.setattr(Page, "_page", counting)
    return counts


async def test_a_page_asks_as_many_queries_for_many_rounds_as_for_few(browser, alice, trained, counted):
    window, path = await browser(alice), f"/trainings/{trained.id}/?round=1"
    await window.get(path)
    await call(lambda: _lengthen(trained, 300))
    await window.get(path)

    few, many = counted
    assert many <= few <= 45, counted


async def test_a_curve_of_many_rounds_is_thinned_where_it_is_drawn_and_whole_as_csv(browser, alice, trained):
    await call(lambda: _lengthen(trained, 300))
    window, path = await browser(alice), f"/trainings/{trained.id}/data/curves/"

    assert len(rows(await window.get(f"{path}?format=csv"))) == 5 * 301, "two metrics, and three of the updates"
    thinned = (await window.get(f"{path}?points=50")).json()["curves"][0]
    assert len(thinned["round"]) <= 50
    assert thinned["round"][-1] == 301


def _lengthen(training, rounds):
    """As many rounds more, each of which made a version."""
    first = training.rounds.select_related("version").get(number=1)
    training.rounds.filter(number=2).delete()
    version = first.version
    for number in range(2, rounds + 2):
        version = type(version).objects.create(
            model_id=version.model_id, number=number, blob_id=version.blob_id, parent=version, created_at=first.done_at
        )
        values = {field.attname: getattr(first, field.attname) for field in Round._meta.concrete_fields}
        Round.objects.create(**{**values, "id": None, "number": number, "version_id": version.id})


def test_an_update_far_from_the_others_is_marked_and_none_among_few_or_alike():
    rng = np.random.default_rng(5)
    norms = {f"c{place}": float(norm) for place, norm in enumerate(rng.lognormal(0, 0.1, 20))}
    cosines = {name: float(cosine) for name, cosine in zip(norms, rng.normal(0.8, 0.05, 20), strict=True)}

    assert outliers(norms, cosines) == {}
    assert outliers({**norms, "c3": 30.0}, {**cosines, "c4": -0.9}) == {
        "c3": "norm far above the others",
        "c4": "another direction than the others",
    }
    assert outliers({**norms, "c3": 0.01}, {}) == {"c3": "norm far below the others"}
    assert outliers({"a": 1.0, "b": 1.0, "c": 90.0}, {}) == {}, "three are no crowd"
    assert outliers(dict.fromkeys("abcdef", 1.0) | {"g": 1.01}, {}) == {}, "nor is a hair's breadth far"


def test_a_plan_is_told_in_words():
    plan = plans.parse(
        {
            "rounds": 1000,
            "cohort": {"size": 10, "over_selection": 0.3, "selection": "round_robin"},
            "closing": {"deadline_seconds": 60, "min_reports": 4},
            "late": {"kind": "fold"},
            "participation": {"min_to_start": 5, "exclude_after": 3},
            "client": {"epochs": 2, "client_lr": 0.1, "momentum": 0.9},
            "aggregator": {"kind": "weighted_mean", "weighting": "equal"},
            "evaluation": {"every": 5},
            "uncertainty": {
                "method": "swag",
                "samples": 30,
                "calibration": {"temperature": True, "scores": "lac"},
            },
            "keep_updates": 1,
        }
    )

    said = " ".join(told(plan))
    for words_of_it in (
        "1,000 rounds; each asks 10 of the participants, in turn, to train.",
        "30% more are invited",
        "at most 60 s",
        "fewer than 4 reports",
        "up to 1 round late",
        "fails 3 times in a row",
        "2 epochs with a learning rate of 0.1 and a momentum of 0.9",
        "each alike",
        "one version in 5",
        "30 passes (SWAG)",
        "one temperature for all",
        "count their scores (lac), for sets of classes",
        "kept for 1 round.",
    ):
        assert words_of_it in said


async def test_what_cannot_be_taken_back_is_asked_once_more(browser, alice, trained):
    page = (await (await browser(alice)).get(f"/trainings/{trained.id}/")).text
    assert re.search(
        r"<summary>Cancel</summary>\s*<form.*?End it for good</button></form>\s*</details>", page, re.DOTALL
    )


async def test_what_needs_attention_leads_to_the_round_in_which_it_was(browser, alice, trained):
    refused = {"kind": "task.refused", "round": 1, "attempt": 1, "at": timezone.now()}
    await read(lambda: trained.events.create(**refused))
    page = (await (await browser(alice)).get("/")).text
    assert f"/trainings/{trained.id}/?of_round=1#events" in page
