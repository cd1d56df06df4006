"""Clients that do not read: what waits for one of them, and for all of them, has its limit."""

import contextlib
import itertools
import socket

import pytest

from clients import Crowd, read_exactly
from gateway import wait_for

PAYLOAD = 1000
FAST = {"interval": 0.01, "payload": "x" * PAYLOAD}
FROZEN = {"interval": "24h"}
WORKERS = pytest.mark.parametrize("workers", [1, 2])


def config(limits, workers=1):
    """
    Unix sockets: the kernel itself takes little of what is sent to one who does not read (about
    100 heartbeats, so that nothing is queued in the first second).
    """
    return {
        "workers": workers,
        "limits": limits,
        "listeners": {
            "hold": {"address": "unix:DIR/hold", "heartbeat": FAST},
            "echo": {"address": "unix:DIR/echo", "service": "echo"},
        },
    }


def queues(gateway):
    """The bytes that wait for each connection, in the order in which they came."""
    found = sorted(gateway.connections(), key=lambda item: item["id"])
    return [item["queued_bytes"] for item in found]


def freeze(gateway):
    """No heartbeat comes any more."""
    gateway.reload(listeners={"hold": {"heartbeat": FROZEN}})


def frozen_queues(gateway, crowd, count):
    """Lets so many clients come one by one, and stops heartbeats when each has a queue; that of
    the first is the longest, and no two are of a length."""
    for number in range(count):
        sent = gateway.metric("heartbeats_sent_total")
        crowd.add(1)
        gateway.wait_metric("heartbeats_sent_total", lambda n: n >= sent + 10 * (number + 1))
    wait_for(lambda: min(queues(gateway)), lambda shortest: shortest > 40 * PAYLOAD)
    freeze(gateway)
    lengths = wait_for(lambda: (queues(gateway), queues(gateway)), lambda two: two[0] == two[1])[0]
    assert lengths == sorted(set(lengths), reverse=True)
    assert gateway.metric("queued_bytes_current") == sum(lengths)
    return lengths


# limits.queued_bytes_per_connection.


def test_a_slow_reader_is_closed_and_others_are_not(gateway):
    one = gateway(config({"queued_bytes_per_connection": "20KiB"}))
    with Crowd(one.address(), 3), Crowd(one.address(), 3) as readers:
        while one.closed("slow_reader") < 3:
            assert max(queues(one), default=0) <= 20480
            readers.pump_for(0.05)
        assert readers.pump_until(lambda: readers.received > 100 * PAYLOAD)
        freeze(one)
        assert readers.pump_until(lambda: queues(one) == [0, 0, 0])
        assert readers.closed_count == 0
        assert one.closed_counts() == {"slow_reader": 3}
        assert one.metric("queued_bytes_current") == 0


@pytest.mark.parametrize("room, taken", [(PAYLOAD - 1, 0), (PAYLOAD, 1), (2 * PAYLOAD - 1, 1)])
@pytest.mark.parametrize("where", ["global", "listener"])
def test_queue_is_exact_at_its_limit(gateway, room, taken, where):
    """One more heartbeat is queued if there is room for it, and the next one closes."""
    one = gateway(config({"queued_bytes_per_connection": "1MiB"}))
    with Crowd(one.address()) as crowd:
        (queued,) = frozen_queues(one, crowd, 1)
        sent = one.metric("heartbeats_sent_total")
        limits = {"limits": {"queued_bytes_per_connection": queued + room}}
        listener = {"heartbeat": FAST, **(limits if where == "listener" else {})}
        changes = limits if where == "global" else {}
        one.reload(listeners={"hold": listener}, **changes)
        one.wait_closed("slow_reader", 1)
        assert one.metric("heartbeats_sent_total") == sent + taken
        one.wait_metric("queued_bytes_current", 0)


def test_lowered_by_reload(gateway):
    """Who has more already is closed, without waiting for another heartbeat."""
    one = gateway(config({"queued_bytes_per_connection": "1MiB"}))
    with Crowd(one.address()) as crowd:
        longer, shorter = frozen_queues(one, crowd, 2)
        one.reload(limits={"queued_bytes_per_connection": longer})
        one.reload(limits={"queued_bytes_per_connection": shorter})
        one.wait_closed("slow_reader", 1)
        assert queues(one) == [shorter]


def test_raised_by_reload(gateway):
    one = gateway(config({"queued_bytes_per_connection": "20KiB"}))
    with Crowd(one.address(), 1):
        wait_for(lambda: queues(one), lambda lengths: lengths and lengths[0] > 5000)
        one.reload(limits={"queued_bytes_per_connection": "1MiB"})
        wait_for(lambda: queues(one), lambda lengths: lengths[0] > 40000)
        assert one.closed_counts() == {}


def test_what_was_queued_comes_in_order_when_the_client_reads(gateway):
    one = gateway(config({}))
    payload = "".join(f"{number:06d}." for number in itertools.islice(itertools.count(), 140))
    one.reload(listeners={"hold": {"heartbeat": {"payload": payload}}})
    with Crowd(one.address()) as crowd:
        (queued,) = frozen_queues(one, crowd, 1)
        length = len(payload) * one.metric("heartbeats_sent_total")
        assert queued < length
        client = crowd.clients[0].sock
        client.settimeout(10)
        assert read_exactly(client, length).decode() == payload * (length // len(payload))
        one.wait_metric("queued_bytes_current", 0)
        one.wait_metric("bytes_sent_total", length)


# limits.queued_bytes: of all together.


def reload_total(gateway, limit):
    """One connection may have no more than all; no queue of these tests is over that."""
    longest = max(queues(gateway))
    gateway.reload(limits={"queued_bytes": limit, "queued_bytes_per_connection": longest})


@WORKERS
def test_the_longest_queue_is_closed_first(gateway, workers):
    one = gateway(config({}, workers))
    with Crowd(one.address()) as crowd:
        lengths = frozen_queues(one, crowd, 5)
        reload_total(one, sum(lengths) + 1)
        reload_total(one, sum(lengths))
        assert queues(one) == lengths
        reload_total(one, sum(lengths) - 1)
        one.wait_closed("queues_full", 1)
        assert queues(one) == lengths[1:]
        reload_total(one, sum(lengths[3:]))
        one.wait_closed("queues_full", 3)
        assert queues(one) == lengths[3:]
        assert one.closed_counts() == {"queues_full": 3}
        assert one.metric("queued_bytes_current") == sum(lengths[3:])


@WORKERS
def test_no_more_are_closed_than_must_be(gateway, workers):
    limit = 100000
    limits = {"queued_bytes": limit, "queued_bytes_per_connection": limit}
    one = gateway(config(limits, workers))
    with Crowd(one.address(), 6), Crowd(one.address(), 4) as readers:
        while one.closed("queues_full") < 2:
            assert one.metric("queued_bytes_current") <= limit + 12 * PAYLOAD
            readers.pump_for(0.05)
        freeze(one)
        wait_for(lambda: one.metric("queued_bytes_current"), lambda queued: queued <= limit)
        assert one.metric("queued_bytes_current") > limit / 3
        assert readers.closed_count == 0
        assert set(one.closed_counts()) == {"queues_full"}


@WORKERS
def test_raised_total_lets_queues_grow(gateway, workers):
    one = gateway(config({"queued_bytes": 3000, "queued_bytes_per_connection": 3000}, workers))
    with Crowd(one.address(), 2) as crowd:
        one.reload(limits={"queued_bytes": "1MiB", "queued_bytes_per_connection": "1MiB"})
        wait_for(lambda: one.metric("queued_bytes_current"), lambda queued: queued > 50000)
        crowd.pump()
        assert one.closed_counts() == {}


def fill(client, piece_bytes):
    """Sends pieces until nothing more goes; returns how much went."""
    client.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            sent += client.send(bytes(piece_bytes))
    return sent


@WORKERS
def test_echo_queues_count_too(gateway, workers):
    one = gateway(config({}, workers))
    with Crowd(one.address("echo"), 6) as crowd:
        one.wait_connections(6)
        for number, client in enumerate(crowd.clients):
            assert fill(client.sock, 5000 * (number + 1)) > 0
        lengths = sorted(queues(one))
        assert 0 < lengths[0] and lengths[-1] <= 65536
        reload_total(one, sum(lengths) - 1)
        one.wait_closed("queues_full", 1)
        assert sorted(queues(one)) == lengths[:-1]
        reload_total(one, sum(lengths[:-2]))
        one.wait_closed("queues_full", 2)
        assert sorted(queues(one)) == lengths[:-2]


def test_echo_never_queues_more_than_its_limit(gateway):
    """It reads no more than it may queue, so that its clients are slowed down and not closed."""
    one = gateway(config({"queued_bytes_per_connection": 3000}))
    with Crowd(one.address("echo"), 3) as crowd:
        one.wait_connections(3)
        for client in crowd.clients:
            assert fill(client.sock, 65536) > 65536
        assert all(0 < queued <= 3000 for queued in queues(one))
        assert one.closed_counts() == {}


def test_tcp_echo_queues_count(gateway):
    """The same over TCP, whose buffers take some megabytes first."""
    limits = {"queued_bytes": 20000, "queued_bytes_per_connection": 20000}
    one = gateway({"workers": 1, "limits": limits, "listeners": {"echo": {"service": "echo"}}})
    with Crowd(one.address("echo"), 6) as crowd:
        for client in crowd.clients:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with contextlib.suppress(ConnectionError):
                fill(client.sock, 60000)
        one.wait_closed("queues_full", lambda count: count > 0)
        one.wait_metric("queued_bytes_current", lambda queued: queued <= 20000)
        assert set(one.closed_counts()) == {"queues_full"}
