"""Where the events of a test come from, and what a client makes of the bytes."""

import asyncio

SILENCE = b":\n\n"
LONG = 3600.0


def received(text):
    """What a client makes of the bytes: the algorithm of the specification, line by line."""
    found, data, kind, last = [], [], "", ""
    for line in text.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                found.append((kind or "message", "\n".join(data), last))
            data, kind = [], ""
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            last = value
    return found


async def until(condition):
    """Wait for what nobody is told of."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.001)


class Source:
    """An iterator that notes what happens to it; `give` feeds it."""

    def __init__(self):
        self.queue = asyncio.Queue()
        self.begun = self.closed = False
        self.steps = 0

    def give(self, *events):
        for event in events:
            self.queue.put_nowait(event)

    async def __call__(self, request=None):
        self.begun = True
        try:
            while True:
                self.steps += 1
                given = await self.queue.get()
                if isinstance(given, BaseException):
                    raise given
                if given is None:
                    return
                yield given
        finally:
            await asyncio.sleep(0)
            self.closed = True
