"""How a cell came to its end, as its nursery tells the server: the status that the kernel kept."""

import asyncio
import os
import signal
from typing import Final

from hansa.sandbox.messages import Broken, Failed, Outcome, Refused

LENGTH: Final = 4
UNCONFINED: Final = 70
"""The exit status of a cell that could not be confined, and computed nothing."""
EXHAUSTED: Final = 71
"""The exit status of a cell whose memory was not even enough to say so."""
NO_MEMORY: Final = "the program needs more memory than a program may have"
PATIENCE: Final = 5.0
"""Seconds until a killed cell is given up on: its nursery may be gone as well."""


def told(status: int) -> bytes:
    """An exit status, or a signal's number below zero, as it is sent."""
    return status.to_bytes(LENGTH, "little", signed=True)


async def fate(pipe: int) -> Outcome:
    """What the end of a cell says of its program."""
    try:
        async with asyncio.timeout(PATIENCE):
            await _readable(pipe)
    except TimeoutError:
        return Broken("the program's process ended, and nobody knows how")
    content = os.read(pipe, LENGTH)
    if len(content) < LENGTH:
        return Broken("the program's process ended with all others")
    return outcome_of(int.from_bytes(content, "little", signed=True))


def outcome_of(status: int) -> Outcome:
    """What an exit status, or a signal's number below zero, says of the program."""
    if -status == signal.SIGXCPU:
        return Refused("cpu", "the program used up its time of the processor")
    if -status == signal.SIGKILL:
        return Broken(
            "the program's process was killed: by the kernel, as the machine ran out of memory, or by someone"
        )
    if status < 0:
        return Failed(f"the program crashed its process: {signal.strsignal(-status) or f'signal {-status}'}")
    if status == UNCONFINED:
        return Broken("the program was not begun: its process could not be confined; the server's log says why")
    if status == EXHAUSTED:
        return Refused("memory", NO_MEMORY)
    return Failed(f"the program ended its process, with status {status}")


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def found() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, found)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
