"""What a plan may say of client transforms and the aggregator, and what does not go together."""

import json
from typing import get_args

import jsonschema
import pytest

from hansa.core.aggregators import RULES, Aggregator, check
from hansa.rounds.plan import UnsoundPlanError, check_against, min_reports, parse, schema, to_data
from hansa.rounds.rules import AggregatorSection, knows_examples, rule_of
from hansa.server.dashboard import plan_words
from support.rules import SECTIONS

by_kind = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section["kind"])
ROBUST = [each for each in SECTIONS if each["kind"] not in ("weighted_mean", "sum", "norm_bounded_mean")]
OTHERS = [each for each in SECTIONS if each["kind"] != "weighted_mean"]
CLIPPED = {"transforms": [{"kind": "clip_norm", "bound": 2.5}]}


def refused(**said):
    with pytest.raises(UnsoundPlanError) as refusal:
        parse({"rounds": 4, **said})
    return str(refusal.value)


def test_every_rule_has_a_section_and_every_section_a_rule():
    tags = {section.__struct_config__.tag for section in get_args(AggregatorSection)}
    assert tags == RULES.keys() == {section["kind"] for section in SECTIONS}


@by_kind
def test_a_rule_is_read_written_described_and_made(section):
    plan = parse({"rounds": 4, "aggregator": section, **CLIPPED})
    data = to_data(plan)

    assert data["aggregator"].items() >= section.items()
    assert parse(json.loads(json.dumps(data))) == plan
    jsonschema.validate(data, schema())
    rule: Aggregator = rule_of(plan.aggregator)
    assert type(rule) is RULES[section["kind"]]
    assert all(getattr(rule, name) == value for name, value in section.items() if name not in ("kind", "weighting"))


@by_kind
def test_a_plan_in_words_tells_its_rule_and_its_transform(section):
    sentences = plan_words.told(parse({"rounds": 4, "aggregator": section, **CLIPPED}))

    assert "An update longer than 2.5 is scaled down to that norm before it counts." in sentences
    assert len([sentence for sentence in sentences if sentence.startswith("The new version is")]) == 1


@by_kind
def test_a_round_is_not_aggregated_with_fewer_reports_than_its_rule_needs(section):
    plan = parse({"rounds": 4, "aggregator": section})

    least = min_reports(plan, cohort=1)

    check(rule_of(plan.aggregator), least)
    assert min_reports(plan, cohort=40) == 20
    with pytest.raises(ValueError, match="too few"):
        check(rule_of(plan.aggregator), rule_of(plan.aggregator).least - 1)


def test_who_says_nothing_of_weights_has_those_of_fedavg_or_of_a_robust_rule():
    assert knows_examples(parse({"rounds": 1}).aggregator)
    for kind in ("geometric_median", "norm_bounded_mean"):
        section = {"kind": kind, **({"bound": 1} if kind == "norm_bounded_mean" else {})}
        assert not knows_examples(parse({"rounds": 1, "aggregator": section}).aggregator)
        assert knows_examples(parse({"rounds": 1, "aggregator": {**section, "weighting": "examples"}}).aggregator)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"closing": {"quorum": 4}}, "closing.quorum is 4, but the aggregator 'krum' with byzantine 1 needs 5 reports"),
        ({"closing": {"min_reports": 4}}, "closing.min_reports is 4, but"),
        ({"cohort": {"size": 4}}, "cohort.size is 4, but"),
    ],
)
def test_a_round_that_could_close_too_small_for_its_rule_is_refused(said, words):
    assert words in refused(aggregator={"kind": "krum", "byzantine": 1}, **said)


def test_a_training_with_too_few_participants_for_its_rule_is_told_so_when_it_starts():
    plan = parse({"rounds": 4, "aggregator": {"kind": "trimmed_mean", "trim": 0.1}, "cohort": {"fraction": 0.5}})

    check_against(plan, participants=19)
    with pytest.raises(UnsoundPlanError, match=r"needs 10 reports, but a round selects 9 of 18 participants. Add"):
        check_against(plan, participants=18)


@by_kind
def test_clients_are_compared_each_with_each_only_while_the_matrix_of_that_has_room(section):
    compares = section["kind"] in ("krum", "multi_krum", "geometric_median")

    within = parse({"rounds": 4, "aggregator": section, "cohort": {"size": 4096}})
    check_against(within, participants=10_000)
    everybody = parse({"rounds": 4, "aggregator": section})
    check_against(everybody, participants=4096)
    if compares:
        too_large = {"aggregator": section, "cohort": {"size": 4097}}
        assert "plan: cohort.size is 4,097, but the aggregator" in refused(**too_large)
        with pytest.raises(
            UnsoundPlanError, match=r"of 6,000 participants a round selects 6,000.*4,096 .* are the most"
        ):
            check_against(everybody, participants=6000)
    else:
        check_against(everybody, participants=6000)


@pytest.mark.parametrize("section", OTHERS, ids=lambda section: section["kind"])
def test_what_is_measured_on_one_clients_difference_stands_in_no_daisy_chain_and_beside_no_late_update(section):
    assert "no update is one client's" in refused(aggregator=section, daisy_chain={"period": 2})
    assert "which began from an older version" in refused(aggregator=section, late={"kind": "fold"})


def test_so_with_clipping():
    assert "the transform 'clip_norm' with bound 2.5 stands" in refused(**CLIPPED, daisy_chain={"period": 2})
    assert "the transform 'clip_norm'" in refused(**CLIPPED, late={"kind": "fold"})
    assert "the transform 'clip_norm'" in refused(**CLIPPED, uncertainty={"method": "swag"})


@pytest.mark.parametrize("section", ROBUST, ids=lambda section: section["kind"])
def test_moments_that_anybody_can_carry_away_and_cohorts_that_clients_talk_themselves_into_are_refused(section):
    assert "a client that the version does not follow" in refused(aggregator=section, uncertainty={"method": "swag"})
    assert "would be in every cohort" in refused(
        aggregator=section, cohort={"fraction": 0.5, "selection": "by_examples"}
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"aggregator": {"kind": "trimmed_mean", "trim": 0.5}}, "< 0.5 - at `$.aggregator.trim`"),
        ({"aggregator": {"kind": "trimmed_mean", "trim": 0}}, ">= 0.001 - at `$.aggregator.trim`"),
        ({"aggregator": {"kind": "trimmed_mean"}}, "missing required field `trim`"),
        ({"aggregator": {"kind": "krum", "byzantine": -1}}, ">= 0 - at `$.aggregator.byzantine`"),
        ({"aggregator": {"kind": "multi_krum", "byzantine": 1, "keep": 0}}, ">= 1 - at `$.aggregator.keep`"),
        ({"aggregator": {"kind": "median", "weighting": "examples"}}, "unknown field `weighting`"),
        ({"aggregator": {"kind": "norm_bounded_mean", "bound": 0}}, "> 0.0 - at `$.aggregator.bound`"),
        ({"aggregator": {"kind": "norm_bounded_mean", "bound": float("inf")}}, "aggregator.bound is inf"),
        ({"aggregator": {"kind": "mean"}}, "Invalid value 'mean' - at `$.aggregator.kind`"),
        ({"aggregator": {"weighting": "equal"}}, "missing required field `kind` - at `$.aggregator`"),
        ({"transforms": [{"kind": "clip_norm", "bound": 0}]}, "> 0.0 - at `$.transforms[0].bound`"),
        ({"transforms": [{"kind": "clip_norm", "bound": float("inf")}]}, "transforms[0].bound is inf"),
        ({"transforms": [{"bound": 1}]}, "missing required field `kind` - at `$.transforms[0]`"),
        ({"transforms": 2 * CLIPPED["transforms"]}, "length <= 1"),
    ],
)
def test_settings_without_a_meaning_are_refused(said, words):
    assert words in refused(**said)
