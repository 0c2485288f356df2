"""Clients that keep their connections, and their servers.

peers.py serve
peers.py ask ADDRESS HTTP TCP WEBSOCKET    so many connections of each kind, until a line is read

What the clients have done goes to standard output as JSON, failures among it.
"""

import asyncio
import json
import os
import sys
import time

import websockets

PATIENCE = 15
done = {"http": 0, "denied": 0, "tcp": 0, "websocket": 0, "fresh": 0, "dns": 0}
failures = []
# The longest that anybody has waited for an answer, in milliseconds.
slowest = {"http": 0, "tcp": 0, "fresh": 0, "dns": 0}
over = asyncio.Event()


async def serve_http(reader, writer):
    """Answers with the body that it was sent; each request is a line of the log."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            line, *fields = head.decode().split("\r\n")
            length = next((int(f.split(":")[1]) for f in fields if f.lower().startswith("content-length")), 0)
            body = await reader.readexactly(length)
            print(line.split(" ")[1], flush=True) if "/admin" in line else None
            # In two pieces, with time for something to happen between them.
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + body[: length // 2])
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(body[length // 2 :])
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def echo(reader, writer):
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def repeat(connection):
    async for message in connection:
        await connection.send(message)


class Resolver(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, query, address):
        answer = query[:2] + b"\x81\x80" + query[4:6] + b"\x00\x01\x00\x00\x00\x00" + query[12:]
        answer += b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x09\x08\x07"
        self.transport.sendto(answer, address)


async def serve():
    await asyncio.start_server(serve_http, "0.0.0.0", 80, backlog=4096)
    await asyncio.start_server(echo, "0.0.0.0", 7000, backlog=4096)
    await websockets.serve(repeat, "0.0.0.0", 7001, compression=None, ping_interval=None)
    await asyncio.get_running_loop().create_datagram_endpoint(Resolver, ("0.0.0.0", 53))
    print("serving", flush=True)
    await asyncio.Future()


def note(kind, since):
    slowest[kind] = max(slowest[kind], round((time.monotonic() - since) * 1000))


def request(path, body):
    return f"POST {path} HTTP/1.1\r\nhost: web\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    length = next(int(f.split(":")[1]) for f in fields if f.lower().startswith("content-length"))
    return int(line.split(" ")[1]), await reader.readexactly(length)


async def ask_http(address, number):
    reader, writer = await asyncio.open_connection(address, 80)
    turn = 0
    while not over.is_set():
        turn += 1
        is_denied = turn % 5 == 0
        body = os.urandom(2000 if turn % 20 else 300_000)
        since = time.monotonic()
        writer.write(request("/admin" if is_denied else "/get", body))
        status, said = await answer(reader)
        note("http", since)
        if is_denied:
            assert status == 403, status
            done["denied"] += 1
        else:
            assert (status, said) == (200, body), (status, len(said), len(body))
            done["http"] += 1
    writer.close()


async def ask_tcp(address, number):
    reader, writer = await asyncio.open_connection(address, 7000)
    while not over.is_set():
        body = os.urandom(50_000)
        since = time.monotonic()
        writer.write(body)
        said = await reader.readexactly(len(body))
        note("tcp", since)
        assert said == body, "other bytes"
        done["tcp"] += 1
        await asyncio.sleep(0.05)
    writer.close()


async def ask_websocket(address, number):
    url = f"ws://{address}:7001/chat"
    async with websockets.connect(url, compression=None, open_timeout=PATIENCE, ping_interval=None) as connection:
        while not over.is_set():
            message = os.urandom(1000)
            await connection.send(message)
            assert await connection.recv() == message, "another message"
            done["websocket"] += 1
            await asyncio.sleep(0.05)


async def ask_anew(address, number):
    while not over.is_set():
        since = time.monotonic()
        reader, writer = await asyncio.open_connection(address, 80)
        writer.write(request("/get", b"fresh"))
        assert await answer(reader) == (200, b"fresh")
        note("fresh", since)
        writer.close()
        done["fresh"] += 1


async def ask_names(address, number):
    loop = asyncio.get_running_loop()
    while not over.is_set():
        answered = loop.create_future()

        class Asker(asyncio.DatagramProtocol):
            def datagram_received(self, said, _):
                answered.done() or answered.set_result(said)

        transport, _ = await loop.create_datagram_endpoint(Asker, remote_addr=(address, 53))
        query = os.urandom(2) + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x04test\x00\x00\x01\x00\x01"
        since = time.monotonic()
        transport.sendto(query)
        # As patient as resolvers are; none asks twice.
        said = await asyncio.wait_for(answered, 5)
        assert said[:2] == query[:2]
        note("dns", since)
        transport.close()
        done["dns"] += 1
        await asyncio.sleep(0.005)


async def watch_over(kind, work, address, number):
    try:
        await work(address, number)
    except Exception as failure:
        failures.append(f"{kind} {number}: {failure!r}")


async def ask(address, http, tcp, websocket):
    kinds = [
        ("http", ask_http, int(http)),
        ("tcp", ask_tcp, int(tcp)),
        ("websocket", ask_websocket, int(websocket)),
        ("fresh", ask_anew, 4),
        ("dns", ask_names, 2),
    ]
    tasks = [
        asyncio.create_task(watch_over(kind, work, address, number))
        for kind, work, count in kinds
        for number in range(count)
    ]
    await asyncio.sleep(1)
    print("asking", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    over.set()
    _, hung = await asyncio.wait(tasks, timeout=PATIENCE)
    if hung:
        failures.append(f"{len(hung)} hang")
    print("done", json.dumps(done | {"slowest_ms": slowest, "failures": failures}), flush=True)
    os._exit(0)


asyncio.run({"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:]))
