"""A new training by a form: what it offers, what comes of it, and what is wrong with it, field by field."""

import json
import re
import uuid

import pytest
from django.utils import timezone

from dashboard.conftest import beside, words
from hansa.rounds import plan as plans
from hansa.server.dashboard import plan_fields
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Training
from support import steps
from support.rules import SECTIONS

FORM = plan_fields.groups(plans.schema())
FIELDS = [field for group in FORM for field in group.fields]


def paths(data, before=""):
    """Every value of a plan, by its path."""
    for name, value in data.items():
        if isinstance(value, dict) and name != "extra":
            yield from paths(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def test_all_that_a_plan_may_hold_has_a_field_and_nothing_else_has():
    full = {"rounds": 4, "late": {"kind": "fold"}, "daisy_chain": None}
    folding, chained = plans.parse(full), plans.parse({"rounds": 4, "daisy_chain": {"period": 2}})
    ruled = [plans.parse({"rounds": 4, "aggregator": section}) for section in SECTIONS]
    stepped = [plans.parse({"rounds": 4, "server_step": section}) for section in steps.SECTIONS]
    held = {path for plan in (folding, chained, *ruled, *stepped) for path in paths(plans.to_data(plan))}

    fixed = {"format", "daisy_chain"}  # there is but one of each
    assert {field.path for field in FIELDS} == held - fixed


@pytest.mark.parametrize("name", plan_fields.PRESETS)
def test_a_preset_is_a_sound_plan_and_survives_the_form(name):
    plan = plan_fields.PRESETS[name][1]

    assert plans.parse(plan_fields.plan_of(FORM, plan_fields.said_by(FORM, plan))) == plans.parse(plan)


def test_what_a_form_does_not_say_is_not_in_its_plan():
    said = {"plan.rounds": " 3 ", "plan.client.epochs": "1", "plan.client.client_lr": "0.1", "plan.closing.quorum": ""}

    assert plan_fields.plan_of(FORM, said) == {"rounds": 3, "client": {"client_lr": 0.1}}


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("rounds", "many", "Write a whole number."),
        ("rounds", "", "This is needed."),
        ("cohort.fraction", "2", "Write a number of 1 at most."),
        ("closing.quorum", "-1", "Write a whole number of 1 or more."),
        ("client.extra", "{no json", 'Write a JSON object, such as {"batch": 32}.'),
        ("client.extra", f'{{"a": {"[" * 900}{"]" * 900}}}', 'Write a JSON object, such as {"batch": 32}.'),
        ("client.extra", '{"a": "\\ud800"}', 'Write a JSON object, such as {"batch": 32}.'),
        ("rounds", "9" * 4000, "Write a whole number of 1000000 at most."),
        ("rounds", "9" * 5000, "Write a whole number."),
        ("daisy_chain.period", "3", "Give rounds a multiple of the period, such as 6."),
        (
            "aggregator.trim",
            "0.2",
            "This does not go with the kind that is chosen. Leave it empty, or choose another kind.",
        ),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field_while_one_types(browser, alice, model, field, text, said):
    fields = {"plan.rounds": "4", "model": str(model.id), f"plan.{field}": text}

    page = words(await (await browser(alice)).send_form("/trainings/check/", **fields))

    place = "rounds" if field.startswith("daisy") else field.replace(".", "-")
    assert re.search(rf'id="plan-{place}-wrong" hx-swap-oob="true">([^<]*)<', page)[1].endswith(said)
    assert f'href="#plan-{place}"' in page
    assert "$." not in page
    plan = json.loads(re.search(r"<textarea[^>]*>([^<]*)", page)[1])
    refusal = await alice.post("/api/trainings/", json={"model_id": str(model.id), "plan": plan})
    assert refusal.status_code == 422


async def test_all_that_is_wrong_is_said_at_once_in_the_order_of_the_form(browser, alice, model):
    fields = {
        "plan.rounds": "0",
        "plan.closing.quorum": "x",
        "plan.client.epochs": "-1",
        "clients": "nemo",
        "name": "n",
    }

    page = await (await browser(alice)).send_form("/trainings/new/", model="", **fields)

    told = re.findall(r'id="([\w-]+)-wrong">[^<]+<', page.text)
    assert told == ["model", "clients", "plan-rounds", "plan-closing-quorum", "plan-client-epochs"]
    assert beside(page, "model") == "Choose the model that is to be trained."
    assert beside(page, "clients") == "There is no user 'nemo'."
    assert beside(page, "plan-closing-quorum") == "Write a whole number."


UNSOUND = {
    "closing-quorum": ({"closing.quorum": "2", "closing.min_reports": "3"}, "“Close at so many reports” is 2, below"),
    "cohort-fraction": ({"cohort.fraction": "0.5", "cohort.size": "2"}, "both “Share of the participants” 0.5 and"),
    "aggregator-kind": (
        {"aggregator.kind": "median", "uncertainty.method": "swag"},
        "The aggregator 'median' goes with",
    ),
    "uncertainty-calibration-temperature": (
        {"uncertainty.calibration.temperature": "true", "evaluation.every": "0"},
        "“calibration” is asked for, but “Test every so many versions” is 0",
    ),
    "cohort-over_selection": ({"cohort.over_selection": "0.3"}, "Give “Number of clients” or “Share of the parti"),
}


@pytest.mark.parametrize("place", UNSOUND)
async def test_what_does_not_go_together_is_said_by_labels(browser, alice, model, place):
    fields, said = UNSOUND[place]
    named = {f"plan.{field}": text for field, text in fields.items()}

    page = await (await browser(alice)).send_form(
        "/trainings/new/", model=str(model.id), **{"plan.rounds": "1"}, **named
    )

    assert page.status_code == 400
    assert said in beside(page, f"plan-{place}")


async def test_a_training_that_the_model_does_not_go_with_says_so_beside_the_model(browser, alice, model):
    fields = {"plan.rounds": "1", "plan.uncertainty.method": "ensemble"}

    page = await (await browser(alice)).send_form("/trainings/new/", model=str(model.id), **fields)

    assert page.status_code == 422
    assert "needs a model of kind mean" in beside(page, "model")


async def test_a_client_that_there_is_not_is_told_while_one_types(browser, alice):
    page = words(await (await browser(alice)).send_form("/trainings/check/", clients="nemo", **{"plan.rounds": "1"}))

    assert "There is no user 'nemo'" in page


async def test_a_form_makes_the_training_that_its_plan_says(browser, alice, bob, model):
    window = await browser(alice)
    fields = {"plan.rounds": "7", "plan.client.proximal_mu": "0.5", "plan.aggregator.weighting": "equal"}

    made = await window.send_form("/trainings/new/", model=str(model.id), name="by hand", clients="bob", **fields)

    training = await read(Training.objects.get, name="by hand")
    assert made.headers["location"] == f"/trainings/{training.id}/"
    plan = plans.parse(training.plan)
    assert (plan.rounds, plan.client.proximal_mu, plan.aggregator.weighting) == (7, 0.5, "equal")
    assert await read(lambda: [part.client.username for part in training.participations.all()]) == ["bob"]


async def test_what_was_filled_in_is_there_again_when_it_was_refused(browser, alice, model):
    fields = {"plan.rounds": "0", "name": "<b>mine</b>", "clients": "nemo"}
    page = await (await browser(alice)).send_form("/trainings/new/", model=str(model.id), **fields)

    assert page.status_code == 400
    assert 'value="<b>mine</b>"' in words(page)
    assert "<b>mine" not in page.text
    assert 'name="plan.rounds" autocomplete="off" value="0"' in page.text
    assert beside(page, "plan-rounds") == "Write a whole number of 1 or more."
    assert not await read(Training.objects.exists)


async def test_a_pasted_plan_fills_in_the_form_and_one_that_is_none_is_told(browser, alice):
    window = await browser(alice)
    plan = {"rounds": 9, "uncertainty": {"method": "swag"}, "client": {"extra": {"batch": 32}}}

    page = words(await window.send_form("/trainings/new/", do="read", name="kept", json=json.dumps(plan)))
    assert 'name="plan.rounds" autocomplete="off" value="9"' in page
    assert "<option selected>swag</option>" in page
    assert '{"batch": 32}' in page
    assert 'value="kept"' in page
    for pasted, said in (
        ("{", "Expecting property name"),
        ('{"rounds": 0}', "Rounds: Write a whole number of 1 or more."),
        ("[]", "A plan is a JSON object"),
        ('{"seed": NaN}', "This is no JSON: JSON is malformed"),
        ('{"client": {"extra": {"a": "\\ud800"}}}', "This is no JSON"),
        (f'{{"client": {{"extra": {"[" * 500 + "]" * 500}}}}}', "nested deeper than 32 lists and objects"),
        ("[" * 40_000, "nested deeper than 32 lists and objects"),
        (f'{{"rounds": {"9" * 5000}}}', "This is no JSON: Integer value out of range"),
        (f'"{"a" * 100_000}"', "This has 100,002 characters. 100,000 are read at most."),
    ):
        refused = await window.send_form("/trainings/new/", do="read", json=pasted)
        assert refused.status_code == 400
        assert said in beside(refused, "json")
        assert pasted in words(refused)


async def test_json_that_is_typed_is_checked_and_told_in_words_beside_the_form(browser, alice):
    window = await browser(alice)

    told = await window.send_form("/trainings/check/", **{"do": "json", "json": '{"rounds": 7}', "plan.rounds": "3"})
    assert "7 rounds; each asks all participants" in words(told)
    assert "The form does not say it yet" in words(told)
    assert "<textarea" not in told.text, "what is being typed is left alone"
    wrong = await window.send_form("/trainings/check/", do="json", json='{"rounds": -1}')
    assert '<a href="#json">JSON</a>: Rounds: Write a whole number of 1 or more.' in words(wrong)


async def test_json_that_was_changed_by_hand_is_neither_overwritten_nor_left_out_of_a_training(browser, alice, model):
    window = await browser(alice)
    form = {"model": str(model.id), "plan.rounds": "3", "json_made": '{\r\n  "rounds": 3\r\n}'}

    followed = await window.send_form("/trainings/check/", **form, json='{\n  "rounds": 3\n}')
    assert '<div id="plan-json" class="field" hx-swap-oob="true">' in followed.text
    left = await window.send_form("/trainings/check/", **form, json='{"rounds": 12}')
    assert "plan-json" not in left.text
    refused = await window.send_form("/trainings/new/", **form, json='{"rounds": 12}')
    assert refused.status_code == 400
    assert "changed by hand, and the form was not" in beside(refused, "json")
    assert '{"rounds": 12}' in words(refused)
    assert not await read(Training.objects.exists)


async def test_the_newest_models_are_offered_and_the_one_that_one_came_from(browser, alice, model, monkeypatch):
    def newer():
        model.pk = model.id = uuid.uuid4()
        model.name, model.created_at, model._state.adding = "newer", timezone.now(), True
        model.save()

    older = str(model.id)
    await call(newer)
    monkeypatch.setattr("hansa.server.dashboard.new_training.OFFERED", 1)
    page = (await (await browser(alice)).get(f"/trainings/new/?model={older}")).text

    assert f'<option value="{older}" selected>' in page
    assert "The newest" in page
    for nobodys in ("x", "00000000-0000-4000-8000-000000000000"):
        assert (await (await browser(alice)).get(f"/trainings/new/?model={nobodys}")).status_code == 200


async def test_only_ones_own_models_are_offered_and_only_they_can_be_trained(browser, mallory, model):
    window = await browser(mallory)

    assert str(model.id) not in (await window.get("/trainings/new/")).text
    refused = await window.send_form("/trainings/new/", model=str(model.id), **{"plan.rounds": "1"})
    assert refused.status_code == 404
