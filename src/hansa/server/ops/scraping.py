"""`GET /metrics`, for Prometheus: what the process has counted and what the rows say, in one text."""

import asyncio
from collections.abc import Iterable, Iterator

from django.http import HttpResponse
from prometheus_client import exposition
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from hansa.server import measures
from hansa.server.lifecycle.in_place import in_place
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.rendering import StructJSONRenderer
from hansa.server.ops import census
from hansa.server.ops.admission import MayScrape
from hansa.server.ops.probes import NEVER_STORED


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
        # On no thread of the bridge: while a disk or a database hangs, all of them may wait for it.
        if "application/openmetrics-text" in request.META.get("HTTP_ACCEPT", ""):
            text, kind = await asyncio.to_thread(openmetrics.generate_latest, seen), openmetrics.CONTENT_TYPE_LATEST
        else:
            text, kind = await asyncio.to_thread(exposition.generate_latest, seen), exposition.CONTENT_TYPE_PLAIN_0_0_4
        return HttpResponse(text, content_type=kind, headers=NEVER_STORED)


class _Seen(Collector):
    """What one scrape gets: the process's registry, and the gauges."""

    def __init__(self, gauges: Iterable[Metric]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        yield from measures.REGISTRY.collect()
        yield from self._gauges
