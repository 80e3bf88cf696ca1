"""An echo server with Python's aiohttp, which pings its clients."""

import asyncio
import sys

from aiohttp import WSCloseCode, WSMsgType, web

import stdio


async def main():
    host, port = sys.argv[1:]
    guests = stdio.Guests()
    transports = {}
    draining = False

    async def pinging(client):
        while True:
            await client.ping()
            await asyncio.sleep(0.2)

    async def echo(request):
        # Without autoping pongs are seen, and pings are to be answered.
        client = web.WebSocketResponse(autoping=False, heartbeat=60)
        await client.prepare(request)
        guests.here.add(client)
        transports[client] = request.transport
        pings = asyncio.create_task(pinging(client))
        try:
            if draining:
                await goodbye(client)
            async for message in client:
                if message.type == WSMsgType.TEXT:
                    await client.send_str(message.data)
                elif message.type == WSMsgType.BINARY:
                    await client.send_bytes(message.data)
                elif message.type == WSMsgType.PING:
                    await client.pong(message.data)
                elif message.type == WSMsgType.PONG:
                    guests.pongs += 1
        except ConnectionError:
            pass
        finally:
            pings.cancel()
            await asyncio.gather(pings, return_exceptions=True)
            del transports[client]
            await guests.leave(client, client.close_code)
        return client

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(runner.server, host, int(port))
    at = server.sockets[0].getsockname()
    stdio.say("listening", f"{at[0]}:{at[1]}")

    async def goodbye(client):
        await client.close(code=WSCloseCode.GOING_AWAY, message=b"going away")

    async def stop():
        server.close()
        for transport in list(transports.values()):
            transport.abort()

    async def drain():
        nonlocal draining
        draining = True
        server.close()
        await asyncio.gather(*map(goodbye, guests.here))

    await stdio.obey(guests, stop, drain)


asyncio.run(main())
