"""Connections outlive the process: restarts as systemd does them, with a keeper in its place."""

import contextlib
import fcntl
import os
import signal
import socket
import struct
import time

import pytest

from clients import Crowd, connect, half_close, is_closed, read_all, read_exactly
from conftest import GATEWAYS
from gateway import MILLGATED, wait_for
from keeper import Keeper
from streams import Streams

KILLED = {"sig": signal.SIGKILL, "status": -signal.SIGKILL}


@pytest.fixture
def keeper(tmp_path, request):
    """Makes keepers: keeper("echo", "hold") opens these listeners."""
    with contextlib.ExitStack() as stack:

        def make(*sockets):
            one = Keeper(tmp_path, sockets)
            stack.callback(one.close)
            started = one.start

            def start(*args, **options):
                gateway = started(*args, **options)
                logs = request.node.stash.setdefault(GATEWAYS, [])
                if gateway not in logs:
                    logs.append(gateway)
                return gateway

            one.start = start
            return one

        yield make


def config(workers=2, *, limits=None, **listeners):
    settings = {"workers": workers, "listeners": listeners or {"echo": {"service": "echo"}}}
    if limits:
        settings["limits"] = limits
    return settings


def ids(gateway):
    return {item["id"] for item in gateway.connections()}


def settled_queue(gateway):
    """What waits for slow readers, once no more comes."""
    seen = []

    def steady():
        seen.append(gateway.metric("queued_bytes_current"))
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    wait_for(steady, True, what="the queue is steady")
    return seen[-1]


def check_echo(client, text=b"hello"):
    client.sendall(text)
    assert read_exactly(client, len(text)) == text


# What a client sees.


@pytest.mark.parametrize("how", [{}, KILLED], ids=["SIGTERM", "SIGKILL"])
def test_connections_go_on(keeper, how):
    one = keeper("echo")
    gateway = one.start(config())
    clients = [connect(one.addresses["echo"]) for _ in range(30)]
    for client in clients:
        check_echo(client)
    before = {item["id"]: item["age_seconds"] for item in gateway.connections()}
    for _ in range(3):
        one.restart(**how)
        for client in clients:
            check_echo(client, b"again")
    after = {item["id"]: item["age_seconds"] for item in gateway.connections()}
    assert after.keys() == before.keys()
    assert all(after[key] >= before[key] for key in before)
    assert gateway.metric("connections_accepted_total") == 30
    assert gateway.metric("connections_restored_total") == 90
    assert gateway.metric("connections_closed_total") == 0
    assert gateway.closed_counts() == {}
    assert one.parked() == [], "what was taken up is not kept any longer"


def test_upgrade_without_systemd(gateway):
    one = gateway(config(3))
    with Streams(one.address("echo"), 200) as streams:
        before, descriptors = ids(one), len(os.listdir(f"/proc/{one.pid}/fd"))
        for count in range(1, 11):
            os.kill(one.pid, signal.SIGUSR2)
            one.wait_metric("connections_restored_total", 200 * count)
            moved = streams.progress()
            wait_for(streams.progress, lambda now: now > moved + 200 * 100)
        assert ids(one) == before
        assert streams.settle() == {}
    one.wait_connections(0)
    assert abs(len(os.listdir(f"/proc/{one.pid}/fd")) - descriptors) <= 1


def test_twenty_restarts_under_load(keeper):
    one = keeper("echo", "hold", "beat")
    beat = {"heartbeat": {"interval": "1s", "payload": "x"}}
    gateway = one.start(config(echo={"service": "echo"}, hold={}, beat=beat))
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(Crowd(one.addresses["hold"], 4000))
        beats = stack.enter_context(Crowd(one.addresses["beat"], 2000))
        streams = stack.enter_context(Streams(one.addresses["echo"], 1900, slow=100))
        gateway.wait_connections(8000)
        streams.fill_slow(gateway)
        before = ids(gateway)
        for count in range(1, 21):
            one.restart()
            assert gateway.metric("connections_restored_total") == 8000 * count
            beats.pump()
            moved = streams.progress()
            wait_for(streams.progress, lambda now: now > moved + 10000)
        streams.read_slow()
        assert streams.settle() == {}
        idle.pump()
        beats.pump_for(1.5)
        assert (idle.closed_count, beats.closed_count) == (0, 0)
        assert min(client.received for client in beats.clients) > 0
        assert ids(gateway) == before
        assert gateway.closed_counts() == {}
        assert gateway.metric("connections_accepted_total") == 8000
        assert gateway.metric("bytes_received_total") == sum(
            stream.sent - stream.number * 37 for stream in streams.all
        )
        assert gateway.metric("bytes_sent_total") - gateway.metric("heartbeats_sent_total") == (
            gateway.metric("bytes_received_total")
        )


def test_what_waits_for_a_slow_reader_comes_whole(keeper):
    one = keeper("echo")
    gateway = one.start(config(limits={"queued_bytes_per_connection": "1MiB"}))
    with Streams(one.addresses["echo"], 0, slow=5) as streams:
        streams.fill_slow(gateway)
        queued = settled_queue(gateway)
        one.restart()
        assert gateway.metric("queued_bytes_current") == queued
        one.restart(**KILLED)
        assert gateway.metric("queued_bytes_current") == queued
        streams.read_slow()
        assert streams.settle() == {}
        gateway.wait_metric("queued_bytes_current", 0)


def test_a_connection_that_is_closing_sends_the_rest(keeper):
    one = keeper("echo")
    gateway = one.start(config(limits={"queued_bytes_per_connection": "1MiB"}))
    with Streams(one.addresses["echo"], 0, slow=1) as streams:
        streams.fill_slow(gateway)
        settled_queue(gateway)
        sock = streams.slow[0].sock
        half_close(sock)
        one.restart()
        streams.stop()
        sock.setblocking(True)
        sock.settimeout(20)
        assert len(read_all(sock)) == streams.slow[0].sent - streams.slow[0].received
    gateway.wait_closed("client_closed", 1)


def test_bytes_of_the_meantime_wait(keeper):
    """From clients, and from new ones: in the listener that systemd holds, and in one of our own."""
    one = keeper("echo")
    gateway = one.start(config(echo={"service": "echo"}, own={"service": "echo"}))
    old = [connect(address) for address in (one.addresses["echo"], gateway.address("own"))]
    for client in old:
        check_echo(client)
    one.end()
    new = [connect(address) for address in (one.addresses["echo"], gateway.address("own"))]
    for client in [*old, *new]:
        client.sendall(b"meanwhile")
    one.start()
    for client in [*old, *new]:
        assert read_exactly(client, 9) == b"meanwhile"
    assert gateway.metric("connections_restored_total") == 2
    assert gateway.metric("connections_accepted_total") == 4


def test_clients_that_left_meanwhile(keeper):
    one = keeper("echo")
    gateway = one.start(config())
    clients = [connect(one.addresses["echo"]) for _ in range(9)]
    gateway.wait_connections(9)
    one.end()
    for client in clients[:3]:
        client.close()
    for client in clients[3:6]:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    one.start()
    gateway.wait_closed("client_closed", 3)
    gateway.wait_closed("client_reset", 3)
    for client in clients[6:]:
        check_echo(client)
    assert gateway.metric("connections_current") == 3


def test_unix_clients(keeper, tmp_path):
    one = keeper()
    address = str(tmp_path / "client.sock")
    gateway = one.start(config(echo={"service": "echo", "address": f"unix:{address}"}))
    clients = [connect(address) for _ in range(5)]
    gateway.wait_connections(5)
    for how in ({}, KILLED):
        one.restart(**how)
        for client in clients:
            check_echo(client)
        with contextlib.closing(connect(address)) as client:
            check_echo(client)


# Time goes on.


def test_heartbeats_keep_their_phase(keeper):
    one = keeper("beat")
    beat = {"heartbeat": {"interval": "500ms", "payload": "x"}}
    gateway = one.start(config(beat=beat))
    with Crowd(one.addresses["beat"], 40) as crowd:
        crowd.pump_until(lambda: min(client.received for client in crowd.clients) >= 2)
        phases = [client.arrivals[-1] % 0.5 for client in crowd.clients]
        one.restart()
        before = gateway.metric("heartbeats_sent_total")
        crowd.pump_for(2)
        for client, phase in zip(crowd.clients, phases):
            off = (client.arrivals[-1] - phase) % 0.5
            assert min(off, 0.5 - off) < 0.2
        assert gateway.metric("heartbeats_sent_total") - before <= 40 * 5


def test_heartbeats_that_fell_due_meanwhile_are_sent_once(keeper):
    one = keeper("beat")
    beat = {"heartbeat": {"interval": "2s", "payload": "x"}}
    gateway = one.start(config(beat=beat))
    with Crowd(one.addresses["beat"], 40) as crowd:
        gateway.wait_connections(40)
        one.end()
        crowd.pump()
        before = [client.received for client in crowd.clients]
        time.sleep(4.5)  # the gateway is not there: nothing to wait for but time
        one.start()
        start = time.monotonic()
        assert crowd.pump_until(
            lambda: all(c.received > n for c, n in zip(crowd.clients, before)), 1
        )
        took = time.monotonic() - start
        # Those of more than one interval are one; some have had the next one already.
        fresh = [client.received - n for client, n in zip(crowd.clients, before)]
        assert fresh.count(1) >= 40 * (1 - (took + 0.5) / 2)
        assert max(fresh) <= 2


@pytest.mark.parametrize(
    ("limits", "reason", "after"),
    [
        ({"idle_timeout": "3s"}, "idle_timeout", 3),
        ({"first_byte_timeout": "3s"}, "first_byte_timeout", 3),
        ({"lifetime": "3s", "lifetime_jitter": 0}, "lifetime", 3),
    ],
)
def test_deadlines_count_from_before(keeper, limits, reason, after):
    one = keeper("hold")
    gateway = one.start(config(limits=limits, hold={}))
    start = time.monotonic()
    with Crowd(one.addresses["hold"], 10) as crowd:
        gateway.wait_connections(10)
        for _ in range(3):
            time.sleep(0.3)
            one.restart()
        assert crowd.pump_until(lambda: crowd.closed_count == 10)
        assert after - 0.1 <= time.monotonic() - start < after + 2
        gateway.wait_closed(reason, 10)


def test_a_first_byte_is_remembered(keeper):
    one = keeper("hold")
    gateway = one.start(config(limits={"first_byte_timeout": "2s"}, hold={}))
    with Crowd(one.addresses["hold"], 10) as crowd:
        crowd.send(b"x")
        gateway.wait_metric("bytes_received_total", 10)
        one.restart()
        crowd.pump_for(2.5)
        assert crowd.closed_count == 0


# The configuration changes.


@pytest.mark.parametrize("workers", [1, 3, 7])
def test_other_worker_counts(keeper, workers):
    one = keeper("echo")
    gateway = one.start(config(3))
    with Streams(one.addresses["echo"], 210) as streams:
        gateway.wait_connections(210)
        gateway.config["workers"] = workers
        one.restart()
        counts = [worker["connections"] for worker in gateway.workers()]
        assert (sum(counts), len(counts)) == (210, workers)
        assert max(counts) - min(counts) <= 1
        moved = streams.progress()
        wait_for(streams.progress, lambda now: now > moved + 210 * 100)
        assert streams.settle() == {}


def test_removed_listener(keeper):
    one = keeper()
    gateway = one.start(config(stays={"service": "echo"}, goes={"service": "echo"}))
    stays, goes = connect(gateway.address("stays")), connect(gateway.address("goes"))
    gateway.wait_connections(2)
    address = gateway.address("goes")
    del gateway.config["listeners"]["goes"]
    one.restart()
    assert is_closed(goes)
    check_echo(stays)
    assert gateway.closed_counts() == {"listener_removed": 1}
    with pytest.raises(ConnectionRefusedError):
        connect(address)


def test_listeners_change_places(keeper):
    one = keeper()
    gateway = one.start(config(a={"service": "echo"}, b={}))
    echo, hold = connect(gateway.address("a")), connect(gateway.address("b"))
    gateway.wait_connections(2)
    gateway.config["listeners"] = dict(reversed(gateway.config["listeners"].items()))
    one.restart()
    check_echo(echo)
    assert {item["listener"] for item in gateway.connections()} == {"a", "b"}
    assert gateway.listener("a")["bytes_received_total"] == 5
    hold.close()
    gateway.wait_listener("b", "connections", 0)


def test_lower_limit_closes_the_newest(keeper):
    one = keeper("echo")
    gateway = one.start(config())
    clients = []
    for count in range(1, 21):
        clients.append(connect(one.addresses["echo"]))
        gateway.wait_connections(count)
    gateway.config["limits"] = {"connections": 12}
    one.end()
    one.start(wait=False)
    wait_for(gateway.health, (503, "degraded"))  # the limit is reached
    gateway.wait_metric("connections_restored_total", 12)
    for client in clients[:12]:
        check_echo(client)
    assert all(is_closed(client) for client in clients[12:])
    assert gateway.closed_counts() == {"over_limit": 8}
    assert gateway.metric("connections_current") == 12


def test_limits_of_sources_and_listeners_count_those_who_are_in(keeper):
    one = keeper("echo")
    gateway = one.start(config(limits={"connections_per_source": 3}))
    clients = [connect(one.addresses["echo"], "127.0.9.1") for _ in range(3)]
    gateway.wait_connections(3)
    one.restart()
    assert gateway.get("/sources")["sources"][0]["connections"] == 3
    assert is_closed(connect(one.addresses["echo"], "127.0.9.1"))
    check_echo(connect(one.addresses["echo"], "127.0.9.2"))
    clients[0].close()
    gateway.wait_closed("client_closed", 2)
    check_echo(connect(one.addresses["echo"], "127.0.9.1"))
    gateway.config["limits"] = {"connections_per_source": 1}
    one.restart()
    assert gateway.closed("over_limit") == 1


def test_no_id_is_given_twice(keeper):
    one = keeper("echo")
    gateway = one.start(config())
    seen, kept = set(), connect(one.addresses["echo"])
    gateway.wait_connections(1)
    for how in ({}, KILLED, {}, KILLED):
        clients = [connect(one.addresses["echo"]) for _ in range(20)]
        gateway.wait_connections(21)
        fresh = ids(gateway)
        assert len(fresh - seen) == 20 + (not seen)
        seen |= fresh
        for client in clients:
            client.close()
        gateway.wait_connections(1)
        one.restart(**how)
    check_echo(kept)


# What goes wrong.


def test_bad_configuration_loses_nothing(keeper):
    one = keeper("echo")
    gateway = one.start(config())
    clients = [connect(one.addresses["echo"]) for _ in range(5)]
    gateway.wait_connections(5)
    one.end()
    good = gateway.config["workers"]
    for _ in range(3):
        gateway.config["workers"] = "many"
        one.start(wait=False)
        assert gateway.process.wait(20) == 75, "try again"
        assert "workers: found" in gateway.log()
        assert len(one.parked()) == 5
    gateway.config["workers"] = good
    one.start()
    for client in clients:
        check_echo(client)


def test_supervisor_that_is_killed_while_it_takes_up_connections(keeper):
    """Some are in its hands, some with workers, some still parked: no stream gets another's bytes."""
    one = keeper("echo")
    gateway = one.start(config(3))
    with Streams(one.addresses["echo"], 4000) as streams:
        gateway.wait_connections(4000)
        for delay in range(0, 30, 3):
            one.end()
            one.start(wait=False)
            wait_for(lambda: gateway.children(), bool)
            time.sleep(delay / 1000)
            one.end(**KILLED)
            one.start()
        errors = streams.settle()
        assert set(errors.values()) <= {"closed", "[Errno 104] Connection reset by peer"}
        lost = gateway.closed("park_failed")
        assert lost == len(errors)
        assert lost <= 10 * 3 * 253
        assert gateway.metric("connections_current") == 4000 - lost


def test_stop_while_it_takes_up_connections(keeper):
    one = keeper("echo")
    gateway = one.start(config(3))
    with Streams(one.addresses["echo"], 3000) as streams:
        gateway.wait_connections(3000)
        for delay in range(0, 20, 2):
            one.end()
            one.start(wait=False)
            wait_for(lambda: gateway.children(), bool)
            time.sleep(delay / 1000)
            one.end()
            one.start()
        assert streams.settle() == {}
        assert gateway.metric("connections_current") == 3000


def memory_file(data, seal=True):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seal:
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def stored_bytes(one, name):
    fd = next(fd for key, fd in one.store if key == name)
    return os.pread(fd, os.fstat(fd).st_size, 0)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (lambda data: b"x" + data[1:], 'does not begin with "millgate"'),
        (lambda data: data[:8] + struct.pack("I", 99) + data[12:], "version 99, known are 1"),
        (lambda data: data[: len(data) // 2], "cut off"),
        (lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:], "checksum"),
        (lambda data: b"", "empty"),
    ],
    ids=["magic", "newer", "truncated", "flipped", "empty"],
)
def test_state_that_cannot_be_read(keeper, what, says):
    """Who is in it is closed; all others go on."""
    one = keeper("echo")
    gateway = one.start(config(2))
    clients = [connect(one.addresses["echo"]) for _ in range(10)]
    wait_for(lambda: [c["state"] for c in gateway.connections()], ["open"] * 10)
    of_worker = {c["peer"]: c["worker"] for c in gateway.connections()}
    one.end()
    one.replace("park/1/1/state", memory_file(what(stored_bytes(one, "park/1/1/state"))))
    one.start()
    for client in clients:
        host, port = client.getsockname()
        if of_worker[f"{host}:{port}"] == 1:
            assert is_closed(client)
        else:
            check_echo(client)
    assert says in gateway.log()
    assert gateway.closed_counts() == {"park_failed": 5}
    assert gateway.metric("connections_accepted_total") == 10


def test_state_that_is_no_sealed_file(keeper):
    one = keeper("echo")
    gateway = one.start(config(1))
    client = connect(one.addresses["echo"])
    gateway.wait_connections(1)
    one.end()
    data = stored_bytes(one, "park/1/0/state")
    one.replace("park/1/0/state", memory_file(data, seal=False))
    one.start()
    assert is_closed(client)
    assert "not a sealed file" in gateway.log()


@pytest.mark.parametrize("what", ["1", "state"])
def test_a_part_that_is_missing(keeper, what):
    one = keeper("echo")
    gateway = one.start(config(2))
    clients = [connect(one.addresses["echo"]) for _ in range(10)]
    gateway.wait_connections(10)
    one.end()
    assert one.drop(lambda name: name == f"park/1/1/{what}") == 1
    one.start()
    gateway.wait_connections(5)
    assert gateway.closed_counts() == {"park_failed": 5}
    alive = [client for client in clients if not is_closed(client, 0.2)]
    assert len(alive) == 5
    for client in alive:
        check_echo(client)


def test_berths_and_states_that_do_not_belong_together(keeper):
    """The states of two workers change places: nobody gets another's connection."""
    one = keeper("echo")
    gateway = one.start(config(2))
    clients = [connect(one.addresses["echo"]) for _ in range(10)]
    gateway.wait_connections(10)
    one.end()
    names = ("park/1/0/state", "park/1/1/state")
    states = [memory_file(stored_bytes(one, name)) for name in names]
    for name, fd in zip(names, reversed(states)):
        one.replace(name, fd)
    one.start()
    assert all(is_closed(client) for client in clients)
    assert gateway.closed_counts() == {"park_failed": 10}


def test_descriptors_with_other_names(keeper):
    """What somebody else put into the store is no reason not to start."""
    one = keeper("echo")
    gateway = one.start(config())
    client = connect(one.addresses["echo"])
    gateway.wait_connections(1)
    one.end()
    with one.lock:
        one.store += [(name, memory_file(b"?")) for name in ("park/x", "park/1/2/3/4", "park/")]
    one.start()
    check_echo(client)
    assert "means nothing here" in gateway.log()


def test_dead_worker_loses_its_own_connections_only(keeper):
    one = keeper("echo")
    gateway = one.start(config(2))
    clients = [connect(one.addresses["echo"]) for _ in range(10)]
    gateway.wait_connections(10)
    os.kill(gateway.worker_pids()[0], signal.SIGKILL)
    gateway.wait_closed("worker_lost", 5)
    one.restart()
    assert gateway.metric("connections_current") == 5
    assert sum(not is_closed(client, 0.2) for client in clients) == 5
    assert gateway.closed_counts() == {"worker_lost": 5}


def test_fewer_descriptors_than_connections(keeper):
    one = keeper("echo")
    gateway = one.start(config(2, limits={"connections": 1000}))
    with Crowd(one.addresses["echo"], 200) as crowd:
        gateway.wait_connections(200)
        gateway.config["workers"] = 1
        one.end()
        one.start(nofile=128)
        room = gateway.metric("connections_capacity")
        assert room < 128
        assert gateway.metric("connections_current") == room
        # The supervisor has no room for all of a berth's message either: the kernel drops the rest.
        closed = gateway.closed_counts()
        assert closed.keys() <= {"handover_failed", "park_failed"}
        assert sum(closed.values()) == 200 - room
        assert crowd.pump_until(lambda: crowd.closed_count == 200 - room)


# Upgrades that are refused.


def test_upgrade_to_a_program_that_refuses(gateway, tmp_path):
    one = gateway(config())
    client = connect(one.address("echo"))
    one.wait_connections(1)
    one.config["workers"] = -1
    one.write_config()
    status, answer = one.admin("POST", "/upgrade")
    assert status == 422
    assert "workers: found -1" in answer["error"]
    os.kill(one.pid, signal.SIGUSR2)
    one.wait_log("no upgrade: .*\n(.*\n)*.*no upgrade")
    check_echo(client)
    assert one.metric("connections_restored_total") == 0


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (None, "No such file"),
        ("#!/bin/sh\nexit 3\n", "ended with status 3"),
        ("#!/bin/sh\nkill -9 $$\n", "ended with signal 9"),
        ("#!/nonexistent/interpreter\n", "No such file"),
        ("nonsense", "Exec format error"),
    ],
    ids=["gone", "fails", "killed", "interpreter", "format"],
)
def test_upgrade_to_no_program(gateway, tmp_path, script, says):
    program = tmp_path / "millgated"
    program.write_bytes(MILLGATED.read_bytes())
    program.chmod(0o755)
    one = gateway(config(), prefix=["sh", "-c", f'shift; exec {program} "$@"', "sh"])
    client = connect(one.address("echo"))
    one.wait_connections(1)
    program.unlink()
    if script is not None:
        program.write_text(script)
        program.chmod(0o755)
    status, answer = one.admin("POST", "/upgrade")
    assert status in (422, 503)
    assert says in answer["error"]
    check_echo(client)


def test_upgrade_after_the_program_was_replaced(gateway, tmp_path):
    """As a package does it: another file under the same name."""
    program, fresh = tmp_path / "millgated", tmp_path / "fresh"
    for path in (program, fresh):
        path.write_bytes(MILLGATED.read_bytes())
        path.chmod(0o755)
    one = gateway(config(), prefix=["sh", "-c", f'shift; exec {program} "$@"', "sh"])
    client = connect(one.address("echo"))
    one.wait_connections(1)
    fresh.rename(program)
    assert one.ok("POST", "/upgrade") == {"program": str(program)}
    one.wait_metric("connections_restored_total", 1)
    assert os.readlink(f"/proc/{one.pid}/exe") == str(program)
    check_echo(client)


def test_program_that_starts_the_check_but_not_the_gateway(gateway, tmp_path):
    """Says yes and then does not run: the program that runs goes on, with all connections."""
    program = tmp_path / "millgated"
    program.write_bytes(MILLGATED.read_bytes())
    program.chmod(0o755)
    one = gateway(config(), prefix=["sh", "-c", f'shift; exec {program} "$@"', "sh"])
    client = connect(one.address("echo"))
    one.wait_connections(1)
    program.unlink()
    program.write_text("#!/bin/sh\nrm $0\nexit 0\n")
    program.chmod(0o755)
    assert one.admin("POST", "/upgrade")[0] == 200
    one.wait_metric("connections_restored_total", 1)
    check_echo(client)
    assert "going on with the program that runs" in one.log()


def test_terminated_while_it_upgrades(keeper):
    one = keeper("echo")
    gateway = one.start(config())
    with Streams(one.addresses["echo"], 500) as streams:
        gateway.wait_connections(500)
        for delay in range(0, 16, 2):
            os.kill(gateway.pid, signal.SIGUSR2)
            time.sleep(delay / 1000)
            one.end()
            one.start()
        assert streams.settle() == {}
        assert gateway.metric("connections_current") == 500
