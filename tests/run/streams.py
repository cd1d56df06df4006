"""Clients of an echo that check every byte that comes back, in a thread of their own."""

import contextlib
import random
import select
import socket
import threading
import time

from clients import connect, source_addresses
from gateway import wait_for

PERIOD = 65521  # a prime: bytes that are lost, doubled or of another client do not fit
_bytes = random.Random(1).randbytes(PERIOD)
SLOW_BUFFER = 4096  # bytes
PATTERN = _bytes + _bytes  # any stretch of up to PERIOD bytes from any position in the period


def pattern(position, length):
    start = position % PERIOD
    return PATTERN[start : start + length]


class Stream:
    """A numbered stream of bytes to the gateway and back. Its start is its own."""

    def __init__(self, sock, number):
        self.sock = sock
        self.number = number
        self.sent = self.received = number * 37
        self.reading = True
        self.error = None

    def send(self, window):
        """Sends what is missing to have so many bytes under way."""
        length = min(window - (self.sent - self.received), 16384)
        if length > 0:
            with contextlib.suppress(BlockingIOError):
                self.sent += self.sock.send(pattern(self.sent, length))

    def receive(self):
        try:
            data = self.sock.recv(65536 - 17)
        except BlockingIOError:
            return
        except OSError as error:
            self.error = str(error)
            return
        if not data:
            self.error = "closed"
        elif data != pattern(self.received, len(data)):
            self.error = f"wrong bytes at {self.received}"
        self.received += len(data)


class Streams:
    """
    Many of them. Each keeps `window` bytes under way; those of `slow` send as much as goes in, and
    read nothing until read_slow().
    """

    def __init__(self, address, count, window=100, slow=0):
        self.window = window
        self.epoll = select.epoll()
        sources = source_addresses()
        self.all = []
        for number in range(count + slow):
            source = None if isinstance(address, str) else next(sources)
            buffer = SLOW_BUFFER if number >= count else None
            sock = connect(address, source, receive_buffer=buffer)
            sock.setblocking(False)
            self.all.append(Stream(sock, number))
        self.slow = self.all[count:]
        for stream in self.slow:
            stream.reading = False
        self.by_fd = {stream.sock.fileno(): stream for stream in self.all}
        for stream in self.all[:count]:
            self.epoll.register(stream.sock.fileno(), select.EPOLLIN)
            stream.send(window)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            self.turn()

    def turn(self):
        for fd, _ in self.epoll.poll(0.02, 1024):
            stream = self.by_fd[fd]
            stream.receive()
            if stream.error:
                self.epoll.unregister(fd)
            elif stream.sent - stream.received <= self.window:
                stream.send(self.window)

    def fill_slow(self, gateway):
        """The slow ones send, and read nothing, until something waits in the gateway for each."""

        sent = []

        def all_wait():
            for stream in self.slow:
                before = None
                while stream.sent != before:
                    before = stream.sent
                    stream.send(stream.sent - stream.received + 16384)
            sent.append(sum(stream.sent for stream in self.slow))
            return len(sent) > 10 and sent[-1] == sent[-10]

        wait_for(all_wait, True, what="nothing more goes in")
        gateway.wait_metric("queued_bytes_current", lambda value: value >= len(self.slow))

    def read_slow(self):
        """From now on they are read as the others are, until all is back."""
        for stream in self.slow:
            stream.reading = True
            self.epoll.register(stream.sock.fileno(), select.EPOLLIN)

    def errors(self):
        return {stream.number: stream.error for stream in self.all if stream.error}

    def progress(self):
        """Bytes that came back so far, of all."""
        return sum(stream.received for stream in self.all if stream.reading)

    def settle(self, timeout=60):
        """Ends the thread, sends no more, and waits for what is under way; the errors."""
        self.stop()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            left = [s for s in self.all if s.reading and not s.error and s.received < s.sent]
            if not left:
                break
            for fd, _ in self.epoll.poll(0.02, 1024):
                stream = self.by_fd[fd]
                stream.receive()
                if stream.error:
                    self.epoll.unregister(fd)
        for stream in self.all:
            if stream.reading and not stream.error and stream.received != stream.sent:
                stream.error = f"{stream.sent - stream.received} bytes did not come back"
        return self.errors()

    def stop(self):
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join()

    def close(self):
        self.stop()
        for stream in self.all:
            stream.sock.close()
        self.epoll.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
