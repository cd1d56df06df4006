"""The opening handshake over a socket: what is let in, how the rest is refused, limits and metrics.
Which field leads to which outcome is in tests/unit/test_ws_handshake.c."""

import re
import socket
import time

import pytest

from clients import Crowd, connect, half_close, is_closed
from gateway import wait_for
from ws_client import TEXT, FIN, Response, WebSocket, frame, handshake, request


def config(websocket=None):
    return {
        "workers": 1,
        "listeners": {
            "ws": {
                "protocol": "websocket",
                "service": "echo",
                "websocket": {"ping_interval": 0, **(websocket or {})},
            }
        },
    }


POLICY = {
    "paths": ["/chat", "/rooms/*"],
    "hosts": ["example.com"],
    "origins": ["https://example.com", "https://*.example.com"],
    "subprotocols": ["v2", "v1"],
    "health_path": "/healthz",
}
GOOD = {"path": "/chat", "host": "example.com"}


@pytest.fixture
def strict(gateway):
    return gateway(config(POLICY))


def handshakes(one):
    """The outcomes that were counted."""
    found = {}
    for name, value in one.listener("ws").items():
        match = re.fullmatch(r"handshakes_(\w+)_total", name)
        if match and value:
            found[match.group(1)] = value
    return found


# What is let in.


def test_a_client_that_keeps_to_the_policy_is_let_in(strict):
    address = strict.address("ws")
    fields = {"Origin": "https://a.example.com", "Sec_WebSocket_Protocol": "v0, v1, v2"}
    with WebSocket(address, **GOOD, **fields) as client:
        assert client.response.fields["sec-websocket-protocol"] == "v2"
        client.send("x")
        assert client.receive() == "x"
    with WebSocket(address, "/rooms/1?a=b", host="example.com:80") as client:
        assert "sec-websocket-protocol" not in client.response.fields
    assert handshakes(strict) == {"accepted": 2}


def test_extensions_are_not_offered(gateway):
    one = gateway(config())
    fields = {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"}
    with WebSocket(one.address("ws"), **fields) as client:
        assert "sec-websocket-extensions" not in client.response.fields


def test_frames_right_behind_the_handshake_are_read(gateway):
    one = gateway(config())
    data = handshake() + frame(FIN | TEXT, b"early")
    with WebSocket(one.address("ws"), request=data) as client:
        assert client.receive() == "early"


def test_a_handshake_byte_by_byte_is_a_handshake(gateway):
    one = gateway(config())
    with connect(one.address("ws")) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in handshake() + frame(FIN | TEXT, b"hello"):
            client.sendall(bytes([byte]))
            time.sleep(0.0002)
        answer = b""
        while not answer.endswith(b"\x81\x05hello"):
            answer += client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 101 ")
    one.wait_metric("queued_bytes_current", 0)


def test_half_a_handshake_counts_as_queued(gateway):
    one = gateway(config())
    with connect(one.address("ws")) as client:
        client.sendall(handshake()[:100])
        one.wait_metric("queued_bytes_current", 100)
        assert one.connections()[0]["state"] == "handshake"
        assert one.connections()[0]["queued_bytes"] == 100
    one.wait_metric("queued_bytes_current", 0)
    one.wait_closed("client_closed", 1)


# How the rest is refused.


# By name, because the keys are random and a test is known by the same name in every process.
REFUSALS = {
    "post": (handshake(**GOOD).replace(b"GET", b"POST"), 405, "bad", {"allow": "GET"}),
    "http 1.0": (handshake(**GOOD).replace(b"HTTP/1.1", b"HTTP/1.0"), 505, "bad", {}),
    "http 3.0": (handshake(**GOOD).replace(b"HTTP/1.1", b"HTTP/3.0"), 505, "bad", {}),
    "short key": (handshake(**GOOD, Sec_WebSocket_Key="short"), 400, "bad", {}),
    "two hosts": (handshake(path="/chat", host="example.com\r\nHost: other"), 400, "bad", {}),
    "bare lf": (handshake(**GOOD).replace(b"\r\n", b"\n"), 400, "bad", {}),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad", {}),
    "origin": (handshake(**GOOD, Origin="https://example.org"), 403, "forbidden", {}),
    "origin null": (handshake(**GOOD, Origin="null"), 403, "forbidden", {}),
    "host": (handshake(path="/chat", host="example.org"), 403, "forbidden", {}),
    "path": (handshake(path="/other", host="example.com"), 404, "not_found", {}),
    "body": (handshake(**GOOD, Content_Length="5") + b"hello", 413, "too_large", {}),
    "large head": (handshake(**GOOD, Cookie="x" * 9000), 431, "too_large", {}),
    "version": (
        handshake(**GOOD, Sec_WebSocket_Version="8"),
        426,
        "no_upgrade",
        {"sec-websocket-version": "13", "upgrade": "websocket"},
    ),
    "no upgrade": (
        b"GET /chat HTTP/1.1\r\nHost: example.com\r\n\r\n",
        426,
        "no_upgrade",
        {"sec-websocket-version": "13", "upgrade": "websocket"},
    ),
}


@pytest.mark.parametrize("data, status, outcome, fields", REFUSALS.values(), ids=REFUSALS)
def test_refusals_have_their_status(strict, data, status, outcome, fields):
    response = request(strict.address("ws"), data)
    assert response.status == status
    for name, value in fields.items():
        assert response.fields[name] == value
    assert handshakes(strict) == {outcome: 1}
    strict.wait_closed("handshake_refused", 1)
    assert strict.metric("queued_bytes_current") == 0


def test_the_health_path_answers_200(strict):
    response = request(strict.address("ws"), b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n")
    assert (response.status, response.body) == (200, b"OK\n")
    assert handshakes(strict) == {"probed": 1}
    strict.wait_closed("health_probed", 1)


def test_a_refusal_arrives_although_more_was_sent_than_read(strict):
    """Otherwise a RST would overtake it."""
    for _ in range(20):
        data = handshake(**GOOD, Content_Length="100000") + bytes(100000)
        assert request(strict.address("ws"), data).status == 413


@pytest.mark.parametrize("size, status", [(1023, 101), (1024, 101), (1025, 431)])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_the_head_may_be_exactly_so_long(gateway, size, status, in_pieces):
    one = gateway(config({"head_bytes": "1KiB"}))
    data = handshake(X="")
    data = handshake(X="y" * (size - len(data)))
    assert len(data) == size
    with connect(one.address("ws")) as client:
        if in_pieces:
            client.sendall(data[:700])
            one.wait_metric("queued_bytes_current", 700)
            data = data[700:]
        client.sendall(data)
        assert Response(client.recv(4096).partition(b"\r\n\r\n")[0]).status == status


def test_a_head_without_end_is_refused_at_the_limit(gateway):
    one = gateway(config({"head_bytes": "1KiB"}))
    with connect(one.address("ws")) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200)
        assert client.recv(4096).startswith(b"HTTP/1.1 431 ")


@pytest.mark.measures
def test_a_handshake_that_takes_too_long_is_told_408(gateway):
    one = gateway(config({"handshake_timeout": "300ms", "close_timeout": "100ms"}))
    with connect(one.address("ws")) as silent, connect(one.address("ws")) as slow:
        begun = time.monotonic()
        slow.sendall(handshake()[:-2])
        for client in (silent, slow):
            assert client.recv(4096).startswith(b"HTTP/1.1 408 ")
            assert client.recv(4096) == b""
        assert 0.2 < time.monotonic() - begun < 5
    one.wait_closed("handshake_timeout", 2)
    assert handshakes(one) == {"timed_out": 2}


def test_a_whole_handshake_ends_the_timeout(gateway):
    one = gateway(config({"handshake_timeout": "200ms"}))
    with WebSocket(one.address("ws")) as client:
        time.sleep(0.5)
        client.send("x")
        assert client.receive() == "x"


def test_a_client_that_leaves_within_the_handshake_is_gone(gateway):
    one = gateway(config())
    with connect(one.address("ws")) as client:
        client.sendall(b"GET / HT")
        half_close(client)
        assert is_closed(client)
    one.wait_closed("client_closed", 1)


@pytest.mark.parametrize(
    "limits, reason",
    [
        ({"connections": 1}, "refused_total"),
        ({"connections_per_source": 1}, "refused_source"),
    ],
)
def test_503_when_full(gateway, limits, reason):
    one = gateway({**config(), "limits": limits})
    with WebSocket(one.address("ws"), source="127.0.0.1"):
        with connect(one.address("ws"), "127.0.0.1") as client:
            answer = client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in answer
    one.wait_closed(reason, 1)
    assert handshakes(one) == {"accepted": 1, "unavailable": 1}


def test_503_to_whom_a_drain_finds_in_its_handshake(gateway):
    one = gateway(config())
    with connect(one.address("ws")) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        one.wait_metric("queued_bytes_current", 16)
        one.ok("POST", "/drain", {"over": 0})
        assert client.recv(4096).startswith(b"HTTP/1.1 503 ")
    one.wait_closed("drained", 1)


# Changes while it runs.


def test_the_policy_is_changed_by_a_reload(strict):
    address = strict.address("ws")
    changed = strict.reload(listeners={"ws": {"websocket": {"paths": ["/new"], "hosts": []}}})
    assert changed == ["listeners.ws.websocket.paths", "listeners.ws.websocket.hosts"]
    assert request(address, handshake(path="/chat")).status == 404
    with WebSocket(address, "/new"):
        pass


def test_the_policy_is_that_of_the_listener(gateway):
    both = config(POLICY)
    both["listeners"]["open"] = {"protocol": "websocket", "service": "echo"}
    one = gateway(both)
    assert request(one.address("ws"), handshake(path="/x", host="example.com")).status == 404
    with WebSocket(one.address("open"), "/x"):
        pass
    assert one.listener("open")["handshakes_accepted_total"] == 1
    assert handshakes(one) == {"not_found": 1}


def test_a_crowd_shakes_hands_at_once(gateway):
    one = gateway(config())
    with Crowd(one.address("ws"), 500) as crowd:
        crowd.send(handshake())
        assert crowd.pump_until(lambda: handshakes(one) == {"accepted": 500})
        crowd.send(frame(FIN | TEXT, b"x" * 10))
        wait_for(lambda: one.listener("ws")["messages_sent_total"], 500)
        assert crowd.closed_count == 0
        assert one.metric("connections_current") == 500
