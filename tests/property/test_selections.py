"""Selections: fair, without repetition, and the same again from what a round records of them."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.core.sampling import Draw, choose, filled, last_selected, record, replay, select_by_weight

SEED = 20261122
TRIES = 6000

joined = st.sets(st.integers(0, 10**6), min_size=1, max_size=40).map(sorted)
examples = st.none() | st.integers(1, 2**63 - 1)


@st.composite
def draws(draw: st.DrawFn) -> Draw:
    rule, candidates = draw(st.sampled_from(["uniform", "by_examples", "round_robin"])), draw(joined)
    counts = draw(st.lists(examples, min_size=len(candidates), max_size=len(candidates)))
    return Draw(
        rule=rule,
        size=draw(st.integers(0, len(candidates))),
        candidates=tuple(candidates),
        weights=filled(counts) if rule == "by_examples" else (),
        cursor=draw(st.none() | st.integers(0, 10**6)) if rule == "round_robin" else None,
        seed=draw(st.integers(0, 2**63 - 1)),
        round=draw(st.integers(1, 10**6)),
        attempt=draw(st.integers(1, 100)),
    )


@given(draws())
def test_so_many_are_selected_as_are_asked_for_in_canonical_order_and_nobody_twice(once: Draw) -> None:
    selected = choose(once)
    assert len(selected) == once.size
    assert selected == sorted(set(selected) & set(once.candidates))


@given(draws())
def test_what_is_recorded_selects_the_same_again_after_any_json_and_names_whoever_it_was(once: Draw) -> None:
    selected = choose(once)
    recorded = json.loads(json.dumps(record(once, selected)))
    assert replay(recorded) == recorded["selected"] == selected
    assert recorded.keys() == {
        "rule",
        "size",
        "candidates",
        "weights",
        "cursor",
        "seed",
        "round",
        "attempt",
        "selected",
    }


@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.integers(1, 8)), min_size=1, max_size=20
    )
)
def test_in_round_robin_nobody_has_a_second_turn_before_all_who_stayed_have_had_one(
    events: list[tuple[set[int], set[int], int]],
) -> None:
    present, cursor, turns = {0, 1, 2}, None, Counter[int]()
    stayed = set(present)
    for joining, leaving, size in events:
        present = (present | joining) - leaving or {0}
        stayed &= present
        once = Draw(
            rule="round_robin",
            size=min(size, len(present)),
            candidates=tuple(sorted(present)),
            cursor=cursor,
            seed=1,
            round=1,
            attempt=1,
        )
        selected = choose(once)
        cursor = last_selected(record(once, selected))
        turns.update(selected)
        counts = [turns[client] for client in stayed]
        assert not counts or max(counts) - min(counts) <= 1


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    return float(((observed - expected) ** 2 / expected).sum())


def test_one_client_is_drawn_in_proportion_to_its_examples() -> None:
    print(f"seed {SEED}")
    weights, rng, counts = [1, 2, 3, 10, 84], np.random.default_rng(SEED), np.zeros(5)
    for _ in range(TRIES):
        counts[select_by_weight(range(5), weights, 1, rng)] += 1
    assert chi_square(counts, TRIES * np.array(weights) / 100) < 18.5, "4 degrees of freedom, once in a thousand"


def test_of_two_clients_the_second_is_drawn_in_proportion_to_the_examples_of_those_left() -> None:
    print(f"seed {SEED}")
    weights, rng, pairs = [1, 2, 3, 4], np.random.default_rng(SEED), Counter[tuple[int, ...]]()
    for _ in range(TRIES):
        pairs[tuple(select_by_weight(range(4), weights, 2, rng))] += 1
    expected = {
        (i, j): TRIES * (weights[i] * weights[j] / 10) * (1 / (10 - weights[i]) + 1 / (10 - weights[j]))
        for i in range(4)
        for j in range(i + 1, 4)
    }
    observed = np.array([pairs[pair] for pair in expected], float)
    assert chi_square(observed, np.array([*expected.values()])) < 20.5, "5 degrees of freedom, once in a thousand"


def test_equal_examples_are_equal_chances() -> None:
    print(f"seed {SEED}")
    rng, counts = np.random.default_rng(SEED), np.zeros(10)
    for _ in range(TRIES):
        counts[select_by_weight(range(10), [7] * 10, 3, rng)] += 1
    assert chi_square(counts, np.full(10, TRIES * 0.3)) < 27.9, "9 degrees of freedom, once in a thousand"


def slowly_selected(ordinals: list[int], weights: list[int], size: int, rng: np.random.Generator) -> list[int]:
    """The definition: walk along the weights of those that are left, for every draw anew."""
    left, drawn = list(zip(ordinals, weights, strict=True)), []
    for _ in range(size):
        position = int(rng.random() * 2.0**53) * sum(weight for _, weight in left) >> 53
        for place, (ordinal, weight) in enumerate(left):
            if position < weight:
                drawn.append(ordinal)
                del left[place]
                break
            position -= weight
    return sorted(drawn)


@given(
    st.lists(st.integers(1, 2**63 - 1) | st.integers(1, 9), min_size=1, max_size=33), st.integers(0, 2**32), st.data()
)
def test_drawing_by_partial_sums_is_drawing_along_the_weights(
    weights: list[int], seed: int, data: st.DataObject
) -> None:
    size, ordinals = data.draw(st.integers(0, len(weights))), list(range(len(weights)))
    slow = slowly_selected(ordinals, weights, size, np.random.default_rng(seed))
    assert select_by_weight(ordinals, weights, size, np.random.default_rng(seed)) == slow


def test_a_draw_by_examples_never_changes() -> None:
    once = Draw(
        rule="by_examples", size=4, candidates=tuple(range(12)), weights=tuple(range(1, 13)), seed=1, round=1, attempt=1
    )
    assert choose(once) == [1, 4, 9, 10]


def test_who_has_not_reported_yet_counts_as_the_mean_of_those_who_have() -> None:
    assert filled([None, None]) == (1, 1)
    assert filled([100, None, 50]) == (100, 75, 50)
    assert filled([1, 2, None]) == (1, 2, 2)
    assert filled([]) == ()


@pytest.mark.parametrize("rule", ["uniform", "by_examples", "round_robin"])
def test_more_than_there_are_cannot_be_selected(rule: str) -> None:
    once = Draw(rule=rule, size=3, candidates=(1, 2), weights=(1, 1), seed=1, round=1, attempt=1)
    with pytest.raises(ValueError, match="size is 3, but there are 2 clients"):
        choose(once)


def test_a_uniform_draw_is_the_one_it_always_was() -> None:
    once = Draw(rule="uniform", size=5, candidates=tuple(range(20)), seed=1, round=1, attempt=1)
    assert choose(once) == [0, 7, 9, 14, 16]
