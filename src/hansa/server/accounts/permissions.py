"""Roles as DRF permissions. Rights to single objects are the selectors' business."""

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from hansa.server.accounts.models import User

if TYPE_CHECKING:
    from rest_framework.views import APIView


class IsActor(BasePermission):
    """Users with the actor role, and superusers."""

    in_place = True
    message = "Only actors may do this. Ask an administrator for the actor role."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Whether the caller may act."""
        return isinstance(request.user, User) and request.user.may_act


def caller(request: Request) -> User:
    """The signed-in user of a view that requires one."""
    if not isinstance(request.user, User):
        raise TypeError("caller() was used in a view that lets anonymous requests in")
    return request.user
