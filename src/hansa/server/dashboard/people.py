"""Who has an account, and who is in which group. Everybody sees the names of all; what else is as in the API."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from django.contrib import messages
from django.contrib.auth.models import Group
from django.db.models import Count, Prefetch, Q
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from hansa.protocol.accounts import GroupCreate, VisibleUser
from hansa.server.accounts import groups, presence, selectors
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.dashboard.leaves import leaf_of
from hansa.server.dashboard.page import Change, Page, Shown
from hansa.server.dashboard.refusals import status_of, wrong_fields
from hansa.server.dashboard.titles import title
from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.errors import NotFoundError, ServiceError
from hansa.server.trainings import selectors as trainings
from hansa.server.trainings.models import Participation

NAMED: Final = 3
"""Trainings of one account that a table names; the others are counted."""
MOST_ROWS: Final = 2000
"""Participations that are looked through for these names."""
MEMBERS: Final = 20
"""Of a group that a table names."""
NEW_GROUP: Final = "group"
"""The field of a new group's name."""


@dataclass(frozen=True, slots=True)
class Taking:
    """In which trainings somebody takes part, as far as the viewer may see them."""

    named: Sequence[tuple[UUID, str]]
    more: int


@dataclass(frozen=True, slots=True)
class PersonRow:
    """An account in the list."""

    record: VisibleUser
    is_viewer: bool
    role: str
    """Empty where it is not the viewer's to know."""
    last_seen: str | None
    """ISO 8601: when they last signed in here, or asked for work; None: never, or it is not the viewer's to know."""
    taking: Taking

    @property
    def email(self) -> str:
        """Empty where it is not the viewer's to know."""
        return "" if isinstance(self.record.email, msgspec.UnsetType) else self.record.email


class People(Page):
    """Accounts and groups."""

    template = "people.html"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """A page of the accounts whose name has what was searched for."""
        searched = self.request.query_params.get("q", "").strip()[:100]
        everybody = User.objects.filter(is_active=True)
        named = Q(username__icontains=searched) | Q(first_name__icontains=searched) | Q(last_name__icontains=searched)
        leaf = leaf_of(everybody.filter(named).order_by("username"), self.request.query_params.get("page"))
        taking = taking_part(user, [row.id for row in leaf.object_list])
        return {
            "here": "people",
            "q": searched,
            "total": everybody.count(),
            "people": [_row(row, user, taking[row.id]) for row in leaf],
            "leaf": leaf,
            "sees_roles": user.may_register,
            "groups": group_rows(user),
        }


def _row(row: User, viewer: User, taking: Taking) -> PersonRow:
    is_viewer = row.id == viewer.id
    if not (viewer.may_register or is_viewer):
        return PersonRow(selectors.visible(row, viewer), is_viewer, role="", last_seen=None, taking=taking)
    seen = max([at for at in (row.last_login, row.last_seen) if at is not None], default=None)
    return PersonRow(selectors.visible(row, viewer), is_viewer, _role(row), presence.last_seen(row.id, seen), taking)


def _role(row: User) -> str:
    if row.is_superuser:
        return "administrator"
    return "actor" if row.actor else "client" if row.client else "user"


def taking_part(viewer: User, ids: Collection[UUID]) -> Mapping[UUID, Taking]:
    """For each of these accounts the trainings that the viewer may see, the newest first."""
    visible = trainings.visible(viewer).values("id")
    seen = Participation.objects.filter(client__in=ids, active=True, training__in=visible)
    counts = dict(seen.order_by().values_list("client_id").annotate(Count("id")))
    names: dict[UUID, list[tuple[UUID, str]]] = defaultdict(list)
    newest = seen.order_by("-training__created_at").values_list("client_id", "training_id", "training__name")
    for client, training, name in newest[:MOST_ROWS]:
        if len(names[client]) < NAMED:
            names[client].append((training, title(name, training)))
    return {each: Taking(names[each], counts.get(each, 0) - len(names[each])) for each in ids}


def field_of(group_id: int) -> str:
    """The field in which a group is given another name."""
    return f"{NEW_GROUP}-{group_id}"


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group in the list."""

    group: Group
    members: Sequence[str]
    """The first of them, by name."""
    more: int

    @property
    def field(self) -> str:
        """In which it is given another name."""
        return field_of(self.group.id)


def group_rows(viewer: User) -> Sequence[GroupRow]:
    """One's own groups, for superusers all."""
    first = User.objects.filter(is_active=True).order_by("username")
    found = selectors.seen_groups(viewer).order_by("name").prefetch_related(Prefetch("user_set", first, "known"))
    names = [(group, [member.username for member in group.known]) for group in found]
    return [GroupRow(group, each[:MEMBERS], len(each[MEMBERS:])) for group, each in names]


class _GroupForm(Change, People):
    stands_on, at = "people-page", "groups"

    async def changed(self, request: Request, field: str, service: Callable[..., Group], done: str) -> HttpResponseBase:
        """By a service that takes the name in the field, and says what has it now; or the page with what is wrong."""
        name = str(request.POST.get("name", "")).strip()
        try:
            msgspec.convert({"name": name}, GroupCreate)
            made = await call(service, name=name)
        except msgspec.ValidationError:
            return await self._again(request, field, name, "A group's name has 1 to 150 characters.", 400)
        except (ValidationError, ServiceError) as refusal:
            wrong = wrong_fields(refusal, {"name": field}, about=field)
            return await self._again(request, field, name, wrong[field], status_of(refusal))
        messages.success(request._request, f"“{made.name}” {done}.")
        return self.back()

    async def _again(self, request: Request, field: str, name: str, wrong: str, status: int) -> HttpResponseBase:
        return await self.with_more(request, {"wrong": {field: wrong}, "said": {field: name}}, status)


class NewGroup(_GroupForm):
    """A group that there is not yet."""

    async def post(self, request: Request) -> HttpResponseBase:
        """Make it; who makes it is its first member."""
        return await self.changed(request, NEW_GROUP, partial(groups.create, creator=caller(request)), "is made")


class ChangeGroup(_GroupForm):
    """A group that is called otherwise, or not needed any more."""

    async def post(self, request: Request, group_id: int, move: str) -> HttpResponseBase:
        """Rename it, or delete it; its members stay."""
        user = caller(request)
        if move == "rename":
            rename = partial(groups.rename, caller=user, group_id=group_id)
            return await self.changed(request, field_of(group_id), rename, "is its name now")
        if move != "delete":
            raise NotFoundError(f"A group cannot be told to {move!r}: rename, delete.")
        await call(groups.delete, caller=user, group_id=group_id)
        messages.success(request._request, "The group is deleted. Its members stay.")
        return self.back()
