"""What the servers written in Python have in common.

They are told what to do on standard input, as child_test.go says; "pongs" is
answered with how many pongs have come.
"""

import asyncio
import sys


class Guests:
    """The clients of a server."""

    def __init__(self):
        self.here = set()
        self.codes = []
        self.pongs = 0
        self.left = asyncio.Condition()

    async def leave(self, client, code):
        async with self.left:
            self.here.discard(client)
            self.codes.append(code)
            self.left.notify_all()

    async def empty(self):
        async with self.left:
            await self.left.wait_for(lambda: not self.here)


def say(*words):
    print(*words, flush=True)


async def obey(guests, stop, drain):
    """Does what standard input says until it ends or the server is to end."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async for line in lines:
        word = line.decode().strip()
        if word == "count":
            say("count", len(guests.here))
        elif word == "pongs":
            say("pongs", guests.pongs)
        elif word == "empty":
            await guests.empty()
            say("empty", *guests.codes)
        elif word == "stop":
            await stop()
            return
        elif word == "drain":
            await drain()
            await guests.empty()
            return
