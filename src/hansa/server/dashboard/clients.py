"""The clients that an actor has invited or trains with: who is there, who fails; and invitations for more."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, Q
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

from hansa.protocol.accounts import ClientSummary
from hansa.rounds.states import TaskState
from hansa.server.accounts import presence, selectors, services
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import IsActor, caller
from hansa.server.dashboard import invitations
from hansa.server.dashboard.leaves import leaf_of
from hansa.server.dashboard.page import Change, Page, Shown
from hansa.server.dashboard.people import Taking, taking_part
from hansa.server.dashboard.refusals import status_of, wrong_fields
from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.trainings.models import Task
from hansa.server.trainings.selectors import steerable

OFTEN: Final = 0.2
"""Of the tasks: whose share of failures is above it is marked."""
ENDED: Final = [state.value for state in (TaskState.REPORTED, TaskState.FAILED, TaskState.LOST)]
FAILED: Final = [TaskState.FAILED.value, TaskState.LOST.value]


@dataclass(frozen=True, slots=True)
class Record:
    """How a client's tasks ended, in the trainings that the viewer steers."""

    ended: int = 0
    failed: int = 0
    working: int = 0

    @property
    def rate(self) -> float | None:
        """The share that failed or was lost; None before the first has ended."""
        return self.failed / self.ended if self.ended else None

    @property
    def tone(self) -> str:
        """How it looks."""
        return "warn" if self.rate is not None and self.rate > OFTEN else "good"


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A client in the list."""

    client: ClientSummary
    state: str
    """`at work`, `online`, `away`, or `invited`: it has not come yet."""
    tone: str
    taking: Taking
    record: Record


class Clients(Page):
    """All of them, by name."""

    template = "clients.html"
    permission_classes = (IsAuthenticated, IsActor)

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """A page of those whose name has what was searched for, and the invitations that wait."""
        now = timezone.now()
        searched = self.request.query_params.get("q", "").strip()[:100]
        known = selectors.known_clients(user)
        found = known.filter(username__icontains=searched).order_by("username")
        leaf = leaf_of(found, self.request.query_params.get("page"))
        return {
            "here": "clients",
            "q": searched,
            "total": known.count(),
            "clients": rows(user, leaf.object_list, now),
            "leaf": leaf,
            "invitations": selectors.open_invitations(user, now),
            "lifetimes": invitations.LIFETIMES,
            "said": {"expires": invitations.USUAL},
        }

    async def post(self, request: Request) -> HttpResponseBase:
        """Invite a client. The code is in this answer and nowhere else."""
        try:
            invited = await invitations.invite(request)
        except (ValidationError, ServiceError) as refusal:
            wrong = wrong_fields(refusal, invitations.FIELDS, about="username")
            return await self.with_more(request, {"wrong": wrong, "said": request.POST}, status_of(refusal))
        return await self.with_more(request, {"invited": invited}, 201)


def rows(viewer: User, page: Sequence[User] | Any, now: datetime) -> Sequence[ClientRow]:  # Any: a slice of a query
    """These clients, in their order."""
    ids = [client.id for client in page]
    taking, past = taking_part(viewer, ids), task_records(viewer, ids, now)
    known = [(client.id, selectors.client_record(client)) for client in page]
    return [_row(client, taking[each], past.get(each, Record()), now) for each, client in known]


def _row(client: ClientSummary, taking: Taking, past: Record, now: datetime) -> ClientRow:
    if past.working:
        state, tone = "at work", "live"
    elif client.last_seen is not None and datetime.fromisoformat(client.last_seen) > now - presence.LATELY:
        state, tone = "online", "good"
    else:
        state, tone = ("away", "idle") if client.enrolled else ("invited", "warn")
    return ClientRow(client, state, tone, taking, past)


def task_records(viewer: User, ids: Collection[UUID], now: datetime) -> Mapping[UUID, Record]:
    """How the tasks of these clients ended, where the viewer may know."""
    tasks = Task.objects.filter(participation__client__in=ids, round__training__in=steerable(viewer))
    counted = (
        tasks.order_by()
        .values("participation__client_id")
        .annotate(
            ended=Count("id", filter=Q(state__in=ENDED)),
            failed=Count("id", filter=Q(state__in=FAILED)),
            working=Count("id", filter=Q(state=TaskState.LEASED.value, lease_until__gt=now)),
        )
    )
    return {row["participation__client_id"]: Record(row["ended"], row["failed"], row["working"]) for row in counted}


class RevokeInvitation(Change):
    """An invitation that is needed no more, or has come into wrong hands."""

    stands_on = "clients-page"
    permission_classes = (IsAuthenticated, IsActor)

    async def post(self, request: Request, invitation_id: UUID) -> HttpResponseBase:
        """Its code stops working at once."""
        whose = await call(services.revoke_invitation, actor=caller(request), invitation_id=invitation_id)
        messages.success(request._request, f"The invitation of {whose} is taken back.")
        return self.back()
