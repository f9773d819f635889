"""Whom a list of user ids and user names means."""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Q, QuerySet

from hansa.server.accounts.models import User
from hansa.server.lifecycle.errors import ForbiddenError, NotFoundError

NAMES_AT_ONCE = 500
"""A query has room for so many variables, and no more."""


def to_join(caller: User, names: Sequence[str]) -> list[User]:
    """Those whom the caller may name as participants: everybody with an open account.

    The `client` mark only says whom `GET /api/clients/` lists, as on the older platform. A machine that was invited
    works for whoever names it, without being asked; so only actors may. Raises ForbiddenError for it, else as `_named`.
    """
    users = _named(names, User.objects.filter(is_active=True))
    machine = next((user for user in users if not (caller.may_act or user.may_own)), None)
    if machine is not None:
        raise ForbiddenError(
            f"{machine.username!r} was invited to take part, and works for actors alone. Ask an administrator for the "
            "actor role, or leave it out."
        )
    return users


def to_leave(caller: User, names: Sequence[str]) -> list[User]:  # whoever calls: as `to_join`
    """Those who may be removed: everybody, also who has no open account any more. Raises as `_named`."""
    return _named(names, User.objects.all())


def _named(names: Sequence[str], users: QuerySet[User]) -> list[User]:
    """The users with these ids or user names, in the order given, without repetition. An id goes before a name.

    Raises NotFoundError naming the first that is unknown.
    """
    found: dict[UUID, User] = {}
    for start in range(0, len(names), NAMES_AT_ONCE):
        some = names[start : start + NAMES_AT_ONCE]
        ids = [parsed for name in some if (parsed := _uuid(name)) is not None]
        rows = list(users.filter(Q(username__in=some) | Q(id__in=ids)))
        by_id, by_name = {user.id: user for user in rows}, {user.username: user for user in rows}
        for name in some:
            parsed = _uuid(name)
            user = (by_id.get(parsed) if parsed is not None else None) or by_name.get(name)
            if user is None:
                raise NotFoundError(f"There is no user {name!r}. GET /api/users/ lists those that may be named.")
            found.setdefault(user.id, user)
    return list(found.values())


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
