"""How many accounts strangers may make."""

from typing import TYPE_CHECKING

from rest_framework.request import Request

from hansa.server.lifecycle.throttles import RateThrottle

if TYPE_CHECKING:  # as in lifecycle.throttles
    from rest_framework.views import APIView


class SignUpThrottle(RateThrottle):
    """Counts by address what anonymous callers ask, successful or not."""

    scope = "sign_up"

    def get_key(self, request: Request, view: "APIView") -> str | None:
        """The address; None for who is signed in."""
        return None if request.user.is_authenticated else self.get_ident(request)
