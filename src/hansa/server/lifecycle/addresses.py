"""Where a request comes from, as far as this server can know it, and as one word per household."""

import ipaddress
from functools import lru_cache
from typing import Protocol

from django.http.request import HttpHeaders
from rest_framework.settings import api_settings

LONGEST = 64
"""Characters of an address; what is longer is none, and is cut so that it cannot fill a memory."""


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
    peer = request.META.get("REMOTE_ADDR") or ""
    if proxies := api_settings.NUM_PROXIES:
        entries = [entry.strip() for entry in request.headers.get("X-Forwarded-For", "").split(",")]
        peer = entries[-min(proxies, len(entries))] or peer
    peer = peer[:LONGEST]
    return _network(peer) if ":" in peer else peer


@lru_cache(maxsize=4096)
def _network(text: str) -> str:
    """The /64 of an IPv6 address, the IPv4 address in a mapped one; both also with a port, as some proxies write it."""
    host = text.partition(":")[0] if text.count(":") == 1 else text.removeprefix("[").partition("]")[0]
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return text
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(found) >> 64 << 64)}/64"
