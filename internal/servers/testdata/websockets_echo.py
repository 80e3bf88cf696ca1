"""An echo server with Python's websockets, which pings its clients."""

import asyncio
import sys

import websockets

import stdio


async def main():
    host, port = sys.argv[1:]
    guests = stdio.Guests()

    async def pinging(client):
        while True:
            await (await client.ping())
            guests.pongs += 1
            await asyncio.sleep(0.2)

    async def echo(client):
        guests.here.add(client)
        pings = asyncio.create_task(pinging(client))
        try:
            async for message in client:
                await client.send(message)
        except websockets.ConnectionClosed:
            pass
        finally:
            pings.cancel()
            await asyncio.gather(pings, return_exceptions=True)
            await guests.leave(client, client.close_code)

    server = await websockets.serve(echo, host, int(port), ping_interval=0.5, ping_timeout=60)
    at = server.sockets[0].getsockname()
    stdio.say("listening", f"{at[0]}:{at[1]}")

    async def stop():
        server.server.close()
        for client in list(guests.here):
            client.transport.abort()

    async def drain():
        server.close()
        await server.wait_closed()

    await stdio.obey(guests, stop, drain)


asyncio.run(main())
