"""Roles as DRF permissions. Rights to single objects are the selectors' business."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from hansa.server.accounts.models import User
from hansa.server.config import Registration

if TYPE_CHECKING:
    from rest_framework.views import APIView


class IsActor(BasePermission):
    """Users with the actor role, and superusers."""

    in_place = True
    message = "Only actors may do this. Ask an administrator for the actor role."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Whether the caller may act."""
        return isinstance(request.user, User) and request.user.may_act


class MayOwn(BasePermission):
    """People; not the machine accounts that invitations make."""

    in_place = True
    message = "An account that was made by an invitation owns nothing: sign in as a person to do this."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Whether the caller may make models and trainings."""
        return isinstance(request.user, User) and request.user.may_own


class MayRegister(BasePermission):
    """Anybody where registration is open; else staff, and superusers."""

    in_place = True
    message = "Accounts on this server are made by its staff: ask them for one (operators: HANSA_REGISTRATION)."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Whether the caller may make an account."""
        if settings.CONFIG.registration is Registration.OPEN:
            return True
        return isinstance(request.user, User) and request.user.may_register


def caller(request: Request) -> User:
    """The signed-in user of a view that requires one."""
    if not isinstance(request.user, User):
        raise TypeError("caller() was used in a view that lets anonymous requests in")
    return request.user
