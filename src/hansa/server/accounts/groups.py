"""Changes to groups. Who may see one may change it; who is in it is the administrator's to say."""

from django.contrib.auth.models import Group
from django.db import IntegrityError
from rest_framework.exceptions import ValidationError

from hansa.server.accounts import selectors
from hansa.server.accounts.models import User
from hansa.server.changes import change
from hansa.server.lifecycle.errors import NotFoundError

GONE = "Somebody else has just deleted this group."
TAKEN = "A group with that name already exists. Choose another."


def create(*, creator: User, name: str) -> Group:
    """Make a group with one member, who made it. Raises a field error if the name is taken or blank."""
    name = _checked(name)
    try:
        with change("groups.create"):
            group = Group.objects.create(name=name)
            group.user_set.add(creator)
    except IntegrityError as error:
        raise ValidationError({"name": [TAKEN]}) from error
    return group


def rename(*, caller: User, group_id: int, name: str | None) -> Group:
    """Give a group another name; None: it keeps its own. Raises as `create` and `selectors.group`."""
    try:
        with change("groups.rename"):
            group = selectors.group(caller, group_id)
            if name is not None:
                group.name = _checked(name)
                if not Group.objects.filter(id=group_id).update(name=group.name):
                    raise NotFoundError(GONE)
    except IntegrityError as error:
        raise ValidationError({"name": [TAKEN]}) from error
    return group


def delete(*, caller: User, group_id: int) -> None:
    """Delete a group; its members stay. Raises as `selectors.group`."""
    with change("groups.delete"):
        group = selectors.group(caller, group_id)
        _, deleted = group.delete()
        if not deleted.get(Group._meta.label):
            raise NotFoundError(GONE)


def _checked(name: str) -> str:
    if not (stripped := name.strip()):
        raise ValidationError({"name": ["The name is blank. Give it a letter or more."]})
    return stripped
