"""Which flow comes to which crash points: each is to be killed at every one of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from crash_accounts import keeping_accounts
from crash_damage import beginning_damaged, misremembered, newest_damaged
from crash_flows import (
    averaging,
    calibrating,
    gathering_moments,
    going_without_moments,
    steering,
    stepping,
    travelling,
    waiting_for_clients,
)
from crash_losses import (
    damaged,
    dropping_an_offer,
    failing,
    losing_a_late_update,
    losing_a_lease,
    misnamed,
    taking_long,
)
from crash_models import asking, collecting, keeping_models, making_a_dummy
from crash_older import pushing
from crash_refusals import refusing
from crash_world import World

Flow = Callable[[World], None]


@dataclass(frozen=True)
class Scenario:
    """A flow, and the points that it comes to. `name:3` is the third passing of a point."""

    flow: Flow
    points: tuple[str, ...]
    lives: tuple[str, ...] = ()
    """Lives of the server before the one that is to die at the point; the flow ends them."""
    settings: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    """Whether two runs come to the same outcome, to the last bit."""
    in_turn: bool = True
    """Whether a flow that died at one of them comes to the next."""

    @property
    def first_passings(self) -> tuple[str, ...]:
        """The points without those that are to be passed before; in the order in which the flow comes to them."""
        return tuple(point for point in self.points if ":" not in point)

    @property
    def name(self) -> str:
        """For the test's."""
        return self.flow.__name__


def both(*changes: str) -> tuple[str, ...]:
    """The points on both sides of the commits of these changes."""
    return tuple(f"{change}.{side}" for change in changes for side in ("written", "committed"))


AVERAGING = Scenario(
    averaging,
    (
        "server.migrated",
        "server.opened",
        *both("tasks.forgive_downtime", "outbox.tidy"),
        "forms.received",
        "models.ingested",
        "blobs.placed",
        *both("registry.create_model", "repeats.make", "trainings.create"),
        "repeats.make.committed:2",
        *both("trainings.start", "rounds.OpenRound"),
        *both("tasks.lease_next"),
        "uploads.written",
        "uploads.complete",
        "uploads.checked",
        "blobs.placed:2",
        *both("tasks.record_upload", "tasks.report"),
        "tasks.report.written:3",
        "tasks.report.committed:3",
        *both("rounds.CloseRound", "aggregation.claim"),
        "aggregation.chunk",
        "aggregation.chunk:2",
        "aggregation.computed",
        "blobs.placed:5",
        *both("aggregation.commit", "aggregation.drop_claims"),
        "aggregation.drop_claims.written:2",
        *both("rounds.OpenEvaluation", "rounds.FinishRound", "rounds.Complete"),
    ),
)
SCENARIOS = (
    AVERAGING,
    Scenario(
        gathering_moments,
        (
            *both("rounds.OpenSwag", "rounds.CloseSwag"),
            "aggregation.claim.committed:2",
            "aggregation.computed:2",
            "aggregation.commit.written:2",
            "aggregation.commit.committed:2",
        ),
    ),
    Scenario(calibrating, both("rounds.OpenCalibration", "rounds.FinishRound")),
    Scenario(going_without_moments, both("tasks.give_back", "rounds.SkipMoments")),
    Scenario(waiting_for_clients, both("rounds.Pause", "rounds.GoOn")),
    Scenario(travelling, both("rounds.RelayRound")),
    Scenario(
        stepping,
        (
            "aggregation.memory",
            "blobs.placed:5",
            "blobs.placed:6",
            *both("aggregation.commit"),
            "aggregation.memory:2",
            "blobs.placed:11",
            "aggregation.commit.written:2",
        ),
    ),
    Scenario(
        steering,
        (
            *both("trainings.add_clients", "trainings.move", "trainings.pause", "trainings.resume"),
            *both("trainings.remove_clients", "trainings.leave", "trainings.cancel", "trainings.delete"),
        ),
    ),
    Scenario(losing_a_lease, both("tasks.renew", "rounds.ExpireLeases")),
    Scenario(dropping_an_offer, both("rounds.DropOffers")),
    Scenario(failing, both("rounds.AbandonRound", "rounds.abandon", "rounds.Fail")),
    Scenario(misnamed, both("rounds.give_up")),
    Scenario(refusing, both("rejections.note")),
    Scenario(damaged, both("torn.withdraw")),
    Scenario(losing_a_late_update, both("folding.drop")),
    Scenario(misremembered, both("blobs.correct"), lives=("",)),
    Scenario(beginning_damaged, both("torn.stop"), lives=("",)),
    Scenario(newest_damaged, both("torn.rewind"), lives=("",)),
    Scenario(taking_long, both("aggregation.renew_claim"), in_turn=False),
    Scenario(
        pushing,
        (
            *both("outbox.enqueue"),
            "outbox.attempted",
            "outbox.attempted:2",
            *both("outbox.record", "deliveries.take"),
            "deliveries.take.written:2",
            "deliveries.take.committed:2",
            "older.rewritten",
            *both("older.accept"),
            "rendered.written",
            *both("older.accept_metrics", "registry.record_posted_metrics"),
        ),
    ),
    Scenario(
        keeping_accounts,
        both(
            "accounts.create_token",
            "accounts.revoke_token",
            "accounts.invite",
            "accounts.enroll",
            "accounts.revoke_invitation",
            "accounts.register",
            "groups.create",
            "groups.rename",
            "groups.delete",
        ),
    ),
    Scenario(
        keeping_models,
        (
            *both("registry.create_mean"),
            "blobs.refused",
            *both("registry.set_preprocessing", "registry.delete_model"),
        ),
    ),
    Scenario(asking, both("registry.record_run")),
    Scenario(making_a_dummy, both("dummy.make_training"), settings={"HANSA_DEBUG": "1"}, repeatable=False),
    Scenario(collecting, both("blobs.forget"), lives=("",)),
)
ELSEWHERE = frozenset(
    {
        "backup.database_saved",
        "backup.written",
        "coming_over.placed",
        "home.secret_written",
        "restore.blobs_placed",
        "restore.database_placed",
        "restore.fetched",
        *both("accounts.create_administrator"),
        *both("coming_over.take"),
    }
)
"""Points with tests of their own: of backups, of taking another platform's data over, of a new data folder, and of its
first administrator."""
