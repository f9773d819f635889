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
from hansa.server.blobs.store import TornBlobError
from hansa.server.blobs.suspicion import SUSPICION
from hansa.server.lifecycle import context
from hansa.server.lifecycle.bridge import call, compute, labour, read, work
from hansa.server.lifecycle.outage import OUTAGES
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import dependants, stepping
from hansa.server.trainings.models import Round
from hansa.server.trainings.services import aggregation, memory, torn
from hansa.server.trainings.services.aggregation import LateUpdateLostError, MissingUpdateError
from hansa.server.trainings.services.memory import LostMemoryError

log = logging.getLogger(__name__)

SAMPLE_BYTES = 2**30
SAMPLE_SECONDS = 20.0
"""How much is read after the start; what does not fit in is left to aggregations, downloads and `hansa doctor`."""
SWEEP_SECONDS = 60.0
GONE = (TornBlobError, MissingUpdateError, LateUpdateLostError, LostMemoryError, ModelFileError, FileNotFoundError)
"""Why something may not be computed again."""
LISTED = 3
"""Trainings named in one line of the log."""


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
    except Exception as error:
        # The outermost loop of the server's own work: a disk that cannot be read now must not end the server.
        if not OUTAGES.met(error):
            log.exception("A blob could not be looked after; it is found again when it is next read.")


async def _sweep() -> None:
    """What was left a note of; then files that trainings need and that are not there, or too short, without reading."""
    for digest in await work(doubts.left):
        await _guarded(partial(_settle_doubt, digest))
    for batch in dependants.batched(await read(dependants.indispensable)):
        for digest in await work(_not_there, await read(dependants.known, batch)):
            await _guarded(partial(attend, digest))


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
        await _guarded(partial(attend, known.digest))


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
    with context.bound(training=_listed(await read(dependants.having, digest))):
        LOSSES.found(digest, damage.seen, aside)
        await _settle(damage)
    return damage


def _listed(trainings: Sequence[UUID]) -> str | None:
    """For lines of the log: whose blob it is. The same first version may be of many."""
    more = [f"and {len(trainings) - LISTED} more"] if len(trainings) > LISTED else []
    return ", ".join([*map(str, trainings[:LISTED]), *more]) or None


async def _settle(damage: Damage) -> None:
    """Withdraw what clients have sent in it, compute again what can be, and go back where that cannot be."""
    reason = f"its bytes were lost on the server's disk: {damage.seen}"
    for row, kind in await read(dependants.made_of, damage.digest):
        with context.bound(training=row.training_id, round=row.number):
            made = await _made_again(row, kind, damage.digest)
        if made:
            break
    else:
        for training_id, version in await read(dependants.needing, damage.digest):
            if not await work(store.path_of(damage.digest).exists):  # else it was put back, and the training resumed
                with context.bound(training=training_id):
                    await _go_back(training_id, version, damage.digest, reason)
    async with store.lock(damage.digest):  # nobody places the file anew while its rows are withdrawn
        if await work(store.path_of(damage.digest).exists):
            LOSSES.over(damage.digest)
            return  # it is whole again, whoever refers to it
        for training_id in await read(dependants.with_results, damage.digest):
            lost = f"{reason} (blob {damage.digest})"
            await call(torn.withdraw, training_id=training_id, digest=damage.digest, reason=lost, now=timezone.now())


async def _made_again(row: Round, kind: TaskKind, digest: str) -> bool:
    """Compute a version, what its server step remembers, or its moments, from the accepted list that made it: the same
    digest, or it does not count.
    """
    try:
        job = await read(aggregation.job_of, row, kind)
        with stepping.files_for(job) as files:
            made = files.by_digest(await labour(stepping.compute, job, files, Event()))
            if digest not in made:
                raise MissingUpdateError(f"computed again, it has the digest {' or '.join(made)}")
            async with store.lock(digest):
                await work(store.place, made[digest], digest)
    except GONE as error:
        log.info("Blob %s cannot be computed again: %s", digest, error)
        return False
    log.warning("Blob %s was computed again from the accepted list of round %d.", digest, row.number)
    return True


async def _go_back(training_id: UUID, version: ModelVersion, digest: str, reason: str) -> None:
    """Begin the round of a version anew from the one before it, if that is whole; else stop the training. Lost is the
    version, or what its server step remembers: without that no round can begin from it either.
    """
    now, remembered = timezone.now(), digest == version.state_id
    what = f"what the server step remembers at version {version.number}" if remembered else f"version {version.number}"
    maker: Round | None = getattr(version, "round_of", None)
    if maker is not None and await _base_is_whole(maker):
        base = maker.base
        rewound = await call(
            torn.rewind,
            training_id=training_id,
            lost=digest,
            whole=base.blob_id,
            reason=f"{what} is lost, {reason} (blob {digest}); the round is begun anew from version {base.number}",
            now=now,
        )
        if rewound:
            log.warning(
                "Training %s: %s is lost, %s; it goes on from version %d.", training_id, what, reason, base.number
            )
        return
    if maker is None:
        before = "there is none before it"
    else:
        before = f"version {maker.base.number} before it is damaged as well, or what its server step remembers"
    elsewhere = "" if remembered else ", or from a client that has it"
    why = (
        f"{what[0].upper()}{what[1:]} of the model is lost, {reason}; and {before}. Put the file "
        f"{store.path_of(digest).relative_to(store.home())} back into the server's data folder from a "
        f"backup{elsewhere} (hansa doctor compares it), then resume the training."
    )
    if remembered:
        why += " Or create a training over the model, whose server step begins anew."
    if await call(torn.stop, training_id=training_id, reason=why, now=now):
        log.error("Training %s: %s", training_id, why)


async def _base_is_whole(maker: Round) -> bool:
    """Whether a round can begin once more where this one began."""
    try:
        remembered = await read(memory.at_beginning_of, maker)
    except LostMemoryError:
        return False
    needed = [Known.of(maker.base.blob), *([remembered] if remembered is not None else [])]
    return [await compute(inspection.inspect, known) for known in needed] == [None] * len(needed)
