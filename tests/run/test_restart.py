"""Connections outlive the process: restarts as systemd does them, with a keeper in its place."""

import contextlib
import socket
import struct
import time

import pytest

from clients import Crowd, connect, half_close, read_all, read_exactly
from gateway import wait_for
from restarts import KILLED, check_echo, config, ids, settled_queue
from streams import Streams
from ws_client import BINARY, FIN, WebSocket, frame

HEAD = struct.pack(">I", 40)  # of a message of 40 bytes, by the framing length32

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


class Halves:
    """Clients that each send an echo the same message, a few bytes of it between two restarts."""

    def __init__(self, clients, message):
        self.clients = clients
        self.message = message
        self.sent = 0

    def send(self, length):
        piece = self.message[self.sent : self.sent + length]
        self.sent += len(piece)
        for client in self.clients:
            client.sendall(piece)

    def finish(self, answer):
        """Sends the rest; all of it must come back, and only then."""
        for client in self.clients:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            client.setblocking(True)
        self.send(len(self.message))
        for client in self.clients:
            assert read_exactly(client, len(answer)) == answer
            client.close()


def test_ten_thousand_clients_of_all_kinds_through_twenty_restarts(keeper):
    one = keeper("echo", "hold", "beat", "framed", "web")
    gateway = one.start(
        config(
            echo={"service": "echo"},
            hold={},
            beat={"heartbeat": {"interval": "1s", "payload": "x"}},
            framed={"service": "echo", "framing": "length32"},
            web={"service": "echo", "protocol": "websocket", "websocket": {"ping_interval": 0}},
        )
    )
    payload = bytes(range(40))
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(Crowd(one.addresses["hold"], 4000))
        beats = stack.enter_context(Crowd(one.addresses["beat"], 2500))
        streams = stack.enter_context(Streams(one.addresses["echo"], 2450, slow=50))
        framed = Halves([connect(one.addresses["framed"]) for _ in range(500)], HEAD + payload)
        web = Halves(
            [WebSocket(one.addresses["web"]).sock for _ in range(500)],
            frame(FIN | BINARY, payload),
        )
        gateway.wait_connections(10000)
        streams.fill_slow(gateway)
        before = ids(gateway)
        for count in range(1, 21):
            framed.send(2)
            web.send(2)
            one.restart(**(KILLED if count % 5 == 0 else {}))
            assert gateway.metric("connections_restored_total") == 10000 * count
            beats.pump()
            moved = streams.progress()
            wait_for(streams.progress, lambda now: now > moved + 10000)
        assert ids(gateway) == before
        framed.finish(HEAD + payload)
        web.finish(frame(FIN | BINARY, payload, mask=None))
        streams.read_slow()
        assert streams.settle() == {}
        idle.pump()
        beats.pump_for(1.5)
        assert (idle.closed_count, beats.closed_count) == (0, 0)
        assert min(client.received for client in beats.clients) > 0
        gateway.wait_closed("client_closed", 1000)
        assert gateway.closed_counts() == {"client_closed": 1000}
        assert gateway.metric("connections_accepted_total") == 10000
        # A worker counts what it sent after it was sent; and heartbeats, elsewhere, go on.
        sent = sum(stream.sent - stream.number * 37 for stream in streams.all)
        gateway.wait_listener("echo", "bytes_sent_total", sent)
        assert gateway.listener("echo")["bytes_received_total"] == sent


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


def lateness(gateway, crowd, interval):
    """How late the heartbeat of each client was that was the least late: a moment follows from the
    id alone, on the clock that the test has too."""
    phases = {
        item["peer"]: interval * ((item["id"] * 0x9E3779B97F4A7C15 >> 40) % 2**24) / 2**24
        for item in gateway.connections()
    }
    return [
        min((moment - phases[client.peer]) % interval for moment in client.arrivals)
        for client in crowd.clients
    ]


@pytest.mark.measures
def test_heartbeats_keep_their_phase(keeper):
    interval = 0.5
    one = keeper("beat")
    beat = {"heartbeat": {"interval": interval, "payload": "x"}}
    gateway = one.start(config(beat=beat))
    with Crowd(one.addresses["beat"], 40) as crowd:
        for _ in range(2):
            begun, before = time.monotonic(), gateway.metric("heartbeats_sent_total")
            for client in crowd.clients:
                client.arrivals.clear()
            assert crowd.pump_until(
                lambda: min(len(client.arrivals) for client in crowd.clients) >= 4
            )
            assert max(lateness(gateway, crowd, interval)) < 0.1
            sent = gateway.metric("heartbeats_sent_total") - before
            assert sent <= 40 * ((time.monotonic() - begun) / interval + 1)
            one.restart()
            crowd.pump()


@pytest.mark.measures
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
        start = time.monotonic()
        one.start()
        assert crowd.pump_until(
            lambda: all(c.received > n for c, n in zip(crowd.clients, before))
        )
        took = time.monotonic() - start
        # Those of more than one interval are one; some have had the next one already.
        fresh = [client.received - n for client, n in zip(crowd.clients, before)]
        assert fresh.count(1) >= 40 * (1 - took / 2) - 1
        assert max(fresh) <= 2 + took // 2


@pytest.mark.measures
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
