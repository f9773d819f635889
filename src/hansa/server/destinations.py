"""Where the server may send notifications to: the hosts and networks that an operator lists in HANSA_PUSH_ALLOW.

Clients name their own endpoints, so without a list anybody with an account could make the server speak to machines
that only the server can reach. A name that is listed is trusted, whatever it resolves to; any other host counts by its
addresses, every one of which has to be in a listed network.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

EXAMPLE = "client-01,*.clinic.example,10.0.0.0/8,[fd00::]/8"

LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
"""Of a host name. Underscores are no part of the standard, and of many a container's name."""
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""As the last label: resolvers read such a host as an IPv4 address, in whatever spelling."""


class DestinationError(ValueError):
    """A host or network that cannot be used; the message says what was seen and what is wanted."""


def host_of(text: str) -> Address | str:
    """A host as URLs write it: an address, or a name in lower-case ASCII without the dot at its end.

    An IPv6 address that stands for an IPv4 one is that one. Raises DestinationError.

    >>> host_of("Client-01.Clinic.Example.")
    'client-01.clinic.example'
    >>> host_of("[::ffff:127.0.0.1]")
    IPv4Address('127.0.0.1')
    """
    if text.startswith("[") or ":" in text:
        return plain(_ipv6(text.removeprefix("[").removesuffix("]")))
    name = _ascii(text).lower().removesuffix(".")
    if NUMBER.fullmatch(name.rpartition(".")[2]):
        return _ipv4(name)
    if len(name) > 253 or not all(LABEL.fullmatch(label) for label in name.split(".")):
        raise DestinationError(f"{text!r} is no host name; letters, digits, '-', '_' and '.' make one.")
    return name


def plain(address: Address) -> Address:
    """The IPv4 address behind an IPv4-mapped one, else the address itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _ipv6(text: str) -> IPv6Address:
    if "%" in text:
        raise DestinationError(f"{text!r} has a zone, which means something on one machine only; leave it out.")
    try:
        return IPv6Address(text)
    except ValueError as error:
        raise DestinationError(f"{text!r} is no IPv6 address, such as ::1, and no host name.") from error


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise DestinationError(f"{text!r} is a number; write an IPv4 address as four of them: 10.1.2.3.") from error


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    import idna

    try:
        return idna.encode(text, uts46=True).decode()
    except UnicodeError as error:
        raise DestinationError(f"{text!r} is no host name: {error}.") from error


@dataclass(frozen=True, slots=True)
class Destinations:
    """The list. Empty: no notification is sent anywhere."""

    names: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    """Each with the dot it begins with: any name below them is listed."""
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a comma-separated list. Raises DestinationError with the entry at fault.

        >>> Destinations.parse("*.clinic.example, 10.1.2.3").networks
        (IPv4Network('10.1.2.3/32'),)
        """
        names, domains, networks = set(), [], []
        for entry in (each.strip() for each in text.split(",")):
            if entry.startswith("*."):
                domains.append(f".{_name(entry[2:])}")
            elif "/" in entry:
                networks.append(_network(entry))
            elif isinstance(host := _host(entry), str):
                names.add(host)
            else:
                networks.append(ip_network(host))
        return cls(frozenset(names), tuple(domains), tuple(networks))

    def __bool__(self) -> bool:
        """Whether anything is listed."""
        return bool(self.names or self.domains or self.networks)

    def lists(self, name: str) -> bool:
        """Whether this very name is listed, or a domain above it."""
        return name in self.names or any(name.endswith(domain) for domain in self.domains)

    def holds(self, address: Address) -> bool:
        """Whether a listed network has the address.

        A wide network does not open the machine itself (loopback) or its link (where clouds keep credentials): those
        must be listed as such. An address that is nobody's in particular is never held.
        """
        address = plain(address)
        if address.is_unspecified or address.is_multicast:
            return False
        near = address.is_loopback or address.is_link_local
        return any(
            address in network and (not near or network.is_loopback or network.is_link_local)
            for network in self.networks
        )


def _name(text: str) -> str:
    host = _host(text)
    if not isinstance(host, str):
        raise DestinationError(f"'*.{text}': a pattern is for names; write addresses as a network, such as 10.0.0.0/8.")
    return host


def _host(text: str) -> Address | str:
    if not text or text == "*":
        raise DestinationError(f"{text!r} is no host; for all addresses list 0.0.0.0/0 and [::]/0.")
    return host_of(text)


def _network(text: str) -> Network:
    address, _, prefix = text.partition("/")
    try:
        network = ip_network(f"{address.removeprefix('[').removesuffix(']')}/{prefix}")
    except ValueError as error:
        raise DestinationError(f"{text!r} is no network: {error}; write it like 10.0.0.0/8 or [fd00::]/8.") from error
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise DestinationError(f"{text!r} means IPv4 addresses; write it as an IPv4 network, such as 10.0.0.0/8.")
    return network


LOOPBACK = Destinations.parse("127.0.0.0/8,::1")
"""This machine only."""
