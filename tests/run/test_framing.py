"""Messages on plain TCP: lines, and messages with their length before them."""

import socket
import struct
import time

import pytest

from clients import connect, half_close, is_closed, read_all, read_exactly
from gateway import wait_for


def config(framing, service="echo", limits=None, **listener):
    return {
        "workers": 1,
        "listeners": {
            "tcp": {"framing": framing, "service": service, "limits": limits or {}, **listener}
        },
    }


def line(data):
    return data + b"\n"


def length32(data):
    return struct.pack(">I", len(data)) + data


FRAMINGS = pytest.mark.parametrize("framing, wrap", [("line", line), ("length32", length32)])


@FRAMINGS
def test_messages_come_back(gateway, framing, wrap):
    one = gateway(config(framing))
    messages = [wrap(b"x" * length) for length in (0, 1, 5, 4071, 65535, 65536, 100000)]
    with connect(one.address("tcp")) as client:
        for message in messages:
            client.sendall(message)
            assert read_exactly(client, len(message)) == message
    assert one.listener("tcp")["messages_received_total"] == len(messages)
    assert one.listener("tcp")["messages_sent_total"] == len(messages)


@FRAMINGS
def test_many_messages_in_one_packet_come_back_in_order(gateway, framing, wrap):
    one = gateway(config(framing))
    data = b"".join(wrap(b"%d" % i) for i in range(2000))
    with connect(one.address("tcp")) as client:
        client.sendall(data)
        assert read_exactly(client, len(data)) == data
        wait_for(lambda: one.listener("tcp")["messages_received_total"], 2000)


@FRAMINGS
def test_a_message_byte_by_byte_is_one(gateway, framing, wrap):
    one = gateway(config(framing))
    data = wrap(b"hello") + wrap(b"world")
    with connect(one.address("tcp")) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        assert read_exactly(client, len(data)) == data
    assert one.listener("tcp")["messages_received_total"] == 2
    assert one.metric("queued_bytes_current") == 0


@FRAMINGS
def test_half_a_message_counts_as_queued_and_is_dropped_at_the_end(gateway, framing, wrap):
    one = gateway(config(framing))
    half = wrap(b"x" * 5000)[:-1]
    with connect(one.address("tcp")) as client:
        client.sendall(half)
        one.wait_metric("queued_bytes_current", len(half))
        half_close(client)
        assert read_all(client) == b""
    one.wait_closed("client_closed", 1)
    assert one.metric("queued_bytes_current") == 0


@FRAMINGS
@pytest.mark.parametrize("length, fits", [(999, True), (1000, True), (1001, False)])
def test_the_limit_of_a_message_is_exact(gateway, framing, wrap, length, fits):
    one = gateway(config(framing, limits={"message_bytes": 1000}))
    data = wrap(b"x" * length)
    with connect(one.address("tcp")) as client:
        client.sendall(data)
        if fits:
            assert read_exactly(client, len(data)) == data
        else:
            assert is_closed(client)
            one.wait_closed("message_too_big", 1)


@FRAMINGS
def test_a_message_must_fit_in_what_may_be_queued(gateway, framing, wrap):
    one = gateway(config(framing, limits={"queued_bytes_per_connection": 1000}))
    extra = len(wrap(b""))
    with connect(one.address("tcp")) as client:
        data = wrap(b"x" * (1000 - extra))
        client.sendall(data)
        assert read_exactly(client, len(data)) == data
        client.sendall(wrap(b"x" * (1001 - extra)))
        assert is_closed(client)
    one.wait_closed("message_too_big", 1)


def test_a_length_that_is_too_large_is_refused_before_its_bytes_come(gateway):
    one = gateway(config("length32"))
    with connect(one.address("tcp")) as client:
        client.sendall(b"\xff\xff\xff\xff")
        assert is_closed(client)
    one.wait_closed("message_too_big", 1)


def test_a_carriage_return_is_part_of_the_line(gateway):
    one = gateway(config("line"))
    with connect(one.address("tcp")) as client:
        client.sendall(b"a\r\n\r\n\n")
        assert read_exactly(client, 6) == b"a\r\n\r\n\n"
    assert one.listener("tcp")["messages_received_total"] == 3


@FRAMINGS
def test_heartbeats_are_messages(gateway, framing, wrap):
    heartbeat = {"interval": "50ms", "payload": "tick"}
    one = gateway(config(framing, "hold", heartbeat=heartbeat))
    with connect(one.address("tcp")) as client:
        assert read_exactly(client, 2 * len(wrap(b"tick"))) == wrap(b"tick") * 2


@FRAMINGS
def test_a_client_that_does_not_read_is_not_read_from(gateway, framing, wrap):
    limits = {"queued_bytes_per_connection": "20KiB"}
    one = gateway(config(framing, limits=limits, address="unix:DIR/tcp"))
    message = wrap(b"x" * 5000)
    with connect(one.address("tcp"), timeout=1) as client:
        n = 0
        with pytest.raises(TimeoutError):
            for n in range(1000):
                client.sendall(message)
        assert 0 < one.metric("queued_bytes_current") <= 20480
        client.settimeout(20)
        assert read_exactly(client, len(message) * n) == message * n
