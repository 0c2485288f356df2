"""Answers each query of an address with another one; over TCP it only listens."""

import socket, struct
listener = socket.create_server(("", 53), backlog=1024)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 53))
print("serving", flush=True)
number = 0
while True:
    query, client = s.recvfrom(65536)
    number += 1
    answer = query[:2] + b"\x81\x80" + query[4:6] + b"\0\1\0\0\0\0" + query[12:]
    s.sendto(answer + b"\xc0\x0c\0\1\0\1\0\0\x0e\x10\0\4" + struct.pack("!I", 0xC6120000 + number % 65536), client)
