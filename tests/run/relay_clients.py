"""Clients of a relay listener: which server each was led to, and floods that stop."""

import collections
import contextlib

import pytest

from clients import READ_BYTES, connect, read_all, read_exactly
from gateway import wait_for
from streams import pattern

SMALL_BUFFER = 4096  # bytes, of a socket whose owner reads slowly
PATIENCE = 60  # seconds; many tests may run side by side


def greeting(client):
    """The name of the server that it was led to; "" if it was closed."""
    name = b""
    with contextlib.suppress(ConnectionResetError):
        while not name.endswith(b"\n") and (byte := client.recv(1)):
            name += byte
    return name.decode().strip()


def visit(gateway, source=None):
    """Comes and goes; the server's name."""
    with connect(gateway.address("relay"), source) as client:
        return greeting(client)


class Guests:
    """Clients that stay, and whom each was led to."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.clients = []
        self.names = []

    def come(self, count, source=None):
        for _ in range(count):
            self.clients.append(connect(self.gateway.address("relay"), source))
            self.names.append(greeting(self.clients[-1]))
        return self.names[-count:]

    def counts(self):
        return collections.Counter(self.names)

    def leave(self, name):
        """Those of a server."""
        stay = []
        for client, whose in zip(self.clients, self.names):
            client.close() if whose == name else stay.append((client, whose))
        self.clients = [client for client, _ in stay]
        self.names = [whose for _, whose in stay]

    def all_echo(self):
        for client in self.clients:
            client.sendall(b"still here")
        return all(read_exactly(client, 10) == b"still here" for client in self.clients)


def fill(sock):
    """Sends until nothing goes in any more, for some time; returns what went in."""
    sock.setblocking(False)
    sent, marks = 0, []

    def blocked():
        nonlocal sent
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += sock.send(pattern(sent, 16384))
        marks.append(sent)
        return len(marks) > 10 and marks[-1] == marks[-10]

    wait_for(blocked, True, what="nothing more goes in")
    sock.settimeout(PATIENCE)
    return sent


def read_pattern(sock, length):
    """So many bytes of the pattern, from its start."""
    position = 0
    while position < length:
        data = sock.recv(min(READ_BYTES - 17, length - position))
        assert data, f"the end, after {position} of {length} bytes"
        assert data == pattern(position, len(data)), f"wrong bytes at {position}"
        position += len(data)
    return True


def ends_with_reset(sock):
    """Reads to the end."""
    with pytest.raises(ConnectionResetError):
        read_all(sock)
    return True
