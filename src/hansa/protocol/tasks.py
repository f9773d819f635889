"""What one client is asked to do in one round, and how it answers.

    POST /api/tasks/next/?wait=60            TaskRequest  → Task | 204     lease the next task
    POST /api/tasks/<id>/heartbeat/          Heartbeat    → HeartbeatAnswer
    GET  /api/tasks/<id>/base/                            → the params that the task begins from
    HEAD /api/tasks/<id>/update/<sha256>/                 → header Upload-Offset
    PUT  /api/tasks/<id>/update/<sha256>/    bytes from Upload-Offset to Upload-Length → Upload
    POST /api/tasks/<id>/report/             TaskReport   → Receipt        the commit
    POST /api/tasks/<id>/release/            TaskRelease  → 204            "I cannot, or will not, do it"

The key of a report is (task, digest): the same again gives the same receipt, another digest 409
`digest_conflict`, a closed round 409 `round_closed`.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from hansa.protocol.base import PROTOCOL_VERSION, Answer, Request
from hansa.protocol.calibration import CalibrationReport, CalibrationWish
from hansa.protocol.encodings import Encoding

Sha256 = Annotated[
    str, Meta(pattern="^[0-9a-f]{64}$", max_length=64, description="SHA-256 of the bytes, lower-case hex.")
]
Metrics = dict[Annotated[str, Meta(min_length=1, max_length=64)], float]
"""Metric name → value. Values must be finite."""

MAX_METRICS = 64
"""In one report."""
MAX_WAIT_SECONDS = 120.0
OFFSET_HEADER = "Upload-Offset"
"""In a PUT: where the body begins; in the answer to HEAD: how many bytes the server holds."""
LENGTH_HEADER = "Upload-Length"
"""In a PUT: the size of the whole update, so that its end is known and its limit checked before a byte is read."""


class TaskKind(StrEnum):
    """What is asked of a client."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    SWAG = "swag"
    """Report the first and second moments of the weights around the version (Maddox et al. 2019)."""
    CALIBRATE = "calibrate"
    """Report how badly the version's predictions agree with one's own examples: counts of conformal scores."""


class TaskRequest(Request, frozen=True):
    """Ask for the next task."""

    instance: Annotated[str, Meta(min_length=1, max_length=64)]
    """Names this client's state folder. The same instance gets its leased task again at once after a restart;
    another one (a second process with the same token) gets it only when the lease has expired."""
    protocol: Annotated[int, Meta(ge=1)] = PROTOCOL_VERSION
    """What the client speaks; a later server will refuse, or answer differently, what it no longer knows."""


class Task(Answer, frozen=True):
    """A leased task. `config` is what the plan asks of the client's own training."""

    id: str
    kind: TaskKind
    training: str
    round: int
    """Counted from 1."""
    rounds: int
    """How many rounds the plan has."""
    attempt: int
    model: str
    version: int
    """The model version to train from, to evaluate, to calibrate, or to send moments around."""
    digest: Sha256
    """Of the bytes of the params that the task begins from: that version's, or another client's local model."""
    size: int
    """Of those, in bytes."""
    ordinal: int
    """The client's place in the training, its join order: the canonical order of aggregation."""
    seed: int
    """From (training seed, round, ordinal): a client that seeds its generators with it can be repeated. 63 bits."""
    config: dict[str, float | int | str | bool | None]
    lease_seconds: float
    """How long the lease lasts without a heartbeat or bytes moving."""
    params: str = ""
    """The path of the params that the task begins from, on the same server; empty: that of the version."""
    order: list[str] = []
    """SWAG: in which order the params stand in the two vectors of moments, each flattened in C order."""
    calibration: CalibrationWish | None = None
    """EVALUATE, CALIBRATE: what is asked for of how far the version's confidence is borne out."""
    encoding: Encoding | None = None
    """TRAIN: the form in which the update may be sent. None: only whole params in the model's dtypes are taken."""
    protocol: int = PROTOCOL_VERSION
    """What a client must speak at least to do this task."""


class Heartbeat(Request, frozen=True):
    """A sign of life. `progress` is a share of the work done, 0 to 1, if the client knows it."""

    progress: Annotated[float, Meta(ge=0, le=1)] | None = None


class HeartbeatAnswer(Answer, frozen=True):
    """Whether to go on; if not, `reason` says why and the task may be dropped."""

    proceed: bool
    lease_seconds: float
    reason: str = ""


class Upload(Answer, frozen=True):
    """The update's bytes are complete, durable and fit the model. They count only after the report."""

    digest: Sha256
    size: int


class TaskReport(Request, frozen=True):
    """The commit of a task. EVALUATE and CALIBRATE have no `digest`, SWAG no `metrics`."""

    num_examples: Annotated[int, Meta(ge=1, le=2**53)]
    """Used in local training or evaluation; the client's weight where the plan weights by examples."""
    digest: Sha256 | None = None
    metrics: Metrics = {}
    seconds: Annotated[float, Meta(ge=0)] = 0.0
    """Wall clock on the client, training only."""
    calibration: CalibrationReport | None = None
    """What the task asked for; left out by clients that cannot tell."""


class Verdict(StrEnum):
    """What became of a report."""

    ACCEPTED = "accepted"
    """It stands in the round and will be in the accepted list when the round closes; or in a later one's, if late."""


class Receipt(Answer, frozen=True):
    """The report is durable. The same report again gives the same receipt."""

    task: str
    verdict: Verdict
    digest: Sha256 | None = None
    received_at: str = ""
    """ISO 8601, UTC."""
    late: bool = False
    """Its round had closed: it counts in the next one, with a staleness weight, as the plan says."""


class TaskRelease(Request, frozen=True):
    """Give a task back: `failed` if the client's own code failed (it is not offered again in this round)."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    failed: bool = False
