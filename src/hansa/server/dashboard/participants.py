"""Who takes part in a training."""

from typing import Any, Final

from django.core.paginator import Paginator

from hansa.server.accounts.models import User
from hansa.server.dashboard.page import Page, Shown

CLIENTS_PER_PAGE: Final = 50
SUGGESTED: Final = 100
"""Names that a field offers while one types."""


def clients_part(page: Page, user: User, shown: Shown) -> Shown:
    """Those in need of attention first, then by join order, a page at a time."""

    def needs(client: Any) -> tuple[bool, int]:  # Any: a `Participant`
        return not (client.excluded or client.failures), client.ordinal

    ordered = sorted(shown["record"].clients, key=needs)
    leaf = Paginator(ordered, CLIENTS_PER_PAGE).get_page(page.request.query_params.get("clients"))
    return {
        "participants": leaf.object_list,
        "clients_leaf": leaf,
        "known": _known(shown) if shown["steers"] and shown["open"] else (),
    }


def _known(shown: Shown) -> list[str]:
    """Clients of this server that do not take part."""
    within = [client.id for client in shown["record"].clients if client.active]
    others = User.objects.filter(client=True, is_active=True).exclude(id__in=within[:SUGGESTED])
    found = others.order_by("username").values_list("username", flat=True)[: 2 * SUGGESTED]
    there = {client.username for client in shown["record"].clients if client.active}
    return [name for name in found if name not in there][:SUGGESTED]
