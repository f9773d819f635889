"""`GET /metrics`, for Prometheus: what the process has counted and what the rows say, in one text."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpResponse
from prometheus_client import exposition
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from hansa.server import measures
from hansa.server.accounts.models import User
from hansa.server.lifecycle.addresses import host
from hansa.server.lifecycle.bridge import work
from hansa.server.lifecycle.in_place import in_place
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.rendering import StructJSONRenderer
from hansa.server.ops import census
from hansa.server.ops.probes import NEVER_STORED

if TYPE_CHECKING:
    from rest_framework.views import APIView


class MayScrape(BasePermission):
    """Who asks from a network of HANSA_METRICS_ALLOW, and staff from anywhere."""

    in_place = True
    message = "The metrics are for staff, and for the networks in HANSA_METRICS_ALLOW."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Whether the caller may read them."""
        if (
            isinstance(request.user, User)
            and request.user.is_active
            and (request.user.is_staff or request.user.is_superuser)
        ):
            return True
        address = host(request)
        return address is not None and any(address in network for network in settings.CONFIG.metrics_allow)


class Metrics(MessageView):
    """For Prometheus, and whoever reads its format."""

    permission_classes = (MayScrape,)
    schema = None

    @in_place
    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """Refusals are JSON; the rest `get` decides by itself."""
        return StructJSONRenderer(), "application/json"

    async def get(self, request: Request) -> HttpResponse:
        """Prometheus's text format 0.0.4, or OpenMetrics where it is accepted."""
        seen = _Seen(await census.gauges())
        if "application/openmetrics-text" in request.META.get("HTTP_ACCEPT", ""):
            text, kind = await work(openmetrics.generate_latest, seen), openmetrics.CONTENT_TYPE_LATEST
        else:
            text, kind = await work(exposition.generate_latest, seen), exposition.CONTENT_TYPE_PLAIN_0_0_4
        return HttpResponse(text, content_type=kind, headers=NEVER_STORED)


class _Seen(Collector):
    """What one scrape gets: the process's registry, and the gauges."""

    def __init__(self, gauges: Iterable[Metric]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        yield from measures.REGISTRY.collect()
        yield from self._gauges
