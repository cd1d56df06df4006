"""relay of WebSockets: payloads go to the server as bytes, what it sends comes as messages."""

import contextlib
import hashlib
import signal
import threading

import pytest

from clients import connect, half_close, is_closed, read_all, read_exactly, reset
from gateway import stopped, wait_for
from preloads import preloaded
from proxy_headers import CLIENT, binary, line
from relay_clients import SMALL_BUFFER, ends_with_reset, fill
from servers import QUICK, Scripted, dead_target, relay, upstreams, wait_upstream
from streams import pattern
from ws_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    TEXT,
    WebSocket,
    close_payload,
    frame,
    handshake,
)

NEVER = {"ping_interval": 0, "close_timeout": "200ms"}
PART = 100000  # bytes of a message that is not gathered before it is sent on
VOLUME = 16 * 2**20


def config(*servers, websocket=None, limits=None, **upstream):
    listener = {"protocol": "websocket", "websocket": {**NEVER, **(websocket or {})}}
    return relay(*servers, listener=listener, limits=limits, **upstream)


@pytest.fixture
def linked(gateway, scripted):
    """A gateway, a WebSocket to it, and the server's end."""
    server = scripted()
    one = gateway(config(server))
    with WebSocket(one.address("relay")) as client, server.accept() as behind:
        yield one, client, behind


def read_messages(client, length):
    """Binary messages until so many bytes have come."""
    data = bytearray()
    while len(data) < length:
        message = client.receive()
        assert isinstance(message, bytes), "a text message"
        data += message
    return bytes(data)


def closing(client):
    """The code of the close frame that comes next; it is answered."""
    found = client.receive_interesting()
    assert found.opcode == CLOSE, found
    with contextlib.suppress(OSError):
        client.send_frame(CLOSE, found.payload[:2])
    return int.from_bytes(found.payload[:2], "big")


def test_payloads_go_to_the_server_as_bytes(linked):
    _, client, behind = linked
    client.send(b"binary\0")
    client.send("text äöü")
    client.send(b"")
    client.send_frame(TEXT, b"in ", last=False)
    client.send_frame(CONTINUATION, b"frag", last=False)
    client.send_frame(PING, b"not this")
    client.send_frame(CONTINUATION, b"ments")
    wanted = b"binary\0" + "text äöü".encode() + b"in fragments"
    assert read_exactly(behind, len(wanted)) == wanted
    assert client.receive_interesting().opcode == PONG


def test_what_the_server_sends_comes_as_binary_messages(linked):
    _, client, behind = linked
    for text in (b"a", b"\xff\xfe not UTF-8", b"x" * 70000):
        behind.sendall(text)
        assert read_messages(client, len(text)) == text


def test_much_both_ways(linked):
    one, client, behind = linked
    client.sock.settimeout(20)
    sums = {}

    def send():
        for position in range(0, VOLUME, 60000):
            data = pattern(position, min(60000, VOLUME - position))
            client.send(data)

    def serve():
        up, down = hashlib.sha256(), 0
        received = 0
        while received < VOLUME:
            data = behind.recv(65536)
            up.update(data)
            received += len(data)
            behind.sendall(data)
            down += len(data)
        sums["up"] = up.hexdigest()

    threads = [threading.Thread(target=send), threading.Thread(target=serve)]
    for thread in threads:
        thread.start()
    down = hashlib.sha256(read_messages(client, VOLUME)).hexdigest()
    for thread in threads:
        thread.join()
    assert sums["up"] == down
    assert one.metric("queued_bytes_current") == 0


def test_the_server_is_connected_while_the_handshake_is_read(gateway, scripted):
    """What it says at once comes after the answer to the handshake, in a message."""
    server = scripted()
    one = gateway(config(server))
    with WebSocket(one.address("relay")) as client, server.accept() as behind:
        behind.sendall(b"welcome")
        assert client.receive() == b"welcome"
        client.send(b"thanks")
        assert read_exactly(behind, 6) == b"thanks"


def test_a_message_right_behind_the_handshake(gateway, scripted):
    server = scripted()
    one = gateway(config(server))
    with connect(one.address("relay")) as raw:
        raw.sendall(handshake() + frame(FIN | BINARY, b"early"))
        with server.accept() as behind:
            assert read_exactly(behind, 5) == b"early"


def test_a_close_of_the_client_ends_the_servers_side(linked):
    one, client, behind = linked
    client.send(b"last words")
    client.send_frame(CLOSE, close_payload(1000, "bye"))
    assert closing(client) == 1000
    assert read_all(behind) == b"last words"
    assert is_closed(client.sock)
    one.wait_closed("client_closed", 1)
    one.wait_connections(0)


def test_a_server_that_closes_says_goodbye(linked):
    one, client, behind = linked
    behind.sendall(b"last words")
    behind.close()
    assert client.receive() == b"last words"
    assert closing(client) == 1000
    assert is_closed(client.sock)
    one.wait_closed("upstream_closed", 1)
    one.wait_connections(0)


def test_a_server_that_half_closes_does_so_too(linked):
    """A WebSocket has no half: it is closed."""
    one, client, behind = linked
    half_close(behind)
    assert closing(client) == 1000
    assert is_closed(behind)
    one.wait_closed("upstream_closed", 1)


def test_a_server_that_resets(linked):
    """The client is told by code 1011, or not at all."""
    one, client, behind = linked
    client.send(b"x")
    assert behind.recv(1) == b"x"
    reset(behind)
    with contextlib.suppress(ConnectionResetError, EOFError):
        assert closing(client) == 1011
    assert is_closed(client.sock)
    one.wait_closed("upstream_reset", 1)
    one.wait_connections(0)


def test_what_a_server_sent_before_it_reset_comes_before_the_goodbye(gateway):
    """An answer to a client that is still sending, say."""
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(config(server, workers=1, websocket={"close_timeout": "1m"}))
        with WebSocket(one.address("relay")) as client, server.accept() as behind:
            client.flood()
            with stopped(one.worker_pids()[0]):
                behind.sendall(b"too much")
                behind.close()
            assert client.receive() == b"too much"
            assert client.receive_close() == (1011, "upstream_reset")
        one.wait_connections(0)
        assert one.closed_counts() == {"upstream_reset": 1}


def test_a_client_that_resets(linked):
    one, client, behind = linked
    behind.sendall(b"x")
    assert client.receive() == b"x"
    reset(client.sock)
    assert is_closed(behind)
    one.wait_closed("client_reset", 1)
    one.wait_connections(0)


def test_no_server_accepts(gateway):
    one = gateway(config(dead_target()))
    with connect(one.address("relay")) as raw:
        raw.sendall(handshake())
        assert is_closed(raw)
    one.wait_closed("upstream_failed", 1)
    one.wait_connections(0)


def test_a_goodbye_is_answered_though_no_server_accepts(gateway):
    """The client's answer ends it, and so does its end without one; no timeout has to."""
    one = gateway(config(dead_target(), websocket={"close_timeout": "1m"}))
    with WebSocket(one.address("relay")) as answers, WebSocket(one.address("relay")) as leaves:
        assert closing(answers) == 1013
        assert answers.is_at_end()
        leaves.sock.close()
    one.wait_connections(0)
    assert one.closed_counts() == {"upstream_failed": 2}


def test_a_client_that_said_goodbye_before_no_server_accepted_is_closed(gateway):
    """Its goodbye came while it was not read from."""
    one = gateway(config(dead_target(), websocket={"close_timeout": "1m"}))
    with connect(one.address("relay")) as raw:
        raw.sendall(handshake() + frame(FIN | CLOSE, close_payload(1000)))
        assert b"HTTP/1.1 101" in read_all(raw)
    one.wait_connections(0)


def test_a_goodbye_is_answered_though_the_server_does_not_read(gateway):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(config(server, websocket={"close_timeout": "1m"}))
        with WebSocket(one.address("relay")) as client, server.accept():
            client.flood()
            one.ok("DELETE", f"/connections/{one.connection_of(client.sock)['id']}")
            assert client.receive_close() == (1008, "killed")
        one.wait_connections(0)
        assert one.closed_counts() == {"killed": 1}


@pytest.mark.parametrize("how", ["disabled", "down", "removed"])
def test_a_server_that_goes_before_the_handshake_is_not_taken(gateway, echoes, how):
    """It was chosen when the client came. That is no failure, neither of it nor of a try."""
    servers = {server.target: server for server in echoes("a", "b")}
    one = gateway(config(*servers.values(), health=QUICK, retries=0))
    with connect(one.address("relay")) as late:
        one.wait_connections(1)
        (gone,) = [name for name, item in upstreams(one).items() if item["connections"] == 1]
        (other,) = servers.keys() - {gone}
        if how == "disabled":
            one.ok("POST", "/upstreams/disable", {"server": gone})
        elif how == "down":
            servers[gone].stop_listening()
            wait_upstream(one, servers[gone], "state", "down")
        else:
            one.reload(listeners={"relay": {"upstream": {"servers": [other]}}})
        late.sendall(handshake())
        wait_upstream(one, servers[other], "connects_total", 1)
        wait_upstream(one, servers[other], "connections", 1)
        left = upstreams(one).get(gone)
        assert bool(left) == (how != "removed")
        keys = ("connections", "connects_total", "connect_failures_total")
        assert not left or [left[key] for key in keys] == [0, 0, 0]
        assert one.closed_counts() == {}


def test_who_shakes_hands_when_its_server_is_disabled_waits_for_it(gateway, echoes):
    server = echoes("a")[0]
    one = gateway(config(server, when_down="wait"))
    with connect(one.address("relay")) as late:
        one.wait_connections(1)
        one.ok("POST", "/upstreams/disable", {"server": server.target})
        late.sendall(handshake())
        with connect(one.address("relay")):
            one.wait_listener("relay", "state", "no_server")
            wait_upstream(one, server, "connections", 0)
            assert upstreams(one)[server.target]["connects_total"] == 0
            one.ok("POST", "/upstreams/enable", {"server": server.target})
            wait_upstream(one, server, "connects_total", 1)
            one.wait_connections(2)
    one.wait_connections(0)


def test_who_says_nothing_behind_its_header_stops_nobody(gateway, echoes):
    """It came while no server was up, and does not ask for one before its handshake."""
    server = echoes()
    settings = config(server, health=QUICK, when_down="wait", websocket={"handshake_timeout": 0})
    settings["listeners"]["relay"]["proxy_protocol"] = {"from": ["127.0.0.1/32"]}
    one = gateway(settings)
    with connect(one.address("relay")) as silent:
        one.wait_connections(1)
        server.stop_listening()
        wait_upstream(one, server, "state", "down")
        silent.sendall(line())
        wait_for(lambda: [item["state"] for item in one.connections()], ["handshake"])
        server.listen_again()
        wait_upstream(one, server, "state", "up")
        with WebSocket(one.address("relay"), request=line() + handshake()) as client:
            client.send(b"hello")
            assert read_messages(client, 5) == b"hello"
        silent.sendall(handshake())
        assert silent.recv(12) == b"HTTP/1.1 101"
    one.wait_connections(0)
    server.wait_connections(0)


def test_who_ends_while_it_waits_inside_stops_nobody(gateway, echoes):
    """Though it does not answer the goodbye."""
    server = echoes()
    server.stop_listening()
    settings = config(server, when_down="wait", retries=0, websocket={"close_timeout": "1m"})
    one = gateway(settings)
    with WebSocket(one.address("relay")) as silent:
        wait_upstream(one, server, "connect_failures_total", lambda count: count > 0)
        one.ok("DELETE", f"/connections/{one.connection_of(silent.sock)['id']}")
        assert silent.receive_close() == (1008, "killed")
        server.listen_again()
        with WebSocket(one.address("relay")) as client:
            client.send(b"hello")
            assert read_messages(client, 5) == b"hello"
            assert one.connection_of(silent.sock)["state"] == "closing"
            assert wait_upstream(one, server, "connections", bool) == 1
    one.wait_connections(0)
    assert one.closed_counts() == {"killed": 1, "client_closed": 1}


@pytest.mark.parametrize("queue", [False, True])
def test_all_are_told_of_a_stop(gateway, queue):
    """Also who has a higher descriptor than its connection to its server, for which something waits."""
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(config(server, workers=1))
        first = WebSocket(one.address("relay"))
        with first, server.accept(), connect(one.address("relay")) as late:
            one.wait_connections(2)
            first.close()
            one.wait_connections(1)
            late.sendall(handshake())
            with server.accept():
                assert late.recv(4096).startswith(b"HTTP/1.1 101")
                while queue and one.metric("queued_bytes_current") == 0:
                    late.sendall(frame(FIN | BINARY, bytes(2**16)))
                one.stop()
                goodbye = frame(FIN | CLOSE, close_payload(1001, "shutdown"), mask=None)
                assert read_exactly(late, len(goodbye)) == goodbye


def test_a_handshake_that_is_refused_leaves_no_server_behind(gateway, echoes):
    server = echoes()
    one = gateway(config(server, websocket={"paths": ["/chat"]}))
    with connect(one.address("relay")) as raw:
        raw.sendall(handshake("/other"))
        assert raw.recv(12) == b"HTTP/1.1 404"
        assert is_closed(raw)
    one.wait_closed("handshake_refused", 1)
    one.wait_connections(0)
    server.wait_connections(0)


def test_a_faulty_client_ends_the_servers_side(linked):
    one, client, behind = linked
    client.send_bytes(frame(FIN | TEXT, b"\xff\xff"))
    assert closing(client) == 1007
    assert is_closed(behind)
    one.wait_closed("bad_text", 1)


def test_a_server_that_does_not_read_stops_its_client(gateway):
    limit = 2**17
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(config(server, limits={"queued_bytes_per_connection": limit}))
        with WebSocket(one.address("relay")) as client, server.accept() as behind:
            sent = 0
            client.sock.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                while True:
                    client.sock.sendall(frame(FIN | BINARY, pattern(sent, 1000), mask=b"\0" * 4))
                    sent += 1000
            assert 0 < one.metric("queued_bytes_current") <= limit
            position = 0
            while position < sent:
                data = behind.recv(min(60000, sent - position))
                assert data == pattern(position, len(data))
                position += len(data)
            assert one.closed_counts() == {}


def test_a_client_that_does_not_read_stops_its_server(gateway, scripted):
    limit = 2**17
    server = scripted()
    one = gateway(config(server, limits={"queued_bytes_per_connection": limit}))
    with WebSocket(one.address("relay")) as client, server.accept() as behind:
        sent = fill(behind)
        assert 0 < one.metric("queued_bytes_current") <= limit
        data = read_messages(client, sent)
        assert len(data) == sent
        assert all(
            data[at : at + 60000] == pattern(at, len(data[at : at + 60000]))
            for at in range(0, sent, 60000)
        )
        assert one.closed_counts() == {}


def test_half_a_message_and_a_full_queue_do_not_make_a_slow_reader(gateway, scripted):
    """What is gathered of a message waits as well, but for the server."""
    limit, half = 16384, bytes(8192)
    server = scripted()
    one = gateway(config(server, limits={"queued_bytes_per_connection": limit}))
    with contextlib.ExitStack() as stack:
        queued = 0
        while queued + len(half) <= limit:
            client = stack.enter_context(WebSocket(one.address("relay")))
            behind = stack.enter_context(server.accept())
            sent = fill(behind)
            queued = one.connection_of(client.sock)["queued_bytes"]
        client.send_frame(BINARY, half, last=False)
        client.send_frame(PING, b"still there?")
        one.wait_listener("relay", "pings_received_total", 1)
        one.reload(limits={"idle_timeout": "1h"})
        assert one.closed_counts() == {}
        assert len(read_messages(client, sent)) == sent
        client.send_frame(CONTINUATION, b"!")
        assert read_exactly(behind, 8193) == half + b"!"


@pytest.mark.measures
def test_pings_go_on_with_a_server_behind(gateway, scripted):
    server = scripted()
    one = gateway(config(server, websocket={"ping_interval": "200ms"}))
    with WebSocket(one.address("relay")) as client, server.accept() as behind:
        while client.pings < 3:
            behind.sendall(b"tick")
            read_messages(client, 4)
        assert one.closed_counts() == {}


def test_the_header_of_a_load_balancer_comes_before_the_handshake(gateway, scripted):
    server = scripted()
    settings = config(server, send_proxy="v2")
    settings["listeners"]["relay"]["proxy_protocol"] = {"from": ["127.0.0.1/32"]}
    one = gateway(settings)
    request = handshake()
    with WebSocket(one.address("relay"), request=line() + request) as client:
        with server.accept() as behind:
            client.send(b"data")
            wanted = binary() + b"data"
            assert read_exactly(behind, len(wanted)) == wanted
        assert [item["peer"] for item in one.connections()] == [f"{CLIENT[0]}:{CLIENT[1]}"]


def test_restarts_in_the_middle_of_everything(gateway, scripted):
    """A frame and a message that are not whole, and a handshake that is not."""
    server = scripted()
    one = gateway(config(server))

    def restart():
        before = one.log().count("restored ")
        one.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: one.log().count("restored "), before + 1, what="times restored")
        one.wait_healthy()

    with WebSocket(one.address("relay")) as client, server.accept() as behind:
        whole = frame(FIN | BINARY, b"0123456789")
        client.send_bytes(whole[:9])
        client_late = connect(one.address("relay"))
        request = handshake()
        client_late.sendall(request[:30])
        one.wait_connections(2)
        restart()
        client.send_bytes(whole[9:])
        assert read_exactly(behind, 10) == b"0123456789"
        client.send_frame(TEXT, b"first half, ", last=False)
        one.wait_metric("bytes_received_total", lambda n: n > len(whole) + 30 + 12)
        restart()
        client.send_frame(CONTINUATION, b"second half")
        assert read_exactly(behind, 23) == b"first half, second half"
        behind.sendall(b"answer")
        assert client.receive() == b"answer"
        client_late.sendall(request[30:])
        assert client_late.recv(12) == b"HTTP/1.1 101"
        client_late.close()
    one.wait_connections(0)


@pytest.mark.parametrize(
    "behind",
    [b"", frame(FIN | CLOSE, close_payload(1000)), b"\x81"],
    ids=["nothing", "close frame", "half a frame"],
)
def test_a_server_that_cannot_be_watched(gateway, scripted, tmp_path, behind):
    """The handshake is answered, and with that the connection is over, whatever came behind it."""
    one = gateway(config(scripted()), environment=preloaded("no_watch", tmp_path))
    workers = one.worker_pids()
    with connect(one.address("relay")) as client:
        client.sendall(handshake() + behind)
        assert is_closed(client)
    one.wait_connections(0)
    assert sum(one.closed_counts().values()) == 1 and one.closed("worker_lost") == 0
    assert one.worker_pids() == workers


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (frame(FIN | CONTINUATION, b"\xff"), "bad_text"),
        (frame(FIN | 0x70 | CONTINUATION, b"x"), "protocol_error"),
        (frame(FIN | CONTINUATION, b"x" * 1000), "message_too_big"),
    ],
    ids=["bad text", "reserved bits", "too big"],
)
def test_what_a_server_got_of_a_client_that_erred_does_not_look_whole(
    gateway, scripted, after, reason
):
    server = scripted()
    one = gateway(config(server, limits={"message_bytes": PART + 999}))
    with WebSocket(one.address("relay")) as client, server.accept() as behind:
        client.send_frame(TEXT, b"x" * PART, last=False)
        assert read_exactly(behind, 1) == b"x"
        client.send_bytes(after)
        assert ends_with_reset(behind)
        one.wait_closed(reason, 1)
