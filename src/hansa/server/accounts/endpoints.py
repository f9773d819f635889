"""Where a client wants to be told of its tasks: the URL in `User.message_endpoint`, and whether the server may use it.

Checked when a user gives it, and again before each notification, for the list of the operator may have changed
meanwhile. What a name resolves to is checked when a connection is made (`require_allowed`), and the connection goes to
the very address that was checked: a name that resolves differently a moment later gains nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, urlsplit

from django.conf import settings

from hansa.server.destinations import Address, DestinationError, Destinations, host_of

MAX_LENGTH = 500
PORTS = {"http": 80, "https": 443}
FORM = "Give one like https://client.example:8101/."
IN_NO_URL = ' \\"<>^`{|}'
IN_URLS = "/%:@!$&'()*+,;=~?-._"
"""Beside letters and digits, what a path or a query may hold as it is."""


class EndpointError(ValueError):
    """The server must not, or cannot, send there. The message has no part of the URL that could be a secret."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL in its parts, each in one spelling."""

    scheme: str
    host: Address | str
    port: int
    target: str
    """Path and query, as they stand in a request's first line."""

    @property
    def authority(self) -> str:
        """Host and port as they stand in the header `Host`."""
        host = f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def check(url: str) -> None:
    """Raise EndpointError unless the server may send to this URL, as far as that can be known without resolving it."""
    checked(url)


def checked(url: str) -> Endpoint:
    """The parts of a URL that the server may send to. Raises EndpointError."""
    endpoint = parse(url)
    allowed = _allowed()
    if isinstance(endpoint.host, str):
        # Where networks are listed, the addresses of any other name decide, when a connection is made.
        if allowed.lists(endpoint.host) or allowed.networks:
            return endpoint
    elif allowed.holds(endpoint.host):
        return endpoint
    raise EndpointError(f"This server may not send to {endpoint.host}. {_remedy()}")


def require_allowed(host: Address | str, addresses: Iterable[Address]) -> None:
    """Raise EndpointError unless a connection for this host may go to all of the addresses it resolves to.

    Which one is in the way is not told: whoever names an endpoint must not learn how our network resolves names.
    """
    allowed = _allowed()
    if isinstance(host, str) and allowed.lists(host):
        return
    if not all(allowed.holds(address) for address in addresses):
        raise EndpointError(f"This server may not send to {host}: it resolves to an address that is not listed.")


def parse(url: str) -> Endpoint:
    """The parts of a URL; whether it is allowed is another question. Raises EndpointError."""
    if len(url) > MAX_LENGTH:
        raise EndpointError(f"The URL has {len(url)} characters; at most {MAX_LENGTH} are kept. {FORM}")
    if not url.isprintable() or any(character in url for character in IN_NO_URL):
        raise EndpointError(f"The URL has a space or another character that no URL holds. {FORM}")
    try:
        parts = urlsplit(url)
        hostname, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise EndpointError(f"The URL has a host or port that cannot be read. {FORM}") from error
    if parts.scheme not in PORTS:
        raise EndpointError(f"The URL begins with {parts.scheme!r}; it must begin with http:// or https://. {FORM}")
    if "@" in parts.netloc:
        raise EndpointError(f"The URL has a user name or password in it; leave them out. {FORM}")
    if "#" in url:
        raise EndpointError(f"The URL has a fragment ('#'), which is never sent; leave it out. {FORM}")
    if not hostname:
        raise EndpointError(f"The URL names no host. {FORM}")
    if port == 0:
        raise EndpointError(f"The URL has port 0; ports are from 1 to 65535. {FORM}")
    try:
        host = host_of(f"[{hostname}]" if ":" in hostname else hostname)
    except DestinationError as error:
        raise EndpointError(f"The URL's host cannot be used: {error}") from error
    target = quote(parts.path or "/", safe=IN_URLS) + (f"?{quote(parts.query, safe=IN_URLS)}" if parts.query else "")
    return Endpoint(parts.scheme, host, PORTS[parts.scheme] if port is None else port, target)


def _allowed() -> Destinations:
    allowed: Destinations = settings.CONFIG.push_allow
    return allowed


def _remedy() -> str:
    if not _allowed():
        return "It sends notifications to nobody: leave the endpoint empty, or ask its operator (HANSA_PUSH_ALLOW)."
    return "Give an endpoint on a host that its operator has listed, or ask for yours (HANSA_PUSH_ALLOW)."
