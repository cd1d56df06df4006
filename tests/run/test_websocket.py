"""WebSocket: messages, control frames and closing, as RFC 6455 wants them. The numbers in the names
are its sections; those of single frames are in tests/unit/test_ws_frame.c and test_ws_message.c."""

import socket
import statistics
import struct
import time

import pytest

from clients import half_close, is_closed
from gateway import wait_for
from ws_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    TEXT,
    Violation,
    WebSocket,
    close_payload,
    frame,
)

NEVER = {"ping_interval": 0}
HEARTBEAT = {"interval": "100ms", "payload": "Grüße"}
READER_BYTES = 168  # struct ws_reader: what is remembered of a frame that is not whole yet


def config(service="echo", websocket=None, limits=None, **listener):
    return {
        "workers": 1,
        "listeners": {
            "ws": {
                "protocol": "websocket",
                "service": service,
                "websocket": {**NEVER, **(websocket or {})},
                "limits": limits or {},
                **listener,
            }
        },
    }


@pytest.fixture
def echo(gateway):
    """A gateway, and a WebSocket to it."""
    one = gateway(config())
    with WebSocket(one.address("ws")) as client:
        yield one, client


def count(one, name):
    return one.listener("ws")[name]


def pieces(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


# Messages.


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 65537, 300000])
def test_5_6_messages_come_back_as_they_were(echo, length):
    one, client = echo
    text, data = "ü" * (length // 2), bytes(i % 251 for i in range(length))
    client.send(text)
    assert client.receive() == text
    client.send(data)
    assert client.receive() == data
    wait_for(lambda: count(one, "messages_received_total"), 2)
    assert count(one, "messages_sent_total") == 2


@pytest.mark.measures
def test_5_1_nothing_that_the_server_sends_is_masked(gateway):
    one = gateway(config("hold", {"ping_interval": "100ms"}, heartbeat=HEARTBEAT))
    with WebSocket(one.address("ws")) as client, WebSocket(one.address("ws")) as failing:
        client.send_frame(PING, b"and a pong")
        seen = set()
        while seen != {TEXT, PING, PONG}:  # receive_frame() would not take one that is masked
            seen.add(client.receive_frame().opcode)
        assert client.close() == (1000, "")
        failing.send_bytes(frame(FIN | 0xF))
        assert failing.receive_close() == (1002, "protocol_error")


def test_5_8_an_extension_that_was_offered_is_not_in_use(gateway):
    one = gateway(config())
    offer = {"Sec_WebSocket_Extensions": "permessage-deflate"}
    with WebSocket(one.address("ws"), **offer) as client:
        client.send_bytes(frame(FIN | 0x40 | TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00"))
        assert client.receive_close() == (1002, "protocol_error")


def test_many_messages_in_one_packet_come_back_in_order(echo):
    _, client = echo
    client.send_bytes(b"".join(frame(FIN | TEXT, b"%d" % i) for i in range(1000)))
    assert [client.receive() for _ in range(1000)] == [str(i) for i in range(1000)]


def test_a_message_byte_by_byte_comes_back_whole(echo):
    one, client = echo
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in frame(FIN | TEXT, "Grüße".encode() * 20):
        client.send_bytes(bytes([byte]))
        time.sleep(0.0002)
    assert client.receive() == "Grüße" * 20
    assert client.n_parts == 1
    assert one.metric("queued_bytes_current") == 0


def test_5_4_fragments_come_back_as_one_message(echo):
    _, client = echo
    client.send_frame(TEXT, "ä".encode()[:1], last=False)
    client.send_frame(CONTINUATION, b"", last=False)
    client.send_frame(CONTINUATION, "ä".encode()[1:] + b"bc")
    assert client.receive() == "äbc"
    assert client.n_parts == 1


def test_5_4_a_control_frame_between_fragments_is_answered_at_once(echo):
    _, client = echo
    client.send_frame(BINARY, b"a", last=False)
    client.send_frame(PING, b"now")
    assert client.receive_pong() == b"now"
    client.send_frame(CONTINUATION, b"b")
    assert client.receive() == b"ab"


def test_a_large_message_streams_through(echo):
    """Its first parts come back before its last are sent."""
    one, client = echo
    data = bytes(100000)
    client.send_frame(BINARY, data, last=False)
    assert not client.receive_frame().is_last
    assert max(item["queued_bytes"] for item in one.connections()) < 1000
    client.send_frame(CONTINUATION, b"end")
    received = 0
    while not (found := client.receive_frame()).is_last:
        assert found.opcode == CONTINUATION
        received += len(found.payload)
    assert received <= len(data) + 3


def test_hold_takes_messages_and_sends_heartbeats_as_text(gateway):
    one = gateway(config("hold", heartbeat=HEARTBEAT))
    with WebSocket(one.address("ws")) as client:
        client.send("x" * 100000)
        assert client.receive() == "Grüße"
        wait_for(lambda: count(one, "messages_received_total"), 1)
        assert count(one, "messages_sent_total") > 0


def test_no_heartbeat_comes_before_the_handshake_is_done(gateway):
    one = gateway(config("hold", heartbeat={"interval": "10ms", "payload": "x"}))
    with socket.create_connection(one.address("ws")) as client:
        time.sleep(0.1)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)


# Limits.


@pytest.mark.parametrize("split", [False, True])
def test_7_4_1_a_message_over_the_limit_is_told_1009(gateway, split):
    one = gateway(config(limits={"message_bytes": 1000}))
    with WebSocket(one.address("ws")) as client:
        client.send(bytes(1000))
        assert client.receive() == bytes(1000)
        if split:
            client.send_frame(BINARY, bytes(600), last=False)
            client.send_frame(CONTINUATION, bytes(401))
        else:
            client.send(bytes(1001))
        assert client.receive_close() == (1009, "message_too_big")
    one.wait_closed("message_too_big", 1)


def test_half_a_message_counts_as_queued(gateway):
    one = gateway(config())
    with WebSocket(one.address("ws")) as client:
        client.send_frame(TEXT, b"x" * 5000, last=False)
        wait_for(lambda: one.connections()[0]["queued_bytes"], 5000 + READER_BYTES)
        assert one.metric("queued_bytes_current") == one.connections()[0]["queued_bytes"]
        client.send_frame(CONTINUATION, b"")
        assert client.receive() == "x" * 5000
        assert one.metric("queued_bytes_current") == 0


def test_half_messages_are_closed_when_all_queues_are_full(gateway):
    limits = {"queued_bytes": "100KiB", "queued_bytes_per_connection": "100KiB"}
    one = gateway({**config(), "limits": limits})
    clients = [WebSocket(one.address("ws")) for _ in range(10)]
    for length, client in enumerate(clients):
        client.send_frame(TEXT, b"x" * (12000 + 100 * length), last=False)
    one.wait_closed("queues_full", 2)
    assert one.metric("connections_current") == 8
    for client in clients:
        client.sock.close()


# Mistakes.


MISTAKES = {
    "5_1_not_masked": (frame(FIN | TEXT, b"x", mask=None), 1002),
    "5_2_reserved_bit": (frame(FIN | 0x40 | TEXT, b"x"), 1002),
    "5_2_reserved_opcode": (frame(FIN | 0x3, b"x"), 1002),
    "5_2_long_form": (b"\x81\xfe\x00\x01" + bytes(5), 1002),
    "5_4_continuation_of_nothing": (frame(FIN | CONTINUATION, b"x"), 1002),
    "5_4_message_within_message": (frame(TEXT, b"x") + frame(FIN | TEXT, b"x"), 1002),
    "5_5_fragmented_ping": (frame(PING, b"x"), 1002),
    "5_5_long_ping": (frame(FIN | PING, bytes(126)), 1002),
    "5_5_1_half_a_code": (frame(FIN | CLOSE, b"\x03"), 1002),
    "7_4_1_code_1005": (frame(FIN | CLOSE, close_payload(1005)), 1002),
    "7_4_2_code_999": (frame(FIN | CLOSE, close_payload(999)), 1002),
    "7_1_6_reason_no_utf8": (frame(FIN | CLOSE, close_payload(1000) + b"\xff"), 1007),
    "8_1_no_utf8": (frame(FIN | TEXT, b"\xff"), 1007),
    "8_1_cut_utf8": (frame(FIN | TEXT, b"\xc3"), 1007),
}


@pytest.mark.parametrize("bytes_sent, code", MISTAKES.values(), ids=MISTAKES)
def test_7_1_7_a_mistake_fails_the_connection(echo, bytes_sent, code):
    one, client = echo
    reason = "protocol_error" if code == 1002 else "bad_text"
    client.send_bytes(bytes_sent + frame(FIN | TEXT, b"is not looked at") * 100)
    assert client.receive_close() == (code, reason)
    assert client.is_at_end()
    client.sock.close()
    one.wait_closed(reason, 1)


def test_what_was_sent_before_a_mistake_is_answered(echo):
    _, client = echo
    client.send("good")
    client.send_bytes(frame(FIN | 0xF))
    assert client.receive() == "good"
    assert client.receive_close() == (1002, "protocol_error")


# Closing.


@pytest.mark.parametrize(
    "code, reason, counted",
    [
        (1000, "", "client_closed"),
        (1001, "bye", "client_closed"),
        (4999, "ü" * 61, "client_closed"),
        (None, "", "client_closed"),
        (1002, "no", "client_failed"),
        (1011, "", "client_failed"),
    ],
)
def test_5_5_1_a_close_frame_is_answered_with_its_code(echo, code, reason, counted):
    one, client = echo
    assert client.close(code, reason) == (code, "")
    assert client.is_at_end()
    one.wait_closed(counted, 1)


def test_5_5_1_nothing_is_sent_after_a_close_frame(echo):
    _, client = echo
    client.send_bytes(frame(FIN | CLOSE, close_payload(1000)) + frame(FIN | TEXT, b"late"))
    assert client.receive_close() == (1000, "")
    assert client.is_at_end()


def test_5_5_2_a_ping_behind_a_close_frame_is_not_answered(echo):
    _, client = echo
    client.send_bytes(frame(FIN | CLOSE, close_payload(1000)) + frame(FIN | PING, b"late"))
    assert client.receive_frame().opcode == CLOSE
    assert client.is_at_end()


def test_7_1_1_the_server_is_the_first_to_close_tcp(echo):
    """By FIN: a reset would raise an exception here."""
    one, client = echo
    client.send_frame(CLOSE, close_payload(1000))
    assert client.receive_close() == (1000, "")
    assert client.is_at_end()
    one.wait_closed("client_closed", 1)


def test_7_1_3_and_7_1_4_both_may_begin_to_close_and_the_end_is_clean(echo):
    """Each takes the other's close frame for an answer."""
    one, client = echo
    one.ok("DELETE", f"/connections/{one.connections()[0]['id']}")
    client.send_frame(CLOSE, close_payload(4000, "at the same time"))
    assert client.receive_close() == (1008, "killed")
    assert client.is_at_end(), "no second close frame, and no reset"
    one.wait_closed("killed", 1)


def test_what_was_sent_before_a_close_frame_is_answered(echo):
    _, client = echo
    client.send(bytes(500000))
    client.send_frame(CLOSE, close_payload(1000))
    assert client.receive() == bytes(500000)
    assert client.receive_close() == (1000, "")


def test_7_1_2_the_server_closes_and_the_client_answers(echo):
    one, client = echo
    one.ok("DELETE", f"/connections/{one.connections()[0]['id']}")
    assert client.receive_close() == (1008, "killed")
    assert one.connections()[0]["state"] == "closing"
    client.send("of no interest any more")
    client.send_frame(PING, b"neither")
    client.send_frame(CLOSE, close_payload(1008))
    assert client.is_at_end()
    one.wait_closed("killed", 1)


@pytest.mark.measures
@pytest.mark.measures
def test_7_1_1_who_does_not_answer_a_close_frame_is_closed_in_time(gateway):
    one = gateway(config(websocket={"close_timeout": "1s"}))
    with WebSocket(one.address("ws")) as client:
        one.ok("DELETE", f"/connections/{one.connections()[0]['id']}")
        begun = time.monotonic()
        assert client.receive_close() == (1008, "killed")
        client.send("this puts nothing off")
        assert client.is_at_end()
        assert 0.9 < time.monotonic() - begun < 1.8
    one.wait_closed("killed", 1)


def test_a_second_kill_does_not_wait(gateway):
    one = gateway(config(websocket={"close_timeout": "1h"}))
    with WebSocket(one.address("ws")) as client:
        path = f"/connections/{one.connections()[0]['id']}"
        one.ok("DELETE", path)
        assert client.receive_close() == (1008, "killed")
        one.ok("DELETE", path)
        assert client.is_at_end()


def test_7_2_1_the_end_of_tcp_without_a_close_frame_is_an_end(echo):
    one, client = echo
    client.send("x")
    half_close(client.sock)
    assert client.receive() == "x"
    assert client.is_at_end()
    one.wait_closed("client_closed", 1)


def test_7_3_drain_says_goodbye_to_each(gateway):
    one = gateway(config("hold", websocket={"close_timeout": "1h"}))
    clients = [WebSocket(one.address("ws")) for _ in range(20)]
    one.ok("POST", "/drain", {"over": "100ms"})
    for client in clients:
        assert client.receive_close() == (1001, "drained")
        client.send_frame(CLOSE, close_payload(1001))
        assert client.is_at_end()
        client.sock.close()
    one.wait_closed("drained", 20)


def test_7_3_a_stop_says_goodbye(echo):
    one, client = echo
    one.stop()
    assert client.receive_close() == (1001, "shutdown")
    assert client.is_at_end()


@pytest.mark.parametrize(
    "key, reason", [("lifetime", "lifetime"), ("idle_timeout", "idle_timeout")]
)
def test_7_4_1_a_deadline_is_told_1001(gateway, key, reason):
    one = gateway(config(limits={key: "300ms"}))
    with WebSocket(one.address("ws")) as client:
        assert client.receive_close() == (1001, reason)
        client.send_frame(CLOSE, close_payload(1001))
        assert client.is_at_end()
    one.wait_closed(reason, 1)


# Pings.


def test_5_5_3_a_pong_has_the_payload_of_its_ping(echo):
    one, client = echo
    for payload in (b"", b"\xff\x00", bytes(125)):
        client.send_frame(PING, payload)
        assert client.receive_pong() == payload
    assert count(one, "pings_received_total") == 3


def test_5_5_3_a_pong_that_nobody_asked_for_is_no_mistake(echo):
    one, client = echo
    client.send_frame(PONG, b"heartbeat")
    client.send("x")
    assert client.receive() == "x"
    assert count(one, "pongs_received_total") == 1


@pytest.mark.measures
def test_5_5_2_pings_come_at_their_interval_and_their_pongs_keep_the_connection(gateway):
    one = gateway(config(websocket={"ping_interval": "200ms"}))
    with WebSocket(one.address("ws")) as client:
        moments = []
        while len(moments) < 8:
            found = client.receive_frame()
            assert found.opcode == PING
            client.send_frame(PONG, found.payload)
            moments.append(time.monotonic())
        gaps = [later - earlier for earlier, later in zip(moments, moments[1:])]
        assert statistics.median(gaps) == pytest.approx(0.2, abs=0.05)
        assert sum(gaps) > 7 * 0.2 - 0.05, "none comes early to make up for a late one"
        wait_for(lambda: count(one, "pongs_received_total"), 8)
        assert count(one, "pings_sent_total") >= 8
        assert one.metric("connections_current") == 1


@pytest.mark.measures
def test_7_2_2_a_missing_pong_closes_at_the_next_ping(gateway):
    one = gateway(config(websocket={"ping_interval": "300ms", "close_timeout": "100ms"}))
    with WebSocket(one.address("ws"), answers=False) as client:
        begun = time.monotonic()
        client.send("other bytes are no pong")
        assert client.receive_close() == (1011, "pong_timeout")
        assert client.pings == 1
        assert time.monotonic() - begun < 5
        assert client.is_at_end()
    one.wait_closed("pong_timeout", 1)


@pytest.mark.measures
def test_pings_are_changed_by_a_reload(gateway):
    one = gateway(config())
    with WebSocket(one.address("ws")) as client:
        one.reload(listeners={"ws": {"websocket": {"ping_interval": "100ms"}}})
        wait_for(lambda: count(one, "pings_sent_total"), 1)
        assert client.receive_frame().opcode == PING


# Slow readers. A Unix socket takes little of what is sent to one who does not read.


def test_pongs_do_not_pile_up_for_a_client_that_does_not_read(gateway):
    one = gateway(config(address="unix:DIR/ws"))
    with WebSocket(one.address("ws")) as client:
        client.sock.settimeout(1)
        pings = frame(FIN | PING, bytes(125)) * 100
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                client.send_bytes(pings)
        assert one.metric("connections_current") == 1
        assert 0 < one.metric("queued_bytes_current") <= 65536 + 127
        client.sock.settimeout(20)
        for _ in range(100):
            assert client.receive_pong() == bytes(125)


def test_echo_does_not_pile_up_for_a_client_that_does_not_read(gateway):
    limits = {"queued_bytes_per_connection": "20KiB"}
    one = gateway(config(address="unix:DIR/ws", limits=limits))
    with WebSocket(one.address("ws")) as client:
        client.sock.settimeout(1)
        n = 0
        with pytest.raises(TimeoutError):
            for n in range(1000):
                client.send(struct.pack(">I", n) + bytes(4000))
        assert 0 < one.metric("queued_bytes_current") <= 20480 + READER_BYTES
        client.sock.settimeout(20)
        for i in range(n - 10):
            assert client.receive()[:4] == struct.pack(">I", i)


def test_heartbeats_and_pings_for_a_client_that_does_not_read_have_a_limit(gateway):
    one = gateway(
        config(
            "hold",
            websocket={"ping_interval": "1h"},
            heartbeat={"interval": "10ms", "payload": "x" * 1000},
            limits={"queued_bytes_per_connection": "20KiB"},
            address="unix:DIR/ws",
        )
    )
    with WebSocket(one.address("ws")) as client:
        one.wait_closed("slow_reader", 1)
        with pytest.raises((EOFError, Violation, ConnectionResetError)):
            while True:
                assert client.receive() == "x" * 1000


# Memory.


def test_an_idle_websocket_has_no_buffer(gateway):
    one = gateway(config())
    clients = [WebSocket(one.address("ws")) for _ in range(50)]
    for client in clients:
        client.send("x" * 100)
        assert client.receive() == "x" * 100
    assert one.metric("queued_bytes_current") == 0
    for client in clients:
        client.sock.close()
    one.wait_closed("client_closed", 50)


def test_a_client_that_vanishes_within_a_message_leaves_nothing(gateway):
    one = gateway(config())
    for data in (b"\x81", frame(TEXT, b"abc"), frame(FIN | BINARY, bytes(1000))[:-1]):
        client = WebSocket(one.address("ws"))
        client.send_bytes(data)
        wait_for(lambda: one.metric("queued_bytes_current"), lambda n: n > 0)
        client.sock.close()
        wait_for(lambda: one.metric("queued_bytes_current"), 0)


def test_the_connection_is_closed_for_a_raw_client(gateway):
    one = gateway(config())
    with socket.create_connection(one.address("ws")) as client:
        client.sendall(b"\x00\x01\x02")
        assert is_closed(client)
    one.wait_closed("handshake_refused", 1)
