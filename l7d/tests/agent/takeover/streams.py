"""gRPC calls that go on both ways, many at a time over a few connections of HTTP/2.

streams.py serve
streams.py ask ADDRESS CHANNELS CALLS    until a line is read
"""

import json
import os
import queue
import sys
import threading
from concurrent import futures

import grpc

CHAT, DENIED = "/demo.Shop/Chat", "/demo.Vault/Open"


def serve():
    def chat(messages, _):
        yield from messages

    handler = grpc.stream_stream_rpc_method_handler(chat)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=400))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("demo.Shop", {"Chat": handler}),))

    def vault(_, context):
        print("/demo.Vault", flush=True)
        return b""

    handler = grpc.unary_unary_rpc_method_handler(vault)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("demo.Vault", {"Open": handler}),))
    server.add_insecure_port("0.0.0.0:50051")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


def ask(address, channels, calls):
    done = {"messages": 0, "denied": 0}
    failures = []
    over = threading.Event()

    def talk(channel, number):
        try:
            said = queue.Queue()
            answers = channel.stream_stream(CHAT)(iter(said.get, None))
            while not over.is_set():
                message = os.urandom(2000)
                said.put(message)
                assert next(answers) == message, "another message"
                done["messages"] += 1
                over.wait(0.05)
            said.put(None)
            assert list(answers) == []
        except Exception as failure:
            failures.append(f"call {number}: {failure!r}")

    def try_vault(channel, number):
        while not over.is_set():
            try:
                channel.unary_unary(DENIED)(b"", timeout=15)
                failures.append("the vault opened")
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.PERMISSION_DENIED:
                    failures.append(f"vault {number}: {error!r}")
                    return
                done["denied"] += 1
            over.wait(0.1)

    threads = []
    for _ in range(int(channels)):
        # One connection for each channel.
        channel = grpc.insecure_channel(f"{address}:50051", [("grpc.use_local_subchannel_pool", 1)])
        works = [talk] * (int(calls) // int(channels)) + [try_vault]
        threads += [threading.Thread(target=work, args=(channel, n), daemon=True) for n, work in enumerate(works)]
    for thread in threads:
        thread.start()
    print("asking", flush=True)
    sys.stdin.readline()
    over.set()
    for thread in threads:
        thread.join(20)
    hung = sum(thread.is_alive() for thread in threads)
    if hung:
        failures.append(f"{hung} hang")
    print("done", json.dumps(done | {"failures": failures}), flush=True)
    os._exit(0)


{"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
