"""Both sides of WebSocket.

websocket.py serve PORT
websocket.py talk URL
"""

import asyncio
import sys

import websockets

LARGE = b"\x00\xff" * 100_000


async def answer(connection):
    print("asked for", connection.path, flush=True)
    # The server speaks first; then it repeats what it hears.
    await connection.send("welcome")
    async for message in connection:
        await connection.send(message)


async def serve(port):
    async with websockets.serve(answer, None, int(port)):
        print("serving", flush=True)
        await asyncio.Future()


async def talk(url):
    try:
        async with websockets.connect(url, open_timeout=5, compression=None) as connection:
            assert await connection.recv() == "welcome"
            for message in ["hello", LARGE, "", "bye"]:
                await connection.send(message)
                assert await connection.recv() == message
            await (await connection.ping())
        print("closed", connection.close_code)
    except websockets.InvalidStatusCode as refused:
        print("refused", refused.status_code)


asyncio.run({"serve": serve, "talk": talk}[sys.argv[1]](sys.argv[2]))
