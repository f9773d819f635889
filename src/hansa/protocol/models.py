"""Models, local models and their versions.

GET    /api/models/                              → list[Model]
POST   /api/models/        multipart: the fields of ModelCreate, model_file, model_preprocessing_file, buffers
                           (repeated); a mean of models also as JSON → ModelCreated
GET    /api/models/<id>/   ?version=<n>          → bytes: the archive that was uploaded, with the version's numbers in
                           it; safetensors with ?format=safetensors or by Accept; ETag, If-None-Match, Range
DELETE /api/models/<id>/                         → 200 Detail
GET    /api/models/<id>/metadata/                → ModelMetadata
GET    /api/models/<id>/versions/                → list[ModelVersion]
GET    /api/models/<id>/versions/<n>/            → ModelVersion
GET    /api/models/<id>/versions/<n>/params/     → safetensors; ETag, If-None-Match, Range
GET    /api/models/<id>/versions/<n>/moments/    → safetensors: first_moment, second_moment; the same headers
GET    /api/models/<id>/metrics/                 → list[Metric]
POST   /api/models/<id>/metrics/                 form, or MetricsUpload as JSON → 201 Accepted
GET    /api/models/<id>/preprocessing/           → bytes
POST   /api/models/<id>/preprocessing/           multipart: model_preprocessing_file → 202 Accepted

A *local model* is an accepted update of a round; its id is that of the task it was made for. `metadata`, `metrics`,
`preprocessing` and the bytes are there under its id as well, the latter for as long as the update is kept.
"""

from typing import Annotated

from msgspec import Meta

from hansa.protocol.base import Answer, Request
from hansa.protocol.calibration import VersionCalibration
from hansa.protocol.tasks import Sha256

MAX_DIMENSIONS = 32
MAX_INPUT_ELEMENTS = 2**48
"""Of one input: what is computed from it stays exact in every JSON reader."""
MAX_INLINE_BYTES = 2**20
"""A preprocessing pipeline or a moment that is larger is not shown in a record; it has an address of its own."""
MAX_EXAMPLES = 2**53
MAX_POSTED_METRICS = 64
MAX_POSTED_KEY = 32
MAX_POSTED_TEXT = 4096
"""Bytes of a metric that is no number."""


class ModelCreate(Request, frozen=True, forbid_unknown_fields=False):
    """What is said of a new model. Unknown fields are not looked at, as in a form."""

    name: str = ""
    description: str = ""
    type: str = "GLOBAL"
    """GLOBAL, SWAG or MEAN, in any case."""
    round: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    """What the count of its rounds begins with."""
    input_shape: list[Annotated[int, Meta(ge=1)] | None] | None = None
    """null for a dimension that is free, such as the batch. In a form one field per dimension, None or null if free."""
    models: list[str] | None = None
    """The members of a mean of models."""


class ArrayInfo(Answer, frozen=True):
    """One named array of a model."""

    name: str
    dtype: str
    """numpy's name: float32, int64, …"""
    shape: list[int]
    kind: str
    """"param" or "buffer"."""


class Model(Answer, frozen=True, kw_only=True):
    """A model's record, without its bytes."""

    id: str
    owner: str
    """Of a local model: the client that trained it."""
    name: str
    description: str
    kind: str
    """"global", "swag", "mean" or "local"."""
    round: int
    """How many rounds are behind it, in the older platform's count: from the `round` that its owner gave it. In
    daisy-chained trainings every small round counts."""
    version: int | None = None
    """The number of the newest version; null for a mean and for a local model."""
    num_params: int
    """Elements of all arrays of kind param."""
    size: int
    """Of one version, in bytes; 0 for a mean."""
    arrays: list[ArrayInfo]
    """Empty in lists."""
    training: str | None
    created_at: str
    input_shape: list[int | None] | None = None
    preprocessing: str | None = None
    """base64; null in lists, and of more than 1 MiB: fetch it from `preprocessing/`."""
    has_preprocessing: bool = False
    models: list[str] | None = None
    """The members of a mean; null for other models."""
    swag_first_moment: str | None = None
    """base64 of a saved torch tensor, as soon as a SWAG round has made one; empty before, for a model of kind "swag".
    null in lists, and of more than 1 MiB."""
    swag_second_moment: str | None = None
    base_model: str | None = None
    """Of a local model: the global model it was trained from."""
    sample_size: int | None = None
    """Of a local model: the examples it was trained on."""


class LayerStats(Answer, frozen=True):
    """One layer, in torchinfo's words; null is what only a run of the model would tell."""

    layer_id: int
    """The layer's place in the list."""
    class_name: str
    depth: int
    depth_index: int
    executed: bool | None
    var_name: str
    is_leaf_layer: bool
    contains_lazy_param: bool
    is_recursive: bool | None
    input_size: list[int] | None
    output_size: list[int] | None
    kernel_size: list[int] | None
    trainable_params: int
    num_params: int
    param_bytes: int
    output_bytes: int | None
    macs: int | None


class Stats(Answer, frozen=True):
    """A model's layers and sums over them, in torchinfo's words; null is what only a run of the model would tell."""

    input_size: list[list[int]]
    """One input; free dimensions are 1."""
    total_input: int
    """Bytes of that input in float32."""
    total_mult_adds: int | None
    total_output_bytes: int | None
    total_param_bytes: int
    total_params: int
    trainable_params: int
    summary_list: list[LayerStats]


class ModelMetadata(Model, frozen=True, kw_only=True):
    """One model's record in full."""

    stats: Stats | None
    """null without an `input_shape`, and where the file told no layers: a state dict, safetensors, a mean, a local
    model."""


class ModelCreated(Answer, frozen=True):
    """The contract's answer to a new model."""

    detail: str
    model_id: str
    warning: str = ""


class Accepted(Answer, frozen=True):
    """Something was stored with a model."""

    detail: str
    model_id: str


class ModelVersion(Answer, frozen=True):
    """An immutable version; number 0 is the one that was uploaded."""

    model: str
    number: int
    digest: Sha256
    size: int
    parent: str | None
    """`<model>/<number>` of the version it was made from."""
    created_at: str
    calibration: VersionCalibration | None = None
    """How far its confidence is borne out, where a training has asked its clients."""


class Metric(Answer, frozen=True, kw_only=True):
    """One value reported by one client."""

    id: int
    identifier: str | None = None
    """Null; the older platform named here what the server itself had measured."""
    model: str
    step: int
    """The model's `round` when it was measured, or the one that came of the round it was trained in; of a local model
    the round it belongs to."""
    key: str
    value: float | None
    """As `value_float`."""
    value_float: float | None = None
    """Null where what was reported is no finite number."""
    value_binary: str | None = None
    """base64 of the text that was reported, where it is no finite number."""
    reporter: str
    kind: str
    """"train" or "evaluate"."""


class MetricsUpload(Request, frozen=True):
    """Names and values, paired by position."""

    metric_names: list[str]
    metric_values: list[float | str]
    """Text that reads as a finite number is one."""
    sample_size: Annotated[int, Meta(ge=1, le=MAX_EXAMPLES)] = 1
    """How many examples they were measured on: their weight in a mean over clients."""


class Detail(Answer, frozen=True):
    """A sentence and nothing else."""

    detail: str
