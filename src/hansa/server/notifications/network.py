"""Connections that go only where the operator lets them: resolved once, checked, and made to the checked address."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from ipaddress import ip_address

import httpcore

from hansa.server.accounts.endpoints import require_allowed
from hansa.server.destinations import Address, host_of

Resolve = Callable[[str, int], list[Address]]


def resolve(name: str, port: int) -> list[Address]:
    """All addresses of a name, in the order in which the system would try them. Blocks."""
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(sockaddr[0]) for *_, sockaddr in found))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """How httpcore reaches a host: no address is connected to that was not checked, so that a name which resolves
    differently from one moment to the next (DNS rebinding) leads nowhere else.

    `resolvers`: threads for the system's resolver, which may hang for as long as a name server does.
    """

    def __init__(self, resolvers: Executor, resolve: Resolve) -> None:
        self._resolvers = resolvers
        self._resolve = resolve
        self._sockets = httpcore.AnyIOBackend()
        self._resolving: dict[str, asyncio.Future[list[Address]]] = {}
        """One resolution of a name at a time, whoever asks: one that hangs keeps one thread, not all of them."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of the host that answers. Raises EndpointError if any of them is not allowed."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._addresses(host, port)
                return await self._first(addresses, port, timeout)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection within {timeout:g} s") from error

    async def _addresses(self, host: str, port: int) -> list[Address]:
        target = host_of(f"[{host}]" if ":" in host else host)
        if isinstance(target, str):
            try:
                addresses = await asyncio.shield(self._resolution(target, port))
            except OSError as error:
                raise httpcore.ConnectError(f"the name {target} does not resolve") from error
        else:
            addresses = [target]
        require_allowed(target, addresses)
        return addresses

    def _resolution(self, name: str, port: int) -> asyncio.Future[list[Address]]:
        """The resolution of a name that is under way, or a new one."""
        if name not in self._resolving:
            loop = asyncio.get_running_loop()
            self._resolving[name] = loop.run_in_executor(self._resolvers, self._resolve, name, port)
            self._resolving[name].add_done_callback(lambda done: self._resolved(name, done))
        return self._resolving[name]

    def _resolved(self, name: str, done: asyncio.Future[list[Address]]) -> None:
        del self._resolving[name]
        if not done.cancelled():
            done.exception()  # looked at, even if nobody waits for it any more

    async def _first(self, addresses: list[Address], port: int, seconds: float | None) -> httpcore.AsyncNetworkStream:
        """The addresses are tried one after the other; each has an even share of the time."""
        share = None if seconds is None else seconds / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._sockets.connect_tcp(str(address), port, timeout=share)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        try:
            return await self._sockets.connect_tcp(str(addresses[-1]), port, timeout=share)
        except httpcore.ConnectError as error:
            raise httpcore.ConnectError(_told(error)) from error


def _told(error: BaseException) -> str:
    """What the system said, in its own words: httpcore and anyio wrap it several times."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return os.strerror(seen.errno) if seen.errno in errno.errorcode else str(seen)
        seen = seen.__cause__ or seen.__context__
    return str(error) or type(error).__name__
