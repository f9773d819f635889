"""The older platform's words for a training, and the plans that they stand for."""

import pytest

from hansa.rounds.plan import UnsoundPlanError, parse
from hansa.rounds.shorthands import DEFAULT_MU, MAX_DEPTH, Shorthand, ShorthandError, expand, nearest


def plan_of(method="FedAvg", *, updates=3, by="NONE", **options):
    words = Shorthand(aggregation_method=method, uncertainty_method=by, options=options)
    return expand(words, updates=updates)


def test_fedavg_is_the_plan_of_so_many_rounds():
    assert plan_of(updates=5) == parse({"rounds": 5})


def test_every_aggregation_is_followed_by_an_evaluation():
    assert plan_of().evaluation.every == 1


def test_fedprox_has_a_proximal_term():
    assert plan_of("FedProx") == parse({"rounds": 3, "client": {"proximal_mu": DEFAULT_MU}})
    assert plan_of("FedProx", proximal_mu=1).client.proximal_mu == 1.0
    assert plan_of("FedProx", proximal_mu=0).client.proximal_mu == 0.0


def test_feddc_without_a_period_is_fedavg():
    assert plan_of("FedDC") == plan_of("FedAvg")


@pytest.mark.parametrize("method", ["FedAvg", "FedDC", "FedProx"])
def test_a_period_means_daisy_chaining_and_multiplies_the_rounds_whatever_the_method(method):
    plan = plan_of(method, updates=3, daisy_chain_period=4)

    assert plan.rounds == 12
    assert plan.daisy_chain is not None
    assert plan.daisy_chain.period == 4


def test_a_period_of_one_is_no_daisy_chain():
    assert plan_of("FedDC", daisy_chain_period=1) == plan_of("FedAvg")


@pytest.mark.parametrize(
    ("older", "ours"), [("NONE", "none"), ("ENSEMBLE", "ensemble"), ("MC_DROPOUT", "mc_dropout"), ("SWAG", "swag")]
)
def test_every_uncertainty_method_is_one_of_the_plans(older, ours):
    uncertainty = plan_of(by=older).uncertainty

    assert (uncertainty.method, uncertainty.samples, uncertainty.softmax) == (ours, 10, False)


@pytest.mark.parametrize(
    "options",
    [
        {"uncertainty": {"N": 5, "softmax": True}},
        {"uncertainty.N": 5, "uncertainty.softmax": True},
        {"uncertainty": {"N": 5}, "uncertainty.softmax": True},
    ],
)
def test_options_of_uncertainty_are_nested_or_dotted(options):
    uncertainty = plan_of(by="MC_DROPOUT", **options).uncertainty

    assert (uncertainty.samples, uncertainty.softmax) == (5, True)


def test_options_that_mean_nothing_here_change_nothing():
    assert plan_of(colour="blue", uncertainty={"temperature": 2}) == plan_of()


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"daisy_chain_period": 0}, "options.daisy_chain_period", "0 is not a whole number from 1"),
        ({"daisy_chain_period": 2.5}, "options.daisy_chain_period", "2.5"),
        ({"daisy_chain_period": True}, "options.daisy_chain_period", "true"),
        ({"daisy_chain_period": "2"}, "options.daisy_chain_period", '"2"'),
        ({"daisy_chain_period": None}, "options.daisy_chain_period", "null"),
        ({"uncertainty": 3}, "options.uncertainty", "3 is not an object"),
        ({"uncertainty": {"N": 0}}, "options.uncertainty.N", "0 is not a whole number from 1 to 1000000"),
        ({"uncertainty.N": "x" * 99}, "options.uncertainty.N", "xxx…"),
        ({"uncertainty": {"softmax": 1}}, "options.uncertainty.softmax", "1 is neither true nor false"),
        ({"uncertainty": {"N": 1}, "uncertainty.N": 1}, "options.uncertainty.N", "given twice"),
        ({"deadline_seconds": 0}, "options.deadline_seconds", "0 is not a number of seconds above 0"),
        ({"deadline_seconds": "1 h"}, "options.deadline_seconds", "is not a number of seconds"),
        ({"deadline_seconds": True}, "options.deadline_seconds", "true is not a number of seconds"),
        ({"proximal_mu": 0.1}, "options.proximal_mu", "goes with FedProx, and the method is FedAvg"),
        ({"daisy_chain_period": 500_000}, "target_num_updates", "1500000 rounds"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_field(options, field, words):
    with pytest.raises(ShorthandError) as refusal:
        plan_of(**options)

    assert refusal.value.field == field
    assert words in str(refusal.value)


@pytest.mark.parametrize("mu", [-1, True, "0.1", [], float("nan")])
def test_a_proximal_term_is_a_number_of_at_least_zero(mu):
    with pytest.raises(ShorthandError, match="number of at least 0"):
        plan_of("FedProx", proximal_mu=mu)


def test_options_may_be_nested_so_deep_and_no_deeper():
    def nested(depth):
        return {"a": nested(depth - 1)} if depth > 1 else {}

    plan_of(**nested(MAX_DEPTH))
    with pytest.raises(ShorthandError, match="flatter"):
        plan_of(**nested(MAX_DEPTH + 1))
    with pytest.raises(ShorthandError, match="flatter"):
        plan_of(deep=[nested(100_000 // 200)])


@pytest.mark.parametrize(
    ("method", "uncertainty", "options"),
    [
        ("FedAvg", "NONE", {}),
        ("FedAvg", "ENSEMBLE", {}),
        ("FedProx", "NONE", {"proximal_mu": 0.5}),
        ("FedDC", "NONE", {"daisy_chain_period": 3}),
        ("FedAvg", "SWAG", {"uncertainty": {"N": 4, "softmax": False}}),
        ("FedDC", "MC_DROPOUT", {"daisy_chain_period": 3, "uncertainty": {"N": 4, "softmax": True}}),
    ],
)
def test_the_nearest_words_of_a_plan_stand_for_that_plan(method, uncertainty, options):
    plan = plan_of(method, updates=2, by=uncertainty, **options)

    words = nearest(plan)

    assert (words.aggregation_method, words.uncertainty_method, words.options) == (method, uncertainty, options)
    updates = plan.rounds // options.get("daisy_chain_period", 1)
    assert expand(words, updates=updates) == plan


def test_a_plan_that_the_words_cannot_tell_in_full_still_has_a_nearest():
    plan = parse({"rounds": 2, "daisy_chain": {"period": 2}, "client": {"proximal_mu": 0.1}, "cohort": {"size": 3}})

    assert nearest(plan).aggregation_method == "FedDC"
    assert nearest(plan).options == {"daisy_chain_period": 2, "proximal_mu": 0.1}


def test_what_does_not_go_together_is_an_unsound_plan():
    with pytest.raises(UnsoundPlanError):
        expand(Shorthand(aggregation_method="FedAvg"), updates=0)


def test_a_round_may_have_a_deadline_and_a_push_client_that_long():
    plan = plan_of("FedAvg", deadline_seconds=7200)

    assert plan == parse({"rounds": 3, "closing": {"deadline_seconds": 7200.0}})
    assert nearest(plan).options == {"deadline_seconds": 7200.0}
