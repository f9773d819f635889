"""Killed at any crash point, the server comes again and goes on: nothing is lost, nothing counts twice, no bit differs.

Aggregations run on threads of the server: a helper that dies is the server that dies, and the points in the middle of
an aggregation are where. `make crash` takes every point; the test of every day takes the important ones.
"""

from pathlib import Path
from random import Random

import pytest
from crash_scenarios import AVERAGING, ELSEWHERE, SCENARIOS, Scenario
from crash_supervision import SupervisedServer, supervised_client
from crash_verdict import Undisturbed, all_died, sound, told_where
from crash_world import CLIENTS, Prepared, world

from hansa.crashpoints import POINTS
from system.processes import eventually


def alone(scenario: Scenario, point: str) -> object:
    """A point by itself. Those that a flow comes to in turn are taken that way; alone they say which of them it is."""
    in_turn = scenario.in_turn and point in scenario.first_passings
    mark = pytest.mark.crash_points_alone if in_turn else pytest.mark.crash_points
    return pytest.param(scenario, point, id=f"{scenario.name}-{point}", marks=mark)


EVERY = [alone(scenario, point) for scenario in SCENARIOS for point in scenario.points]
IMPORTANT = (
    "uploads.written",
    "tasks.record_upload.written",
    "tasks.report.committed",
    "rounds.CloseRound.written",
    "aggregation.chunk:2",
    "aggregation.commit.written",
)
SEED = 20261122
LONGEST_LIFE = 3.0
"""Seconds, after which a client is killed."""
OF_CLIENTS = (
    "client.file_written",
    "client.leased",
    "client.downloaded",
    "client.trained",
    "client.file_written:2",
    "client.result_noted",
    "client.block_sent",
    "client.uploaded",
    "client.file_written:3",
    "client.upload_noted",
    "client.reported",
    "client.entry_forgotten",
    "client.entry_forgotten:2",
)


@pytest.mark.crash_points
def test_every_point_has_a_flow_that_is_killed_there() -> None:
    reached = {point.partition(":")[0] for scenario in SCENARIOS for point in scenario.points}
    of_clients = {point.partition(":")[0] for point in OF_CLIENTS}
    assert reached | of_clients | ELSEWHERE == POINTS


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_server_that_dies_at_six_points_and_a_client_at_two_moments_lose_nothing(
    prepared: Prepared, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    rng = Random(SEED)  # noqa: S311  # repeatable, not secret
    print(f"seed {SEED}")
    dying, *others = CLIENTS
    with world(prepared, tmp_path, IMPORTANT) as shaken:
        training = shaken.training()
        shaken.start(training)
        state, token = tmp_path / "dying", shaken.tokens[dying]
        with shaken.at_work(others), supervised_client(shaken.server, state, token, []) as client:
            for _ in range(2):
                client.kill_at(rng.uniform(0.0, LONGEST_LIFE))
            shaken.ended(training, meanwhile=client.alive)
        all_died(shaken, len(IMPORTANT))
    sound(shaken, undisturbed.outcome(AVERAGING))


@pytest.mark.parametrize(("scenario", "point"), EVERY)
def test_a_server_that_dies_there_loses_nothing(
    scenario: Scenario, point: str, prepared: Prepared, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    with world(prepared, tmp_path, [*scenario.lives, point], scenario.settings) as shaken:
        scenario.flow(shaken)
        all_died(shaken, len(scenario.lives) + 1)
    sound(shaken, undisturbed.outcome(scenario))


@pytest.mark.crash_points
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", [pytest.param(each, id=each.name) for each in SCENARIOS if each.in_turn])
def test_a_server_that_dies_at_one_point_after_the_other_comes_to_the_end(
    scenario: Scenario, prepared: Prepared, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    deaths = [*scenario.lives, *scenario.first_passings]
    with world(prepared, tmp_path, deaths, scenario.settings) as shaken, told_where(shaken):
        scenario.flow(shaken)
        all_died(shaken, len(deaths))
    sound(shaken, undisturbed.outcome(scenario))


@pytest.mark.crash_points
@pytest.mark.parametrize("point", OF_CLIENTS)
def test_a_client_that_dies_there_loses_nothing(
    point: str, prepared: Prepared, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    dying, *others = CLIENTS
    with world(prepared, tmp_path) as shaken:
        training = shaken.training()
        shaken.start(training)
        state, token = tmp_path / "dying", shaken.tokens[dying]
        with shaken.at_work(others), supervised_client(shaken.server, state, token, [point]) as client:
            shaken.ended(training, meanwhile=client.alive)
            eventually(lambda: client.died_at == [point], f"the client comes to {point}")
    sound(shaken, undisturbed.outcome(AVERAGING))


@pytest.mark.crash_points
@pytest.mark.parametrize("point", ["home.secret_written", "server.migrated"])
def test_a_server_that_dies_while_it_makes_its_data_folder_makes_it_the_next_time(point: str, tmp_path: Path) -> None:
    with SupervisedServer(tmp_path / "home", [point]) as server:
        eventually(lambda: server.died_at == [point], f"the server comes to {point}")
        server.until_it_answers()
    assert len((tmp_path / "home" / "secret_key").read_text()) >= 32
