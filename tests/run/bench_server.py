"""Servers for millgate-bench to measure, and how it is run."""

import asyncio
import contextlib
import json
import os
import pathlib
import socket
import struct
import subprocess
import threading

from gateway import free_port, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = str(pathlib.Path(os.environ.get("MILLGATE_BUILD", ROOT)) / "millgate-bench")


class Server:
    """An asyncio server in a thread; `serve` is a coroutine for one connection."""

    def __init__(self, serve, path=None):
        self.serve = serve
        self.path = path
        self.port = None if path else free_port()
        self.accepted = 0
        self.peers = []
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    @property
    def target(self):
        return f"unix:{self.path}" if self.path else f"127.0.0.1:{self.port}"

    async def connected(self, reader, writer):
        self.accepted += 1
        self.peers.append(writer.get_extra_info("peername"))
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self.serve(self, reader, writer)
        writer.transport.abort()

    def wait_accepted(self, count):
        """At least so many; those who are waiting in its backlog are let in."""
        wait_for(lambda: self.accepted, lambda accepted: accepted >= count, what="accepted")
        return self.accepted

    async def main(self):
        if self.path:
            server = await asyncio.start_unix_server(self.connected, self.path, backlog=1000)
        else:
            server = await asyncio.start_server(
                self.connected, "127.0.0.1", self.port, backlog=1000
            )
        self.started.set()
        async with server:
            await server.serve_forever()

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.task = self.loop.create_task(self.main())
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.task)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def __enter__(self):
        self.thread.start()
        assert self.started.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.task.cancel)
        self.thread.join(10)


async def hold(_server, reader, _writer):
    while await reader.read(65536):
        pass


async def echo(_server, reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def corrupt(_server, reader, writer):
    while data := await reader.read(65536):
        writer.write(data[:-1] + bytes([data[-1] ^ 1]))


async def talkative(_server, reader, writer):
    """Sends more than it was sent."""
    while data := await reader.read(65536):
        writer.write(data + data)


async def heartbeat(_server, _reader, writer):
    while True:
        await asyncio.sleep(0.1)
        writer.write(b"aaaaaaaaaa")
        await writer.drain()


async def reset_later(_server, _reader, writer):
    await asyncio.sleep(0.5)
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )


async def close_later(_server, _reader, writer):
    await asyncio.sleep(0.5)
    writer.close()
    await writer.wait_closed()


def bench(*args, status=0, timeout=60):
    """Runs it; returns what it wrote to stdout. Checks its exit status."""
    done = subprocess.run(
        [BENCH, *map(str, args)], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def report(*args, status=0):
    return json.loads(bench("--json", *args, status=status))
