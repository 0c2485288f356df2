"""Clients that ask on, whatever becomes of the agent between them and their server, and that server.

peers.py serve
peers.py ask ADDRESS CONNECTIONS    so many connections that are kept on each port, until `over` is read

What is read from standard input, and what is said then:

soon N   `N soon`: the agent may be gone from now on
dark N   it is gone: `N watched passes`, `N names answer`, `N enforced refuses` when that is so
light N  the next one may be there: `N cut {...}`, what was lost since `soon N`
lit N    it is there: kept connections that passed it by begin again; `N watched asks`, `N enforced asks`
over     `done {...}`

Ports: 80 watched by the proxy, 81 judged by it, 53 names through it, 8080 tapped, 7000 nobody's.
"""

import asyncio
import json
import os
import sys
import time

WATCHED, ENFORCED, TAPPED, PLAIN = 80, 81, 8080, 7000
# What nobody stands between may not take longer.
PATIENCE = 15

done = {"kept": 0, "fresh": 0, "denied": 0, "names": 0, "names_again": 0, "tapped": 0, "plain": 0}
# The longest that anybody has waited for a connection, by port, in milliseconds.
slowest = {}
failures = []
over = asyncio.Event()


class Turn:
    """One crash."""

    def __init__(self, number):
        self.number, self.began = number, time.monotonic()
        self.phase, self.dark = "soon", None
        self.passes = None
        self.cut = {WATCHED: 0, ENFORCED: 0}
        self.said = set()

    def say(self, what):
        if what not in self.said:
            self.said.add(what)
            since = time.monotonic() - (self.dark or self.began)
            print(self.number, what, "after", round(since * 1000), "ms", flush=True)


turn = Turn(0)
turn.phase = "lit"
# When clients closed connections of the proxy's themselves.
closed = []


async def serve_http(reader, writer):
    """Answers; each request is a line of the log."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ")[1].decode()
            if "closed" in path:
                print(path, flush=True)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nserved")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


class Resolver(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, query, address):
        answer = query[:2] + b"\x81\x80" + query[4:6] + b"\x00\x01\x00\x00\x00\x00" + query[12:]
        answer += b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x09\x08\x07"
        self.transport.sendto(answer, address)


async def serve():
    for port in WATCHED, ENFORCED, TAPPED, PLAIN:
        await asyncio.start_server(serve_http, "0.0.0.0", port, backlog=4096)
    await asyncio.get_running_loop().create_datagram_endpoint(Resolver, ("0.0.0.0", 53))
    print("serving", flush=True)
    await asyncio.Future()


async def request(stream, path):
    """The status of the answer."""
    reader, writer = stream
    writer.write(f"GET {path} HTTP/1.1\r\nhost: web\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    length = next((int(f.split(":")[1]) for f in fields if f.lower().startswith("content-length")), 0)
    await reader.readexactly(length)
    return int(line.split(" ")[1])


async def ask_one(stream, port, number):
    """One request of a kind that this port has."""
    is_denied = port == ENFORCED and number % 3 == 0
    status = await request(stream, f"/closed-{turn.number}" if is_denied else f"/open-{turn.number}")
    assert status == (403 if is_denied else 200), status
    return is_denied


def note_wait(port, begun):
    """How long somebody has waited for a connection."""
    waited = round((time.monotonic() - begun) * 1000)
    slowest[port] = max(slowest.get(port, 0), waited)


def note_cut(port, error, begun, answers):
    """A connection that was open has ended. Who began it with the former agent may have heard late of its end:
    there was no answer then."""
    if turn.phase in ("soon", "dark"):
        turn.cut[port] += 1
    elif answers or begun > (turn.dark or 0):
        age = round((time.monotonic() - begun) * 1000)
        failures.append(f"{turn.number} {turn.phase}: {port} cut after {age} ms and {answers} answers: {error!r}")


async def keep(address, port):
    """Asks over one connection, and over another one when that was cut."""
    number = 0
    while not over.is_set():
        of = turn
        is_late = of.passes is not None and of.phase == "dark"
        try:
            stream = await asyncio.wait_for(asyncio.open_connection(address, port), 1)
        except (OSError, asyncio.TimeoutError):
            if is_late and port == ENFORCED:
                of.say("enforced refuses")
            await asyncio.sleep(0.1)
            continue
        begun, answers = time.monotonic(), 0
        # A SYN that the former agent no longer answered may have passed it by when it was sent again.
        passed_by = turn.phase != "lit"
        try:
            while not over.is_set() and not (passed_by and turn.phase == "lit"):
                number += 1
                is_denied = await ask_one(stream, port, number)
                answers += 1
                done["denied" if is_denied else "kept"] += 1
                if port == ENFORCED and passed_by and of.phase == "dark":
                    failures.append(f"{of.number}: {port} was answered with nobody there")
                await asyncio.sleep(0.1)
            closed.append(time.monotonic())
        except (OSError, asyncio.IncompleteReadError) as error:
            note_cut(port, error, begun, answers)
        stream[1].close()


async def ask_anew(address, port):
    """A connection for each request."""
    number = 0
    while not over.is_set():
        number += 1
        of, phase, begun = turn, turn.phase, time.monotonic()
        is_late = of.passes is not None
        stream = None
        try:
            is_awaited = phase == "lit" or (phase == "light" and port == WATCHED)
            patience = PATIENCE if is_awaited else 0.15
            stream = await asyncio.wait_for(asyncio.open_connection(address, port), patience)
            note_wait(port, begun)
            is_denied = await asyncio.wait_for(ask_one(stream, port, number), PATIENCE)
            done["denied" if is_denied else "fresh"] += 1
            closed.append(time.monotonic())
            if phase == "dark" and port == WATCHED:
                of.passes = time.monotonic()
                of.say("watched passes")
            if phase == "dark" and port == ENFORCED and of.phase == "dark":
                failures.append(f"{of.number}: {port} was answered with nobody there")
            if phase == "lit" and not is_denied:
                of.say("watched asks" if port == WATCHED else "enforced asks")
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            if stream:
                note_cut(port, error, begun, 0)
            elif phase == "lit" and of is turn or is_late and port == WATCHED:
                failures.append(f"{of.number} {phase}: {port}: {error!r}")
            if phase == "dark" and is_late and port == ENFORCED:
                of.say("enforced refuses")
        if stream:
            stream[1].close()
        await asyncio.sleep(0.05)


async def ask_past(address, port, kind, is_kept):
    """Where there is nothing to notice, nothing may fail."""
    stream = None
    while not over.is_set():
        if stream is None or not is_kept:
            begun = time.monotonic()
            stream = await asyncio.wait_for(asyncio.open_connection(address, port), PATIENCE)
            note_wait(port, begun)
        assert await asyncio.wait_for(request(stream, "/"), PATIENCE) == 200
        done[kind] += 1
        if not is_kept:
            stream[1].close()
        await asyncio.sleep(0.1)


async def ask_names(address):
    loop = asyncio.get_running_loop()
    while not over.is_set():
        of, phase = turn, turn.phase
        answered = loop.create_future()

        class Asker(asyncio.DatagramProtocol):
            def datagram_received(self, said, _):
                answered.done() or answered.set_result(said)

        transport, _ = await loop.create_datagram_endpoint(Asker, remote_addr=(address, 53))
        query = os.urandom(2) + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x04test\x00\x00\x01\x00\x01"
        for attempt in range(10):
            done["names_again"] += attempt > 0
            transport.sendto(query)
            try:
                said = await asyncio.wait_for(asyncio.shield(answered), 0.5)
                break
            except asyncio.TimeoutError:
                pass
        else:
            raise AssertionError("a name has no answer")
        assert said[:2] == query[:2]
        transport.close()
        done["names"] += 1
        if phase == "dark":
            of.say("names answer")
        await asyncio.sleep(0.05)


async def watch_over(name, work):
    try:
        await work
    except Exception as failure:
        failures.append(f"{name}: {failure!r}")


def obey(words):
    global turn
    match words:
        case ["soon", number]:
            turn = Turn(int(number))
            turn.say("soon")
        case ["dark", _]:
            turn.phase, turn.dark = "dark", time.monotonic()
        case ["light", number]:
            turn.phase = "light"
            late = sum(1 for at in closed if turn.began - 1 < at < turn.dark)
            closed.clear()
            told = {"cut": sum(turn.cut.values()), "by_port": turn.cut, "closed_late": late}
            print(number, "cut", json.dumps(told), flush=True)
        case ["lit", _]:
            turn.phase = "lit"
        case _:
            over.set()


async def ask(address, connections):
    kept = [("kept", keep(address, port)) for port in (WATCHED, ENFORCED) for _ in range(int(connections))]
    fresh = [("fresh", ask_anew(address, port)) for port in (WATCHED, ENFORCED) for _ in range(3)]
    past = [
        (kind, ask_past(address, port, kind, is_kept))
        for port, kind in ((TAPPED, "tapped"), (PLAIN, "plain"))
        for is_kept in (True, True, False)
    ]
    works = kept + fresh + past + [("names", ask_names(address)) for _ in range(2)]
    tasks = [asyncio.create_task(watch_over(*work)) for work in works]
    await asyncio.sleep(1)
    print("asking", flush=True)
    while not over.is_set():
        line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        obey(line.split())
    _, hung = await asyncio.wait(tasks, timeout=PATIENCE)
    if hung:
        failures.append(f"{len(hung)} hang")
    print("done", json.dumps(done | {"slowest_ms": slowest, "failures": failures}), flush=True)
    os._exit(0)


asyncio.run({"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:]))
