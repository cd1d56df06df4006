"""Single connections: what is echoed, how they end, what is known of them, and who closes them."""

import contextlib
import hashlib
import random
import select
import time

import pytest

from clients import Crowd, connect, half_close, is_closed, read_all, read_exactly, reset
from gateway import wait_for

MEBIBYTE = 1 << 20
LISTENERS = {
    "hold": {},
    "echo": {"service": "echo"},
    "echo6": {"service": "echo", "address": "[::1]:PORT"},
    "local": {"service": "echo", "address": "unix:DIR/local"},
}
EACH_ECHO = pytest.mark.parametrize("name", ["echo", "echo6", "local"])


@pytest.fixture
def one(gateway):
    return gateway({"workers": 2, "listeners": LISTENERS})


def client_of(one, name, source=None):
    return contextlib.closing(connect(one.address(name), source))


def send_what_goes(client, data):
    """Sends until the other side takes no more for a while; returns how much went."""
    client.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < len(data):
            sent += client.send(data[sent : sent + 65536])
    return sent


def exchange(client, data):
    """Sends all, and reads what comes back meanwhile."""
    client.setblocking(False)
    sent, back = 0, bytearray()
    while len(back) < len(data):
        wanted = [client] if sent < len(data) else []
        readable, writable, _ = select.select([client], wanted, [], 10)
        assert readable or writable, f"stuck after {sent} sent, {len(back)} received"
        if writable:
            sent += client.send(data[sent : sent + 65536])
        if readable:
            piece = client.recv(65536)
            assert piece, "closed"
            back += piece
    return bytes(back)


def digest(data):
    return hashlib.sha256(data).hexdigest()


# Echo.


@EACH_ECHO
@pytest.mark.parametrize("length", [1, 2, 65535, 65536, 65537, MEBIBYTE])
def test_echo(one, name, length):
    data = random.randbytes(length)
    with client_of(one, name) as client:
        assert digest(exchange(client, data)) == digest(data)
        one.wait_metric("bytes_received_total", length)
        one.wait_metric("bytes_sent_total", length)
    one.wait_closed("client_closed", 1)


def test_echo_of_many_small_pieces(one):
    with client_of(one, "echo") as client:
        for number in range(500):
            piece = b"%d" % number
            client.sendall(piece)
            assert read_exactly(client, len(piece)) == piece


@EACH_ECHO
def test_echo_slows_a_client_down_that_does_not_read(one, name):
    data = random.randbytes(40 * MEBIBYTE)
    with client_of(one, name) as client:
        sent = send_what_goes(client, data)
        assert sent < len(data), "it never blocked"
        assert 0 < one.metric("queued_bytes_current") <= 65536
        received = one.metric("bytes_received_total")
        assert send_what_goes(client, data[sent:]) == 0
        assert one.metric("bytes_received_total") == received
        client.settimeout(20)
        assert digest(read_exactly(client, sent)) == digest(data[:sent])
        one.wait_metric("queued_bytes_current", 0)
        assert digest(exchange(client, data[:MEBIBYTE])) == digest(data[:MEBIBYTE])
    one.wait_closed("client_closed", 1)


@pytest.mark.measures
def test_one_who_does_not_read_holds_up_no_other(gateway):
    one = gateway({"workers": 1, "listeners": LISTENERS})
    with client_of(one, "echo") as stuck, client_of(one, "echo") as client:
        send_what_goes(stuck, bytes(40 * MEBIBYTE))
        start = time.monotonic()
        for _ in range(200):
            client.sendall(b"ping")
            assert read_exactly(client, 4) == b"ping"
        assert time.monotonic() - start < 2


# The end of a connection.


@EACH_ECHO
def test_half_close_flushes_what_is_queued(one, name):
    data = random.randbytes(40 * MEBIBYTE)
    with client_of(one, name) as client:
        sent = send_what_goes(client, data)
        half_close(client)
        assert one.metric("queued_bytes_current") > 0
        client.settimeout(20)
        assert digest(read_all(client)) == digest(data[:sent])
        one.wait_closed("client_closed", 1)
        assert one.metric("queued_bytes_current") == 0


@EACH_ECHO
def test_half_close_after_a_few_bytes(one, name):
    with client_of(one, name) as client:
        client.sendall(b"last words")
        half_close(client)
        assert read_all(client) == b"last words"
        one.wait_closed("client_closed", 1)


def test_hold_closes_at_half_close(one):
    with client_of(one, "hold") as client:
        client.sendall(b"discarded")
        half_close(client)
        assert read_all(client) == b""
        one.wait_closed("client_closed", 1)
        assert one.listener("hold")["bytes_received_total"] == len(b"discarded")


@pytest.mark.parametrize("name", ["hold", "echo", "echo6"])
def test_reset(one, name):
    client = connect(one.address(name))
    one.wait_connections(1)
    reset(client)
    one.wait_closed("client_reset", 1)
    assert one.metric("connections_current") == 0


def test_reset_with_a_queue(one):
    client = connect(one.address("echo"))
    send_what_goes(client, bytes(40 * MEBIBYTE))
    assert one.metric("queued_bytes_current") > 0
    reset(client)
    one.wait_closed("client_reset", 1)
    assert one.metric("queued_bytes_current") == 0


def test_reset_before_it_was_accepted(gateway):
    limits = {"connections": 1, "when_full": "wait"}
    one = gateway({"workers": 1, "limits": limits, "listeners": {"hold": {}}})
    with client_of(one, "hold") as first:
        one.wait_listener("hold", "state", "full")
        reset(connect(one.address()))
        reset(first)
        one.wait_connections(0)
        one.wait_listener("hold", "state", "accepting")
        with client_of(one, "hold"):
            one.wait_connections(1)


# What is known of a connection.


@pytest.mark.measures
@pytest.mark.parametrize("name, source", [("echo", "127.4.5.6"), ("echo6", None)])
def test_details(one, name, source):
    with client_of(one, name, source) as client, client_of(one, "hold"):
        start = time.monotonic()
        exchange(client, b"x" * 1000)
        details = wait_for(
            lambda: one.connection_of(client), lambda found: found["idle_seconds"] > 0.2
        )
        age = time.monotonic() - start
        assert details["listener"] == name
        assert details["service"] == "echo"
        assert details["worker"] in (0, 1)
        assert details["bytes_received"] == details["bytes_sent"] == 1000
        assert 0.2 < details["idle_seconds"] <= details["age_seconds"] < age + 0.5
        assert 0 < details["rtt_seconds"] < 0.1
        assert details["queued_bytes"] == 0
        assert details["state"] == "open"
        later = wait_for(
            lambda: one.get(f"/connections/{details['id']}"), lambda now: now != details
        )
        assert later["age_seconds"] > details["age_seconds"]
        assert {key for key in later if later[key] != details[key]} <= {
            "age_seconds",
            "idle_seconds",
            "rtt_seconds",
        }


def test_details_of_a_unix_client(one):
    with client_of(one, "local") as client:
        exchange(client, b"x" * 1000)
        (details,) = one.connections()
        assert details["peer"] == "unix"
        assert [details[key] for key in ("bytes_received", "bytes_sent", "rtt_seconds")] == [
            None
        ] * 3


def test_filters(one):
    with Crowd(one.address("echo"), 6) as crowd, Crowd(one.address("echo6"), 2):
        with Crowd(one.address("local"), 2):
            one.wait_connections(10)
            crowd.add(3, "127.77.1.9")
            one.wait_connections(13)
            counts = {
                "listener=echo": 9,
                "listener=local": 2,
                "listener=hold": 0,
                "source=127.77.0.0/16": 3,
                "source=127.77.1.9": 3,
                "source=127.77.1.8": 0,
                "source=0.0.0.0/0": 9,
                "source=::1": 2,
                "source=::/0": 2,
                "source=127.0.0.0/8&listener=echo6": 0,
                "source=127.77.1.9&listener=echo": 3,
            }
            for query, count in counts.items():
                assert len(one.connections(query)) == count, query
            by_worker = [len(one.connections(f"worker={worker}")) for worker in (0, 1)]
            assert sorted(by_worker) == [6, 7]


# Ids.


def test_ids_are_never_used_again(gateway):
    """More connections than the gateway has slots to spare, so that slots are used again."""
    one = gateway({"workers": 1, "listeners": {"hold": {}}})
    seen, total = set(), 0
    while total < 72000:
        with Crowd(one.address()) as crowd:
            crowd.add(4000)
            total += 4000
            one.wait_metric("connections_accepted_total", total)
            if total <= 4000 or total > 64000:
                ids = {item["id"] for item in one.connections()}
                assert len(ids) == 4000
                assert not ids & seen
                seen |= ids
            crowd.leave(crowd.clients, reset)
        one.wait_connections(0)
    slots = [number & 0xFFFFFF for number in seen]
    assert len(set(slots)) < len(slots), "no slot was used again: the test is too short"
    old = min(seen)
    with Crowd(one.address(), 1):
        one.wait_connections(1)
        assert one.admin("GET", f"/connections/{old}")[0] == 404
        assert one.admin("DELETE", f"/connections/{old}")[0] == 404
        assert one.metric("connections_current") == 1


# Kill.


@EACH_ECHO
def test_kill_by_id(one, name):
    with Crowd(one.address(name), 2) as crowd:
        one.wait_connections(2)
        killed, other = (item["id"] for item in one.connections())
        assert one.ok("DELETE", f"/connections/{killed}") == {"closed": 1}
        one.wait_closed("killed", 1)
        assert crowd.pump_until(lambda: crowd.closed_count == 1)
        assert one.admin("GET", f"/connections/{killed}")[0] == 404
        assert one.admin("DELETE", f"/connections/{killed}")[0] == 404
        assert [item["id"] for item in one.connections()] == [other]
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == 1)


def test_kill_with_a_queue(one):
    with client_of(one, "echo") as client:
        send_what_goes(client, bytes(40 * MEBIBYTE))
        details = one.connection_of(client)
        assert details["queued_bytes"] == one.metric("queued_bytes_current") > 0
        assert one.ok("DELETE", f"/connections/{details['id']}") == {"closed": 1}
        one.wait_closed("killed", 1)
        assert one.metric("queued_bytes_current") == 0
        assert is_closed(client)


def test_kill_by_source(one):
    with Crowd(one.address("echo")) as crowd, Crowd(one.address("hold")) as holds:
        crowd.add(300, "127.50.1.1")
        crowd.add(300, "127.50.1.200")
        crowd.add(300, "127.50.2.1")
        holds.add(100, "127.50.1.1")
        one.wait_connections(1000)
        assert one.ok("DELETE", "/connections?source=127.50.1.1&listener=echo") == {"closed": 300}
        assert crowd.pump_until(lambda: crowd.closed_count == 300)
        assert not any(client.is_open for client in crowd.clients[:300])
        assert one.ok("DELETE", "/connections?source=127.50.1.0/24") == {"closed": 400}
        assert crowd.pump_until(lambda: crowd.closed_count == 600)
        assert holds.pump_until(lambda: holds.open_count == 0)
        assert one.ok("DELETE", "/connections?source=127.50.3.0/24") == {"closed": 0}
        assert one.ok("DELETE", "/connections?source=0.0.0.0/0") == {"closed": 300}
        one.wait_closed("killed", 1000)
        one.wait_connections(0)


def test_kill_by_source_when_a_source_is_many_addresses(gateway):
    limits = {"ipv4_prefix": 16}
    one = gateway({"workers": 2, "limits": limits, "listeners": {"hold": {}}})
    with Crowd(one.address()) as crowd:
        crowd.add(50, "127.50.1.1")
        crowd.add(50, "127.50.2.1")
        # Of one that is being handed over only the prefix is known.
        wait_for(lambda: [c["state"] for c in one.connections()], ["open"] * 100)
        assert len(one.connections("source=127.50.2.1")) == 50
        assert one.ok("DELETE", "/connections?source=127.50.1.0/24") == {"closed": 50}
        assert crowd.pump_until(lambda: crowd.closed_count == 50)
        assert not any(client.is_open for client in crowd.clients[:50])
