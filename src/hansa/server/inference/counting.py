"""What is counted of questions: how they ended, and how many are open."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from rest_framework.exceptions import APIException

from hansa.server import measures
from hansa.server.lifecycle.errors import ServiceError

ANSWERED = "answered"


@contextmanager
def counted() -> Iterator[None]:
    """Count one question by its outcome; an error is raised again."""
    measures.INFERENCES_WAITING.inc()
    began = perf_counter()
    outcome = measures.OTHER
    try:
        yield
        outcome = ANSWERED
        measures.INFERENCE_SECONDS.observe(perf_counter() - began)
    except (ServiceError, APIException) as error:
        outcome = _code(error)
        raise
    finally:
        measures.INFERENCES_WAITING.dec()
        measures.INFERENCES.labels(outcome).inc()


def _code(error: ServiceError | APIException) -> str:
    if isinstance(error, ServiceError):
        return str(error.code)
    code = error.get_codes()
    return code if isinstance(code, str) else "invalid"
