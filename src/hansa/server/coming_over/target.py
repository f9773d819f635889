"""What this server has already: the ids and names by which a row that comes is known or in the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import Group

from hansa.server.accounts.models import Token, User
from hansa.server.registry.models import Metric, MetricKind, Model
from hansa.server.trainings.models import Training


@dataclass(frozen=True, slots=True)
class Target:
    """Read once, before anything is decided: nobody else writes meanwhile."""

    groups: Mapping[str, int]
    users: Mapping[str, UUID]
    tokens: frozenset[str]
    """Digests."""
    models: Mapping[UUID, int]
    """Id → what its count of rounds begins with."""
    trainings: Mapping[UUID, UUID]
    """Id → the model's."""


def read() -> Target:
    """All of it: some hundred bytes a row."""
    return Target(
        groups=dict(Group.objects.values_list("name", "id")),
        users=dict(User.objects.values_list("username", "id")),
        tokens=frozenset(Token.objects.values_list("digest", flat=True)),
        models=dict(Model.objects.values_list("id", "first_round")),
        trainings=dict(Training.objects.values_list("id", "model_id")),
    )


MetricKey = tuple[int, UUID, str]
"""Step as it is stored, reporter, key."""


def metric_keys(model_id: UUID) -> frozenset[MetricKey]:
    """What has been measured of a model: each of them once."""
    rows = Metric.objects.filter(model_id=model_id, kind=MetricKind.EVALUATE)
    return frozenset(rows.values_list("step", "reporter_id", "key"))
