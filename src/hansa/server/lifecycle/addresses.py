"""Where a request comes from, as far as this server can know it, and as one word per household."""

import ipaddress
from functools import lru_cache
from typing import Protocol

from django.http.request import HttpHeaders
from rest_framework.settings import api_settings

LONGEST = 64
"""Characters of an address; what is longer is none, and is cut so that it cannot fill a memory."""
_BY_OTHERS = frozenset({"HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP", "HTTP_X_CLIENT_IP", "HTTP_TRUE_CLIENT_IP"})
"""Headers by which something on the way says that it passed the request on, beside those that begin X-Forwarded-."""


class Addressed(Protocol):
    """Django's request, and DRF's."""

    @property
    def META(self) -> dict[str, str]:  # noqa: N802  # Django's name
        """The headers and the peer, as in WSGI."""

    @property
    def headers(self) -> HttpHeaders:
        """The headers."""


def address(request: Addressed) -> str:
    """Who sent the request, as a key to count by: an IPv4 address, or the /64 network of an IPv6 address.

    A household or a machine has a whole /64 to itself and may change its address within it with every request.

    The peer of the connection counts, and no header that it could have written itself: X-Forwarded-For only where
    `REST_FRAMEWORK["NUM_PROXIES"]` says how many trusted proxies have each added an entry, and then the entry that the
    outermost of them added. (DRF believes the whole header if that setting is missing; this does not.)
    """
    peer = _peer(request)
    return _network(peer) if ":" in peer else peer


def host(request: Addressed) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Who sent the request, to the address, for those who admit by it; None for what is none (a unix socket).

    None also for a request that says it was passed on, but not by a trusted proxy that says for whom: `address` counts
    the peer then, which is perhaps this machine, and would admit everybody as that.
    """
    for_whom = _for_whom(request)
    return None if not for_whom and _was_passed_on(request) else _host(for_whom or _connected(request))


def _peer(request: Addressed) -> str:
    return _for_whom(request) or _connected(request)


def _connected(request: Addressed) -> str:
    return (request.META.get("REMOTE_ADDR") or "")[:LONGEST]


def _for_whom(request: Addressed) -> str:
    """Whom the outermost trusted proxy names; empty if there is none, or it names nobody."""
    if not (proxies := api_settings.NUM_PROXIES):
        return ""
    entries = [entry.strip() for entry in request.headers.get("X-Forwarded-For", "").split(",")]
    return entries[-min(proxies, len(entries))][:LONGEST]


def _was_passed_on(request: Addressed) -> bool:
    return any(name in _BY_OTHERS or name.startswith("HTTP_X_FORWARDED_") for name in request.META)


@lru_cache(maxsize=4096)
def _network(text: str) -> str:
    """The /64 of an IPv6 address."""
    found = _host(text)
    if found is None:
        return text
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return f"{ipaddress.IPv6Address(int(found) >> 64 << 64)}/64"


def _host(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, an IPv4 one also out of a mapped one; both also with a port, as some proxies write it."""
    alone = text.partition(":")[0] if text.count(":") == 1 else text.removeprefix("[").partition("]")[0]
    try:
        found = ipaddress.ip_address(alone)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
