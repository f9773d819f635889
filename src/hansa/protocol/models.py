"""Models and their versions.

GET    /api/models/                              → list[Model]
POST   /api/models/        multipart: name, description, model_file, buffers (repeated) → ModelCreated
GET    /api/models/<id>/metadata/                → Model
DELETE /api/models/<id>/                         → 200 Detail
GET    /api/models/<id>/versions/                → list[ModelVersion]
GET    /api/models/<id>/versions/<n>/            → ModelVersion
GET    /api/models/<id>/versions/<n>/params/     → safetensors; ETag, If-None-Match, Range
GET    /api/models/<id>/metrics/                 → list[Metric]
"""

from hansa.protocol.base import Answer
from hansa.protocol.tasks import Sha256


class ArrayInfo(Answer, frozen=True):
    """One named array of a model."""

    name: str
    dtype: str
    """numpy's name: float32, int64, …"""
    shape: list[int]
    kind: str
    """"param" or "buffer"."""


class Model(Answer, frozen=True):
    """A model's record, without its bytes."""

    id: str
    owner: str
    name: str
    description: str
    kind: str
    round: int
    """The number of the newest version."""
    num_params: int
    """Elements of all arrays of kind param."""
    size: int
    """Of one version, in bytes."""
    arrays: list[ArrayInfo]
    """Empty in lists."""
    training: str | None
    created_at: str


class ModelCreated(Answer, frozen=True):
    """The contract's answer to a new model."""

    detail: str
    model_id: str
    warning: str = ""


class ModelVersion(Answer, frozen=True):
    """An immutable version; number 0 is the one that was uploaded."""

    model: str
    number: int
    digest: Sha256
    size: int
    parent: str | None
    """`<model>/<number>` of the version it was made from."""
    created_at: str


class Metric(Answer, frozen=True):
    """One number reported by one client."""

    id: int
    model: str
    step: int
    """The version evaluated, or for training metrics the version that came of the round."""
    key: str
    value: float | None
    """None where what was reported is no finite number."""
    reporter: str
    kind: str
    """"train" or "evaluate"."""


class Detail(Answer, frozen=True):
    """A sentence and nothing else."""

    detail: str
