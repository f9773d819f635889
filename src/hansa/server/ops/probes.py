"""What supervisors of processes ask, without credentials: does the process live, and can it do its work?

A process that does not live is to be restarted; one that is not ready is to be sent no requests, and may need a person.
"""

from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.protocol.base import Answer
from hansa.server.lifecycle.in_place import in_place
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.rendering import StructJSONRenderer
from hansa.server.ops.admission import comes_from_allowed_network
from hansa.server.ops.readiness import findings

NEVER_STORED = {"Cache-Control": "no-store"}


class LivezAnswer(Answer, frozen=True):
    """The process's event loop answers; nothing else was asked."""

    status: str


class CheckAnswer(Answer, frozen=True):
    """One thing that the server needs."""

    ok: bool
    seen: str
    do: str = ""
    """What an operator can do, if it is not well."""


class ReadyzAnswer(Answer, frozen=True):
    """Whether the server can do its work, and each thing that it needs for that."""

    status: str
    """ready, or not ready."""
    checks: dict[str, CheckAnswer]


class Probe(MessageView):
    """Answers in JSON whatever is accepted, and as often as it is asked."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    schema = None

    @in_place
    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """Probes say what they like in Accept."""
        return StructJSONRenderer(), "application/json"


class Livez(Probe):
    """For whoever restarts processes."""

    async def get(self, request: Request) -> Response:
        """200."""
        return Response(LivezAnswer(status="alive"), headers=NEVER_STORED)


class Readyz(Probe):
    """For load balancers, and for people who want to know what is the matter."""

    async def get(self, request: Request) -> Response:
        """200 if all checks are well, else 503; with figures from where the metrics may be read."""
        found = await findings()
        ready = all(finding.ok for finding in found.values())
        precise = comes_from_allowed_network(request)
        checks = {
            name: CheckAnswer(ok=each.ok, seen=each.precisely if precise else each.seen, do=each.do)
            for name, each in found.items()
        }
        answer = ReadyzAnswer(status="ready" if ready else "not ready", checks=checks)
        return Response(answer, status=200 if ready else 503, headers=NEVER_STORED)
