"""The versions that a training made: what each began from, in which round, and whose updates went into it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from django.core.paginator import Paginator
from django.db.models import TextField
from django.db.models.functions import Cast
from django.urls import reverse

from hansa.server.accounts.models import User
from hansa.server.dashboard.page import Page, Shown
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings.facts import LISTS

VERSIONS_PER_PAGE: Final = 10
NAMED: Final = 5
"""Clients that a line names before it counts the others."""


_ACCEPTED: Final = msgspec.json.Decoder(list[tuple[int, msgspec.Raw, msgspec.Raw]])
"""Of `Round.accepted` the ordinals: a page has ten lists of hundreds, and Django reads them ten times as slowly."""
_FOLDED: Final = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Line:
    """One version, and where it comes from."""

    number: int
    base: int | None
    round: int | None
    """None: it was there when the training began."""
    clients: Sequence[str]
    """The first of those whose updates are in it, in join order."""
    others: int
    """How many more there are."""
    late: int
    """How many late updates of earlier rounds are in it as well."""
    size: int
    digest: str
    has_moments: bool
    lost: str
    """Why its bytes are no more; empty: they are there."""
    created_at: datetime


def versions_part(page: Page, user: User, shown: Shown) -> Shown:
    """The newest versions first, a page at a time."""
    record = shown["record"]
    rows = ModelVersion.objects.filter(model=record.model).select_related("blob", "parent", "round_of")
    wanted = rows.defer("blob__checksums", *(f"round_of__{name}" for name in LISTS)).order_by("-number")
    told = wanted.annotate(**{name: Cast(f"round_of__{name}", TextField()) for name in ("accepted", "folded")})
    leaf = Paginator(told, VERSIONS_PER_PAGE).get_page(page.request.query_params.get("versions"))
    names = {client.ordinal: client.username for client in record.clients}
    return {
        "versions": [_line(row, names) for row in leaf.object_list],
        "versions_leaf": leaf,
        "ask": reverse("model-ask", args=[record.model]),
    }


def _line(row: Any, names: dict[int, str]) -> Line:  # Any: a version with the lists of its round
    made = getattr(row, "round_of", None)
    ordinals = [line[0] for line in _ACCEPTED.decode(row.accepted)] if row.accepted else []
    return Line(
        number=row.number,
        base=None if row.parent is None else row.parent.number,
        round=None if made is None else made.number,
        clients=[names.get(ordinal, "a client") for ordinal in ordinals[:NAMED]],
        others=max(0, len(ordinals) - NAMED),
        late=len(_FOLDED.decode(row.folded)) if row.folded else 0,
        size=row.blob.size,
        digest=row.blob_id,
        has_moments=row.moments_id is not None,
        lost=row.lost,
        created_at=row.created_at,
    )
