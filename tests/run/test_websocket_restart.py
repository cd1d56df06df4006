"""Connections that live on in another process, whatever they were in the middle of: SIGUSR2."""

import signal

from clients import connect, read_exactly
from gateway import wait_for
from ws_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    TEXT,
    Response,
    WebSocket,
    close_payload,
    frame,
    handshake,
)

CONFIG = {
    "workers": 1,
    "listeners": {
        "ws": {
            "protocol": "websocket",
            "service": "echo",
            "websocket": {"ping_interval": 0, "handshake_timeout": "1h", "close_timeout": "1h"},
        },
        "line": {"framing": "line", "service": "echo"},
        "length32": {"framing": "length32", "service": "echo"},
    },
}


def replace(one):
    """Another process takes over."""
    n = one.log().count("restored ")
    one.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: one.log().count("restored "), n + 1, what="times restored")
    one.wait_healthy()


def wait_queued(one, wanted):
    one.wait_metric("queued_bytes_current", wanted)


def test_an_idle_websocket_goes_on(gateway):
    one = gateway(CONFIG)
    with WebSocket(one.address("ws")) as client:
        for i in range(3):
            replace(one)
            client.send(f"after {i}")
            assert client.receive() == f"after {i}"
        assert one.listener("ws")["handshakes_accepted_total"] == 1


def test_every_cut_of_a_frame_goes_on(gateway):
    one = gateway(CONFIG)
    data = frame(FIN | TEXT, "Grüße".encode())
    clients = [WebSocket(one.address("ws")) for _ in range(1, len(data))]
    for cut, client in enumerate(clients, 1):
        client.send_bytes(data[:cut])
    wait_queued(one, lambda n: n >= 168 * len(clients))
    replace(one)
    assert one.metric("queued_bytes_current") >= 168 * len(clients)
    for cut, client in enumerate(clients, 1):
        client.send_bytes(data[cut:])
        assert client.receive() == "Grüße"
        client.sock.close()
    wait_queued(one, 0)


def test_every_cut_of_a_handshake_goes_on(gateway):
    one = gateway(CONFIG)
    data = handshake()
    cuts = range(1, len(data), 7)
    clients = [connect(one.address("ws")) for _ in cuts]
    for cut, client in zip(cuts, clients):
        client.sendall(data[:cut])
    wait_queued(one, sum(cuts))
    replace(one)
    wait_for(lambda: {item["state"] for item in one.connections()}, {"handshake"})
    for cut, client in zip(cuts, clients):
        client.sendall(data[cut:])
        assert Response(client.recv(4096).partition(b"\r\n\r\n")[0]).status == 101
        client.close()


def test_a_fragmented_message_goes_on(gateway):
    one = gateway(CONFIG)
    with WebSocket(one.address("ws")) as client:
        client.send_frame(TEXT, "ü".encode()[:1], last=False)
        client.send_bytes(frame(FIN | PING, b"cut")[:7])
        wait_queued(one, 169)
        replace(one)
        client.send_bytes(frame(FIN | PING, b"cut")[7:])
        assert client.receive_pong() == b"cut"
        client.send_frame(CONTINUATION, "ü".encode()[1:])
        assert client.receive() == "ü"


def test_a_message_that_streams_goes_on(gateway):
    one = gateway(CONFIG)
    message = bytes(i % 251 for i in range(200000))
    data = frame(FIN | BINARY, message)
    with WebSocket(one.address("ws")) as client:
        client.send_bytes(data[:100001])
        wait_for(lambda: one.listener("ws")["bytes_received_total"], lambda n: n > 100000)
        replace(one)
        client.send_bytes(data[100001:])
        assert client.receive() == message
        assert client.n_parts > 1


def test_a_mistake_after_a_restart_is_one(gateway):
    one = gateway(CONFIG)
    with WebSocket(one.address("ws")) as client:
        client.send_frame(TEXT, b"\xc3", last=False)
        wait_queued(one, 169)
        replace(one)
        client.send_frame(CONTINUATION, b"\xff")
        assert client.receive_close() == (1007, "bad_text")


def test_a_closing_handshake_goes_on(gateway):
    one = gateway(CONFIG)
    with WebSocket(one.address("ws")) as client:
        one.ok("DELETE", f"/connections/{one.connections()[0]['id']}")
        assert client.receive_close() == (1008, "killed")
        replace(one)
        wait_for(lambda: one.connections()[0]["state"], "closing")
        client.send("of no interest")
        client.send_frame(CLOSE, close_payload(1008))
        assert client.is_at_end()
    one.wait_closed("killed", 1)


def test_who_reads_slowly_gets_the_rest_from_the_next_process(gateway):
    listener = {**CONFIG["listeners"]["ws"], "address": "unix:DIR/ws"}
    one = gateway({"workers": 1, "listeners": {"ws": listener}})
    with WebSocket(one.address("ws")) as client:
        message = bytes(i % 251 for i in range(300000))
        client.send_bytes(frame(FIN | BINARY, message))
        wait_for(lambda: one.metric("queued_bytes_current"), lambda n: n > 0)
        replace(one)
        assert client.receive() == message
        client.send("and on")
        assert client.receive() == "and on"


def test_half_messages_of_the_framings_go_on(gateway):
    one = gateway(CONFIG)
    wholes = {"line": b"hello\n", "length32": b"\x00\x00\x00\x05hello"}
    clients = []
    for name, whole in wholes.items():
        for cut in range(1, len(whole)):
            clients.append((connect(one.address(name)), whole, cut))
            clients[-1][0].sendall(whole[:cut])
    wait_queued(one, sum(cut for _, _, cut in clients))
    replace(one)
    for client, whole, cut in clients:
        client.sendall(whole[cut:])
        assert read_exactly(client, len(whole)) == whole
        client.close()
