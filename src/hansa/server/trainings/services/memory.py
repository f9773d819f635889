"""What server steps remember between rounds: which blob stands with which version, and for how long.

    kept     with the newest version, from which the next round begins, and with the one before it: if the newest is
             lost on the disk its round is begun anew from there
    let go   with every older version, with one that is lost, and with all once the training is completed, cancelled or
             deleted. What is let go is collected as any blob that nothing refers to

It begins anew with the first version of every training: a training over a model that was trained before remembers
nothing of that. What is lost is never taken for what was not there yet.
"""

from uuid import UUID

from hansa.rounds.steps import step_of
from hansa.server.blobs.inspection import Known
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings.models import Round


class LostMemoryError(Exception):
    """A round cannot go on: what its server step should remember is nowhere."""


def at_beginning_of(row: Round) -> Known | None:
    """What the server step remembers at the version that the round began from; None where there is nothing yet.

    Raises LostMemoryError.
    """
    step = step_of(row.training.parsed_plan.server_step)
    if step is None or not step.initial():
        return None
    if row.base.state is not None:
        return Known.of(row.base.state)
    if Round.objects.filter(version=row.base).exists():
        raise LostMemoryError(
            f"What the server step remembers at version {row.base.number} is no longer kept, so no round can begin "
            "from that version. Create a training over the model: its server step begins anew."
        )
    return None


def let_go_before(model_id: UUID, number: int) -> None:
    """Of all versions before this one."""
    ModelVersion.objects.filter(model_id=model_id, number__lt=number, state__isnull=False).update(state=None)


def let_go(model_id: UUID) -> None:
    """Of all versions: no round will begin from any of them."""
    ModelVersion.objects.filter(model_id=model_id, state__isnull=False).update(state=None)
