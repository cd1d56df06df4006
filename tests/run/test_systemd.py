"""What systemd passes to the gateway, and what the gateway tells systemd."""

import contextlib
import errno
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import sys
import threading
import time
from pathlib import Path

import pytest

from clients import Crowd, connect, read_exactly
from gateway import SANITIZER_ENVIRONMENT, free_port, wait_for

ACTIVATE = Path(__file__).with_name("activate.py")
SOCKET_ACTIVATE = "systemd-socket-activate"
CREDENTIALS = struct.Struct("iII")


class Message:
    """What came in one datagram."""

    def __init__(self, text, pid):
        self.at = time.monotonic()
        self.pid = pid
        self.fields = dict(line.split("=", 1) for line in text.splitlines())

    def __repr__(self):
        return f"{self.at:.3f} {self.fields}"

    def says(self, **fields):
        return all(self.fields.get(name) == value for name, value in fields.items())


class Notify:
    """A notify socket; a thread of its own receives."""

    def __init__(self, path):
        self.messages = []
        self.stopping = False
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(path)
        self.socket.settimeout(0.05)
        self.environment = {"NOTIFY_SOCKET": path.replace("\0", "@")}
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopping:
            with contextlib.suppress(TimeoutError):
                data, control, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
                message = Message(data.decode(), CREDENTIALS.unpack(control[0][2])[0])
                # What is stored is for test_restart.py; its descriptors did not fit, and are closed.
                if not {"FDSTORE", "FDSTOREREMOVE", "BARRIER"} & message.fields.keys():
                    self.messages.append(message)

    def close(self):
        self.stopping = True
        self.thread.join()
        self.socket.close()

    def find(self, after=0, **fields):
        """The messages that say this."""
        return [message for message in self.messages[after:] if message.says(**fields)]

    def wait(self, after=0, **fields):
        """The first one that says this."""
        wait_for(lambda: self.find(after, **fields), bool, what=f"{fields} in {self.messages}")
        return self.find(after, **fields)[0]

    def wait_status(self, pattern, after=0):
        def found():
            texts = [message.fields.get("STATUS", "") for message in self.messages[after:]]
            return any(re.fullmatch(pattern, text) for text in texts)

        wait_for(found, True, what=f"STATUS={pattern} in {self.messages[after:]}")


@pytest.fixture
def notify(tmp_path):
    one = Notify(str(tmp_path / "notify"))
    yield one
    one.close()


def config(**listeners):
    return {"workers": 2, "listeners": listeners or {"echo": {"service": "echo"}}}


def check_echo(address):
    with connect(address) as client:
        client.sendall(b"hello")
        assert read_exactly(client, 5) == b"hello"


# Sockets from systemd-socket-activate.

NO_ADDRESS = {"service": "echo", "address": ""}


def systemd_socket_activate(names, addresses):
    if not shutil.which(SOCKET_ACTIVATE):
        pytest.skip(f"{SOCKET_ACTIVATE} is missing: install the Debian package systemd")
    listen = [f"--listen={address}" for address in addresses]
    passed = [f"--setenv={name}={value}" for name, value in SANITIZER_ENVIRONMENT.items()]
    return [SOCKET_ACTIVATE, *listen, f"--fdname={':'.join(names)}", *passed]


def test_socket_activation(gateway, tmp_path):
    """All sorts of sockets, several of one name, and the admin socket."""
    ports = [free_port() for _ in range(3)]
    unix = [str(tmp_path / name) for name in ("client.sock", "admin.sock")]
    addresses = [*(f"127.0.0.1:{port}" for port in ports[:2]), f"[::1]:{ports[2]}"]
    names = ["public", "public", "six", "public", "admin"]
    one = gateway(
        {**config(public=NO_ADDRESS, six=NO_ADDRESS), "admin": {}},
        prefix=systemd_socket_activate(names, [*addresses, *unix]),
        wait=False,
    )
    one.admin_socket = unix[1]
    wait_for(lambda: os.path.exists(unix[1]), True)
    one.wait_healthy()
    for address in (("127.0.0.1", ports[0]), ("127.0.0.1", ports[1]), ("::1", ports[2]), unix[0]):
        check_echo(address)
    listeners = one.stats()["listeners"]
    assert listeners["public"]["addresses"] == [*addresses[:2], f"unix:{unix[0]}"]
    assert listeners["six"]["addresses"] == addresses[2:]
    assert (listeners["public"]["accepted_total"], listeners["six"]["accepted_total"]) == (3, 1)
    one.stop()
    assert all(os.path.exists(path) for path in unix), "they are systemd's"


# Sockets that are passed by hand.


def listening():
    return socket.create_server(("127.0.0.1", free_port()), backlog=100)


def listening_unix(path):
    one = socket.socket(socket.AF_UNIX)
    one.bind(str(path))
    one.listen(100)
    return one


@pytest.fixture
def activated(gateway, notify):
    """Starts gateways with sockets of these names: activated(config, [(name, socket), ...])."""
    with contextlib.ExitStack() as stack:

        def start(conf, passed, wait=True, **environment):
            fds = [item.fileno() for _, item in passed]
            for _, item in passed:
                stack.enter_context(contextlib.closing(item))
            return gateway(
                conf,
                wait=wait,
                pass_fds=fds,
                prefix=[sys.executable, ACTIVATE, *fds, "--"],
                environment={
                    "LISTEN_FDS": str(len(fds)),
                    "LISTEN_FDNAMES": ":".join(name for name, _ in passed),
                    **notify.environment,
                    **environment,
                },
            )

        yield start


def failed(one, notify, message, code, status=1):
    """It did not start, and says why on stderr and to systemd."""
    one.wait_ended(status)
    assert message in one.log(), one.log()
    found = notify.wait(ERRNO=str(code))
    assert message in found.fields["STATUS"]
    assert not notify.find(READY="1")


def test_passed_socket_goes_before_the_address(activated):
    passed = listening()
    own = free_port()
    one = activated(
        config(echo={"service": "echo", "address": f"127.0.0.1:{own}"}), [("echo", passed)]
    )
    check_echo(passed.getsockname())
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", own))
    assert one.listener("echo")["addresses"] == ["127.0.0.1:%d" % passed.getsockname()[1]]
    text = f"echo: systemd's socket listens at another address than 127.0.0.1:{own}"
    assert text in one.log()


def test_backlog_from_before_the_start_is_served(activated):
    passed = listening()
    with Crowd(passed.getsockname(), 50) as crowd:
        crowd.send(b"early")
        one = activated(config(echo=NO_ADDRESS), [("echo", passed)])
        assert crowd.pump_until(lambda: crowd.received == 50 * 5)
        one.wait_connections(50)


def test_admin_socket_is_passed(activated, tmp_path):
    path = tmp_path / "admin"
    one = activated(config(), [("admin", listening_unix(path))], wait=False)
    one.admin_socket, own = path, one.admin_socket
    one.wait_healthy()
    assert not own.exists(), "the configured one is not made as well"
    one.stop()
    assert path.exists()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_metrics_socket_is_passed(activated, tmp_path, kind):
    own = free_port()
    passed = listening() if kind == "tcp" else listening_unix(tmp_path / "metrics")
    activated({**config(), "metrics": {"address": f"127.0.0.1:{own}"}}, [("metrics", passed)])
    with connect(passed.getsockname()) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert read_exactly(client, 15) == b"HTTP/1.0 200 OK"
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", own))


def test_sockets_meant_for_another_process(activated):
    passed = listening()
    one = activated(config(), [("echo", passed)], LISTEN_PID=str(os.getpid()))
    check_echo(one.address("echo"))
    assert str(passed.getsockname()[1]) not in one.listener("echo")["addresses"][0]


def test_name_without_entry(activated, notify):
    one = activated(config(), [("nobody", listening())], wait=False)
    failed(one, notify, 'a socket named "nobody" (FileDescriptorName=)', errno.ENOENT)
    assert "the configuration has no listener of this name" in one.log()


def test_socket_without_name(activated, notify):
    one = activated(config(), [("", listening())], wait=False)
    failed(one, notify, 'a socket named ""', errno.ENOENT)


def test_entry_with_neither_socket_nor_address(activated, notify):
    one = activated(config(echo=NO_ADDRESS, lonely=NO_ADDRESS), [("echo", listening())], wait=False)
    message = 'listener "lonely" has no address, and systemd passed no socket of this name'
    failed(one, notify, message, errno.EDESTADDRREQ)


def datagram():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    return one


def unix_datagram():
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def not_listening():
    one = socket.socket(socket.AF_INET)
    one.bind(("127.0.0.1", 0))
    return one


def connected():
    return socket.socketpair()[0]


def pipe():
    read_end, write_end = os.pipe()
    os.close(write_end)
    return os.fdopen(read_end, "rb")


def regular_file():
    return open(ACTIVATE, "rb")


@pytest.mark.parametrize("name", ["echo", "admin", "metrics"])
@pytest.mark.parametrize(
    "make, code",
    [
        (datagram, errno.EPROTOTYPE),
        (unix_datagram, errno.EPROTOTYPE),
        (not_listening, errno.EINVAL),
        (connected, errno.EINVAL),
        (pipe, errno.ENOTSOCK),
        (regular_file, errno.ENOTSOCK),
    ],
)
def test_descriptor_of_the_wrong_kind(activated, notify, make, code, name):
    one = activated(config(), [(name, make())], wait=False)
    failed(one, notify, f'descriptor 3 that systemd passed as "{name}" is not a listening', code)


@pytest.mark.parametrize("name", ["admin", "metrics"])
def test_two_sockets_of_its_own(activated, notify, tmp_path, name):
    passed = [(name, listening_unix(tmp_path / path)) for path in "ab"]
    one = activated(config(), passed, wait=False)
    failed(one, notify, f'more than one socket named "{name}"', errno.EEXIST)


@pytest.mark.parametrize(
    "environment",
    [
        {"LISTEN_FDS": "x"},
        {"LISTEN_FDS": "-1"},
        {"LISTEN_FDS": "2147483647"},
        {"LISTEN_FDNAMES": "echo:echo"},
        {"LISTEN_PID": "x"},
    ],
)
def test_nonsense_in_the_environment(activated, notify, environment):
    one = activated(config(), [("echo", listening())], wait=False, **environment)
    failed(one, notify, "cannot take the sockets that systemd passed", errno.EINVAL)


def test_address_in_use(gateway, notify):
    with listening() as other:
        port = other.getsockname()[1]
        one = gateway(
            config(echo={"address": f"127.0.0.1:{port}"}),
            environment=notify.environment,
            wait=False,
        )
        message = f'listener "echo": cannot listen on 127.0.0.1:{port}: Address already in use'
        failed(one, notify, message, errno.EADDRINUSE, 75)


# What it tells systemd.


@pytest.fixture
def notified(gateway, notify):
    """Starts gateways that tell `notify` how they are, and waits until they are ready."""

    def start(wait=True, more=None, **environment):
        one = gateway(
            {**config(), **(more or {})},
            environment={**notify.environment, **environment},
            prefix=[sys.executable, ACTIVATE, "--"],
            wait=wait,
        )
        if wait:
            notify.wait(READY="1")
        return one

    return start


def test_ready(notified, notify):
    one = notified()
    ready = notify.find(READY="1")
    assert len(ready) == 1 and ready[0] is notify.messages[0], "and not a word before"
    assert ready[0].says(STATUS="Ready: 0 of 100000 connections (0.0 %), 2 of 2 workers")
    os.kill(one.worker_pids()[0], signal.SIGKILL)
    one.wait_metric("worker_restarts_total", 1)
    one.wait_metric("workers_current", 2)
    one.stop()
    assert {message.pid for message in notify.messages} == {one.pid}, "NotifyAccess=main is enough"
    assert len(notify.find(READY="1")) == 1


def test_abstract_notify_socket(gateway):
    notify = Notify(f"\0millgate-test-{os.getpid()}")
    with contextlib.closing(notify):
        one = gateway(config(), environment=notify.environment)
        notify.wait(READY="1")
        one.stop()
        notify.wait(STOPPING="1")


def test_nobody_listens_to_it(gateway, tmp_path):
    one = gateway(config(), environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    check_echo(one.address("echo"))


def stop_starting_workers(gateway):
    """SIGSTOPs some workers before they are up; None: they were faster."""
    while not gateway.children():
        assert gateway.process.poll() is None
    stopped = gateway.children()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    wait_for(gateway.health, bool)
    gateway.workers()  # what one of them said before it stopped has been read by the second time
    starting = [worker["pid"] for worker in gateway.workers() if worker["state"] == "starting"]
    if set(starting) & set(stopped):
        return stopped
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    return None


def start_halfway(notified, notify, workers):
    """A gateway of which some workers hang before they are up, their pids, and how many messages
    there were before it."""
    for _ in range(20):
        before = len(notify.messages)
        one = notified(wait=False, more={"workers": workers})
        stopped = stop_starting_workers(one)
        if stopped:
            return one, stopped, before
        one.wait_healthy()
        one.stop()
    raise AssertionError("the workers were always faster")


def test_not_ready_before_all_workers_are(notified, notify):
    one, stopped, before = start_halfway(notified, notify, 16)
    wait_for(lambda: len(one.children()), 16)
    assert one.admin("GET", "/health")[1]["problems"]
    time.sleep(0.3)
    assert not notify.find(before, READY="1")
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    notify.wait(before, READY="1")
    one.wait_healthy()


def test_not_ready_while_it_stops(notified, notify):
    one, stopped, before = start_halfway(notified, notify, 1)
    one.process.send_signal(signal.SIGTERM)
    notify.wait(before, STOPPING="1")
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    one.wait_ended()
    assert not notify.find(before, READY="1")


def test_status_tells_of_connections(notified, notify):
    one = notified(more={"limits": {"connections": 40}})
    with Crowd(one.address("echo"), 10) as crowd:
        notify.wait_status(r"Ready: 10 of 40 connections \(25.0 %\), 2 of 2 workers")
        crowd.add(30)
        notify.wait_status(r"Ready: 40 of 40 connections \(100.0 %\), 2 of 2 workers")
        one.ok("POST", "/drain", {"over": "1h"})
        notify.wait_status(r"Draining: 40 of 40 connections .*")
        one.ok("POST", "/resume")
    after = len(notify.messages)
    notify.wait_status(r"Ready: 0 of 40 connections .*", after)
    count = len(notify.messages)
    uptime = one.metric("uptime_seconds")
    one.wait_metric("uptime_seconds", lambda seconds: seconds > uptime + 1)
    assert len(notify.messages) == count, "nothing new, no message"


@pytest.mark.parametrize("way", ["SIGHUP", "POST"])
@pytest.mark.parametrize("text", ["good", "bad"])
def test_reload(notified, notify, way, text):
    one = notified()
    if text == "bad":
        one.config_path.write_text("{")
    for _ in range(3):
        after, before_usec = len(notify.messages), time.monotonic_ns() // 1000
        if way == "SIGHUP":
            one.process.send_signal(signal.SIGHUP)
        else:
            assert one.admin("POST", "/reload")[0] == (200 if text == "good" else 422)
        ready = notify.wait(after, READY="1")
        assert "Ready: " in ready.fields["STATUS"]
        reloading = notify.wait(after, RELOADING="1")
        usec = int(reloading.fields["MONOTONIC_USEC"])
        assert before_usec <= usec <= time.monotonic_ns() // 1000
        assert notify.messages.index(reloading) < notify.messages.index(ready)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_stopping(notified, notify, sig):
    one = notified()
    with Crowd(one.address("echo"), 5) as crowd:
        one.wait_connections(5)
        one.stop(sig)
        assert crowd.pump_until(lambda: crowd.open_count == 0)
    last = notify.wait(STOPPING="1")
    assert last.fields["STATUS"].startswith("Stopping: 5 of")
    wait_for(lambda: notify.messages[-1], last)


def pings(notify, after=0):
    """The times between the signs of life."""
    times = [message.at for message in notify.find(after, WATCHDOG="1")]
    return [later - earlier for earlier, later in zip(times, times[1:])]


@pytest.mark.measures
def test_watchdog(notified, notify):
    notified(WATCHDOG_USEC="200000")
    gaps = wait_for(lambda: pings(notify), lambda found: len(found) >= 10)
    assert statistics.median(gaps) == pytest.approx(0.1, abs=0.03)


def test_no_watchdog_while_a_worker_hangs(notified, notify):
    """Until it is killed, at the second tick of the supervisor after worker_timeout."""
    one = notified(more={"worker_timeout": "1200ms"}, WATCHDOG_USEC="100000")
    wait_for(lambda: len(pings(notify)) > 5, True)
    after = len(notify.messages)
    os.kill(one.worker_pids()[1], signal.SIGSTOP)
    one.wait_log(r"has not ticked for [2-9]\.\d s; killing it")
    killed = time.monotonic()
    wait_for(lambda: notify.find(after, WATCHDOG="1")[-1].at > killed, True)
    gaps = pings(notify, after)
    assert max(gaps) > 0.3, gaps
    one.wait_metric("workers_current", 2)
    again = len(notify.messages)
    wait_for(lambda: len(pings(notify, again)) > 5, True)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "0"},
    ],
)
def test_no_watchdog_that_nobody_wants(notified, notify, environment):
    one = notified(**environment)
    one.wait_metric("uptime_seconds", lambda seconds: seconds >= 1)
    assert notify.find(WATCHDOG="1") == []
