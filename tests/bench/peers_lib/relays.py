"""
The proxies that tests/bench/relay compares: one process for connections each, one thread in it, no
logs, and behind each a server of our own (tests/bench/traffic) of two processes.
"""

import os
import pathlib
import shutil
import subprocess

import benchlib

from peers_lib import servers

BEHIND_PROCESSES = 2
SOCKET_PROXYD = pathlib.Path("/lib/systemd/systemd-socket-proxyd")


class Traffic(benchlib.Server):
    """The server behind: "echo", "hold", "sink" or "source"."""

    def __init__(self, mode):
        super().__init__(f"traffic {mode}")
        self.mode = mode

    def start(self):
        self.process = subprocess.Popen(
            [benchlib.TRAFFIC, self.mode, str(self.port), str(BEHIND_PROCESSES)],
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.process.stdout.readline() != "READY\n":
            raise benchlib.BenchError("traffic does not start")


class Relay:
    """What a proxy is here beside what it is as a server; mixed in before that."""

    pairs_max = 9900  # the descriptors of a process are 20,000

    def behind(self):
        return Traffic(self.mode)

    def held(self):
        """In all its processes: some have no workers."""
        return benchlib.open_descriptors(self.pids()) - self.base

    @classmethod
    def pairs(cls, wanted):
        return min(wanted, cls.pairs_max)


class Millgate(Relay, servers.Proxy):
    label = "millgate"
    note = "one worker and its supervisor"

    def start(self):
        self.upstream = self.behind()
        self.upstream.start()
        upstream = {"servers": [self.upstream.target], "health": {"interval": 0}}
        self.gateway = benchlib.Gateway(
            {"service": "relay", "upstream": upstream}, connections=servers.CONNECTIONS_MAX
        )
        self.port = self.gateway.port
        self.gateway.start()
        self.process = self.gateway.process

    def stop(self):
        self.gateway.stop()
        self.upstream.stop()
        self.temporary.cleanup()


class NginxStream(Relay, servers.NginxStream):
    label = "nginx stream"
    note = "one worker; proxy_buffer_size 4k where memory is measured, otherwise 16k, the default"

    def __init__(self, mode):
        super().__init__(mode)
        self.buffer = "4k" if mode == "hold" else "16k"


class Haproxy(Relay, servers.Haproxy):
    label = "HAProxy, TCP"
    note = "nbthread 1"


class HaproxySplice(Relay, servers.Haproxy):
    label = "HAProxy, TCP, splice"
    note = "nbthread 1, option splice-auto, at most 600 pipes"
    option = "option splice-auto"
    pipes = 600
    connections = property(lambda self: servers.descriptors() // 2 - self.pipes - 100)


class SocketProxyd(Relay, servers.Proxy):
    label = "systemd-socket-proxyd"
    note = (
        "started by systemd-socket-activate, --connections-max=3000: with two sockets and two "
        "pipes each, more do not fit in 20,000 descriptors"
    )
    packages = ["systemd"]
    per_client = 6
    pairs_max = 3000

    @classmethod
    def available(cls):
        return os.access(SOCKET_PROXYD, os.X_OK) and bool(shutil.which("systemd-socket-activate"))

    def configure(self):
        return ""

    def command(self):
        return [
            "systemd-socket-activate", f"--listen={self.target}",
            SOCKET_PROXYD, f"--connections-max={self.pairs_max}", self.upstream.target,
        ]  # fmt: skip


class Direct(servers.Peer):
    """No proxy at all: what the ends and the kernel can do."""

    label = "no proxy"
    note = "the same clients and server without anything between"
    pairs = Relay.pairs
    pairs_max = Relay.pairs_max
    per_client = 1

    def start(self):
        self.server = Traffic(self.mode)
        self.server.start()
        self.port = self.server.port
        self.process = self.server.process

    def held(self):
        return benchlib.open_descriptors(self.pids()) - self.base


PEERS = [Millgate, NginxStream, Haproxy, HaproxySplice, SocketProxyd, Direct]
