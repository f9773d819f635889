"""The values here were computed once. If a test fails, old trainings can no longer be repeated: mend the code."""

import pytest

from hansa.core.seeds import client_seed, relay_rng, selection_rng


@pytest.mark.parametrize(
    ("training_seed", "round_number", "ordinal", "seed"),
    [
        (1, 1, 0, 8498520293427021278),
        (2**63 - 1, 1_000_000, 999, 6312785395506703391),
        (0, 1, 0, 5863576031957197076),
        (42, 12, 3, 1208237454792226064),
    ],
)
def test_a_clients_seed_never_changes(training_seed: int, round_number: int, ordinal: int, seed: int) -> None:
    assert client_seed(training_seed, round_number, ordinal) == seed


@pytest.mark.parametrize(
    ("training_seed", "round_number", "attempt", "first"),
    [(1, 1, 1, 0.02058342807664848), (2**63 - 1, 7, 2, 0.6078440657935709)],
)
def test_the_stream_of_a_selection_never_changes(
    training_seed: int, round_number: int, attempt: int, first: float
) -> None:
    assert selection_rng(training_seed, round_number, attempt).random() == first


def test_seeds_differ_between_trainings_rounds_and_clients_and_have_63_bits() -> None:
    seeds = [client_seed(t, r, o) for t in range(5) for r in range(1, 20) for o in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62


def test_numbers_that_read_alike_side_by_side_are_told_apart() -> None:
    assert len({client_seed(1, 11, 1), client_seed(11, 1, 1), client_seed(1, 1, 11)}) == 3


def test_another_attempt_selects_by_another_stream() -> None:
    assert selection_rng(1, 1, 1).random() != selection_rng(1, 1, 2).random()
    assert selection_rng(1, 1, 0).random() != selection_rng(1, 0, 1).random()


def test_the_dice_of_a_relay_never_change() -> None:
    assert relay_rng(1, 2).random() == 0.09213565729926343
    assert relay_rng(2**63 - 1, 7).random() == 0.4620898778174144


def test_a_relay_and_a_selection_throw_dice_of_their_own() -> None:
    assert relay_rng(1, 1).random() != selection_rng(1, 1, 1).random()
