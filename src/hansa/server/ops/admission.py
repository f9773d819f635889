"""Who may see the server's figures: what is free on its disk, how much it does."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from hansa.server.accounts.models import User
from hansa.server.lifecycle.addresses import Addressed, host

if TYPE_CHECKING:
    from rest_framework.views import APIView


class MayScrape(BasePermission):
    """Who asks from a network of HANSA_METRICS_ALLOW, and staff from anywhere."""

    in_place = True
    message = "The metrics are for staff, and for the networks in HANSA_METRICS_ALLOW."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Whether the caller may read them."""
        user = request.user
        if isinstance(user, User) and user.is_active and (user.is_staff or user.is_superuser):
            return True
        return comes_from_allowed_network(request)


def comes_from_allowed_network(request: Addressed) -> bool:
    """One of HANSA_METRICS_ALLOW: no credentials are needed from there."""
    address = host(request)
    return address is not None and any(address in network for network in settings.CONFIG.metrics_allow)
