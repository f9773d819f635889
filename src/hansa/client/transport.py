"""HTTP with Hansa's server: credentials, TLS, and errors as exceptions. Everything else is built on `Transport`.

Nothing is retried here. Whoever calls knows whether trying again is wise: a person's tool says what happened, the
client's loop goes on for ever.
"""

import socket
import ssl
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from threading import Event
from time import time
from types import TracebackType
from typing import IO, Any, Self, TypeVar, overload
from weakref import WeakSet

import httpx
import msgspec

from hansa import __version__
from hansa.client.errors import ApiError, BadAnswer, CredentialsRefused, Unreachable, UsageError
from hansa.protocol.errors import ErrorBody, ErrorCode

T = TypeVar("T")

Query = Mapping[str, str | int | float]

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 20.0
"""An idle connection is not used again after this: servers close theirs after 30 s or more, and a request sent
into a closing connection is lost."""


class UnencryptedWarning(UserWarning):
    """The credentials travel unencrypted to another machine."""


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form. Files are sent from where they lie, not read into memory."""

    fields: Mapping[str, str | list[str]] = field(default_factory=dict)
    files: Mapping[str, tuple[str, IO[bytes]]] = field(default_factory=dict)
    """Field name → (file name, file open for reading)."""


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
        self._url = _checked(url, credentials=token is not None or basic is not None)
        self._timeout = timeout
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._interrupted = Event()
        headers = {"User-Agent": f"hansa/{__version__}", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Token {_checked_token(token)}"
        self._http = httpx.Client(
            headers=headers,
            auth=basic,
            verify=_trust(ca) if ca is not None else True,
            # Environment proxies are for other machines; a server on this one would not be found through them.
            trust_env=not _is_loopback(self._url.host),
            limits=httpx.Limits(max_connections=4, keepalive_expiry=KEEPALIVE_SECONDS),
        )

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
        self._interrupted.set()
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
        sent = {**(headers or {}), **({"Content-Type": "application/json"} if body is not None else {})}
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
            answer = self._http.send(built, stream=True)
            try:
                if read or not answer.is_success:
                    answer.read()
                _refuse(answer)
                yield answer
            finally:
                answer.close()
        except httpx.TransportError as error:
            raise Unreachable(f"{self.url}: {_reason(error, seconds)}") from error
        except httpx.DecodingError as error:
            raise BadAnswer(f"{self.url}{path}: the answer's compression is broken: {error}") from error

    def _watch(self, event: str, info: Mapping[str, Any]) -> None:  # Any: httpcore's trace events, by name
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            connection = info["return_value"].get_extra_info("socket")
            self._sockets.add(connection)
            if self._interrupted.is_set():
                _shut_down(connection)
        elif self._interrupted.is_set() and event.endswith(".send_request_headers.started"):
            raise httpx.ReadError("the client was stopped")


def decoded(answer: httpx.Response, into: type[T]) -> T:
    """The JSON body of an answer as an `into`; BadAnswer if it is not one."""
    try:
        return msgspec.json.decode(answer.content, type=into)
    except msgspec.DecodeError as error:
        raise BadAnswer(
            f"{answer.url} answered {answer.status_code} with something this client does not understand ({error}). "
            "Is the URL that of a Hansa server, and is this client as new as the server?"
        ) from error


def _refuse(answer: httpx.Response) -> None:
    """Raise what an answer outside 2xx means."""
    if answer.is_success:
        return
    if answer.status_code < 400:
        target = answer.headers.get("Location", "nowhere")
        raise BadAnswer(
            f"{answer.url} answered {answer.status_code} and points to {target}. Redirects are not followed, because "
            "credentials would go with them: give the server's own address as the URL."
        )
    status = answer.status_code
    body, errors = _error_body(answer)
    retry_after = _retry_after(answer.headers.get("Retry-After"))
    refusal = CredentialsRefused if status == HTTPStatus.UNAUTHORIZED else ApiError
    raise refusal(status, body.code, body.detail, errors, retry_after=retry_after)


def _error_body(answer: httpx.Response) -> tuple[ErrorBody, dict[str, list[str]]]:
    """What an error answer says: a code and a sentence, or a request's field errors, or a stranger's page."""
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(answer.content, type=ErrorBody), {}
    with suppress(msgspec.DecodeError):
        errors = msgspec.json.decode(answer.content, type=dict[str, list[str]])
        return ErrorBody(detail="the request is not valid", code=ErrorCode.INVALID), errors
    seen = f"{answer.url} answered {answer.status_code} {answer.reason_phrase} without saying why."
    code = ErrorCode.NOT_FOUND if answer.status_code == HTTPStatus.NOT_FOUND else "unknown"
    return ErrorBody(detail=f"{seen} Is a proxy in front of it?", code=code), {}


def _retry_after(value: str | None) -> float | None:
    """Seconds from now; the header holds seconds or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None


def _reason(error: httpx.TransportError, seconds: float) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection within a few seconds. Is the server running, and is a firewall in between?"
    if isinstance(error, httpx.TimeoutException):
        return f"nothing moved for {seconds:g} s"
    if isinstance(error, httpx.ConnectError):
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return (
                f"its certificate is not trusted ({error}). Name its authority with `ca` (--ca) if it is a private one."
            )
        return f"no connection ({error}). Is the server running, and is the address right?"
    return f"the connection broke off ({error})"


def _checked(url: str, *, credentials: bool) -> httpx.URL:
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise UsageError(
            f"{url!r} is not a URL ({error}); wanted is something like https://hansa.example.org"
        ) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"{url!r} is not the address of a server; wanted is something like https://hansa.example.org")
    if parsed.userinfo:
        raise UsageError("the server's URL holds a user name or password. Leave them out, and pass a token instead.")
    if parsed.query or parsed.fragment:
        raise UsageError(f"{url!r} has a query or a fragment; wanted is the server's address alone.")
    if credentials and parsed.scheme == "http" and not _is_loopback(parsed.host):
        warnings.warn(
            f"the credentials for {parsed.host} travel unencrypted: anybody on the way can read and use them. "
            "Use https (hansa serve --tls-cert, --tls-key).",
            UnencryptedWarning,
            stacklevel=3,
        )
    return parsed.copy_with(path=parsed.path.rstrip("/") or "/")


def _checked_token(token: str) -> str:
    stripped = token.strip()
    if not stripped or not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        # The text is not repeated here: what was meant to be a token may be another secret.
        raise UsageError(
            f"the token has {len(stripped)} characters that cannot all stand in a header; wanted is one word, 40 hex "
            "digits as `hansa enroll` or `hansa tokens create` printed them. Was the right file read?"
        )
    return stripped


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _trust(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca))
    except FileNotFoundError as error:
        raise UsageError(f"the authority's certificate {ca} does not exist") from error
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"the authority's certificate {ca} cannot be read as PEM ({error})") from error


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # already closed, which is what was wanted
        # Past SSLSocket's own shutdown, which would pull the TLS object from under the thread that reads from it.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
