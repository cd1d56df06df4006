"""A WebSocket client of the tests' own: strict about what it gets, free in what it sends."""

import base64
import contextlib
import hashlib
import os
import socket
import struct

from clients import connect

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80
TIMEOUT = 20


class Violation(AssertionError):
    """The server did what RFC 6455 forbids."""


def mask_bytes(mask, payload):
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(
        len(payload), "big"
    )


def frame(first, payload=b"", mask=b"\x37\xfa\x21\x3d"):
    """A client's frame; `first` is its first byte. mask=None: not masked, which is wrong."""
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head = struct.pack(">BB", first, bit | len(payload))
    elif len(payload) < 65536:
        head = struct.pack(">BBH", first, bit | 126, len(payload))
    else:
        head = struct.pack(">BBQ", first, bit | 127, len(payload))
    return head + (mask + mask_bytes(mask, payload) if mask else payload)


def close_payload(code, reason=""):
    return struct.pack(">H", code) + reason.encode()


def handshake(path="/", host="localhost", key=None, **fields):
    """A request; a field that is None is left out, underscores in names stand for hyphens."""
    key = key or base64.b64encode(os.urandom(16)).decode()
    wanted = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    lines = [f"{name}: {value}" for name, value in wanted.items() if value is not None]
    return ("\r\n".join([f"GET {path} HTTP/1.1", *lines]) + "\r\n\r\n").encode()


class Response:
    def __init__(self, head, body=b""):
        first, *lines = head.decode("ascii").split("\r\n")
        version, status, self.phrase = first.split(" ", 2)
        assert version == "HTTP/1.1"
        self.status = int(status)
        self.fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            value = value.strip()
            self.fields[name] = f"{self.fields[name]}, {value}" if name in self.fields else value
        self.body = body


class Frame:
    def __init__(self, first, payload):
        self.opcode = first & 0x0F
        self.is_last = bool(first & FIN)
        self.payload = payload

    def __repr__(self):
        return f"Frame(opcode={self.opcode}, last={self.is_last}, {self.payload[:80]!r})"


class WebSocket:
    """An open one. Pings are answered while something is waited for, unless `answers` is false."""

    def __init__(self, address, path="/", source=None, request=None, answers=True, **fields):
        self.sock = connect(address, source, TIMEOUT)
        self.buffer = b""
        self.answers = answers
        self.pings = 0
        try:
            key = base64.b64encode(os.urandom(16)).decode()
            self.sock.sendall(request or handshake(path, key=key, **fields))
            self.response = self.read_response()
            assert self.response.status == 101, (self.response.status, self.response.fields)
            if not request:
                self.check_response(key)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.sock.close()

    def check_response(self, key):
        fields = self.response.fields
        digest = hashlib.sha1((key + GUID).encode()).digest()
        assert fields["sec-websocket-accept"] == base64.b64encode(digest).decode()
        assert fields["upgrade"].lower() == "websocket"
        assert fields["connection"].lower() == "upgrade"
        assert "sec-websocket-extensions" not in fields

    # Bytes.

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def take(self, length):
        while len(self.buffer) < length:
            self.fill()
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    def read_response(self):
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return Response(head)

    # Sending.

    def send_bytes(self, data):
        self.sock.sendall(data)

    def send_frame(self, opcode, payload=b"", last=True):
        self.sock.sendall(frame((FIN if last else 0) | opcode, payload))

    def send(self, message):
        """Text or bytes."""
        if isinstance(message, str):
            self.send_frame(TEXT, message.encode())
        else:
            self.send_frame(BINARY, message)

    def flood(self):
        """Sends binary messages until no more go in for some time; the last one may be cut."""
        before = self.sock.gettimeout()
        self.sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while True:
                self.sock.sendall(frame(FIN | BINARY, bytes(1000), mask=b"\0" * 4))
        self.sock.settimeout(before)

    # Receiving.

    def receive_frame(self):
        """The next frame, whatever it is; checked as RFC 6455 section 5.2 wants it."""
        first, second = self.take(2)
        if first & 0x70:
            raise Violation(f"reserved bits: {first:#x}")
        if second & 0x80:
            raise Violation("a server must not mask")
        length = second
        if second == 126:
            (length,) = struct.unpack(">H", self.take(2))
            if length < 126:
                raise Violation(f"{length} written in 2 bytes")
        elif second == 127:
            (length,) = struct.unpack(">Q", self.take(8))
            if length < 65536 or length >> 63:
                raise Violation(f"{length} written in 8 bytes")
        if first & 0x08 and (length > 125 or not first & FIN):
            raise Violation(f"a control frame of {length} bytes, or fragmented")
        if first & 0x0F not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise Violation(f"reserved opcode: {first:#x}")
        return Frame(first, self.take(length))

    def receive_interesting(self):
        """The next frame that is no ping; pings are answered."""
        while True:
            found = self.receive_frame()
            if found.opcode != PING:
                return found
            self.pings += 1
            if self.answers:
                self.send_frame(PONG, found.payload)

    def receive(self):
        """The next message, text or bytes, put together."""
        opcode, parts = None, []
        while True:
            found = self.receive_interesting()
            if found.opcode == PONG:
                continue
            if found.opcode == CLOSE:
                raise Violation(f"closed: {found.payload!r}")
            if (found.opcode == CONTINUATION) != (opcode is not None):
                raise Violation(f"{found} within a message of {opcode}")
            opcode = opcode or found.opcode
            parts.append(found.payload)
            if found.is_last:
                self.n_parts = len(parts)
                data = b"".join(parts)
                return data.decode() if opcode == TEXT else data

    def receive_pong(self):
        found = self.receive_interesting()
        assert found.opcode == PONG, found
        return found.payload

    def receive_close(self):
        """Skips messages up to the close frame; its code (None: it has none) and its reason."""
        while True:
            found = self.receive_interesting()
            if found.opcode == CLOSE:
                break
        if not found.payload:
            return None, ""
        if len(found.payload) < 2:
            raise Violation("half a code")
        return struct.unpack(">H", found.payload[:2])[0], found.payload[2:].decode()

    def is_at_end(self):
        """Waits for the end of the connection, after which nothing may come."""
        with contextlib.suppress(EOFError):
            self.fill()
            return False
        return self.buffer == b""

    def close(self, code=1000, reason=""):
        """The closing handshake from our side; returns the server's answer."""
        self.send_frame(CLOSE, close_payload(code, reason) if code else b"")
        return self.receive_close()


def request(address, data, source=None):
    """Sends bytes instead of a handshake, and reads the answer up to its end."""
    with contextlib.closing(connect(address, source, TIMEOUT)) as client:
        client.sendall(data)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
            head, found, body = answer.partition(b"\r\n\r\n")
            if found and head.startswith(b"HTTP/1.1 101"):
                return Response(head)
    head, found, body = answer.partition(b"\r\n\r\n")
    assert found, answer
    response = Response(head, body)
    assert len(body) == int(response.fields["content-length"])
    assert "close" in response.fields["connection"]
    return response


def reset_free_close(client):
    """FIN, and everything read up to the other's."""
    client.shutdown(socket.SHUT_WR)
    while client.recv(65536):
        pass
    client.close()
