"""The arithmetic of a round on the files of the store: chunk after chunk, in canonical order.

    rule with shares     the mean and the sum, with what is told of them in advance: one pass (`combining.InTurn`)
    rule of distances    a pass that measures (`measuring`), then as above with the shares that the rule tells
    rule by element      one pass over short chunks of the whole cohort (`combining.ByRank`)

Every block that is read is compared with its checksum. Memory does not depend on the model, and is bounded whatever the
cohort; the result depends on nothing but the accepted list, the late updates beside it, their order, and the rule.

What becomes of the aggregate before it is written is the matter of a `Stage`: the seam of the server step.

Of a version it is told on the way how alike each update is to what came of them (`core.likeness`), and how much of each
is in it, where a rule takes shares.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators import ByElement, check
from hansa.core.aggregators.mean import Mean
from hansa.core.aggregators.shares import Needs, clipped, clipping
from hansa.core.finite import first_not_finite
from hansa.core.likeness import Likeness, Products, Sample, from_gram
from hansa.core.params import Array, Kind
from hansa.crashpoints import crash_point
from hansa.formats import safetensors
from hansa.formats.chunks import Chunk
from hansa.formats.errors import ModelFileError, NotFiniteError
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.store import BlobFile, TornBlobError
from hansa.server.trainings import combining, pipeline
from hansa.server.trainings.cohort import Base, Cohort, opened_base
from hansa.server.trainings.combining import Buffers, ByRank, Combiner, InTurn
from hansa.server.trainings.measuring import measured as measured_of
from hansa.server.trainings.pieces import size_of, stretches
from hansa.server.trainings.services.aggregation import Job, Told

STAGED_BYTES = 2**20
"""Of each update, in a chunk that a stage is asked for: it has float64 arrays of its own, a handful for each chunk."""

Vector = NDArray[np.float64]
Measured = NDArray[np.float64]
"""Squares of norms, one of each update, or a Gram matrix."""


class Findings:
    """What is told of the round's own updates, those that are not late, while the version is computed."""

    def __init__(self, updates: int) -> None:
        self.likeness = Likeness(updates)
        self.factors: list[float | None] = [None] * updates
        """How much of each is in the version: it is Σ aᵢ·uᵢ. None where a rule goes by rank."""

    def told(self) -> list[Told]:
        """In the order of the accepted list."""
        return [Told(*each) for each in zip(self.likeness.cosines(), self.factors, strict=True)]


class Stage(Protocol):
    """What becomes of the aggregate of the clients' params on its way into the version: the seam of the server step.

    It is asked for stretches of params of a float dtype, each element once: never for buffers and integers, which go
    into the version as they are.
    """

    def after(self, stretch: Chunk, combined: Vector, base: Vector) -> tuple[Vector, object]:
        """The version's values, from the aggregate of the stretch and the values that the round began from, and what
        is to be kept of it. On any thread, in any order; neither array is changed.
        """

    def keep(self, stretch: Chunk, kept: object) -> None:
        """What `after` returned beside the values: on one thread, in canonical order."""


class _Kept(NamedTuple):
    """What a stage wants back of a stretch, in its turn."""

    stretch: Chunk
    what: object


class _Computed(NamedTuple):
    """All that comes of one chunk."""

    values: Array
    products: Products | None
    kept: tuple[_Kept, ...]


@dataclass(frozen=True, slots=True)
class _Round:
    """What each chunk is computed from."""

    own: int
    base: Base | None
    combiner: Combiner
    samples: bool
    """Whether it is told from what is read how alike the updates are."""
    stage: Stage | None
    buffers: Buffers = field(default_factory=Buffers)


def aggregate(
    job: Job, blob: BlobFile, stopping: Event, findings: Findings | None = None, stage: Stage | None = None
) -> Digests:
    """Write the round's version, or its moments, into `blob`: the aggregate of the accepted list by the job's rule.

    `findings` are of the round's own updates. The version that the round began from must be there for a `stage`, and
    for a rule that acts on differences to it; for the others it is only looked at, if it can be, to tell likenesses.

    The same job gives the same bytes, however many threads take part. Raises TornBlobError for an update whose bytes
    are not those that were stored, LateUpdateUnreadableError for such a late one, StoppedError once `stopping` is set.
    """
    header, _ = safetensors.canonical(job.spec)
    blob.write(header)
    cohort = Cohort(job.updates, job.base, job.left_out)
    with ExitStack() as opened, ThreadPoolExecutor(pipeline.THREADS, thread_name_prefix="hansa-aggregation") as pool:
        base = _base(job, opened, needed=stage is not None or _acts_on_differences(job))
        measure = partial(measured_of, cohort, spec=job.spec, pool=pool, stopping=stopping)
        combiner, samples = _combiner(job, cohort, base, measure, findings or Findings(job.own))
        of = _Round(job.own, base, combiner, samples and findings is not None and base is not None, stage)
        most = combining.CHUNK_BYTES if stage is None else min(combining.CHUNK_BYTES, STAGED_BYTES)
        for computed in pipeline.in_order(pool, stopping, partial(_compute, of), combiner.pieces(job.spec, most)):
            _write(blob, computed, findings, stage)
    return blob.finish()


def _acts_on_differences(job: Job) -> bool:
    """Whether the result is told of differences to the version that the round began from."""
    return job.clip is not None or not isinstance(job.rule, ByElement | Mean)


def _base(job: Job, opened: ExitStack, *, needed: bool) -> Base | None:
    """None where it cannot be read and the version does not need it: whoever does will say so."""
    if job.base is None:
        if needed:
            raise ValueError("the rule acts on differences to the version that the round began from; there is none")
        return None
    try:
        return opened_base(job.base, opened)
    except (TornBlobError, FileNotFoundError, ModelFileError):
        if needed:
            raise
        return None


def _combiner(
    job: Job, cohort: Cohort, base: Base | None, measure: Callable[..., Measured], findings: Findings
) -> tuple[Combiner, bool]:
    """Measure what has to be known in advance, and tell of it; whether likenesses are still to be told."""
    check(job.rule, len(job.updates))
    weights = [update.weight for update in job.updates]
    of_clipping = Needs.NOTHING if job.clip is None else Needs.NORMS
    if isinstance(job.rule, ByElement):
        scales = None
        if base is not None and job.clip is not None:
            scales = clipping(np.sqrt(measure(base, needs=of_clipping)), job.clip)
        return ByRank(cohort, weights, job.rule, None if scales is None or (scales == 1).all() else scales, base), True
    needs, scales = max(job.rule.needs, of_clipping), np.ones(len(weights))
    measured = measure(base, needs=needs) if needs else np.zeros(len(weights))
    if job.clip is not None:
        scales = clipping(np.sqrt(np.diagonal(measured) if needs is Needs.PRODUCTS else measured), job.clip)
    shares = job.rule.shares(clipped(measured, scales), np.array(weights, np.float64)).scaled(scales)
    findings.factors = shares.factors()[: job.own].tolist()
    if needs is Needs.PRODUCTS:
        findings.likeness.add(from_gram(measured, shares.factors(), job.own))
    return InTurn(cohort, weights, shares, base if shares.total is not None else None), needs is not Needs.PRODUCTS


def _write(blob: BlobFile, computed: _Computed, findings: Findings | None, stage: Stage | None) -> None:
    blob.write(computed.values.data.cast("B"))
    if findings is not None and computed.products is not None:
        findings.likeness.add(computed.products)
    if stage is not None:
        for kept in computed.kept:
            stage.keep(kept.stretch, kept.what)
    crash_point("aggregation.chunk")


def _compute(of: _Round, chunk: Chunk) -> _Computed:
    """One chunk of the version, and what tells how alike the updates are to the aggregate."""
    has_params = any(segment.kind is Kind.PARAM for segment in chunk)
    sample = Sample(updates=of.own, size=size_of(chunk)) if of.samples and of.own and has_params else None

    def seen(place: int, values: Array) -> None:
        if sample is not None and place < of.own:
            sample.keep(place, values)

    combined, kept = of.combiner.combine(chunk, seen), tuple[_Kept, ...]()
    products = None if sample is None else _products(of, sample, chunk, combined)
    if of.stage is not None and has_params and combined.dtype == np.float64:
        combined, kept = _after(of, of.stage, chunk, combined)
    with np.errstate(over="ignore"):
        values = combined.astype(np.dtype(chunk[0].dtype).newbyteorder("<"))
    _check_finite(values, chunk)
    return _Computed(values, products, kept)


def _after(of: _Round, stage: Stage, chunk: Chunk, combined: Array) -> tuple[Vector, tuple[_Kept, ...]]:
    """The stage's values where the chunk holds params."""
    if of.base is None:
        raise ValueError("a stage takes its steps from the version that the round began from, and there is none")
    base = of.base.chunk(chunk, of.buffers.room(chunk)).astype(np.float64)
    values, kept = combined.astype(np.float64), []
    for stretch in stretches(chunk):
        if stretch.kind is Kind.PARAM:
            place = stretch.place
            values[place], what = stage.after(stretch.segments, values[place].copy(), base[place])
            kept.append(_Kept(stretch.segments, what))
    return values, tuple(kept)


def _check_finite(values: Array, chunk: Chunk) -> None:
    if first_not_finite(values) is not None:
        raise NotFiniteError(
            f"the aggregate of the round is not finite in {chunk[0].name!r} or one of the {len(chunk) - 1} arrays "
            "after it, though every update is: their values are too large to be added. Lower the learning rate."
        )


def _products(of: _Round, sample: Sample, chunk: Chunk, combined: Array) -> Products | None:
    if of.base is None:
        return None
    try:
        base = of.base.chunk(chunk, of.buffers.room(chunk))
    except (TornBlobError, ModelFileError):  # as in `_base`
        return None
    learned = np.repeat([segment.kind is Kind.PARAM for segment in chunk], [segment.size for segment in chunk])
    return sample.products(base, combined, learned)
