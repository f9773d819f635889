"""What this process counts of its own work, for Prometheus. `GET /metrics` shows it with what the rows say.

Counters begin at 0 with the process. No label has a value that people or clients choose: no names, no ids, no paths as
they were typed. What happens in a transaction is counted once that is committed (`once_committed`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Final

from django.db import transaction
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from hansa import __version__
from hansa.protocol.errors import ErrorCode
from hansa.protocol.tasks import TaskKind

disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client's own. It would be a series more for each
REGISTRY: Final = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)  # memory, processor time, open files
Info("hansa", "This server.", registry=REGISTRY).info({"version": __version__})

OTHER: Final = "other"
"""A label for what is none of the known."""

UPDATES_ACCEPTED: Final = Counter(
    "hansa_updates_accepted",
    "Reports that count: updates (train), moments (swag), evaluations (evaluate) and calibrations (calibrate).",
    ["kind"],
    registry=REGISTRY,
)
UPDATES_REFUSED: Final = Counter(
    "hansa_updates_refused",
    "Uploads and reports of updates that were refused, by the error's code.",
    ["code"],
    registry=REGISTRY,
)
ROUNDS_ENDED: Final = Counter(
    "hansa_rounds_ended", "Attempts at rounds that came to their end: done, or abandoned.", ["how"], registry=REGISTRY
)
BLOBS_DAMAGED: Final = Counter(
    "hansa_blobs_damaged",
    "Blobs that were found damaged or missing; each once until it is whole again.",
    registry=REGISTRY,
)
LEASES_LOST: Final = Counter(
    "hansa_leases_lost", "Tasks whose client gave no sign of life until its lease ended.", registry=REGISTRY
)
CLIENTS_WAITING: Final = Gauge(
    "hansa_clients_waiting", "Requests for work that wait on the server now.", registry=REGISTRY
)
NOTIFICATIONS: Final = Counter(
    "hansa_notifications",
    "Attempts to tell push clients something, by what came of them.",
    ["outcome"],
    registry=REGISTRY,
)
SIGN_INS_FAILED: Final = Counter(
    "hansa_sign_ins_failed", "Wrong passwords, tokens and invitation codes.", ["credential"], registry=REGISTRY
)

_AGGREGATION_SECONDS: Final = Histogram(
    "hansa_aggregation_seconds",
    "From reading the first update of a round to the version, or its moments, on the disk.",
    ["kind"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
    registry=REGISTRY,
)
_AGGREGATION_BYTES: Final = Counter(
    "hansa_aggregation_read_bytes", "Bytes of updates that aggregations were given to read.", registry=REGISTRY
)
_AGGREGATIONS_FAILED: Final = Counter(
    "hansa_aggregations_failed", "Aggregations that did not come to their end.", ["kind"], registry=REGISTRY
)

INFERENCES: Final = Counter(
    "hansa_inferences",
    "Questions to models, by what came of them: answered, or an error's code.",
    ["outcome"],
    registry=REGISTRY,
)
INFERENCE_SECONDS: Final = Histogram(
    "hansa_inference_seconds",
    "From a question that was understood to the outputs of all its passes.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10, 30, 100),
    registry=REGISTRY,
)
INFERENCES_WAITING: Final = Gauge(
    "hansa_inferences_waiting", "Questions that were understood and have no outputs yet.", registry=REGISTRY
)

REQUEST_SECONDS: Final = Histogram(
    "hansa_http_request_seconds",
    "From a request's head to its answer's last byte. Calls that wait on the server count with the waiting.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 300),
    registry=REGISTRY,
)
BYTES_RECEIVED: Final = Counter("hansa_http_received_bytes", "Bytes of requests' bodies.", ["route"], registry=REGISTRY)
BYTES_SENT: Final = Counter("hansa_http_sent_bytes", "Bytes of answers' bodies.", ["route"], registry=REGISTRY)

# From the start, so that the first of each is seen as an increase.
for _kind in TaskKind:
    UPDATES_ACCEPTED.labels(_kind)
for _code in (*ErrorCode, OTHER):
    UPDATES_REFUSED.labels(_code)
for _how in ("done", "abandoned"):
    ROUNDS_ENDED.labels(_how)
for _credential in ("password", "token", "invitation"):
    SIGN_INS_FAILED.labels(_credential)


def once_committed(counter: Counter, amount: float = 1) -> None:
    """Count what the present transaction does, if it comes to be."""
    transaction.on_commit(partial(counter.inc, amount))


@contextmanager
def aggregation(kind: str, *, size: int) -> Iterator[None]:
    """Time the computing of one mean over updates of `size` bytes in all."""
    began = perf_counter()
    try:
        yield
    except BaseException:  # counted, and raised again
        _AGGREGATIONS_FAILED.labels(kind).inc()
        raise
    _AGGREGATION_SECONDS.labels(kind).observe(perf_counter() - began)
    _AGGREGATION_BYTES.inc(size)
