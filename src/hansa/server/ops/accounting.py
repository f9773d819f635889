"""What is counted, and logged, of every request that has ended."""

from functools import lru_cache
from typing import Final, NamedTuple

from prometheus_client import Counter, Histogram

from hansa.protocol.errors import ErrorCode
from hansa.server import measures
from hansa.server.lifecycle.context import noted
from hansa.server.lifecycle.observing import GONE, Exchange
from hansa.server.ops import logs

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
DELIVERIES: Final = frozenset(
    {
        ("PUT", "api/tasks/<uuid:task_id>/update/<str:digest>/"),
        ("POST", "api/tasks/<uuid:task_id>/report/"),
        ("POST", "api/models/<uuid:model_id>/"),
        ("POST", "api/models/<uuid:model_id>/swag/"),
    }
)
"""Requests by which clients send what they have computed."""
_CODES: Final = frozenset(ErrorCode)


class _Counted(NamedTuple):
    seconds: Histogram
    received: Counter
    sent: Counter


def request_ended(exchange: Exchange) -> None:
    """Count it, and write the log's line of it."""
    counted = _of(exchange.method, exchange.route, exchange.status // 100)
    counted.seconds.observe(exchange.seconds)
    if exchange.received:
        counted.received.inc(exchange.received)
    if exchange.sent:
        counted.sent.inc(exchange.sent)
    if exchange.status >= 400 and (exchange.method, exchange.route) in DELIVERIES:
        code = noted().get("code")
        measures.UPDATES_REFUSED.labels(code if code in _CODES else measures.OTHER).inc()
    logs.request_ended(exchange)


@lru_cache(maxsize=4096)
def _of(method: str, route: str, status: int) -> _Counted:
    """What counts requests like this one. Looking a label up costs as much as counting."""
    known = method if method in METHODS else measures.OTHER
    answered = "gone" if status == GONE else f"{status}xx"
    return _Counted(
        measures.REQUEST_SECONDS.labels(known, route, answered),
        measures.BYTES_RECEIVED.labels(route),
        measures.BYTES_SENT.labels(route),
    )
