"""Where a training of the DLR platform stands here: its plan, its status, and how its rounds go on."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from hansa.rounds.states import TrainingStatus
from hansa.server.coming_over.rows import Training
from hansa.server.coming_over.standing import UnusableTrainingError, standing


def training(**fields):
    row = {
        "id": uuid4(),
        "model_id": uuid4(),
        "actor_id": uuid4(),
        "state": "C",
        "target_num_updates": 5,
        "last_update": datetime(2024, 5, 6, tzinfo=UTC),
        "uncertainty_method": "NONE",
        "aggregation_method": "FedAvg",
        "options": {},
        "participants": (),
    }
    return Training(**{**row, **fields})


@pytest.mark.parametrize(
    ("state", "model_round", "status", "rounds_done", "first_round"),
    [
        ("I", 0, TrainingStatus.INITIAL, 0, 0),
        ("I", 3, TrainingStatus.INITIAL, 0, 3),  # a copy of a model that was trained before
        ("O", 2, TrainingStatus.PAUSED, 2, 0),
        ("S", 2, TrainingStatus.PAUSED, 2, 0),
        ("C", 5, TrainingStatus.COMPLETED, 5, 0),
        ("C", 8, TrainingStatus.COMPLETED, 5, 3),  # more rounds than it asked for: some were before it
        ("E", 4, TrainingStatus.ERROR, 4, 0),
        ("O", -1, TrainingStatus.PAUSED, 0, 0),
    ],
)
def test_the_model_round_stays_what_it_was(state, model_round, status, rounds_done, first_round):
    at = standing(training(state=state), model_round)

    assert (at.status, at.rounds_done, at.first_round) == (status, rounds_done, first_round)
    assert at.first_round + at.rounds_done == max(0, model_round)
    assert at.plan.rounds == 5


def test_who_finds_it_halted_reads_what_to_do():
    under_way = standing(training(state="O"), 2).reason
    failed = standing(training(state="E"), 2).reason

    assert "under way when it was taken over" in under_way
    assert "2 of 5 rounds are done" in under_way
    assert under_way.endswith("resume it.")
    assert "failed on the DLR platform" in failed
    assert "2 of 5 rounds are done" in failed


def test_moments_that_were_still_asked_for_are_said_to_be_missing():
    assert any("moments" in remark for remark in standing(training(state="S", uncertainty_method="SWAG"), 2).remarks)


def test_methods_and_options_become_a_plan_and_are_kept_as_they_were_given():
    options = {"uncertainty": {"N": 25, "softmax": True}, "note": "ours"}

    at = standing(training(uncertainty_method="MC_DROPOUT", aggregation_method="FedProx", options=options), 5)

    assert (at.plan.uncertainty.method, at.plan.uncertainty.samples, at.plan.uncertainty.softmax) == (
        "mc_dropout",
        25,
        True,
    )
    assert at.plan.client.proximal_mu > 0
    assert at.shorthand == {
        "aggregation_method": "FedProx",
        "uncertainty_method": "MC_DROPOUT",
        "options": options,
        "metric_names": [],
    }


def test_the_rounds_of_a_daisy_chained_training_were_multiplied_there_already():
    at = standing(training(target_num_updates=6, options={"daisy_chain_period": 3}, aggregation_method="FedDC"), 6)

    assert at.plan.rounds == 6
    assert at.plan.daisy_chain.period == 3
    assert at.rounds_done == 6


@pytest.mark.parametrize("state", ["O", "E"])
def test_an_unfinished_daisy_chain_begins_anew_because_nothing_of_it_is_in_the_model(state):
    at = standing(training(state=state, target_num_updates=6, options={"daisy_chain_period": 3}), 4)

    assert (at.rounds_done, at.first_round) == (0, 0)
    assert any(remark.startswith("its 4 rounds so far have left no trace") for remark in at.remarks)


@pytest.mark.parametrize("target", [0, -3])
def test_a_target_below_one_is_one_round_as_it_was_there(target):
    at = standing(training(state="I", target_num_updates=target), 0)

    assert at.plan.rounds == 1
    assert any(str(target) in remark for remark in at.remarks)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"state": "X"}, "its state is 'X'"),
        ({"aggregation_method": "FedMagic"}, "FedMagic"),
        ({"uncertainty_method": "ENSEMBLE_LOCAL"}, "ENSEMBLE_LOCAL"),
        ({"options": [1, 2]}, "options"),
        ({"options": {"daisy_chain_period": "often"}}, "daisy_chain_period"),
        ({"options": {"uncertainty": {"N": 0}}}, "uncertainty.N"),
        ({"options": {"daisy_chain_period": 4}}, "multiple of the period"),
        ({"target_num_updates": 2_000_000_000}, "rounds"),
    ],
)
def test_what_has_no_meaning_here_is_named(fields, said):
    with pytest.raises(UnusableTrainingError, match=said):
        standing(training(**fields), 0)
