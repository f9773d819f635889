"""The first page: what runs, who is there, what wants a person. And the list of all trainings."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db.models import F
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from hansa.server.accounts import presence
from hansa.server.accounts.models import User
from hansa.server.accounts.selectors import known_clients
from hansa.server.dashboard import news
from hansa.server.dashboard.concerns import concerns
from hansa.server.dashboard.leaves import leaf_of
from hansa.server.dashboard.page import Page, Shown, by_script, render_part
from hansa.server.dashboard.training_cards import TONES, cards, counted, listed
from hansa.server.trainings import selectors
from hansa.server.trainings.models import Task

NEWEST: Final = 8
"""Trainings on the first page; the others are a click away."""


class _Followed(Page):
    """A page of which the greater part is fetched anew when a training has moved."""

    part: str

    def rendered(self, request: Request, shown: Shown, *, status: int = 200) -> HttpResponse:
        """The page, or that part for the script that follows it."""
        if by_script(request._request):
            return render_part(request._request, f"dashboard/parts/{self.part}.html", shown)
        return super().rendered(request, shown, status=status)


class Overview(_Followed):
    """What runs, who is there, and what needs attention."""

    template, part = "overview.html", "overview"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """As far as the user may see it."""
        known, now = news.newest(user), timezone.now()
        visible = selectors.visible(user)
        newest = visible.order_by(F("started_at").desc(nulls_first=True), "-created_at")[:NEWEST]
        return {
            "here": "overview",
            "after": known,
            "counts": counted(visible),
            "total": visible.count(),
            "cards": cards(newest, user, now),
            "clients": _clients(user, now) if user.may_act else None,
            "concerns": concerns(user, now),
        }


class Trainings(_Followed):
    """All of them, by state."""

    template, part = "trainings.html", "training_list"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: as above
        """A page of those of one state, newest first."""
        known, now = news.newest(user), timezone.now()
        visible = selectors.visible(user)
        status = self.request.query_params.get("status", "")
        leaf = leaf_of(listed(user, status), self.request.query_params.get("page"))
        return {
            "here": "trainings",
            "after": known,
            "counts": counted(visible),
            "total": visible.count(),
            "status": status if status in TONES else "",
            "cards": cards(leaf.object_list, user, now),
            "leaf": leaf,
        }


def _clients(user: User, now: datetime) -> Mapping[str, int]:
    """How many clients the user knows of: online, at work, and waiting, which is to be online without work."""
    known = dict(known_clients(user).values_list("id", "last_seen"))
    seen = {client: presence.last_seen(client, last) for client, last in known.items()}
    online = {each for each, at in seen.items() if at and datetime.fromisoformat(at) > now - presence.LATELY}
    leased = Task.objects.filter(lease_until__gt=now, state="leased").values_list("participation__client_id", flat=True)
    working = set(leased) & known.keys()
    there = len(online | working)
    return {"known": len(known), "online": there, "working": len(working), "waiting": there - len(working)}
