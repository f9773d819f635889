"""What is shown of the late updates that count in a round, and of the shares of all that do."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from hansa.core import staleness
from hansa.protocol import trainings as wire
from hansa.rounds import plan as plans
from hansa.server.accounts.models import User
from hansa.server.trainings.models import Round, Training

Accepted = Iterable[tuple[int, str, float]]
"""Ordinal, digest, weight."""
Folded = Iterable[tuple[int, str, float, int]]
"""The same, with the round it was trained in."""


def shares(accepted: Accepted | None, folded: Folded | None = None) -> tuple[dict[int, float], list[float]]:
    """The weights in a mean as parts of their sum: by ordinal of those in time, and of the late ones in their order."""
    in_time = {ordinal: weight for ordinal, _, weight in accepted or []}
    late = [weight for _, _, weight, _ in folded or []]
    total = sum(in_time.values()) + sum(late)
    return {ordinal: weight / total for ordinal, weight in in_time.items()}, [weight / total for weight in late]


def folded(user: User, training: Training, rows: Sequence[Round]) -> dict[UUID, list[wire.FoldedUpdate]]:
    """The late updates of each of a training's rounds. Of others than one's own, weight and digest are the actor's."""
    late = training.parsed_plan.late
    if not isinstance(late, plans.Fold) or not any(row.folded for row in rows):
        return {row.id: [] for row in rows}
    clients = dict(_clients(training))
    sees_all = training.actor_id == user.id or user.is_superuser

    def shown(row: Round, line: tuple[int, str, float, int], share: float) -> wire.FoldedUpdate:
        ordinal, digest, _, number = line
        client, username = clients[ordinal]
        told = sees_all or client == user.id
        return wire.FoldedUpdate(
            client=str(client),
            username=username,
            ordinal=ordinal,
            round=number,
            staleness=row.number - number,
            factor=staleness.factor(row.number - number, late.exponent),
            weight=share if told else None,
            digest=digest if told else None,
        )

    return {
        row.id: [
            shown(row, line, share)
            for line, share in zip(row.folded or [], shares(row.accepted, row.folded)[1], strict=True)
        ]
        for row in rows
    }


def _clients(training: Training) -> Iterable[tuple[int, tuple[UUID, str]]]:
    rows = training.participations.values_list("ordinal", "client_id", "client__username")
    return ((ordinal, (client, username)) for ordinal, client, username in rows)
