"""Clients: one with a source address of its choice, and crowds of them in one process."""

import contextlib
import itertools
import select
import socket
import struct
import time

IP_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)
CONNECT_TIMEOUT = 20
READ_BYTES = 65536


def source_addresses(per_address=100):
    """Addresses of loopback without end, each several times: 127.1.0.1, 127.1.0.2, ..."""
    for number in itertools.count():
        high, low = divmod(number, 250)
        yield from itertools.repeat(f"127.{1 + high // 250}.{high % 250}.{low + 1}", per_address)


def connect(address, source=None, timeout=CONNECT_TIMEOUT, receive_buffer=None):
    """A connected, blocking socket; `address` as Gateway.address() gives it."""
    if isinstance(address, str):
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    client = socket.socket(family)
    client.settimeout(timeout)
    try:
        if receive_buffer:  # from the start, so that the other side's buffer stays small as well
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            # The port is chosen at connect: each source has all of them for each destination.
            client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            client.bind((source, 0))
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def reset(client):
    """Ends a connection with RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half_close(client):
    """Sends FIN; reading goes on."""
    client.shutdown(socket.SHUT_WR)


def is_closed(client, timeout=CONNECT_TIMEOUT):
    """Waits for the gateway to end the connection, by FIN or RST; bytes on the way are dropped."""
    before = client.gettimeout()
    client.settimeout(timeout)
    try:
        while client.recv(READ_BYTES):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    finally:
        client.settimeout(before)
    return True


def read_exactly(client, length):
    """So many bytes; fewer if the connection ends before."""
    data = bytearray()
    while len(data) < length:
        piece = client.recv(min(length - len(data), READ_BYTES))
        if not piece:
            break
        data += piece
    return bytes(data)


def read_all(client):
    """All bytes up to the end of the connection."""
    return b"".join(iter(lambda: client.recv(READ_BYTES), b""))


def peer_name(client):
    """How the gateway names the client of this socket."""
    if client.family == socket.AF_UNIX:
        return "unix"
    host, port = client.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Client:
    """One of a crowd."""

    def __init__(self, sock, opened):
        self.sock = sock
        self.peer = peer_name(sock)
        self.opened = opened  # the moment before it connected
        self.received = 0
        self.arrivals = []  # when bytes came
        self.closed = None  # when the other side ended it
        self.was_reset = False

    @property
    def is_open(self):
        return self.closed is None

    @property
    def age_at_close(self):
        return self.closed - self.opened


class Crowd:
    """
    Many clients, read by epoll. Nothing is read but in pump() and pump_until(). A context manager:
    it closes all of them.
    """

    def __init__(self, address, count=0, sources=None):
        self.address = address
        self.sources = iter(sources if sources is not None else source_addresses())
        self.clients = []
        self.by_fd = {}
        self.epoll = select.epoll()
        self.add(count)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __len__(self):
        return len(self.clients)

    def add(self, count, source=None):
        """Connects more of them, from this source or each from the next one; returns those."""
        return [self.add_one(source) for _ in range(count)]

    def add_one(self, source=None):
        is_ipv4 = not isinstance(self.address, str) and ":" not in self.address[0]
        if is_ipv4 and not source:
            source = next(self.sources)
        opened = time.monotonic()
        client = Client(connect(self.address, source), opened)
        client.sock.setblocking(False)
        self.clients.append(client)
        self.by_fd[client.sock.fileno()] = client
        self.epoll.register(client.sock.fileno(), select.EPOLLIN)
        return client

    def send(self, data):
        """To the gateway, from each that is open."""
        for client in self.open_clients():
            with contextlib.suppress(OSError):
                client.sock.send(data)

    def open_clients(self):
        return [client for client in self.clients if client.is_open]

    @property
    def open_count(self):
        return len(self.by_fd)

    @property
    def closed_count(self):
        return len(self.clients) - len(self.by_fd)

    @property
    def received(self):
        return sum(client.received for client in self.clients)

    def pump(self, timeout=0.0):
        """Reads what is there, and waits for something for so long."""
        for fd, _ in self.epoll.poll(timeout, 1024):
            self.read(self.by_fd[fd])

    def pump_until(self, condition, timeout=CONNECT_TIMEOUT):
        """Reads until condition() is true; returns whether it became so in time."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() >= deadline:
                return False
            self.pump(0.02)
        return True

    def pump_for(self, seconds):
        """Reads for so long."""
        self.pump_until(lambda: False, seconds)

    def read(self, client):
        try:
            data = client.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            client.was_reset = True
            data = b""
        if data:
            client.received += len(data)
            client.arrivals.append(time.monotonic())
            return
        client.closed = time.monotonic()
        self.forget(client)

    def forget(self, client, end=socket.socket.close):
        self.epoll.unregister(client.sock.fileno())
        del self.by_fd[client.sock.fileno()]
        end(client.sock)

    def leave(self, clients, end=socket.socket.close):
        """Ends some of them from our side; end=reset: with RST."""
        gone = set(clients)
        self.clients = [client for client in self.clients if client not in gone]
        for client in gone:
            if client.is_open:
                self.forget(client, end)

    def close(self):
        for client in list(self.by_fd.values()):
            self.forget(client)
        self.epoll.close()
