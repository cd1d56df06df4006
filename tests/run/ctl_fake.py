"""A fake gateway for millgatectl, terminals to run it on, and what it is tested with."""

import copy
import fcntl
import http.server
import json
import os
import pty
import re
import select
import socketserver
import struct
import subprocess
import termios
import threading
import time
import urllib.parse
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CTL = Path(os.environ.get("MILLGATE_BUILD", ROOT)) / "millgatectl"
COMPLETION = ROOT / "completion" / "millgatectl.bash"
DEADLINE = 15

STATS = {
    "version": "0.1.0",
    "pid": 4711,
    "uptime_seconds": 11530.5,
    "draining": False,
    "status": "ok",
    "problems": [],
    "metrics": {
        "connections_current": 51200,
        "connections_accepted_total": 1234567,
        "connections_refused_total": 12,
        "bytes_received_total": 5 * 2**30,
        "bytes_sent_total": 7 * 2**20,
        "queued_bytes_current": 2**20,
        "workers_current": 2,
    },
    "closed": {
        "client_closed": 900,
        "client_reset": 0,
        "idle_timeout": 90,
        "worker_lost": 8,
        "refused_total": 2,
    },
    "limits": {
        "connections": 100000,
        "connections_per_source": 50,
        "queued_bytes": 2**28,
        "worker_connections": 52000,
    },
    "listeners": {
        "public": {
            "service": "hold",
            "addresses": ["0.0.0.0:7000", "[::]:7000"],
            "connections": 51190,
            "connections_limit": 0,
            "accepted_total": 1234000,
            "refused_total": 0,
            "state": "accepting",
        },
        "side.door": {
            "service": "echo",
            "addresses": ["unix:/run/x"],
            "connections": 10,
            "connections_limit": 10,
            "accepted_total": 567,
            "refused_total": 12,
            "state": "full",
        },
    },
    "workers": [
        {
            "worker": n,
            "pid": 5000 + n,
            "state": "up",
            "connections": 25600,
            "queued_bytes": 0,
            "restarts": n,
            "bytes_received_total": 2**30,
            "bytes_sent_total": 2**20,
        }
        for n in range(2)
    ],
    "upstreams": [],
    "sources_current": 4,
}

UPSTREAMS = [
    {
        "listener": "public",
        "name": "app.example:9000",
        "address": address,
        "state": state,
        "connections": connections,
        "max_connections": 0 if state == "up" else 500,
        "connects_total": 4321 * connections,
        "connect_failures_total": 0 if state == "up" else 77,
        "connect_seconds_average": 0.00123 if connections else None,
        "bytes_sent_total": 1024,
        "bytes_received_total": 2048,
        "checks_total": 10,
        "check_failures_total": 3,
    }
    for address, state, connections in (
        ("192.0.2.1:9000", "up", 12),
        ("[2001:db8::1]:9000", "down", 0),
        ("unix:/run/app.sock", "disabled", 1),
    )
]

TUNING = {
    "harmful": 1,
    "short": 1,
    "unknown": 0,
    "ok": 1,
    "findings": [
        {
            "key": "net.ipv4.tcp_sack",
            "part": "",
            "where": "sysctl",
            "status": "harmful",
            "now": "0",
            "rule": "exactly",
            "wanted": "1",
            "why": "Without it a few lost packets stall a connection.",
            "how": "sysctl -w net.ipv4.tcp_sack=1",
            "configured": False,
        },
        {
            "key": "LimitNOFILE",
            "part": "",
            "where": "unit",
            "status": "short",
            "now": "1024",
            "rule": "at_least",
            "wanted": "500032",
            "why": "A worker has one for each connection (500000 + 32 = 500032).",
            "how": "LimitNOFILE=500032 in the unit",
            "configured": False,
        },
        {
            "key": "net.ipv4.tcp_mem",
            "part": "max",
            "where": "sysctl",
            "status": "ok",
            "now": "1 2 3",
            "rule": "at_most",
            "wanted": "3",
            "why": "It is enough.",
            "how": "",
            "configured": False,
        },
    ],
    "settings": [
        {
            "where": "sysctl",
            "key": "net.ipv4.tcp_sack",
            "value": "1",
            "needed": True,
            "why": "Without it a few lost packets stall a connection.",
        },
        {
            "where": "unit",
            "key": "LimitNOFILE",
            "value": "500032",
            "needed": True,
            "why": "A worker has one for each connection.",
        },
    ],
}

CONFIG = {"workers": "auto", "limits": {"connections": 100000}}
RELOADED = {"changed": ["limits.connections"], "needs_restart": ["workers"]}


def connection(n):
    return {
        "id": n,
        "listener": "public",
        "service": "hold",
        "worker": n % 2,
        "peer": f"192.0.2.{n % 256}:40000",
        "age_seconds": 3723.5,
        "idle_seconds": 0.25,
        "bytes_received": 2048,
        "bytes_sent": None,
        "rtt_seconds": 0.00012,
        "queued_bytes": 0,
        "state": "open",
    }


class Gateway(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Canned answers as the contract has them. `answers` overrides: (method, path) to
    (status, object), or to bytes that are sent as they are."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path):
        super().__init__(str(path), Handler)
        self.path = str(path)
        self.stats = copy.deepcopy(STATS)
        self.connections = 250
        self.answers = {}
        self.seen = []
        self.release = threading.Event()

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the game


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def address_string(self):
        return "unix"

    def answer(self, status, body):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, url.path, query, body))
        assert self.headers["Connection"] == "close"
        self.close_connection = True
        canned = self.server.answers.get((self.command, url.path))
        if callable(canned):
            canned = canned(self)
            if canned is None:
                return
        if isinstance(canned, bytes):
            self.wfile.write(canned)
        elif canned:
            self.answer(*canned)
        else:
            self.answer(*self.contract(url.path, query, body))

    do_GET = do_POST = do_DELETE = handle_any

    def contract(self, path, query, body):
        stats = self.server.stats
        if self.command == "GET":
            if path == "/health":
                ok = stats["status"] == "ok"
                health = {k: stats[k] for k in ("status", "problems", "draining")}
                return 200 if ok else 503, health
            if path == "/stats":
                return 200, stats
            if path == "/metrics":
                return 200, b"# TYPE millgate_x counter\nmillgate_x 1\n"
            if path == "/config":
                return 200, CONFIG
            if path == "/tuning":
                return 200, TUNING
            if path == "/upstreams":
                return 200, {"upstreams": stats["upstreams"]}
            if path == "/sources":
                n = int(query.get("limit", 10))
                sources = [{"source": f"192.0.2.{i}/32", "connections": 40 - i} for i in range(4)]
                return 200, {"sources": sources[:n], "sources_current": 4}
            if path == "/connections":
                return self.page(query)
        elif self.command == "POST":
            if path == "/drain":
                over = json.loads(body)["over"] if body else "0s"
                seconds = {"10m": 600, "0s": 0}.get(over)
                if seconds is None:
                    return 400, {"error": f"over: found {over}, wanted a duration"}
                return 200, {"draining": True, "over_seconds": seconds, "connections": 51200}
            if path == "/resume":
                return 200, {"draining": False}
            if path == "/reload":
                return 200, RELOADED
        elif path == "/connections":
            return 200, {"closed": 3}
        if path == "/connections/7":
            return 200, connection(7) if self.command == "GET" else {"closed": 1}
        return 404, {"error": "there is no such thing"}

    def page(self, query):
        first = int(query.get("after", 0)) + 1
        n = min(int(query.get("limit", 100)), 1000)
        last = min(first + n - 1, self.server.connections)
        page = [connection(i) for i in range(first, last + 1)]
        more = last if last < self.server.connections else None
        return 200, {"connections": page, "next": more}


@pytest.fixture
def gateway(tmp_path):
    server = Gateway(tmp_path / "admin.sock")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def environment(**more):
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "MILLGATE_ADMIN_SOCKET")}
    return {**env, "TERM": "xterm", "LC_ALL": "C.UTF-8", **more}


def run(gateway, *args, code=0, **env):
    """Runs millgatectl without a terminal; (stdout, stderr) when it exits as it should."""
    socket_path = gateway if isinstance(gateway, (str, Path)) else gateway.path
    result = subprocess.run(
        [CTL, "-s", socket_path, *args],
        capture_output=True,
        text=True,
        env=environment(**env),
        timeout=DEADLINE,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == code, (result.stdout, result.stderr)
    return result.stdout, result.stderr


class Terminal:
    """millgatectl on a pseudo-terminal."""

    def __init__(self, gateway, *args, rows=30, columns=100, **env):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [CTL, "-s", gateway.path, *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(**env),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.slave = slave
        self.output = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        """What comes within that time; None at the end."""
        if not select.select([self.master], [], [], seconds)[0]:
            return b""
        try:
            return os.read(self.master, 65536)
        except OSError:
            return None

    def until(self, text, since=0):
        """Reads until the text is there, behind `since`; returns where it ends."""
        wanted = text if isinstance(text, bytes) else text.encode()
        end = time.monotonic() + DEADLINE
        while wanted not in self.output[since:]:
            assert time.monotonic() < end, self.output.decode(errors="replace")
            self.output += self.read(0.1) or b""
        return self.output.index(wanted, since) + len(wanted)

    def type(self, keys):
        os.write(self.master, keys)

    def finish(self, code=0):
        """The whole output once it has exited, with this code unless it is None, and with the
        terminal as it was."""
        end = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            if time.monotonic() > end:
                self.process.kill()
                pytest.fail(self.output.decode(errors="replace"))
            self.output += self.read(0.05) or b""
        while rest := self.read(0):
            self.output += rest
        assert code in (None, self.process.returncode), self.output
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.slave)
        os.close(self.master)
        return self.output


def plain(output):
    return re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", output).decode()


def assert_screen_given_back(output):
    assert output.count(b"\x1b[?1049h") == output.count(b"\x1b[?1049l") > 0
    assert output.count(b"\x1b[?25l") == output.count(b"\x1b[?25h") > 0
    assert output.rindex(b"\x1b[?1049l") > output.rindex(b"\x1b[?1049h")


def help_verbs():
    out = subprocess.run([CTL, "help"], capture_output=True, text=True, check=True).stdout
    section = out.split("Verbs:\n")[1].split("\nOptions:")[0]
    return [line.split()[0] for line in section.splitlines() if re.match(r"  \S", line)]


def hang(handler):
    handler.server.release.wait(DEADLINE)


EVIL = "\x1b]0;owned\x07\x1b[2J\u009b31m\x7f\u202e\r\nfake"


def evil_everywhere(gateway):
    stats = gateway.stats
    stats.update(version=EVIL, problems=[EVIL], status=EVIL)
    stats["listeners"] = {EVIL: {**stats["listeners"]["public"], "state": EVIL, "service": EVIL}}
    stats["closed"] = {EVIL: 5}
    stats["workers"][0]["state"] = EVIL
    gateway.answers["GET", "/sources"] = (
        200,
        {"sources": [{"source": EVIL, "connections": 1}], "sources_current": 1},
    )
    gateway.answers["GET", "/connections"] = (
        200,
        {"connections": [{**connection(1), "peer": EVIL}], "next": None},
    )
    gateway.answers["GET", "/metrics"] = (200, EVIL.encode() + b"\n")
    gateway.answers["GET", "/config"] = (200, {EVIL: EVIL})
    gateway.answers["POST", "/reload"] = (422, {"error": EVIL, "errors": [EVIL]})
