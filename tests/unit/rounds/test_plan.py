import json
import math

import jsonschema
import pytest

from hansa.rounds.plan import (
    Plan,
    UnsoundPlanError,
    aggregates,
    check_against,
    cohort_size,
    evaluates,
    fedavg,
    fedprox,
    invitations,
    min_reports,
    min_there,
    parse,
    schema,
    to_data,
)

COMPLETE = {
    "format": 1,
    "rounds": 10,
    "cohort": {"fraction": 0.5, "selection": "by_examples"},
    "closing": {"quorum": 4, "deadline_seconds": 600, "min_reports": 3},
    "participation": {"min_to_start": 8, "min_to_go_on": 6, "exclude_after": 3},
    "aggregator": {"kind": "weighted_mean", "weighting": "equal"},
    "server_step": {"kind": "identity"},
    "client": {
        "epochs": 3,
        "client_lr": 0.05,
        "momentum": 0.9,
        "proximal_mu": 0.1,
        "extra": {"batch_size": 32, "augment": True, "name": "x", "decay": 1e-4, "none": None},
    },
    "evaluation": {"every": 2},
    "uncertainty": {"method": "swag", "samples": 30, "softmax": False},
    "daisy_chain": {"period": 5},
    "keep_updates": 1,
    "seed": 2**63 - 1,
}

SOUND = [
    {"rounds": 1},
    {"rounds": 1_000_000},
    COMPLETE,
    {"rounds": 3, "cohort": {"size": 4}, "closing": {"quorum": 4}},
    {"rounds": 3, "cohort": {"fraction": 1}, "seed": 0},
    {"rounds": 3, "client": {"client_lr": 1, "momentum": 0, "proximal_mu": 0}, "seed": None},
    {"rounds": 3, "closing": {"quorum": 2, "min_reports": 2, "deadline_seconds": 366 * 86400}},
    {"rounds": 3, "cohort": {"size": 4, "over_selection": 0.3}, "closing": {"quorum": 4}},
    {"rounds": 3, "cohort": {"fraction": 0.1, "over_selection": 10, "selection": "round_robin"}},
    {"rounds": 3, "cohort": {"over_selection": 0, "selection": "uniform"}},
    {"rounds": 3, "participation": {}},
    {"rounds": 3, "participation": {"min_to_go_on": 4, "exclude_after": None}},
    {"rounds": 3, "evaluation": {"every": 0}},
    {"rounds": 3, "uncertainty": {"method": "mc_dropout", "softmax": True}, "daisy_chain": None},
    {"rounds": 6, "daisy_chain": {"period": 2}, "cohort": {"fraction": 0.5}, "closing": {"quorum": 1}},
]

UNREADABLE = [
    (None, r"got `null`"),
    ([], r"got `array`"),
    ({}, r"missing required field `rounds`"),
    ({"rounds": 0}, r">= 1.*\$\.rounds"),
    ({"rounds": -1}, r"\$\.rounds"),
    ({"rounds": 1_000_001}, r"<= 1000000.*\$\.rounds"),
    ({"rounds": "3"}, r"got `str`.*\$\.rounds"),
    ({"rounds": 2.5}, r"got `float`.*\$\.rounds"),
    ({"rounds": True}, r"got `bool`.*\$\.rounds"),
    ({"rounds": None}, r"\$\.rounds"),
    ({"rounds": 1, "round": 2}, r"unknown field `round`"),
    ({"rounds": 1, "format": 2}, r"\$\.format"),
    ({"rounds": 1, "cohort": None}, r"\$\.cohort"),
    ({"rounds": 1, "cohort": {"fraction": 0}}, r"> 0.*\$\.cohort\.fraction"),
    ({"rounds": 1, "cohort": {"fraction": 1.01}}, r"<= 1.*\$\.cohort\.fraction"),
    ({"rounds": 1, "cohort": {"size": 0}}, r"\$\.cohort\.size"),
    ({"rounds": 1, "cohort": {"sise": 1}}, r"unknown field `sise` - at `\$\.cohort`"),
    ({"rounds": 1, "cohort": {"size": 1, "over_selection": -0.1}}, r">= 0.*\$\.cohort\.over_selection"),
    ({"rounds": 1, "cohort": {"size": 1, "over_selection": 10.5}}, r"<= 10.*\$\.cohort\.over_selection"),
    ({"rounds": 1, "cohort": {"size": 1, "over_selection": None}}, r"\$\.cohort\.over_selection"),
    ({"rounds": 1, "cohort": {"size": 1, "over_selection": "30%"}}, r"got `str`.*\$\.cohort\.over_selection"),
    ({"rounds": 1, "cohort": {"selection": "random"}}, r"'random' - at `\$\.cohort\.selection`"),
    ({"rounds": 1, "cohort": {"selection": None}}, r"\$\.cohort\.selection"),
    ({"rounds": 1, "participation": None}, r"\$\.participation"),
    ({"rounds": 1, "participation": {"min_to_start": 0}}, r">= 1.*\$\.participation\.min_to_start"),
    ({"rounds": 1, "participation": {"min_to_start": 1_000_001}}, r"<= 1000000.*\$\.participation\.min_to_start"),
    ({"rounds": 1, "participation": {"min_to_start": None}}, r"\$\.participation\.min_to_start"),
    ({"rounds": 1, "participation": {"min_to_go_on": 0}}, r"\$\.participation\.min_to_go_on"),
    ({"rounds": 1, "participation": {"min_to_go_on": 2.5}}, r"\$\.participation\.min_to_go_on"),
    ({"rounds": 1, "participation": {"exclude_after": 0}}, r"\$\.participation\.exclude_after"),
    ({"rounds": 1, "participation": {"exclude_after": "3"}}, r"\$\.participation\.exclude_after"),
    ({"rounds": 1, "participation": {"minimum": 3}}, r"unknown field `minimum` - at `\$\.participation`"),
    ({"rounds": 1, "closing": {"quorum": 0}}, r"\$\.closing\.quorum"),
    ({"rounds": 1, "closing": {"deadline_seconds": 0}}, r"\$\.closing\.deadline_seconds"),
    ({"rounds": 1, "closing": {"deadline_seconds": 1e9}}, r"\$\.closing\.deadline_seconds"),
    ({"rounds": 1, "closing": {"min_reports": 0}}, r"\$\.closing\.min_reports"),
    ({"rounds": 1, "aggregator": {"kind": "middle"}}, r"'middle' - at `\$\.aggregator\.kind`"),
    ({"rounds": 1, "aggregator": {"kind": "weighted_mean", "weighting": "loss"}}, r"\$\.aggregator\.weighting"),
    ({"rounds": 1, "aggregator": {"weighting": "equal"}}, r"required field `kind` - at `\$\.aggregator`"),
    ({"rounds": 1, "server_step": {}}, r"required field `kind` - at `\$\.server_step`"),
    ({"rounds": 1, "server_step": {"kind": "adamw"}}, r"'adamw' - at `\$\.server_step\.kind`"),
    ({"rounds": 1, "client": {"epochs": 0}}, r"\$\.client\.epochs"),
    ({"rounds": 1, "client": {"client_lr": 0}}, r"\$\.client\.client_lr"),
    ({"rounds": 1, "client": {"momentum": 1}}, r"\$\.client\.momentum"),
    ({"rounds": 1, "client": {"proximal_mu": -0.1}}, r"\$\.client\.proximal_mu"),
    ({"rounds": 1, "client": {"extra": {"layers": [1, 2]}}}, r"\$\.client\.extra"),
    ({"rounds": 1, "evaluation": {"every": -1}}, r"\$\.evaluation\.every"),
    ({"rounds": 1, "uncertainty": {"method": "SWAG"}}, r"\$\.uncertainty\.method"),
    ({"rounds": 1, "uncertainty": {"samples": 0}}, r"\$\.uncertainty\.samples"),
    ({"rounds": 1, "uncertainty": {"softmax": 1}}, r"\$\.uncertainty\.softmax"),
    ({"rounds": 1, "uncertainty": None}, r"\$\.uncertainty"),
    ({"rounds": 1, "daisy_chain": {}}, r"missing required field `period`"),
    ({"rounds": 1, "daisy_chain": {"period": 1}}, r">= 2.*\$\.daisy_chain\.period"),
    ({"rounds": 1, "daisy_chain": 2}, r"\$\.daisy_chain"),
    ({"rounds": 1, "keep_updates": -1}, r"\$\.keep_updates"),
    ({"rounds": 1, "seed": -1}, r"\$\.seed"),
    ({"rounds": 1, "seed": 2**63}, r"\$\.seed"),
]
"""What the schema refuses as well."""

UNSOUND = [
    ({"rounds": 1, "cohort": {"fraction": 0.5, "size": 2}}, "cohort has both fraction 0.5 and size 2"),
    ({"rounds": 1, "cohort": {"size": 2}, "closing": {"quorum": 3}}, "closing.quorum is 3, but the cohort has 2"),
    ({"rounds": 1, "cohort": {"size": 2}, "closing": {"min_reports": 3}}, "closing.min_reports is 3, but the cohort"),
    ({"rounds": 1, "cohort": {"over_selection": 0.2}}, "cohort.over_selection is 0.2, but the cohort is all"),
    ({"rounds": 1, "cohort": {"fraction": 1, "over_selection": 0.2}}, "cohort.over_selection is 0.2, but the cohort"),
    (
        {"rounds": 1, "cohort": {"size": 2, "over_selection": 0.5}, "closing": {"quorum": 3}},
        "closing.quorum is 3, but the cohort has 2 clients, however many more over_selection 0.5 invites",
    ),
    (
        {"rounds": 2, "cohort": {"size": 2, "over_selection": 0.5}, "daisy_chain": {"period": 2}},
        "cohort.over_selection is 0.5 in a daisy chain",
    ),
    ({"rounds": 1, "closing": {"quorum": 2, "min_reports": 3}}, "closing.quorum is 2, below closing.min_reports 3"),
    (
        {"rounds": 7, "daisy_chain": {"period": 3}},
        "rounds is 7 and daisy_chain.period 3, so what is",
    ),
    ({"rounds": 1, "client": {"client_lr": math.inf}}, "client.client_lr is inf"),
    ({"rounds": 1, "client": {"proximal_mu": math.inf}}, "client.proximal_mu is inf"),
    ({"rounds": 1, "client": {"extra": {"decay": math.nan}}}, "client.extra.decay is nan"),
]
"""What is valid each by itself and does not go together, or cannot be written as JSON."""


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


@pytest.mark.parametrize("data", SOUND)
def test_a_sound_plan_is_read_and_is_valid_by_its_schema(
    data: dict[str, object], validator: jsonschema.Draft202012Validator
) -> None:
    assert isinstance(parse(data), Plan)
    validator.validate(data)


@pytest.mark.parametrize(("data", "reason"), UNREADABLE)
def test_what_is_no_plan_is_refused_with_the_field_and_by_the_schema_too(
    data: object, reason: str, validator: jsonschema.Draft202012Validator
) -> None:
    with pytest.raises(UnsoundPlanError, match=reason) as caught:
        parse(data)
    assert str(caught.value).startswith("plan: ")
    assert "GET /api/plans/schema/" in str(caught.value)
    assert not validator.is_valid(data)


@pytest.mark.parametrize(("data", "reason"), UNSOUND)
def test_parts_that_do_not_go_together_are_refused_with_what_to_change(data: object, reason: str) -> None:
    with pytest.raises(UnsoundPlanError) as caught:
        parse(data)
    assert str(caught.value).startswith(f"plan: {reason}")


@pytest.mark.parametrize("data", SOUND)
def test_a_plan_is_shown_with_every_default_and_read_back_the_same(
    data: dict[str, object], validator: jsonschema.Draft202012Validator
) -> None:
    plan = parse(data)
    shown = json.loads(json.dumps(to_data(plan), allow_nan=False))
    assert shown["cohort"].keys() == {"fraction", "size", "over_selection", "selection"}
    assert shown["participation"].keys() == {"min_to_start", "min_to_go_on", "exclude_after"}
    assert shown["aggregator"]["kind"] == "weighted_mean"
    assert parse(shown) == plan
    validator.validate(shown)


def test_the_defaults_are_fedavg_over_all_participants() -> None:
    plan = parse({"rounds": 5})
    assert plan == fedavg(rounds=5)
    assert cohort_size(plan, participants=7) == 7
    assert plan.aggregator.weighting == "examples"
    assert plan.client.proximal_mu == 0
    assert plan.keep_updates == 0


def test_fedprox_is_fedavg_whose_clients_add_the_proximal_term() -> None:
    assert fedprox(rounds=5, mu=0.1, epochs=2) == parse({"rounds": 5, "client": {"proximal_mu": 0.1, "epochs": 2}})


@pytest.mark.parametrize(
    ("cohort", "participants", "size"),
    [
        ({}, 10, 10),
        ({}, 0, 0),
        ({"size": 4}, 10, 4),
        ({"size": 4}, 3, 3),
        ({"fraction": 0.25}, 10, 3),
        ({"fraction": 0.01}, 10, 1),
        ({"fraction": 0.01}, 0, 0),
        ({"fraction": 1.0}, 10, 10),
        ({"fraction": 0.07}, 100, 7),
        ({"fraction": 0.1}, 30, 3),
        ({"fraction": 0.29}, 100, 29),
        ({"fraction": 1e-9}, 1_000_000, 1),
    ],
)
def test_a_cohort_is_a_share_rounded_up_of_the_number_as_it_is_written(
    cohort: dict[str, float], participants: int, size: int
) -> None:
    assert cohort_size(parse({"rounds": 1, "cohort": cohort}), participants=participants) == size


@pytest.mark.parametrize(
    ("cohort", "participants", "invited"),
    [
        ({"size": 10, "over_selection": 0.3}, 100, 13),
        ({"size": 10, "over_selection": 0.31}, 100, 14),
        ({"size": 100, "over_selection": 0.07}, 1000, 107),
        ({"size": 10, "over_selection": 0.3}, 12, 12),
        ({"size": 10, "over_selection": 0.3}, 4, 4),
        ({"size": 10, "over_selection": 10}, 1000, 110),
        ({"fraction": 0.1, "over_selection": 0.5}, 30, 5),
        ({"fraction": 0.1, "over_selection": 0.1}, 0, 0),
        ({"size": 10}, 100, 10),
        ({}, 7, 7),
    ],
)
def test_over_selection_invites_a_share_more_than_the_cohort_rounded_up_of_the_number_as_it_is_written(
    cohort: dict[str, float], participants: int, invited: int
) -> None:
    assert invitations(parse({"rounds": 1, "cohort": cohort}), participants=participants) == invited


def test_the_first_round_and_the_later_ones_may_want_different_numbers_of_clients_there() -> None:
    plan = parse({"rounds": 3, "participation": {"min_to_start": 5, "min_to_go_on": 2}})
    assert [min_there(plan, round_number=number) for number in (1, 2, 3)] == [5, 2, 2]
    assert min_there(fedavg(rounds=1), round_number=1) == 1


@pytest.mark.parametrize(
    ("closing", "cohort", "needed"),
    [
        ({}, 5, 3),
        ({}, 4, 2),
        ({}, 1, 1),
        ({}, 0, 1),
        ({"min_reports": 4}, 5, 4),
        ({"min_reports": 1}, 5, 1),
        ({"quorum": 2}, 10, 2),
        ({"quorum": 9}, 10, 5),
    ],
)
def test_a_round_needs_half_of_its_cohort_unless_the_plan_says_otherwise(
    closing: dict[str, int], cohort: int, needed: int
) -> None:
    assert min_reports(parse({"rounds": 1, "closing": closing}), cohort=cohort) == needed


def test_versions_are_evaluated_every_so_many_rounds_and_after_the_last() -> None:
    plan = parse({"rounds": 7, "evaluation": {"every": 3}})
    assert [number for number in range(1, 8) if evaluates(plan, round_number=number)] == [3, 6, 7]
    never = parse({"rounds": 7, "evaluation": {"every": 0}})
    assert not any(evaluates(never, round_number=number) for number in range(1, 8))


def test_of_a_daisy_chain_only_every_so_many_rounds_make_a_version() -> None:
    plan = parse({"rounds": 12, "daisy_chain": {"period": 3}})
    assert [number for number in range(1, 13) if aggregates(plan, round_number=number)] == [3, 6, 9, 12]
    assert all(aggregates(fedavg(rounds=12), round_number=number) for number in range(1, 13))


def test_evaluations_of_a_daisy_chain_count_its_versions() -> None:
    plan = parse({"rounds": 15, "daisy_chain": {"period": 3}, "evaluation": {"every": 2}})
    assert [number for number in range(1, 16) if evaluates(plan, round_number=number)] == [6, 12, 15]


@pytest.mark.parametrize(
    ("data", "participants", "reason"),
    [
        ({"cohort": {"size": 4}}, 3, "cohort.size is 4, but the training has 3 participants. Add clients"),
        ({"closing": {"quorum": 4}}, 3, "closing.quorum is 4, but a round selects 3 of 3 participants"),
        ({"closing": {"min_reports": 4}}, 3, "closing.min_reports is 4, but a round selects 3 of 3"),
        ({"cohort": {"fraction": 0.5}, "closing": {"quorum": 4}}, 6, "a round selects 3 of 6 participants"),
    ],
)
def test_a_plan_that_so_many_participants_cannot_fulfil_is_refused_at_the_start(
    data: dict[str, object], participants: int, reason: str
) -> None:
    plan = parse({"rounds": 1} | data)
    with pytest.raises(UnsoundPlanError) as caught:
        check_against(plan, participants=participants)
    assert reason in str(caught.value)
    check_against(plan, participants=participants + 2)


def test_over_selection_must_be_finite() -> None:
    with pytest.raises(UnsoundPlanError, match=r"plan: .*over_selection"):
        parse({"rounds": 1, "cohort": {"size": 1, "over_selection": math.nan}})


def test_a_plan_may_ask_for_all_participants() -> None:
    plan = parse({"rounds": 1, "cohort": {"size": 3}, "closing": {"quorum": 3, "min_reports": 3}})
    check_against(plan, participants=3)
