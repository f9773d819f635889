"""Long lists, a page at a time."""

from typing import Any, Final

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet

PER_PAGE: Final = 25


def leaf_of(rows: QuerySet[Any], number: str | None) -> Page[Any]:  # Any: rows of any kind
    """One page of rows; the nearest there is, where there is no such page."""
    return Paginator(rows, PER_PAGE).get_page(number)
