"""A crowd of WebSocket clients in one process: what millgate-bench cannot do."""

import contextlib
import selectors
import socket
import struct

import benchlib

AT_ONCE = 256
REQUEST = (
    "GET / HTTP/1.1\r\n"
    "Host: bench\r\n"
    "Connection: Upgrade\r\n"
    "Upgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "\r\n"
).encode()


def dial(selector, port):
    client = socket.socket()
    client.setblocking(False)
    # Closed by a reset: leaves no TIME_WAIT behind.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.connect_ex((benchlib.HOST, port))
    selector.register(client, selectors.EVENT_WRITE)
    return client


def advance(selector, client, events):
    """Sends the request once connected; true when the handshake is complete."""
    if events & selectors.EVENT_WRITE:
        client.send(REQUEST)
        selector.modify(client, selectors.EVENT_READ)
        return False
    answer = client.recv(4096)
    if not answer.startswith(b"HTTP/1.1 101 ") or not answer.endswith(b"\r\n\r\n"):
        raise benchlib.BenchError(f"the handshake failed: {answer[:100]}")
    selector.unregister(client)
    return True


@contextlib.contextmanager
def crowd(server, connections):
    """Subscribers that are held, and hear nothing, during a `with`; as benchlib.crowd()."""
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        dialled = up = 0
        while up < connections:
            while dialled < connections and dialled - up < AT_ONCE:
                stack.enter_context(dial(selector, server.port))
                dialled += 1
            ready = selector.select(benchlib.DEADLINE)
            if not ready:
                raise benchlib.BenchError("handshakes are not answered")
            up += sum(advance(selector, key.fileobj, events) for key, events in ready)
        yield
