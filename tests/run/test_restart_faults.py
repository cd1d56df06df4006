"""Restarts in which something goes wrong: who can be kept is kept, and the gateway starts."""

import contextlib
import os
import signal
import socket
import struct
import time

import pytest

from clients import Crowd, connect, is_closed
from gateway import free_port, process_runs, stopped, wait_for
from parkfile import memory_file, stored_bytes
from restarts import KILLED, check_echo, config
from streams import Streams


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


@pytest.mark.parametrize("size", ["0", "64", None])
def test_what_systemd_says_of_its_store(keeper, size):
    """Version 254 and later say how many descriptors they keep: of none, the clients are told."""
    one = keeper("echo")
    if size is not None:
        one.environment["FDSTORE"] = size
    gateway = one.start(config())
    client = connect(one.addresses["echo"])
    check_echo(client)
    one.end()
    kept = size != "0"
    assert (one.parked() != []) == kept
    assert ("connections are parked with systemd" in gateway.log()) == kept
    one.start()
    assert is_closed(client, 0.2) != kept
    assert gateway.metric("connections_restored_total") == kept


def test_what_a_dead_supervisor_had_handed_over_is_kept(keeper):
    """The workers read of those only when it is gone, and cannot confirm them any more."""
    one = keeper("echo")
    gateway = one.start(config())
    workers = gateway.worker_pids()
    old = connect(one.addresses["echo"])
    check_echo(old)
    with contextlib.ExitStack() as stack:
        for pid in workers:
            stack.enter_context(stopped(pid))
        new = [connect(one.addresses["echo"]) for _ in range(20)]
        gateway.wait_metric("connections_accepted_total", 21)
        gateway.process.kill()
        gateway.process.wait()
    for pid in workers:
        wait_for(lambda pid=pid: process_runs(pid), False, what=f"worker {pid} runs")
    one.start()
    assert gateway.metric("connections_restored_total") == 21
    for client in [old, *new]:
        check_echo(client)


def test_stop_closes_all_when_the_store_goes(keeper):
    """As systemctl stop does it: what systemd kept it lets go of, and the start is a fresh one."""
    one = keeper("echo")
    gateway = one.start(config())
    clients = [connect(one.addresses["echo"]) for _ in range(5)]
    gateway.wait_connections(5)
    one.end()
    assert not any(is_closed(client, 0.05) for client in clients)
    assert one.drop(lambda name: name.startswith("park/")) == 5, "two states, two berths, one more"
    assert all(is_closed(client) for client in clients)
    one.start()
    assert gateway.metric("connections_restored_total") == 0
    assert gateway.closed_counts() == {}
    check_echo(connect(one.addresses["echo"]))


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


def test_supervisor_that_is_killed_with_connections_on_their_way(keeper):
    """The worker has not read of them yet, and nobody reads any more what it has to say of them."""
    one = keeper("echo")
    gateway = one.start(config(1))
    (worker,) = gateway.worker_pids()
    kept = []
    for turn in (1, 2):
        with stopped(worker):
            # No more than messages fit into the channel, should each come alone.
            kept += [connect(one.addresses["echo"]) for _ in range(200)]
            gateway.wait_metric("connections_accepted_total", 200 * turn)
            gateway.process.kill()
            gateway.process.wait()
        wait_for(lambda: process_runs(worker), False)
        one.start()
        for client in kept:
            check_echo(client)
        (worker,) = gateway.worker_pids()
    assert gateway.metric("connections_current") == 400
    assert gateway.closed_counts() == {}


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
    wait_for(lambda: [c["state"] for c in gateway.connections()], ["open"] * 10)
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


def unix_config():
    return config(echo={"service": "echo"}, unix={"service": "echo", "address": "unix:DIR/echo"})


def test_a_start_that_fails_leaves_the_paths_of_kept_sockets(keeper):
    one = keeper("echo")
    gateway = one.start(unix_config())
    client = connect(one.addresses["echo"])
    check_echo(client)
    one.end()
    with socket.create_server(("127.0.0.1", free_port())) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        gateway.config["listeners"]["late"] = {"address": address}
        one.start(wait=False)
        assert gateway.process.wait(20) == 75, "try again"
    assert "Address already in use" in gateway.log()
    one.start()
    check_echo(client)
    check_echo(connect(gateway.address("unix")))


def test_a_kept_socket_whose_path_is_gone_is_bound_anew(keeper):
    one = keeper("echo")
    gateway = one.start(unix_config())
    client = connect(gateway.address("unix"))
    check_echo(client)
    one.end()
    for path in (gateway.address("unix"), gateway.admin_socket):
        os.unlink(path)
    for _ in range(2):
        one.start()
        for each in (client, connect(gateway.address("unix"))):
            check_echo(each)
        one.end()


@pytest.mark.parametrize("how", ["restart", "upgrade"])
@pytest.mark.parametrize(
    ("address", "late"),
    [
        ("127.0.0.1:PORT", False),
        ("127.0.0.1:PORT", True),
        ("unix:DIR/own", True),
        ("unix:@PORT-own", False),
    ],
)
def test_a_listener_gets_another_name(keeper, address, late, how):
    """systemd still has the socket of the old one at its address, and closes it in its own time."""
    one = keeper("echo")
    one.removes_late = late
    own = {"service": "echo", "address": address}
    gateway = one.start(config(echo={"service": "echo"}, before=own))
    listeners = gateway.config["listeners"]
    client = connect(one.addresses["echo"])
    check_echo(client)
    listeners["after"] = listeners.pop("before")
    if how == "restart":
        one.restart()
    else:
        gateway.write_config()
        gateway.ok("POST", "/upgrade")
        gateway.wait_metric("connections_restored_total", 1)
    check_echo(client)
    path = listeners["after"]["address"].removeprefix("unix:").replace("@", "\0")
    check_echo(connect(path if address.startswith("unix") else gateway.address("after")))
    kept = {name for name, _ in one.store}
    assert "listen/after" in kept and "listen/before" not in kept


def test_the_path_of_a_listener_that_is_gone_goes_with_it(keeper):
    one = keeper("echo")
    own = {"service": "echo", "address": "unix:DIR/own"}
    gateway = one.start(config(echo={"service": "echo"}, own=own))
    path = gateway.config["listeners"].pop("own")["address"].removeprefix("unix:")
    assert os.path.exists(path)
    one.restart()
    assert not os.path.exists(path)


def test_a_path_that_a_socket_unit_has_taken_over_stays(keeper):
    one = keeper("echo")
    own = {"service": "echo", "address": "unix:DIR/own"}
    gateway = one.start(config(echo={"service": "echo"}, own=own))
    path = gateway.config["listeners"]["own"]["address"].removeprefix("unix:")
    one.end()
    os.unlink(path)
    unit = socket.socket(socket.AF_UNIX)
    unit.bind(path)
    unit.listen()
    one.listeners.append(("own", unit))
    gateway.config["listeners"]["own"]["address"] = ""
    one.start()
    check_echo(connect(path))
