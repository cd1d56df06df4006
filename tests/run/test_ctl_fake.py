"""millgatectl against a fake gateway: every verb, every way to fail, and the terminal."""

import copy
import fcntl
import http.server
import json
import os
import pty
import re
import select
import signal
import socket
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
    "sources_current": 4,
}

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


# ---- verbs ----


def test_status_is_one_screen_with_all_that_matters(gateway):
    out, _ = run(gateway, "status")
    assert "millgate 0.1.0 is ok  pid 4711, up 3h12m" in out
    assert re.search(r"Connections +51,200 of 100,000 +\[#+\.+\] +51%", out)
    assert re.search(r"In workers +51,200 of 52,000 +\[#+\.+\] +98%", out)
    assert re.search(r"Queued +1\.00 MiB of 256 MiB +\[#\.+\] +<1%", out)
    assert re.search(r"Top source +40 of 50 +\[#+\.+\] +80% +192\.0\.2\.0/32", out)
    assert re.search(r"public +hold +accepting +51,190 +none +- ", out)
    assert re.search(r"side\.door +echo +full +10 +10 +100% +567 +12 +unix:/run/x", out)
    assert re.search(r"client_closed +900 +90% +normal +The client closed its side\.", out)
    assert "client_reset" not in out
    assert out.index("client_closed") < out.index("idle_timeout") < out.index("worker_lost")
    assert len(out.splitlines()) <= 24


def test_status_puts_problems_first_and_exits_1(gateway):
    gateway.stats.update(status="degraded", draining=True, problems=["worker 1 is down"])
    out, _ = run(gateway, "status", code=1)
    first, second = out.splitlines()[:2]
    assert "is degraded, draining" in first
    assert "worker 1 is down" in second


def test_status_shows_warnings_and_exits_0(gateway):
    gateway.stats["warnings"] = ["raise LimitNOFILE="]
    out, _ = run(gateway, "status")
    assert "warning: raise LimitNOFILE=" in out.splitlines()[1]


@pytest.mark.parametrize("n, rows", [(8, True), (9, False)])
def test_status_sums_up_more_than_eight_workers(gateway, n, rows):
    worker = gateway.stats["workers"][0]
    gateway.stats["workers"] = [{**worker, "worker": i, "connections": i} for i in range(n)]
    gateway.stats["workers"][3].update(state="down", pid=333)
    out, _ = run(gateway, "status")
    assert ("MEDIAN" in out) != rows
    assert re.search(r"^3 +down +333 ", out, re.M)
    if not rows:
        assert "9 workers, 8 up" in out
        assert re.search(r"connections +0 +4 +8", out)
        assert not re.search(r"^4 +up", out, re.M)


def test_status_without_a_source_limit_does_not_ask_for_sources(gateway):
    gateway.stats["limits"]["connections_per_source"] = 0
    out, _ = run(gateway, "status")
    assert "Top source" not in out
    assert all(path != "/sources" for _, path, _, _ in gateway.seen)


def test_status_survives_a_gateway_that_tells_nothing(gateway):
    gateway.answers["GET", "/stats"] = (200, {})
    out, _ = run(gateway, "status", code=1)
    assert "nan" not in out


def test_status_survives_wrong_types(gateway):
    for key in STATS:
        gateway.stats = {**copy.deepcopy(STATS), key: [{"a": 1}, "b", None, 1e300, -5]}
        run(gateway, "status", code=1 if key == "status" else 0)
        gateway.stats = {**copy.deepcopy(STATS), key: {"a": [1], "b": {"connections": "x"}}}
        run(gateway, "status", code=1 if key == "status" else 0)


def test_health_ok(gateway):
    assert run(gateway, "health") == ("ok\n", "")


def test_health_degraded_exits_1(gateway):
    gateway.stats.update(status="degraded", problems=["no descriptors left"])
    out, _ = run(gateway, "health", code=1)
    assert out.startswith("degraded\n")
    assert "no descriptors left" in out
    out, _ = run(gateway, "--json", "health", code=1)
    assert json.loads(out)["problems"] == ["no descriptors left"]


def test_health_of_a_server_error_is_no_health(gateway):
    gateway.answers["GET", "/health"] = (500, {"error": "out of order"})
    out, err = run(gateway, "health", code=1)
    assert out == "" and "out of order" in err


def test_stats_prints_one_value_a_line(gateway):
    out, _ = run(gateway, "stats")
    lines = out.splitlines()
    assert "pid 4711" in lines
    assert "draining false" in lines
    assert "metrics.connections_current 51200" in lines
    assert "listeners.side.door.state full" in lines
    assert "workers.1.pid 5001" in lines
    assert "uptime_seconds 11530.5" in lines


def test_metrics_are_printed_as_they_are(gateway):
    assert run(gateway, "metrics")[0] == "# TYPE millgate_x counter\nmillgate_x 1\n"


def test_metrics_have_no_json(gateway):
    assert "not JSON" in run(gateway, "--json", "metrics", code=2)[1]


def test_tune_shows_the_worst_first_and_exits_1(gateway):
    out, _ = run(gateway, "tune", code=1)
    assert re.search(r"^STATUS +SETTING +NOW +WANTED$", out, re.M)
    assert re.search(r"^harmful +net\.ipv4\.tcp_sack +0 +1$", out, re.M)
    assert re.search(r"^short +LimitNOFILE +1024 +at least 500032$", out, re.M)
    assert re.search(r"^ok +net\.ipv4\.tcp_mem \(max\) +1 2 3 +at most 3$", out, re.M)
    assert "         > sysctl -w net.ipv4.tcp_sack=1\n" in out
    assert out.endswith("1 harmful, 1 short, 0 unknown, 1 ok.\n")


def test_tune_exits_0_when_all_is_well(gateway):
    gateway.answers["GET", "/tuning"] = (200, {**TUNING, "harmful": 0, "short": 0})
    run(gateway, "tune")
    run(gateway, "tune", "--sysctl")


def test_tune_prints_files(gateway):
    out, _ = run(gateway, "tune", "--sysctl", code=1)
    assert [line for line in out.splitlines() if line and line[0] != "#"] == [
        "net.ipv4.tcp_sack = 1"
    ]
    out, _ = run(gateway, "tune", "--unit", code=1)
    assert [line for line in out.splitlines() if line and line[0] != "#"] == [
        "[Service]",
        "LimitNOFILE=500032",
    ]


def test_tune_as_json(gateway):
    assert json.loads(run(gateway, "--json", "tune", code=1)[0]) == TUNING


@pytest.mark.parametrize("options", ["--sysctl --unit", "--json --unit", "--apply --json"])
def test_tune_does_one_thing(gateway, options):
    assert "one of" in run(gateway, "tune", *options.split(), code=2)[1]
    assert gateway.seen == []


def test_tune_without_a_gateway_points_at_the_daemon(tmp_path):
    out, err = run(tmp_path / "nobody", "tune", code=3)
    assert out == "" and "no such socket" in err and "millgated --tune" in err


def test_tune_in_colours_on_a_terminal(gateway):
    output = Terminal(gateway, "tune").finish(code=1)
    assert b"\x1b[1;31mharmful\x1b[0m" in output


def test_tune_prints_nothing_that_steers_a_terminal(gateway):
    finding = {k: "\x1b[2J\x9b" for k in TUNING["findings"][0]}
    setting = {**TUNING["settings"][0], "why": "a\nkernel.modprobe = 1"}
    gateway.answers["GET", "/tuning"] = (200, {"findings": [finding], "settings": [setting]})
    assert "\x1b" not in run(gateway, "tune")[0]
    out, _ = run(gateway, "tune", "--sysctl")
    assert "\nkernel" not in out


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_tune_applies_nothing_that_it_does_not_know(gateway):
    before = Path("/proc/sys/kernel/printk_ratelimit").read_text()
    settings = [
        {**TUNING["settings"][0], "key": key, "value": value}
        for key, value in [
            ("kernel.printk_ratelimit", "12345"),
            ("net.ipv4.tcp_sack", "1; reboot"),
            ("../kernel.printk_ratelimit", "12345"),
        ]
    ]
    gateway.answers["GET", "/tuning"] = (200, {**TUNING, "settings": settings})
    _, err = run(gateway, "tune", "--apply", code=1)
    assert "kernel.printk_ratelimit = 12345: is no setting that --apply knows" in err
    assert len(err.splitlines()) == 1
    assert Path("/proc/sys/kernel/printk_ratelimit").read_text() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_tune_apply_needs_root(gateway):
    result = subprocess.run(
        [CTL, "-s", gateway.path, "tune", "--apply"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        preexec_fn=lambda: os.setuid(65534),
    )
    assert result.returncode == 1 and "needs root" in result.stderr


def test_list_shows_one_hundred_and_says_that_there_are_more(gateway):
    out, err = run(gateway, "list")
    assert len(out.splitlines()) == 101
    assert out.splitlines()[0].split() == (
        "ID LISTENER SERVICE WORKER PEER AGE IDLE RECEIVED SENT RTT QUEUED STATE".split()
    )
    assert re.search(
        r"^ *1 +public +hold +1 +192\.0\.2\.1:40000 +1h2m +250ms +2\.00 KiB +- +120us +0 B +open$",
        out,
        re.M,
    )
    assert "--limit 0" in err


def test_list_passes_filters(gateway):
    run(gateway, "list", "--source", "2001:db8::/32", "--listener", "a b&c", "--worker", "3")
    assert gateway.seen[0][2] == {
        "source": "2001:db8::/32",
        "listener": "a b&c",
        "worker": "3",
        "limit": "100",
    }


@pytest.mark.parametrize("total", [0, 1, 999, 1000, 1001, 2500])
def test_list_all_pages(gateway, total):
    gateway.connections = total
    out, err = run(gateway, "list", "--limit", "0")
    assert len(out.splitlines()) == total + 1
    assert err == ""


def test_list_limit_over_a_page(gateway):
    gateway.connections = 5000
    out, _ = run(gateway, "list", "--limit", "1500")
    assert len(out.splitlines()) == 1501
    assert [query["limit"] for _, _, query, _ in gateway.seen] == ["1000", "500"]


@pytest.mark.parametrize("total", [0, 1, 2500])
def test_list_all_pages_as_one_json_object(gateway, total):
    gateway.connections = total
    out, _ = run(gateway, "--json", "list", "--limit", "0")
    listed = json.loads(out)
    assert list(listed) == ["connections"]
    assert listed["connections"] == [connection(i) for i in range(1, total + 1)]


def test_list_json_of_one_page_is_the_servers(gateway):
    out, _ = run(gateway, "--json", "list", "--limit", "10")
    assert json.loads(out)["next"] == 10


def test_list_does_not_follow_a_page_that_leads_nowhere(gateway):
    gateway.answers["GET", "/connections"] = (200, {"connections": [], "next": 5})
    assert "not a page" in run(gateway, "list", "--limit", "0", code=1)[1]


def test_list_json_that_is_cut_short_is_not_valid(gateway):
    pages = iter([(200, {"connections": [connection(1)], "next": 1}), (500, {"error": "oops"})])
    gateway.answers["GET", "/connections"] = lambda handler: next(pages)
    out, err = run(gateway, "--json", "list", "--limit", "0", code=1)
    assert "oops" in err
    with pytest.raises(ValueError):
        json.loads(out)


def test_show(gateway):
    out, _ = run(gateway, "show", "7")
    assert "peer 192.0.2.7:40000\n" in out
    assert "bytes_sent null\n" in out


def test_show_of_no_connection_exits_1(gateway):
    assert "no such thing" in run(gateway, "show", "8", code=1)[1]


def test_kill_one(gateway):
    assert run(gateway, "kill", "7")[0] == "Closed 1 connection.\n"
    assert gateway.seen[0][:2] == ("DELETE", "/connections/7")


def test_kill_by_source(gateway):
    out, _ = run(gateway, "kill", "--source", "10.0.0.0/8", "--listener", "public")
    assert out == "Closed 3 connections.\n"
    assert gateway.seen[0][:3] == (
        "DELETE",
        "/connections",
        {"source": "10.0.0.0/8", "listener": "public"},
    )


def test_kill_of_no_connection_exits_1(gateway):
    assert "no such thing" in run(gateway, "kill", "8", code=1)[1]


def test_drain_at_once_and_over_a_time(gateway):
    assert run(gateway, "drain")[0] == "Draining 51,200 connections at once.\n"
    assert gateway.seen[0][3] == b""
    assert run(gateway, "drain", "--over", "10m")[0] == "Draining 51,200 connections over 10m.\n"
    assert json.loads(gateway.seen[1][3]) == {"over": "10m"}


def test_drain_over_nonsense_is_refused_by_the_server(gateway):
    assert "wanted a duration" in run(gateway, "drain", "--over", 'a"b', code=1)[1]


def test_resume(gateway):
    assert run(gateway, "resume")[0] == "Accepting connections.\n"


def test_reload(gateway):
    out, _ = run(gateway, "reload")
    assert out.split("Changed in the file")[0] == "Changed:\n  limits.connections\n"
    assert "needs a restart:\n  workers\n" in out


def test_reload_without_a_change(gateway):
    gateway.answers["POST", "/reload"] = (200, {"changed": [], "needs_restart": []})
    assert run(gateway, "reload")[0] == "Nothing changed.\n"


def test_reload_refused_shows_every_error(gateway):
    errors = [f"/etc/x.json: key{i} is unknown, " + "x" * 80 for i in range(100)]
    gateway.answers["POST", "/reload"] = (
        422,
        {"error": "the configuration was not changed", "errors": errors},
    )
    out, err = run(gateway, "reload", code=1)
    assert out == "" and "was not changed" in err
    assert all(error in err for error in errors)


def test_config_is_json(gateway):
    assert json.loads(run(gateway, "config")[0]) == CONFIG


def test_sources(gateway):
    out, _ = run(gateway, "sources", "--limit", "2")
    assert re.search(r"192\.0\.2\.0/32 +40\n192\.0\.2\.1/32 +39\nof 4 sources", out)
    assert gateway.seen[0][2] == {"limit": "2"}


@pytest.mark.parametrize(
    "verb", ["status", "stats", "health", "sources", "config", "list", "show 7"]
)
def test_json_is_what_the_server_sent(gateway, verb):
    odd = b'{ "status":"ok",  "x" : 1.50, "connections": [ ] }'
    path = {"status": "/stats", "list": "/connections", "show 7": "/connections/7"}
    gateway.answers["GET", path.get(verb, "/" + verb)] = (200, odd)
    assert run(gateway, "--json", *verb.split())[0] == odd.decode() + "\n"


@pytest.mark.parametrize("verb", ["drain", "resume", "reload", "kill 7", "kill --source ::/0"])
def test_json_of_verbs_that_steer(gateway, verb):
    assert isinstance(json.loads(run(gateway, "--json", *verb.split())[0]), dict)


# ---- arguments ----


def help_verbs():
    out = subprocess.run([CTL, "help"], capture_output=True, text=True, check=True).stdout
    section = out.split("Verbs:\n")[1].split("\nOptions:")[0]
    return [line.split()[0] for line in section.splitlines() if re.match(r"  \S", line)]


def test_help_explains_every_verb(gateway):
    verbs = help_verbs()
    assert {"status", "top", "list", "kill", "help"} <= set(verbs)
    for verb in verbs:
        out, _ = run(gateway, "help", verb)
        assert out.startswith(f"Usage:\n  millgatectl {verb}")
        assert run(gateway, verb, "--help")[0] == out
    assert gateway.seen == []


def test_help_fits_a_terminal(gateway):
    for verb in [None, *help_verbs()]:
        out, _ = run(gateway, *(["help", verb] if verb else ["--help"]))
        assert max(map(len, out.splitlines())) <= 80


def test_version(gateway):
    assert re.match(r"millgatectl \S+\n$", run(gateway, "--version")[0])
    assert run(gateway, "-V")[0] == run(gateway, "--version")[0]


@pytest.mark.parametrize(
    "args",
    [
        "",
        "frobnicate",
        "--frobnicate status",
        "status now",
        "status --limit 5",
        "list --over 5m",
        "list --limit -1",
        "list --limit x",
        "list --limit",
        "list --worker 256",
        "list --worker 1x",
        "show",
        "show 1 2",
        "show x",
        "show ../stats",
        "show 9007199254740992",
        "show 18446744073709551616",
        "kill",
        "kill 7 --source 10.0.0.0/8",
        "kill 7 --listener public",
        "kill --listener public",
        "sources --limit 0",
        "sources --limit 1001",
        "top --interval 0",
        "top --interval x",
        "--json top",
        "--timeout 0 status",
        "--timeout 1y status",
        "--timeout nan status",
        "help frobnicate",
        "help list list",
    ],
)
def test_wrong_usage_exits_2_and_asks_nothing(gateway, args):
    out, err = run(gateway, *args.split(), code=2)
    assert out == ""
    assert "help" in err or "usage" in err
    assert gateway.seen == []


def test_socket_option_without_a_path(gateway):
    run("", "status", code=2)


def test_socket_path_that_is_too_long(gateway):
    assert "at most 107" in run("/" + "x" * 107, "status", code=2)[1]
    run("/" + "x" * 106, "status", code=3)


def test_socket_from_the_environment(gateway):
    result = subprocess.run(
        [CTL, "health"],
        env=environment(MILLGATE_ADMIN_SOCKET=gateway.path),
        capture_output=True,
        check=True,
    )
    assert result.stdout == b"ok\n"


def test_socket_option_wins_over_the_environment(gateway):
    run(gateway, "health", MILLGATE_ADMIN_SOCKET="/nonexistent")


# ---- not reachable ----


@pytest.mark.parametrize("verb", ["status", "list", "kill 7", "reload", "top", "--json list"])
def test_no_socket_exits_3(tmp_path, verb):
    path = tmp_path / "none.sock"
    out, err = run(path, *verb.split(), code=3)
    assert str(path) in err and "no such socket" in err
    assert out == ""


def test_nobody_listens_exits_3(tmp_path):
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    err = run(path, "status", code=3)[1]
    assert str(path) in err and "nobody listens" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_permission_denied_names_the_group(tmp_path):
    tmp = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True)
    folder = Path(tmp.stdout.strip())
    path = folder / "admin.sock"
    binary = folder / "millgatectl"
    binary.write_bytes(CTL.read_bytes())
    binary.chmod(0o755)
    folder.chmod(0o755)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            os.chown(path, 0, 4)
            path.chmod(0o660)
            result = subprocess.run(
                [binary, "-s", path, "status"],
                user=65534,
                group=65534,
                extra_groups=[],
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
    finally:
        for file in (path, binary):
            file.unlink()
        folder.rmdir()
    assert result.returncode == 3
    assert str(path) in result.stderr and "group adm" in result.stderr


def hang(handler):
    handler.server.release.wait(DEADLINE)


def drip(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not handler.server.release.wait(0.02):
        handler.wfile.write(b" ")


@pytest.mark.parametrize("behaviour", [hang, drip])
def test_an_answer_that_takes_too_long_exits_3(gateway, behaviour):
    gateway.answers["GET", "/stats"] = behaviour
    start = time.monotonic()
    err = run(gateway, "--timeout", "300ms", "status", code=3)[1]
    assert 0.2 < time.monotonic() - start < 3
    assert gateway.path in err and "no answer within 0.3 s" in err


def test_a_full_backlog_times_out(tmp_path):
    path = tmp_path / "full.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            err = run(path, "--timeout", "0.3", "status", code=3)[1]
    assert "no answer within" in err


def test_hanging_up_without_an_answer_exits_3(gateway):
    gateway.answers["GET", "/stats"] = lambda handler: None
    assert "hung up" in run(gateway, "status", code=3)[1]


# ---- hostile answers ----


def reply(body, head=b""):
    length = b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 200 OK\r\n" + length + head + b"\r\n" + body


@pytest.mark.parametrize(
    "answer, text",
    [
        (b"\x00\xff\x1b]0;x\x07" * 1000, "answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "too early"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "too early"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 268435457\r\n\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100000, "too long"),
        (b"HTTP/1.1 200 OK\r\n\r\n[" + b"[" * 100000, "not a JSON object"),
        (reply(b""), "not a JSON object"),
        (reply(b"[]"), "not a JSON object"),
        (reply(b"{}garbage"), "not a JSON object"),
        (reply(b'{"a":1,"a":2}'), "not a JSON object"),
        (reply(b'{"a":"\xff"}'), "not a JSON object"),
        (reply(b"{}", b"Transfer-Encoding: chunked\r\n"), "both"),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("verb", ["status", "stats", "--json stats", "top"])
def test_hostile_answers_exit_1_and_say_what_is_wrong(gateway, answer, text, verb):
    gateway.answers["GET", "/stats"] = answer
    out, err = run(gateway, *verb.split(), code=1)
    assert out == ""
    assert gateway.path in err and text in err
    assert err.isprintable() or err.rstrip("\n").isprintable()


def test_a_huge_answer_is_cut_off(gateway):
    def huge(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(257):
            handler.wfile.write(b" " * 2**20)

    gateway.answers["GET", "/stats"] = huge
    assert "longer than" in run(gateway, "stats", code=1)[1]


def test_chunked_answers_and_answers_up_to_the_end_are_read(gateway):
    body = json.dumps(STATS).encode()
    head = b"HTTP/1.1 200 OK\r\n"
    gateway.answers["GET", "/stats"] = head + b"\r\n" + body
    assert json.loads(run(gateway, "--json", "stats")[0]) == STATS
    gateway.answers["GET", "/stats"] = (
        head
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
        + b"0\r\n\r\n"
    )
    assert json.loads(run(gateway, "--json", "stats")[0]) == STATS


def test_an_error_that_is_no_json_names_the_status(gateway):
    gateway.answers["GET", "/stats"] = (404, b"<html>Not found</html>")
    assert "status 404" in run(gateway, "stats", code=1)[1]


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


ESCAPED_VERBS = [
    "status",
    "stats",
    "health",
    "metrics",
    "list",
    "sources",
    "config",
    "reload",
    "--json stats",
    "--json list --limit 0",
]


@pytest.mark.parametrize("verb", ESCAPED_VERBS)
def test_nothing_the_server_says_steers_the_terminal(gateway, verb):
    evil_everywhere(gateway)
    terminal = Terminal(gateway, "--no-color", *verb.split())
    output = terminal.finish(None).decode()
    text = output.replace("\r\n", "\n")
    bad = [c for c in text if c != "\n" and not c.isprintable()]
    assert bad == [], text
    assert "owned" in text
    if verb != "metrics":
        assert "\nfake" not in text


def test_json_on_a_terminal_is_indented_and_still_the_same(gateway):
    evil_everywhere(gateway)
    terminal = Terminal(gateway, "--json", "config", columns=500)
    assert json.loads(terminal.finish()) == {EVIL: EVIL}
    assert b"\n  " in terminal.output


# ---- colours ----


def on_terminal(gateway, *args, **env):
    return Terminal(gateway, *args, **env).finish(None)


def test_colours_on_a_terminal_only(gateway):
    assert b"\x1b[" in on_terminal(gateway, "status")
    assert "\x1b" not in run(gateway, "status")[0]


@pytest.mark.parametrize(
    "args, env",
    [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})],
)
def test_no_colours_when_not_wanted(gateway, args, env):
    assert b"\x1b" not in on_terminal(gateway, *args, "status", **env)


def test_empty_no_color_is_not_set(gateway):
    assert b"\x1b[" in on_terminal(gateway, "status", NO_COLOR="")


def test_output_that_cannot_be_written_exits_1(gateway):
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run(
            [CTL, "-s", gateway.path, "status"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert "cannot be written" in result.stderr


# ---- top ----


def busy(gateway):
    """Each question finds 10 more accepted and 100 more closed."""

    def answer(handler):
        stats = gateway.stats
        stats["uptime_seconds"] += 1
        stats["metrics"]["connections_accepted_total"] += 10
        stats["closed"]["idle_timeout"] += 100
        stats["closed"]["refused_total"] += 7
        return 200, stats

    gateway.answers["GET", "/stats"] = answer


def test_top_shows_and_quits_on_q(gateway):
    terminal = Terminal(gateway, "top")
    terminal.until("192.0.2.3/32")
    terminal.type(b"xyz")
    terminal.type(b"q")
    output = terminal.finish()
    assert_screen_given_back(output)
    assert "millgate 0.1.0 is ok" in plain(output)
    assert "side.door" in plain(output)


def test_top_redraws_in_place(gateway):
    terminal = Terminal(gateway, "top", "--interval", "0.1", "--count", "4")
    output = terminal.finish()
    assert_screen_given_back(output)
    assert output.count(b"\x1b[2J") == 1
    assert output.count(b"\x1b[H") == 4


def test_top_shows_rates(gateway):
    busy(gateway)
    terminal = Terminal(gateway, "top", "--interval", "0.2", "--count", "2")
    frame = plain(terminal.finish().split(b"\x1b[H")[2])
    accepted, closed = re.search(r"A second +([\d.]+) accepted, ([\d.]+) closed", frame).groups()
    assert 1 < float(accepted) < 51  # the machine may be slow, the clock is not
    assert 10 < float(closed) < 510
    assert re.search(r"idle_timeout +\d{2,3} ", frame)
    assert frame.index("idle_timeout") < frame.index("client_closed")


@pytest.mark.parametrize("rows, columns", [(1, 1), (2, 10), (5, 20), (10, 40), (24, 80), (60, 250)])
def test_top_stays_within_the_screen(gateway, rows, columns):
    terminal = Terminal(gateway, "top", "--count", "1", rows=rows, columns=columns)
    output = terminal.finish()
    frame = output.split(b"\x1b[H")[1].split(b"\x1b[?1049l")[0]
    lines = plain(frame).replace("\r\n", "\n").split("\n")
    assert len(lines) <= rows
    assert max(map(len, lines)) <= columns


def test_top_follows_the_size_of_the_terminal(gateway):
    terminal = Terminal(gateway, "top", "--interval", "60", rows=40, columns=60)
    seen = terminal.until("192.0.2.3/32")
    asked = len(gateway.seen)
    terminal.resize(8, 120)
    start = terminal.until(b"\x1b[H", seen)
    terminal.until("A second", start)
    assert len(gateway.seen) == asked  # drawn anew, not asked anew
    terminal.type(b"q")
    terminal.finish()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_top_gives_the_terminal_back_on_signals(gateway, number):
    terminal = Terminal(gateway, "top")
    terminal.until("A second")
    terminal.process.send_signal(number)
    assert_screen_given_back(terminal.finish(-number))


def test_top_quits_on_control_c(gateway):
    terminal = Terminal(gateway, "top")
    terminal.until("A second")
    terminal.type(b"\x03")
    assert_screen_given_back(terminal.finish(-signal.SIGINT))


def test_top_quits_while_the_gateway_hangs(gateway):
    terminal = Terminal(gateway, "top", "--interval", "0.1")
    terminal.until("A second")
    gateway.answers["GET", "/stats"] = hang
    asked = len(gateway.seen)
    while len(gateway.seen) == asked:
        terminal.read(0.05)
    start = time.monotonic()
    terminal.type(b"q")
    assert_screen_given_back(terminal.finish())
    assert time.monotonic() - start < 3


def test_top_stops_and_goes_on(gateway):
    terminal = Terminal(gateway, "top", "--interval", "60")
    terminal.until("A second")
    terminal.process.send_signal(signal.SIGTSTP)
    seen = terminal.until(b"\x1b[?1049l")
    end = time.monotonic() + DEADLINE
    while "State:\tT" not in Path(f"/proc/{terminal.process.pid}/status").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert termios.tcgetattr(terminal.slave) == terminal.before
    terminal.process.send_signal(signal.SIGCONT)
    terminal.until("A second", terminal.until(b"\x1b[?1049h", seen))
    terminal.type(b"q")
    assert_screen_given_back(terminal.finish())


def test_top_says_that_the_gateway_went_away_and_tries_again(gateway):
    terminal = Terminal(gateway, "top", "--interval", "0.1", columns=250)
    seen = terminal.until("A second")
    gateway.answers["GET", "/stats"] = lambda handler: None
    seen = terminal.until("No answer for", seen)
    terminal.until("hung up", seen)
    del gateway.answers["GET", "/stats"]
    seen = len(terminal.output)
    end = time.monotonic() + DEADLINE
    while True:
        assert time.monotonic() < end
        start = terminal.until(b"\x1b[H", seen)
        frame = terminal.output[start : terminal.until(b"\x1b[J", start)]
        if b"No answer" not in frame:
            break
        seen = start
    terminal.type(b"q")
    terminal.finish()


def test_top_is_not_kept_busy_by_empty_errors(gateway):
    terminal = Terminal(gateway, "top", "--interval", "0.2")
    seen = terminal.until("A second")
    gateway.answers["GET", "/stats"] = (500, {"error": ""})
    terminal.until("status 500", seen)
    terminal.type(b"q")
    terminal.finish()


def test_top_survives_evil_text(gateway):
    evil_everywhere(gateway)
    terminal = Terminal(gateway, "top", "--count", "1", rows=50, columns=200)
    output = terminal.finish()
    assert b"owned" in output
    assert b"\x1b]0;" not in output and b"\x07" not in output and "\u009b".encode() not in output


def test_top_without_a_terminal_prints_plain_snapshots(gateway):
    busy(gateway)
    out, _ = run(gateway, "top", "--interval", "0.1", "--count", "3")
    assert "\x1b" not in out
    assert out.count("millgate 0.1.0 is ok") == 3
    assert re.search(r"A second +[\d.]+ accepted", out)


def test_top_without_a_terminal_tells_of_a_lost_gateway(gateway):
    answers = iter([(200, STATS), (200, STATS)])
    gateway.answers["GET", "/stats"] = lambda handler: next(answers, None)
    out, _ = run(gateway, "top", "--interval", "0.1", "--count", "2", code=3)
    assert out.count("is ok") == 1
    assert out.count("No answer for") == 1


def test_top_compares_nothing_across_a_restart(gateway):
    pids = iter(range(100, 200))
    gateway.answers["GET", "/stats"] = lambda handler: (200, {**STATS, "pid": next(pids)})
    out, _ = run(gateway, "top", "--interval", "0.1", "--count", "1")
    assert re.search(r"A second +- accepted, - closed", out)


# ---- completion ----


def complete(gateway, *words, command="millgatectl"):
    script = f"""
        source '{COMPLETION}'
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _millgatectl '{CTL}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(
        ["bash", "-c", script, "bash", command, *words],
        env=environment(MILLGATE_ADMIN_SOCKET=gateway.path if gateway else "/nonexistent"),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert result.stderr == ""
    return set(result.stdout.split())


def test_completion_of_verbs():
    assert complete(None, "") == set(help_verbs())
    assert complete(None, "re") == {"resume", "reload"}
    assert complete(None, "-s", "/x", "--json", "sta") == {"status", "stats"}
    assert complete(None, "help", "to") == {"top"}
    assert complete(None, "status", "") == set()


def test_completion_of_options():
    common = {"--socket", "--json", "--timeout", "--no-color", "--help", "--version"}
    assert complete(None, "--") == common
    assert complete(None, "-") == common | {"-s", "-h", "-V"}
    assert complete(None, "list", "--") == common | {
        "--source",
        "--listener",
        "--worker",
        "--limit",
    }
    assert complete(None, "drain", "--o") == {"--over"}


def test_completion_of_listeners(gateway):
    assert complete(gateway, "list", "--listener", "") == {"public", "side.door"}
    assert complete(gateway, "kill", "--listener", "pu") == {"public"}
    assert complete(gateway, "kill", "--listener", "=") == {"public", "side.door"}
    assert complete(gateway, "kill", "--listener", "=", "pu") == {"public"}
    assert complete(None, "-s", gateway.path, "list", "--listener", "s") == {"side.door"}


def test_completion_of_listeners_without_a_gateway():
    assert complete(None, "list", "--listener", "") == set()


def test_completion_runs_nothing_a_listener_is_called(gateway, tmp_path):
    listener = gateway.stats["listeners"]["public"]
    gateway.stats["listeners"] = {f"$(touch {tmp_path}/owned)": listener, "fine": listener}
    assert complete(gateway, "list", "--listener", "") == {"fine"}
    assert not (tmp_path / "owned").exists()


def test_completion_of_socket_paths(gateway):
    assert complete(None, "-s", gateway.path[:-2]) == {gateway.path}
