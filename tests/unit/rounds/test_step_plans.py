"""What a plan may say of the server step, and what does not go together with one."""

import json
from typing import get_args

import jsonschema
import pytest

from hansa.core.server_steps import STEPS, ServerStep
from hansa.rounds.plan import UnsoundPlanError, parse, schema, to_data
from hansa.rounds.steps import Identity, ServerStepSection, step_of
from hansa.server.dashboard import plan_words
from support import rules
from support.steps import SECTIONS

by_kind = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section["kind"])


def refused(**said):
    with pytest.raises(UnsoundPlanError) as refusal:
        parse({"rounds": 4, **said})
    return str(refusal.value)


def test_every_step_has_a_section_and_every_section_but_the_identity_a_step():
    tags = {section.__struct_config__.tag for section in get_args(ServerStepSection)}
    assert tags - {"identity"} == STEPS.keys() == {section["kind"] for section in SECTIONS}


@by_kind
def test_a_step_is_read_written_described_and_made(section):
    plan = parse({"rounds": 4, "server_step": section})
    data = to_data(plan)

    assert data["server_step"].items() >= section.items()
    assert parse(json.loads(json.dumps(data))) == plan
    jsonschema.validate(data, schema())
    step: ServerStep | None = step_of(plan.server_step)
    assert type(step) is STEPS[section["kind"]]
    assert all(getattr(step, name) == value for name, value in section.items() if name != "kind")


@by_kind
def test_what_a_section_leaves_out_is_what_the_step_defaults_to(section):
    needed = {name: value for name, value in section.items() if name in ("kind", "server_lr")}
    settings = {name: value for name, value in needed.items() if name != "kind"}

    assert step_of(parse({"rounds": 4, "server_step": needed}).server_step) == STEPS[section["kind"]](**settings)


def test_without_a_word_of_it_the_aggregate_is_the_version():
    plan = parse({"rounds": 4})
    assert plan.server_step == Identity()
    assert step_of(plan.server_step) is None


@by_kind
def test_a_plan_in_words_tells_its_step(section):
    sentences = " ".join(plan_words.told(parse({"rounds": 4, "server_step": section})))

    assert f"{section['server_lr']}" in sentences
    assert "The server goes" in sentences
    assert "The new version is" not in sentences


@pytest.mark.parametrize("rule", rules.SECTIONS, ids=lambda rule: rule["kind"])
def test_every_step_goes_with_every_aggregator_and_transform(rule):
    for section in SECTIONS:
        clipped = {"transforms": [{"kind": "clip_norm", "bound": 1.0}]}
        assert parse({"rounds": 4, "server_step": section, "aggregator": rule, **clipped}).aggregator


@by_kind
def test_a_step_goes_with_chains_and_with_swag_but_not_with_late_updates_that_count(section):
    assert parse({"rounds": 4, "server_step": section, "daisy_chain": {"period": 2}}).daisy_chain is not None
    assert parse({"rounds": 4, "server_step": section, "uncertainty": {"method": "swag"}}).uncertainty.method == "swag"
    said = refused(server_step=section, late={"kind": "fold"})
    assert f"the server_step {section['kind']!r}" in said
    assert "Give late the kind 'discard'" in said


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"kind": "sgd", "server_lr": 0}, "> 0.0 - at `$.server_step.server_lr`"),
        ({"kind": "sgd", "server_lr": float("inf")}, "<= 1000000000.0 - at `$.server_step.server_lr`"),
        ({"kind": "momentum", "momentum": 1}, "< 1.0 - at `$.server_step.momentum`"),
        ({"kind": "adam"}, "missing required field `server_lr`"),
        ({"kind": "adam", "server_lr": 0.1, "beta_1": -0.1}, ">= 0.0 - at `$.server_step.beta_1`"),
        ({"kind": "yogi", "server_lr": 0.1, "beta_2": 1}, "< 1.0 - at `$.server_step.beta_2`"),
        ({"kind": "yogi", "server_lr": 0.1, "adaptivity": 0}, ">= 1e-100 - at `$.server_step.adaptivity`"),
        ({"kind": "adagrad", "server_lr": 0.1, "beta_2": 0.9}, "unknown field `beta_2`"),
        ({"kind": "identity", "server_lr": 0.1}, "unknown field `server_lr`"),
        ({"server_lr": 0.1}, "missing required field `kind` - at `$.server_step`"),
    ],
)
def test_settings_without_a_meaning_are_refused_with_their_field(section, words):
    assert words in refused(server_step=section)
