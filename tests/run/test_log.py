"""The log: on stderr, in the journal; what clients can provoke there, and what they cannot."""

import calendar
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from clients import Crowd, connect, is_closed
from gateway import process_runs, wait_for

LINE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{3}Z (error|warning|info|debug) "
    r"(supervisor|worker \d+): (.+)"
)
BURST = 5  # LOG_LIMIT_BURST
EVIL = "x\n\x1b[31m\x07\\\x7f"


def config(limits=None, **more):
    return {"workers": 2, "limits": limits or {}, "listeners": {"hold": {}}, **more}


def lines(gateway, level=".*"):
    """What was logged, as (time, level, process, text); each line has the right form."""
    found = [LINE.fullmatch(line) for line in gateway.log().splitlines()]
    assert all(found), gateway.log()
    return [line.groups() for line in found if re.fullmatch(level, line[2])]


def new_lines(gateway, before):
    return lines(gateway)[len(before) :]


# On stderr.


def test_lines(gateway):
    one = gateway(config(log_level="debug"))
    with Crowd(one.address(), 3):
        one.wait_connections(3)
    one.wait_connections(0)
    one.stop()
    found = lines(one)
    moment = calendar.timegm(time.strptime(found[0][0], "%Y-%m-%dT%H:%M:%S"))
    assert abs(moment - time.time()) < 60
    texts = [text for _, level, process, text in found if process == "supervisor"]
    assert "ready: 2 workers, up to 100000 connections" in texts and texts[-1] == "stopped"
    closed = r"hold: connection \d+ from 127.1.0.1/32 closed: client_closed"
    assert sum(bool(re.fullmatch(closed, text)) for text in texts) == 3


@pytest.mark.parametrize(
    "level, levels",
    [
        ("error", {"error"}),
        ("warning", {"error", "warning"}),
        ("info", {"error", "warning", "info"}),
        ("debug", {"error", "warning", "info", "debug"}),
    ],
)
def test_levels(gateway, level, levels):
    one = gateway(config(log_level=level, worker_timeout=3600))
    with Crowd(one.address(), 3) as crowd:
        one.wait_connections(3)
        one.config["workers"] = 3
        one.write_config()
        assert one.ok("POST", "/reload")["needs_restart"] == ["workers"]
        os.kill(one.worker_pids()[0], 9)
        assert crowd.pump_until(lambda: crowd.closed_count > 0)
    one.wait_connections(0)
    assert {line[1] for line in lines(one)} == levels


def test_lines_of_many_processes_do_not_mix(gateway):
    one = gateway(config(workers=16))
    before, pids = lines(one), one.worker_pids()
    one.process.kill()
    one.process.wait()
    for pid in pids:
        wait_for(lambda: process_runs(pid), False)
    found = new_lines(one, before)
    assert {line[3] for line in found} == {"the supervisor is gone; 0 connections are closed"}
    assert {line[2] for line in found} == {f"worker {number}" for number in range(16)}


def redirected(how):
    """A prefix: a shell that redirects what it has, and becomes the gateway."""
    return ["sh", "-c", f'exec "$@" {how}', "sh"]


def test_standard_descriptors_are_closed(gateway):
    """No connection gets their numbers, and what is logged goes nowhere."""
    one = gateway(config(log_level="debug"), prefix=redirected("<&- >&- 2>&-"))
    with Crowd(one.address(), 5) as crowd:
        one.wait_connections(5)
        crowd.add(5)
        crowd.leave(crowd.clients[:5])
        one.wait_closed("client_closed", 5)
        for pid in (one.pid, *one.worker_pids()):
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)]
            assert links == ["/dev/null"] * 3
        crowd.pump_for(0.1)
        assert crowd.received == 0
    assert one.log() == ""


def test_nobody_reads_stderr(gateway):
    """A log that ends in a broken pipe is no reason to stop."""
    read_end, write_end = os.pipe()
    prefix = redirected(f"2>/proc/self/fd/{write_end}")
    one = gateway(config(log_level="debug"), prefix=prefix, pass_fds=[write_end])
    os.close(write_end)
    os.close(read_end)
    with Crowd(one.address(), 5):
        one.wait_connections(5)
    one.wait_closed("client_closed", 5)
    assert one.reload() == []


# In the journal.

IN_A_JOURNAL = """
mount -t tmpfs none /run && mkdir /run/systemd && ln -s "$0" /run/systemd/journal &&
JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr) exec "$@"
"""


def fields_of(datagram):
    """The fields of a message in the journal's native protocol."""
    fields = {}
    while datagram:
        name, _, datagram = datagram.partition(b"\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
        else:
            length = int.from_bytes(datagram[:8], "little")
            value, datagram = datagram[8 : 8 + length], datagram[9 + length :]
        fields[name.decode()] = value.decode()
    return fields


class Journal:
    """A journal of the test's own, in a mount namespace of the gateway's own."""

    def __init__(self, directory):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(directory / "socket"))
        self.socket.setblocking(False)
        self.prefix = ["unshare", "--mount", "sh", "-c", IN_A_JOURNAL, directory]
        self.found = []

    def messages(self, **wanted):
        """Those that came so far and have these fields."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.found.append(fields_of(self.socket.recv(65536)))
        return [
            fields
            for fields in self.found
            if all(fields.get(name) == value for name, value in wanted.items())
        ]

    def wait(self, **wanted):
        wait_for(lambda: self.messages(**wanted), bool, what=f"{wanted} in {self.found}")
        return self.messages(**wanted)


def may_mount():
    test = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/run"]
    return shutil.which("unshare") and not subprocess.run(test, capture_output=True).returncode


@pytest.fixture
def journal(tmp_path):
    if not may_mount():
        pytest.skip("needs the right to make a mount namespace")
    one = Journal(tmp_path)
    with one.socket:
        yield one


def test_journal(gateway, journal):
    one = gateway(config({"connections": 2}, log_level="debug"), prefix=journal.prefix)
    ready = journal.wait(MESSAGE="ready: 2 workers, up to 2 connections")[0]
    assert (ready["PRIORITY"], ready["SYSLOG_IDENTIFIER"]) == ("6", "millgated")
    assert not any(name.startswith("MILLGATE_") for name in ready)
    with Crowd(one.address(), 3) as crowd:
        assert crowd.pump_until(lambda: crowd.closed_count == 1)
        refused = journal.wait(MILLGATE_REASON="refused_total")[0]
        port = crowd.clients[2].sock.fileno() == -1 and refused["MILLGATE_PEER"].split(":")[1]
        assert refused["MILLGATE_PEER"] == f"127.1.0.1:{port}"
        assert (refused["MILLGATE_LISTENER"], refused["PRIORITY"]) == ("hold", "6")
        assert refused["MESSAGE"].startswith(f"hold: refused 127.1.0.1:{port}: ")
        items = {str(item["id"]): str(item["worker"]) for item in one.connections()}
    wait_for(lambda: len(journal.messages(MILLGATE_REASON="client_closed")), 2)
    for closed in journal.messages(MILLGATE_REASON="client_closed"):
        assert items.pop(closed["MILLGATE_CONNECTION"]) == closed["MILLGATE_WORKER"]
        assert (closed["MILLGATE_LISTENER"], closed["PRIORITY"]) == ("hold", "7")
        assert closed["MILLGATE_PEER"] == "127.1.0.1/32"
    os.kill(one.worker_pids()[1], 9)
    died = journal.wait(PRIORITY="3")[0]
    assert died["MILLGATE_WORKER"] == "1" and "died of signal 9" in died["MESSAGE"]
    one.wait_metric("workers_current", 2)
    one.stop()
    journal.wait(MESSAGE="stopped")
    assert one.log() == "", "nothing goes to stderr as well"


def test_workers_log_to_the_journal_by_its_stream(gateway, journal):
    one = gateway(config(), prefix=journal.prefix)
    pids = one.worker_pids()
    one.process.kill()
    one.process.wait()
    for pid in pids:
        wait_for(lambda: process_runs(pid), False)
    assert sorted(one.log().splitlines()) == [
        f"<3>worker {number}: the supervisor is gone; 0 connections are closed"
        for number in range(2)
    ]


def test_stderr_that_is_not_the_stream(gateway, tmp_path):
    """Somebody redirected it since."""
    one = gateway(config(), environment={"JOURNAL_STREAM": "8:12345"})
    assert any("ready" in line[3] for line in lines(one))


# What clients can provoke.


def test_refusals_are_rate_limited(gateway):
    one = gateway(config({"connections": 5, "connections_per_source": 4}))
    before = lines(one)
    with Crowd(one.address(), 1000) as crowd:
        assert crowd.pump_until(lambda: crowd.closed_count == 995)
        one.wait_metric("connections_refused_total", 995)
        crowd.leave(crowd.clients)
    found = new_lines(one, before)
    assert 1 <= len(found) <= BURST
    assert all("hold: refused 127.1.0" in line[3] for line in found)
    assert found[0][3].endswith("(0 more since the last message)")


def test_connections_are_no_news(gateway):
    one = gateway(config({"idle_timeout": "100ms"}))
    before = lines(one)
    with Crowd(one.address(), 500) as crowd:
        assert crowd.pump_until(lambda: crowd.open_count == 0)
        one.wait_closed("idle_timeout", 500)
    with Crowd(one.address(), 500):
        pass
    one.wait_metric("connections_accepted_total", 1000)
    one.wait_connections(0)
    assert new_lines(one, before) == []


def test_want_of_descriptors_is_rate_limited(gateway):
    """Accepting pauses and goes on many times."""
    one = gateway(config(workers=1), nofile=300)
    before = lines(one)
    with Crowd(one.address()) as crowd:
        for _ in range(10):
            with contextlib.suppress(OSError):
                crowd.add(100)
            crowd.pump(0.05)
            crowd.leave(crowd.clients)
    one.wait_connections(0)
    assert len(new_lines(one, before)) <= 2 * BURST


def test_admin_clients_are_no_news(gateway):
    one = gateway(config())
    before = lines(one)
    for path in ("/nothing", "/connections?limit=x", "/connections/1"):
        for _ in range(50):
            assert one.admin("GET", path)[0] in (400, 404)
    for _ in range(50):
        with connect(str(one.admin_socket)) as client:
            client.sendall(b"garbage\r\n\r\n")
            assert is_closed(client)
    assert new_lines(one, before) == []


# What comes from outside is escaped.


def test_admin_requests_are_escaped_in_answers(gateway):
    one = gateway(config())
    request = b"GET /\x01\x1b[31m\xff\x7f HTTP/1.1\r\n\r\n"
    with connect(str(one.admin_socket)) as client:
        client.sendall(request)
        answer = client.recv(65536)
    assert b"404" in answer.splitlines()[0]
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["error"] == r"there is no /\x01\x1b[31m\xff\x7f"
    for name in ("listener", "limit", "source"):
        status, answer = one.admin("GET", f"/connections?{name}=%0a%1b[31m%ff")
        assert status == 400 and answer["error"].isprintable()
    lines(one)


def test_keys_of_bad_files_are_escaped(gateway):
    one = gateway(config())
    before = lines(one)
    name = EVIL.strip("\x7f")
    one.config_path.write_text(json.dumps({name: 1, "listeners": {name: {}}}))
    status, answer = one.admin("POST", "/reload")
    assert status == 422 and len(answer["errors"]) == 2
    assert all(text.isprintable() for text in answer["errors"])
    found = new_lines(one, before)
    assert len(found) == 3 and all(line[3].isprintable() for line in found)


def test_names_of_unix_clients_are_escaped(gateway, tmp_path):
    """A client may give its own socket any name."""
    one = gateway(
        {
            "workers": 1,
            "limits": {"connections": 1},
            "log_level": "debug",
            "listeners": {"hold": {"address": "unix:DIR/sock"}},
        }
    )
    clients = []
    for name in (f"\0{EVIL}", str(tmp_path / EVIL)):
        client = socket.socket(socket.AF_UNIX)
        client.bind(name)
        client.connect(one.address())
        clients.append(client)
    assert is_closed(clients[1])
    peer = one.connections()[0]["peer"]
    assert peer.isprintable()
    for client in clients:
        client.close()
    one.wait_connections(0)
    assert all(line[3].isprintable() for line in lines(one))
