"""What every part of a plan is made of."""

from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Share = Annotated[float, Meta(gt=0, le=1)]


class UnsoundPlanError(ValueError):
    """The plan cannot be run as it stands; the message says which part, what was seen and what is wanted."""


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    """A part of a plan: unknown fields are refused, so that a typing error is told."""
