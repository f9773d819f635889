"""The DLR platform's rows as they were found, without the bytes of their models: of those only the sizes."""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Group:
    """A row of `auth_group`."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class User:
    """A row of `fl_server_core_user`."""

    id: UUID
    username: str
    password: str
    first_name: str
    last_name: str
    email: str
    is_active: bool
    is_staff: bool
    is_superuser: bool
    date_joined: datetime
    last_login: datetime | None
    actor: bool
    client: bool
    message_endpoint: str


@dataclass(frozen=True, slots=True)
class Token:
    """A row of `authtoken_token`: in clear, as that platform keeps it."""

    key: str
    user_id: UUID
    created: datetime


@dataclass(frozen=True, slots=True)
class Membership:
    """A user in a group."""

    user_id: UUID
    group_id: int


class ModelKind(StrEnum):
    """By the table that holds the rest of a model's row, whatever its content type says."""

    GLOBAL = "global"
    SWAG = "swag"
    MEAN = "mean"
    LOCAL = "local"
    NONE = "none"
    """No table does: a row that was left behind."""


@dataclass(frozen=True, slots=True)
class Model:
    """A row of `fl_server_core_model` with that of its kind. Sizes are bytes; None: the column is NULL, or not its."""

    id: UUID
    owner_id: UUID
    round: int
    kind: ModelKind
    name: str | None
    description: str | None
    input_shape: Any
    """Any: a list of integers and nulls, nested where somebody wrote so; text in databases of early versions."""
    weights: int | None
    preprocessing: int | None
    first_moment: int | None
    second_moment: int | None
    members: tuple[UUID, ...]
    """Of a mean model, in the order in which they were named."""


@dataclass(frozen=True, slots=True)
class Training:
    """A row of `fl_server_core_training`."""

    id: UUID
    model_id: UUID
    actor_id: UUID
    state: str
    target_num_updates: int
    last_update: datetime
    uncertainty_method: str
    aggregation_method: str
    options: Any
    """Any: JSON, an object if it was made through the API."""
    participants: tuple[UUID, ...]
    """In the order in which they joined."""


@dataclass(frozen=True, slots=True)
class Metric:
    """The last value that a reporter sent of a key at a step."""

    step: int
    reporter_id: UUID
    key: str
    value: float | None
    binary: bytes | None

    @property
    def number(self) -> float | None:
        """The value if it is a finite number: what JSON can carry."""
        return self.value if self.value is not None and math.isfinite(self.value) else None

    @property
    def text(self) -> bytes | None:
        """The value if it is no finite number: what was sent, or what a number that is none is called."""
        if self.number is not None:
            return None
        return self.binary if self.value is None else str(self.value).encode()


@dataclass(frozen=True, slots=True)
class MetricCounts:
    """How many rows of `fl_server_core_metric` a model has, by what can be done with them."""

    model_id: UUID
    rows: int
    moments: int
    """SWAG statistics, kept there as if they were metrics."""
    incomplete: int
    """Without a reporter, a step or a value."""
    too_long: int
    """Values that are no numbers, longer than Hansa keeps."""
    first_step: int | None
    """Of all others; None without any."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything but metrics and bytes."""

    groups: tuple[Group, ...]
    users: tuple[User, ...]
    tokens: tuple[Token, ...]
    memberships: tuple[Membership, ...]
    models: tuple[Model, ...]
    trainings: tuple[Training, ...]
    metrics: tuple[MetricCounts, ...]
