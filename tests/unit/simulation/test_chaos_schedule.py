"""Schedules of kills: what the seed decides, and what every schedule keeps to."""

from collections import Counter

import pytest

from hansa import crashpoints
from hansa.simulation.chaos.schedule import CLIENT_POINTS, SERVER_POINTS, Kill, Target, schedule

CLIENTS = 4
LONG = schedule(seed=20261122, kills=2000, clients=CLIENTS)


def test_the_same_seed_gives_the_same_schedule_and_another_seed_another():
    assert schedule(seed=7, kills=50, clients=CLIENTS) == schedule(seed=7, kills=50, clients=CLIENTS)
    assert schedule(seed=7, kills=50, clients=CLIENTS) != schedule(seed=8, kills=50, clients=CLIENTS)


def test_a_longer_schedule_of_a_seed_begins_as_a_shorter_one():
    assert schedule(seed=7, kills=50, clients=CLIENTS)[:20] == schedule(seed=7, kills=20, clients=CLIENTS)


def test_kills_are_numbered_from_one():
    assert [kill.number for kill in LONG] == list(range(1, 2001))


def test_the_server_is_killed_most_often_and_every_client_now_and_then():
    targets = Counter(kill.target for kill in LONG)
    assert targets[Target.SERVER] > targets[Target.CLIENT] > targets[Target.BOTH] > 100
    assert {kill.client for kill in LONG} == {None, *range(CLIENTS)}


def test_a_kill_names_a_client_exactly_if_it_concerns_one():
    assert all((kill.client is None) == (kill.target is Target.SERVER) for kill in LONG)


def test_every_point_is_aimed_at_and_only_those_of_who_is_killed():
    aimed = {target: {kill.point.partition(":")[0] for kill in LONG if kill.target is target} for target in Target}
    assert aimed[Target.SERVER] - {""} == set(SERVER_POINTS)
    assert aimed[Target.CLIENT] - {""} == set(CLIENT_POINTS)
    assert aimed[Target.BOTH] == {""}


def test_points_are_in_the_catalogue():
    assert {*SERVER_POINTS, *CLIENT_POINTS} <= crashpoints.POINTS
    for kill in LONG:
        crashpoints.parse(kill.point)


def of(kill: Kill) -> list[str | int]:
    return [*(["server"] if kill.hits_server else []), *([kill.client] if kill.client is not None else [])]


@pytest.mark.parametrize("seed", range(20))
def test_nobody_is_aimed_at_before_having_been_killed_once(seed):
    seen: set[str | int] = set()
    for kill in schedule(seed=seed, kills=60, clients=CLIENTS):
        if kill.point:
            assert set(of(kill)) <= seen
        seen.update(of(kill))


def test_a_server_is_killed_while_it_starts_only_where_it_has_just_been_killed():
    starting = [kill for kill in LONG if kill.starting]
    assert starting
    assert all(LONG[kill.number - 2].hits_server and kill.target is Target.SERVER for kill in starting)
