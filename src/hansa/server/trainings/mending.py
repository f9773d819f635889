"""Looking after damaged blobs: the file is set aside, and what depended on it is made again, or asked for again.

What is found anywhere (in an aggregation, a download, an upload's comparison with its base) is told to `SUSPICION`
and attended to here; so is what `hansa doctor` has left a note of. After the start a sample of the store is read, what
is needed most first, beside serving; and every minute it is looked whether the files that trainings need are there at
all. So a crash in the middle of this, or a file that somebody has taken away, is found as well.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from threading import Event
from time import monotonic
from uuid import UUID

from django.utils import timezone

from hansa.formats.errors import ModelFileError
from hansa.protocol.tasks import TaskKind
from hansa.server.blobs import doubts, inspection, store
from hansa.server.blobs import services as blobs
from hansa.server.blobs.inspection import Damage, Known, Wrong
from hansa.server.blobs.losses import LOSSES
from hansa.server.blobs.models import Blob
from hansa.server.blobs.store import BlobFile, TornBlobError
from hansa.server.blobs.suspicion import SUSPICION
from hansa.server.lifecycle.bridge import call, compute, labour, read, work
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import dependants
from hansa.server.trainings.aggregation import aggregate
from hansa.server.trainings.models import Round
from hansa.server.trainings.services import aggregation, torn
from hansa.server.trainings.services.aggregation import LateUpdateLostError, MissingUpdateError

log = logging.getLogger(__name__)

SAMPLE_BYTES = 2**30
SAMPLE_SECONDS = 20.0
"""How much is read after the start; what does not fit in is left to aggregations, downloads and `hansa doctor`."""
SWEEP_SECONDS = 60.0


async def mend() -> None:
    """Sample the store, then attend to what is found, for ever; ends when it is cancelled."""
    SUSPICION.bind(asyncio.get_running_loop())
    try:
        await asyncio.gather(_guarded(_sample), _attend_suspicions(), _sweep_for_ever())
    finally:
        SUSPICION.bind(None)


async def _attend_suspicions() -> None:
    while True:
        digest = await SUSPICION.next()
        await _guarded(partial(attend, digest))


async def _sweep_for_ever() -> None:
    while True:
        await _guarded(_sweep)
        await asyncio.sleep(SWEEP_SECONDS)


async def _guarded(activity: Callable[[], Awaitable[object]]) -> None:
    try:
        await activity()
    except Exception:
        # The outermost loop of the server's own work: a disk that cannot be read now must not end the server.
        log.exception("A blob could not be looked after; it is found again when it is next read.")


async def _sweep() -> None:
    """What was left a note of; then files that trainings need and that are not there, or too short, without reading."""
    for digest in await work(doubts.left):
        await _guarded(partial(_settle_doubt, digest))
    for batch in dependants.batched(await read(dependants.indispensable)):
        for digest in await work(_not_there, await read(dependants.known, batch)):
            await attend(digest)


async def _settle_doubt(digest: str) -> None:
    await attend(digest, inspect=inspection.inspect_thoroughly)
    await work(doubts.settle, digest)


def _not_there(needed: Iterable[Known]) -> list[str]:
    return [known.digest for known in needed if inspection.missing(known) is not None]


async def _sample() -> None:
    """Read what is needed, then others at random, as far as the bytes and seconds for it go."""
    first = await read(dependants.indispensable)
    needed = set(first)
    others = [digest for digest in await read(_digests) if digest not in needed]
    random.shuffle(others)
    left, until, count = SAMPLE_BYTES, monotonic() + SAMPLE_SECONDS, 0
    async for known in _known([*first, *others[:1000]]):
        if monotonic() >= until:
            break
        if known.size <= left:
            left -= known.size
            count += 1
            await _examine(known)
    if count:
        log.info("%d of %d blobs were read and compared after the start.", count, len(needed) + len(others))


async def _known(digests: Sequence[str]) -> AsyncIterator[Known]:
    for batch in dependants.batched(digests):
        for known in await read(dependants.known, batch):
            yield known


def _digests() -> list[str]:
    return list(Blob.objects.values_list("sha256", flat=True))


async def _examine(known: Known) -> None:
    damage = await compute(inspection.inspect, known)
    if damage is not None:
        await attend(known.digest)


async def attend(digest: str, *, inspect: Callable[[Known], Damage | None] = inspection.inspect) -> Damage | None:
    """Look at a blob; if it is damaged, set its file aside and settle what depended on it. None: it is as it was.

    However often it is called, and wherever a crash interrupts it, the same comes of it.
    """
    async with store.lock(digest):
        found = await read(dependants.known, [digest])
        damage = await compute(inspect, found[0]) if found else None
        if damage is None:
            LOSSES.over(digest)
            return None
        if damage.wrong is Wrong.CHECKSUMS and damage.actual is not None:
            await call(blobs.correct, digests=damage.actual)
            log.warning("The row of blob %s had damaged checksums. Its file is right; the row is mended.", digest)
            return None
        aside = await work(inspection.set_aside, damage)
    LOSSES.found(digest, damage.seen, aside)
    await _settle(damage)
    return damage


async def _settle(damage: Damage) -> None:
    """Withdraw what clients have sent in it, compute again what can be, and go back where that cannot be."""
    reason = f"its bytes were lost on the server's disk: {damage.seen}"
    for row, kind in await read(dependants.made_of, damage.digest):
        if await _made_again(row, kind, damage.digest):
            break
    else:
        for training_id, version in await read(dependants.needing, damage.digest):
            if not await work(store.path_of(damage.digest).exists):  # else it was put back, and the training resumed
                await _go_back(training_id, version, reason)
    async with store.lock(damage.digest):  # nobody places the file anew while its rows are withdrawn
        if await work(store.path_of(damage.digest).exists):
            LOSSES.over(damage.digest)
            return  # it is whole again, whoever refers to it
        for training_id in await read(dependants.with_results, damage.digest):
            lost = f"{reason} (blob {damage.digest})"
            await call(torn.withdraw, training_id=training_id, digest=damage.digest, reason=lost, now=timezone.now())


async def _made_again(row: Round, kind: TaskKind, digest: str) -> bool:
    """Compute a version, or its moments, from the accepted list that made it: the same digest, or it does not count."""
    try:
        job = await read(aggregation.job_of, row, kind)
        with BlobFile() as blob:
            digests = await labour(aggregate, job, blob, Event())
            if digests.sha256 != digest:
                raise MissingUpdateError(f"computed again, it has the digest {digests.sha256}")
            async with store.lock(digest):
                await work(store.place, blob.path, digest)
    except (TornBlobError, MissingUpdateError, LateUpdateLostError, ModelFileError, FileNotFoundError) as error:
        log.info("Blob %s cannot be computed again: %s", digest, error)
        return False
    log.warning("Blob %s was computed again from the accepted list of round %d.", digest, row.number)
    return True


async def _go_back(training_id: UUID, version: ModelVersion, reason: str) -> None:
    """Begin the round of a lost version anew from the version before it, if that is whole; else stop the training."""
    now, lost = timezone.now(), f"version {version.number} is lost, {reason}"
    maker: Round | None = getattr(version, "round_of", None)
    base = maker.base if maker is not None else None
    if base is not None and await compute(inspection.inspect, Known.of(base.blob)) is None:
        rewound = await call(
            torn.rewind,
            training_id=training_id,
            lost=version.blob_id,
            whole=base.blob_id,
            reason=f"{lost} (blob {version.blob_id}); the round is begun anew from version {base.number}",
            now=now,
        )
        if rewound:
            log.warning("Training %s: %s; it goes on from version %d.", training_id, lost, base.number)
        return
    before = f"version {base.number} before it is damaged as well" if base is not None else "there is none before it"
    path = store.path_of(version.blob_id).relative_to(store.home())
    why = (
        f"Version {version.number} of the model is lost, {reason}; and {before}. Put the file {path} back into the "
        "server's data folder from a backup, or from a client that has it (hansa doctor compares it), then resume the "
        "training."
    )
    if await call(torn.stop, training_id=training_id, reason=why, now=now):
        log.error("Training %s: %s", training_id, why)
