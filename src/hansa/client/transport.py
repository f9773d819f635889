"""HTTP with Hansa's server: credentials, TLS, and errors as exceptions. Everything else is built on `Transport`.

Nothing is retried here. Whoever calls knows whether trying again is wise: a person's tool says what happened, the
client's loop goes on for ever.
"""

import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar, overload
from weakref import WeakSet

import httpx
import msgspec

from hansa import __version__
from hansa.client.address import checked_token, checked_url, is_loopback, trust, warn_if_readable
from hansa.client.answers import decoded, refuse
from hansa.client.errors import BadAnswer, NotTrusted, Unreachable
from hansa.tracecontext import Span

T = TypeVar("T")

Query = Mapping[str, str | int | float]

JSON = {"Content-Type": "application/json"}

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 20.0
"""An idle connection is not used again after this: servers close theirs after 30 s or more, and a request sent
into a closing connection is lost."""


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form. Files are sent from where they lie, not read into memory."""

    fields: Mapping[str, str | list[str]] = field(default_factory=dict)
    files: Mapping[str, tuple[str, IO[bytes]]] | list[tuple[str, tuple[str, IO[bytes]]]] = field(default_factory=dict)
    """Field name → (file name, file open for reading); as pairs where several files have one name."""


class _Trace:
    """The trace that requests belong to; one for all transports of a caller."""

    id = ""


class Transport:
    """One server, one caller's credentials, and the connections kept alive to it.

    For one thread at a time; only `interrupt` may be called from anywhere. The server's certificate is always
    verified: `ca` names a PEM file with the private authority to trust instead of the public ones. Redirects are
    not followed, so credentials go to no other server than the one named.

    Plain http to another machine is allowed with an `UnencryptedWarning`, not refused: whether to serve without
    TLS is decided where the server is started, which does refuse without `--insecure`; and behind a private
    network's own encryption it is right. `python -W error::UserWarning` makes it a refusal.

    Raises UsageError for a URL or a file that cannot work.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        basic: tuple[str, str] | None = None,
        ca: Path | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._url = checked_url(url)
        self._headers = {"User-Agent": f"hansa/{__version__}", "Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Token {checked_token(token)}"
        self._basic = basic
        self._trace = _Trace()
        self._trust = trust(self._url, ca)
        if token is not None or basic is not None:
            warn_if_readable(self._url)
        self._connect(timeout)

    def _connect(self, timeout: float) -> None:
        self._timeout = timeout
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._interrupted = False
        self._http = httpx.Client(
            headers=self._headers,
            auth=self._basic,
            verify=self._trust,
            # Environment proxies are for other machines; a server on this one would not be found through them.
            trust_env=not is_loopback(self._url.host),
            limits=httpx.Limits(max_connections=4, keepalive_expiry=KEEPALIVE_SECONDS),
        )

    def again(self, *, timeout: float | None = None) -> "Transport":
        """A second transport to the same server with the same credentials, for another thread."""
        other = copy(self)
        other._connect(self._timeout if timeout is None else timeout)
        return other

    def with_token(self, token: str) -> "Transport":
        """A transport to the same server, trusted as this one is, for somebody else."""
        other = copy(self)
        other._headers = {**self._headers, "Authorization": f"Token {checked_token(token)}"}
        other._basic = None
        other._connect(self._timeout)
        return other

    def trace(self, trace_id: str = "") -> str:
        """From here on every request is a step of one trace: a new one, or the one with this id, which is returned.

        Before, each request is a trace of its own. Those that `again` made, before or after, follow.
        """
        self._trace.id = trace_id or Span.root().trace_id
        return self._trace.id

    @property
    def url(self) -> str:
        """The server's address without a trailing slash."""
        return str(self._url).rstrip("/")

    def close(self) -> None:
        """Close the connections. The transport cannot be used again."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def interrupt(self) -> None:
        """End the request in progress, and every later one, with Unreachable. From any thread or signal handler."""
        self._interrupted = True
        for connection in list(self._sockets):
            _shut_down(connection)

    @overload
    def call(
        self,
        method: str,
        path: str,
        *,
        body: msgspec.Struct | None = None,
        params: Query | None = None,
        headers: Mapping[str, str] | None = None,
        into: type[T],
        timeout: float | None = None,
    ) -> T: ...

    @overload
    def call(
        self,
        method: str,
        path: str,
        *,
        body: msgspec.Struct | None = None,
        params: Query | None = None,
        headers: Mapping[str, str] | None = None,
        into: None = None,
        timeout: float | None = None,
    ) -> None: ...

    def call(
        self,
        method: str,
        path: str,
        *,
        body: msgspec.Struct | None = None,
        params: Query | None = None,
        headers: Mapping[str, str] | None = None,
        into: type[T] | None = None,
        timeout: float | None = None,
    ) -> T | None:
        """Send `body` as JSON to `path` (from the server's root: "/api/…") and read the answer as an `into`.

        Raises Unreachable, BadAnswer, ApiError or, for 401, CredentialsRefused.
        """
        sent = {**(headers or {}), **(JSON if body is not None else {})}
        content = None if body is None else msgspec.json.encode(body)
        answer = self.request(method, path, content=content, params=params, headers=sent, timeout=timeout)
        return None if into is None else decoded(answer, into)

    def request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | Iterable[bytes] | None = None,
        form: Form | None = None,
        params: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        """As `call`, with a raw body or a multipart form, and the whole answer. Raises the same, but for BadAnswer."""
        data, files = (None, None) if form is None else (form.fields, form.files)
        with self._opened(
            method, path, content=content, data=data, files=files, params=params, headers=headers, timeout=timeout
        ) as answer:
            return answer

    @contextmanager
    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Iterator[httpx.Response]:
        """GET with the answer's body still to be read, by `iter_raw`."""
        # The bytes are wanted as they are: a digest is checked on them, and a Range counts them.
        wanted = {"Accept": "*/*", "Accept-Encoding": "identity", **(headers or {})}
        with self._opened("GET", path, headers=wanted, timeout=timeout, read=False) as answer:
            yield answer

    @contextmanager
    def _opened(
        self,
        method: str,
        path: str,
        *,
        timeout: float | None,
        read: bool = True,
        **request: Any,  # Any: handed to httpx.Client.build_request, which checks each
    ) -> Iterator[httpx.Response]:
        seconds = self._timeout if timeout is None else timeout
        try:
            built = self._http.build_request(
                method,
                f"{self.url}{path}",
                timeout=httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
                extensions={"trace": self._watch},
                **request,
            )
            built.headers.update(Span.root(self._trace.id).headers())
            answer = self._http.send(built, stream=True)
            try:
                if read or not answer.is_success:
                    answer.read()
                refuse(answer)
                yield answer
            finally:
                answer.close()
        except httpx.TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise NotTrusted(
                    f"{self.url}: its certificate is not trusted ({error}). If it comes from a private authority, "
                    "name that one's certificate with `ca` (--ca)."
                ) from error
            sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
            raise Unreachable(f"{self.url}: {_reason(error, seconds)}", sent=sent) from error
        except httpx.DecodingError as error:
            raise BadAnswer(f"{self.url}{path}: the answer's compression is broken: {error}") from error

    def _watch(self, event: str, info: Mapping[str, Any]) -> None:  # Any: httpcore's trace events, by name
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            connection = info["return_value"].get_extra_info("socket")
            self._sockets.add(connection)
            if self._interrupted:
                _shut_down(connection)
        elif self._interrupted and event.endswith(".send_request_headers.started"):
            raise httpx.ReadError("the client was stopped")


def _reason(error: httpx.TransportError, seconds: float) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection within a few seconds. Is the server running, and is a firewall in between?"
    if isinstance(error, httpx.TimeoutException):
        return f"nothing moved for {seconds:g} s"
    if isinstance(error, httpx.ConnectError):
        return f"no connection ({error}). Is the server running, and is the address right?"
    return f"the connection broke off ({error})"


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # already closed, which is what was wanted
        # Past SSLSocket's own shutdown, which would pull the TLS object from under the thread that reads from it.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
