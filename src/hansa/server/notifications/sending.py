"""One attempt to tell a receiver: a POST to its endpoint, and what its answer means."""

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urljoin
from uuid import UUID

import httpcore

from hansa import __version__
from hansa.server.accounts.endpoints import Endpoint, EndpointError, checked
from hansa.server.lifecycle import tracing
from hansa.server.notifications.models import State
from hansa.server.notifications.network import CheckedBackend, Resolve, resolve
from hansa.server.notifications.outcomes import Answer

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
"""From the name's resolution to the head of the answer, over all redirects."""
REST_SECONDS = 1.0
REST_BYTES = 64 * 1024
"""What follows the head of an answer is read for so long, and so far, and forgotten."""
MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 307, 308})
RESOLVERS = 64
ID_HEADER = "Hansa-Notification-Id"

NO_ANSWER = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError)
"""Everything that may go better at the next attempt."""


class Sender:
    """Posts messages. Each attempt has a connection of its own: receivers may well serve one at a time.

    No proxy of the environment is used, no cookie kept, no credential sent. `trust`: whose certificates are believed;
    None: those of the machine's authorities.
    """

    def __init__(self, *, trust: ssl.SSLContext | None = None, resolve: Resolve = resolve) -> None:
        self._trust = trust or ssl.create_default_context()
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="hansa-resolver")
        self._backend = CheckedBackend(self._resolvers, resolve)

    def close(self) -> None:
        """Let go of the threads; those that wait for a name server are not waited for."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def tell(self, *, url: str, message_id: UUID, content: bytes) -> Answer:
        """Post `content` to `url`. 2xx: delivered; any other answer: rejected; none: PENDING, to be tried again.

        DROPPED: we may not send there, which says nothing of the client.
        """
        end = asyncio.get_running_loop().time() + ANSWER_SECONDS
        hops = 0
        try:
            endpoint = checked(url)
            while True:
                status, location = await self._post(endpoint, message_id, content, end)
                if status // 100 == 2:
                    return Answer(State.DELIVERED)
                if status not in REDIRECTS or not location:
                    return Answer(State.REJECTED, f"its endpoint answered {_named(status)}")
                if (hops := hops + 1) > MAX_REDIRECTS:
                    return Answer(State.REJECTED, f"its endpoint redirected more than {MAX_REDIRECTS} times")
                endpoint = _redirected(endpoint, location)
        except EndpointError as error:
            if hops:
                return Answer(State.REJECTED, f"its endpoint redirected to where it may not: {error}")
            return Answer(State.DROPPED, f"its endpoint cannot be used: {error}")
        except TimeoutError:
            return Answer(State.PENDING, f"its endpoint gave no answer within {ANSWER_SECONDS:g} s")
        except NO_ANSWER as error:
            return Answer(State.PENDING, f"its endpoint gave no answer: {_told(error)}")

    async def _post(self, endpoint: Endpoint, message_id: UUID, content: bytes, end: float) -> tuple[int, str]:
        """The status of the answer, and where it redirects to."""
        host = str(endpoint.host).encode()
        url = httpcore.URL(
            scheme=endpoint.scheme.encode(), host=host, port=endpoint.port, target=endpoint.target.encode()
        )
        headers: dict[bytes | str, bytes | str] = {
            "Host": endpoint.authority,
            "User-Agent": f"hansa/{__version__}",
            "Accept": "*/*",
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "Connection": "close",
            ID_HEADER: str(message_id),
        }
        headers.update(tracing.passed_on())
        limits = {"timeout": {"connect": CONNECT_SECONDS}}
        request = httpcore.Request("POST", url, headers=headers, content=content, extensions=limits)
        connection = httpcore.AsyncHTTPConnection(url.origin, ssl_context=self._trust, network_backend=self._backend)
        try:
            async with asyncio.timeout_at(end):
                response = await connection.handle_async_request(request)
            await _read_rest(response, end)
        finally:
            await connection.aclose()
        locations = [value.decode("latin-1") for name, value in response.headers if name.lower() == b"location"]
        return response.status, locations[0] if locations else ""


async def _read_rest(response: httpcore.Response, end: float) -> None:
    """Let the receiver finish its answer, within reason; whatever goes wrong here, its status is known."""
    size = 0
    soon = min(end, asyncio.get_running_loop().time() + REST_SECONDS)
    with suppress(TimeoutError, *NO_ANSWER):
        async with asyncio.timeout_at(soon):
            async for chunk in response.aiter_stream():
                size += len(chunk)
                if size >= REST_BYTES:
                    break


def _redirected(endpoint: Endpoint, location: str) -> Endpoint:
    """The next address, checked like the first. Raises EndpointError."""
    try:
        url = urljoin(f"{endpoint.scheme}://{endpoint.authority}{endpoint.target}", location)
    except ValueError as error:
        raise EndpointError("what it names is no URL.") from error
    target = checked(url)
    if endpoint.scheme == "https" and target.scheme != "https":
        raise EndpointError("from https to http.")
    return target


def _told(error: Exception) -> str:
    """Why there is no answer; nothing of what a receiver sent instead of one."""
    match error:
        case httpcore.TimeoutException():
            return f"no connection within {CONNECT_SECONDS:g} s"
        case httpcore.RemoteProtocolError() if "disconnected" in str(error):
            return "it closed the connection"
        case httpcore.ProtocolError():
            return "what it sent is no HTTP"
        case _:
            return str(error)[:200] or "the connection broke"


def _named(status: int) -> str:
    """The status with its name, as the standard has it: what a receiver writes there is its own."""
    with suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)
