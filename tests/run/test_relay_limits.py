"""relay and what else is limited: deadlines, descriptors, queues of all, outgoing addresses."""

import contextlib
import random
import signal
import socket
import threading
import time

import pytest

from clients import Crowd, connect, half_close, is_closed, peer_name, read_all, read_exactly, reset
from gateway import DEADLINE, stopped, wait_for
from relay_clients import SMALL_BUFFER, ends_with_reset, fill, greeting, read_pattern, visit
from servers import QUICK, Scripted, dead_target, relay, upstreams, wait_upstream
from ws_client import WebSocket


# Deadlines.


@pytest.mark.alone
def test_a_pair_is_idle_when_the_client_is(gateway, scripted):
    server = scripted()
    one = gateway(relay(server, limits={"idle_timeout": "300ms"}))
    with connect(one.address("relay")) as client, server.accept() as behind:
        for _ in range(8):
            client.sendall(b"x")
            assert behind.recv(1) == b"x"
            time.sleep(0.05)
        began = time.monotonic()
        assert is_closed(client) and is_closed(behind)
        assert 0.2 < time.monotonic() - began < 5
    one.wait_closed("idle_timeout", 1)
    one.wait_connections(0)


@pytest.mark.alone
def test_what_a_server_says_is_no_idleness(gateway, scripted):
    """A client that only listens is not idle while there is something to hear."""
    server = scripted()
    one = gateway(relay(server, limits={"idle_timeout": "300ms"}))
    with connect(one.address("relay")) as client, server.accept() as behind:
        for _ in range(14):
            behind.sendall(b"x")
            assert client.recv(1) == b"x"
            time.sleep(0.05)
        assert is_closed(client)
    one.wait_closed("idle_timeout", 1)


@pytest.mark.parametrize("reason", ["first_byte_timeout", "lifetime"])
def test_other_deadlines_end_both_sides(gateway, scripted, reason):
    server = scripted()
    one = gateway(relay(server, limits={reason: "200ms"}))
    with connect(one.address("relay")) as client, server.accept() as behind:
        assert is_closed(client) and is_closed(behind)
    one.wait_closed(reason, 1)
    one.wait_connections(0)


@pytest.mark.parametrize("sends", [True, False])
def test_a_first_byte_counts_also_while_the_server_is_connected(gateway, full, sends):
    """It is not read before; but that is the server's delay, not the client's."""
    server = full()
    limits = {"first_byte_timeout": "200ms"}
    one = gateway(relay(server, limits=limits, connect_timeout="10s"))
    with connect(one.address("relay")) as client:
        if sends:
            client.sendall(b"early")
        else:
            one.wait_closed("first_byte_timeout", 1)
            return
        wait_upstream(one, server, "connections", 1)
        time.sleep(0.4)  # that nothing happens: there is nothing else to wait for
        (behind,) = server.make_room(1)
        with behind:
            assert read_exactly(behind, 5) == b"early"
    assert one.closed("first_byte_timeout") == 0


# Queues of all.


def test_the_queues_of_servers_count_among_all(gateway):
    """The longest are closed, also when what waits in them is for a server."""
    limit = 2**18
    limits = {"queued_bytes": limit, "queued_bytes_per_connection": "128KiB"}
    with Scripted(receive_buffer=SMALL_BUFFER) as server, contextlib.ExitStack() as stack:
        one = gateway(relay(server, limits=limits, workers=1))
        clients = []
        for _ in range(8):
            clients.append(stack.enter_context(connect(one.address("relay"))))
            stack.enter_context(server.accept())
        for client in clients:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                fill(client)
        one.wait_metric("queued_bytes_current", lambda queued: 0 < queued <= limit)
        wait_for(lambda: len(one.connections()) + one.closed("queues_full"), 8)
        assert set(one.closed_counts()) == {"queues_full"}


# Descriptors.


def test_a_client_that_has_no_two_descriptors_is_refused(gateway, echoes):
    """What a worker has room for is known: nobody is let in only to fail."""
    server = echoes()
    one = gateway(relay(server, workers=1, limits={"connections": 1000}), nofile=150)
    with Crowd(one.address("relay"), 100) as crowd:
        one.wait_metric("connections_refused_total", lambda refused: refused > 0)
        held = one.metric("connections_current")
        assert crowd.pump_until(lambda: crowd.open_count == held)
        assert 40 <= held <= 75
        crowd.send(b"0123456789")
        assert crowd.pump_until(lambda: crowd.received == 10 * held)
        assert one.closed_counts() == {"refused_workers": 100 - held}
        assert upstreams(one)[server.target]["connections"] == held


# The ends, once more.


@pytest.mark.parametrize("who", ["client", "server"])
def test_who_closes_at_once_has_all_delivered(gateway, who):
    """Not half, but closed, with much that still waits in the gateway."""
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server))
        client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
        with client, server.accept() as behind:
            near, far = (client, behind) if who == "client" else (behind, client)
            sent = fill(near)
            near.close()
            assert read_pattern(far, sent)
            assert far.recv(1) == b""
            far.close()
            one.wait_closed("client_closed" if who == "client" else "upstream_closed", 1)
            one.wait_connections(0)


def set_limits(**limits):
    return lambda one, _: one.reload(limits=limits)


def make_full(one, longest):
    """No more may wait in all than does for one."""
    one.reload(limits={"queued_bytes": longest, "queued_bytes_per_connection": longest})


ENDS = {
    "killed": lambda one, _: one.ok("DELETE", f"/connections/{one.connections()[0]['id']}"),
    "drained": lambda one, _: one.ok("POST", "/drain", {"over": 0}),
    "idle_timeout": set_limits(idle_timeout="100ms"),
    "lifetime": set_limits(lifetime="100ms"),
    "queues_full": make_full,
    "shutdown": lambda one, _: one.stop(),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("who", ["client", "server"])
def test_a_stream_whose_queue_is_thrown_away_does_not_look_whole(gateway, who, end):
    """Two pairs, so that one of them can be too much."""
    with Scripted(receive_buffer=SMALL_BUFFER) as server, contextlib.ExitStack() as stack:
        one = gateway(relay(server, workers=1))
        far = {}
        for _ in range(2):
            client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
            behind = stack.enter_context(server.accept())
            stack.enter_context(client)
            fill(behind if who == "client" else client)
            far[peer_name(client)] = client if who == "client" else behind
        sides = [item if who == "client" else item["upstream"] for item in one.connections()]
        ENDS[end](one, max(side["queued_bytes"] for side in sides))
        left = set()
        if end != "shutdown":
            one.wait_closed(end, lambda count: count > 0)
        if end in ("killed", "queues_full"):
            left = {item["peer"] for item in one.connections()}
            assert len(left) == 1
        for peer in far.keys() - left:
            assert ends_with_reset(far[peer])


def test_a_queue_to_a_server_whose_client_has_gone_does_not_look_whole_either(gateway):
    """A WebSocket's goodbye lets its server have the rest, until the gateway is stopped."""
    listener = {"protocol": "websocket"}
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server, listener=listener, workers=1))
        with WebSocket(one.address("relay")) as client, server.accept() as behind:
            client.flood()
            one.ok("DELETE", f"/connections/{one.connection_of(client.sock)['id']}")
            assert client.receive_close() == (1008, "killed")
            one.wait_connections(0)
            one.wait_metric("queued_bytes_current", lambda queued: queued > 0)
            one.stop()
            assert ends_with_reset(behind)


@pytest.mark.parametrize("rest", [1, 200000])
def test_a_stream_does_not_end_at_urgent_data(gateway, scripted, rest):
    """All but the urgent byte comes, as it does to who reads the client's socket itself."""
    server = scripted()
    one = gateway(relay(server, workers=1))
    with connect(one.address("relay")) as client, server.accept() as behind:
        much = 4 * 2**20
        client.sendall(bytes(much))
        assert read_exactly(behind, much) == bytes(much)
        with stopped(one.worker_pids()[0]):
            client.sendall(b"b" * 100000)
            client.send(b"!", socket.MSG_OOB)
            client.sendall(b"c" * rest)
            half_close(client)
        assert read_all(behind) == b"b" * 100000 + b"c" * rest


def test_a_client_that_resets_while_it_ends_counts_as_what_ended_it(gateway, scripted):
    server = scripted()
    one = gateway(relay(server, workers=1))
    client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
    with client, server.accept() as behind:
        fill(behind)
        reset(behind)
        wait_for(lambda: one.connection_of(client)["state"], "closing")
        reset(client)
        one.wait_connections(0)
        assert one.closed_counts() == {"upstream_reset": 1}


# source_addresses.


def test_connections_come_from_the_addresses_of_the_pool(gateway, scripted):
    server = scripted()
    pool = ["127.0.0.5", "127.0.0.6"]
    one = gateway(relay(server, source_addresses=pool))

    def sources(count):
        found = []
        for _ in range(count):
            with connect(one.address("relay")) as client, server.accept() as behind:
                found.append(behind.getpeername()[0])
                client.sendall(b"x")
                assert behind.recv(1) == b"x"
        return set(found)

    assert sources(20) == set(pool)
    one.reload(listeners={"relay": {"upstream": {"source_addresses": ["127.0.0.7"]}}})
    wait_for(lambda: sources(1), {"127.0.0.7"})
    one.reload(listeners={"relay": {"upstream": {"source_addresses": []}}})
    wait_for(lambda: sources(1), {"127.0.0.1"})


def test_a_pool_without_an_address_of_a_servers_family_is_told_of(gateway, scripted):
    four, six = scripted(), "[::1]:9"
    one = gateway(relay(four, six, source_addresses=["::1"], health={"interval": 0}))
    text = f"connections to {four.target} come from an address of the kernel's choice"
    found = [warning for warning in one.admin("GET", "/health")[1]["warnings"] if "choice" in warning]
    assert len(found) == 1 and found[0].startswith(f"listener relay: {text}")


def test_checks_come_from_the_addresses_of_the_pool(gateway, scripted):
    server = scripted()
    one = gateway(relay(server, source_addresses=["127.0.0.5"], health=QUICK))
    server.listener.settimeout(DEADLINE)

    def source():
        sock, peer = server.listener.accept()
        sock.close()
        return peer[0]

    assert source() == "127.0.0.5"
    one.reload(listeners={"relay": {"upstream": {"source_addresses": ["127.0.0.7"]}}})
    wait_for(source, "127.0.0.7")
    one.reload(listeners={"relay": {"upstream": {"source_addresses": []}}})
    wait_for(source, "127.0.0.1")


def test_a_check_that_its_own_side_prevents_says_nothing_about_the_server(gateway, scripted):
    server = scripted()
    one = gateway(relay(server, source_addresses=["192.0.2.1"], health=QUICK))
    one.wait_log("cannot check server .*: Cannot assign requested address")
    assert upstreams(one)[server.target]["state"] == "up"


def test_a_pool_does_not_concern_unix_sockets(gateway, echoes, tmp_path):
    echoes("unix", address=str(tmp_path / "app"))
    one = gateway(relay(f"unix:{tmp_path}/app", source_addresses=["127.0.0.5"]))
    assert visit(one) == "unix"


def test_an_address_that_is_not_this_machines(gateway, echoes):
    """Connecting fails, and is counted as any failure."""
    server = echoes("a")[0]
    one = gateway(relay(server, source_addresses=["192.0.2.1"]))
    assert visit(one) == ""
    one.wait_closed("upstream_failed", 1)
    assert upstreams(one)[server.target]["connect_failures_total"] >= 1


# Health of Unix sockets.


def test_a_unix_socket_that_goes_and_comes(gateway, echoes, tmp_path):
    path = str(tmp_path / "app")
    server = echoes("unix", address=path)[0]
    one = gateway(relay(server, health=QUICK))
    assert visit(one) == "unix"
    server.stop_listening()
    wait_upstream(one, server, "state", "down")
    (tmp_path / "app").unlink()
    server.listen_again()
    wait_upstream(one, server, "state", "up")
    assert visit(one) == "unix"


# Everything at once.


class Rude(threading.Thread):
    """Accepts, and does one thing or another."""

    def __init__(self, server, seed):
        super().__init__()
        self.server = server
        self.random = random.Random(seed)
        self.running = True
        self.held = []
        self.start()

    def run(self):
        while self.running:
            try:
                sock = self.server.accept(0.05)
            except (TimeoutError, OSError):
                continue
            self.treat(sock)
            if len(self.held) > 30:
                self.held.pop(0).close()

    def treat(self, sock):
        with contextlib.suppress(OSError):
            what = self.random.choice(["close", "reset", "half", "flood", "hold", "late"])
            if what == "flood":
                sock.setblocking(False)
                sock.send(b"x" * 10**6)
            elif what == "half":
                half_close(sock)
            elif what == "late":
                sock.settimeout(0.01)
                sock.recv(1)
            if what == "reset":
                reset(sock)
            elif what == "close":
                sock.close()
            else:
                self.held.append(sock)

    def stop(self):
        self.running = False
        self.join()
        for sock in self.held:
            sock.close()


def misbehave(gateway, dice, clients):
    """One step of one client."""
    if len(clients) < 60 or dice.random() < 0.4:
        with contextlib.suppress(ConnectionResetError):  # refused: no server had room
            clients.append(connect(gateway.address("relay")))
            clients[-1].setblocking(False)
        return
    client = dice.choice(clients)
    what = dice.choice(["send", "send", "flood", "read", "half", "close", "reset"])
    with contextlib.suppress(OSError):
        if what == "send":
            client.send(b"hello")
        elif what == "flood":
            client.send(b"y" * 10**6)
        elif what == "read":
            client.recv(100000)
        elif what == "half":
            half_close(client)
    if what in ("close", "reset"):
        clients.remove(client)
        client.close() if what == "close" else reset(client)


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_left_after_chaos(gateway, echoes, full, seed):
    """
    Clients and servers that send, flood, stop, half-close, close and reset at random, dead and
    silent servers, reloads and an upgrade: in the end nobody is counted.
    """
    dice = random.Random(seed)
    good, rude = echoes("good")[0], Scripted()
    silent, dead = full(), dead_target()
    servers = [good.target, rude.target, silent.target, dead]
    one = gateway(
        relay(*servers, health=QUICK, connect_timeout="50ms", balance="round_robin",
            limits={"queued_bytes_per_connection": "64KiB", "queued_bytes": "1MiB"}),
    )  # fmt: skip
    clients, chaos = [], Rude(rude, seed)
    try:
        for step in range(1500):
            misbehave(one, dice, clients)
            if step % 300 == 150:
                chosen = [good.target] + dice.sample(servers[1:], 2)
                one.reload(listeners={"relay": {"upstream": {"servers": chosen}}})
            if step == 700:
                one.process.send_signal(signal.SIGUSR2)
                one.wait_log("restored ")
                one.wait_answering()
    finally:
        for client in clients:
            client.close()
        chaos.stop()
        rude.close()
    one.wait_connections(0)
    good.wait_connections(0)
    wait_for(
        lambda: [item["connections"] for item in upstreams(one).values()],
        lambda counts: not any(counts),
    )
    one.wait_metric("queued_bytes_current", 0)
    assert one.closed("worker_lost") == 0
    assert all(worker["restarts"] == 0 for worker in one.workers())
    with connect(one.address("relay")) as client:
        client.settimeout(20)
        assert greeting(client) in ("good", "")


@pytest.mark.parametrize("sends", [b"", b"last words"])
def test_a_client_that_leaves_while_it_waits_inside(gateway, echoes, sends):
    """It goes, unless it has said something that a server may still get."""
    server = echoes("a")[0]
    health = {"interval": 0.1, "timeout": 0.1, "rise": 1, "fall": 1}
    one = gateway(relay(server, health=health, when_down="wait", retries=0))
    server.stop_listening()
    with connect(one.address("relay")) as client:
        one.wait_connections(1)
        wait_upstream(one, server, "state", "down")
        client.sendall(sends)
        half_close(client)
        if sends:
            server.listen_again()
            assert read_all(client) == b"a\n" + sends
        else:
            one.wait_closed("client_closed", 1)
            assert is_closed(client)
    one.wait_connections(0)
