"""What one side has sent before it ends, or before the gateway ends it, the other side gets."""

import contextlib
import fcntl
import struct
import termios
import time

import pytest

from clients import connect, half_close, is_closed, read_all, reset
from gateway import DEADLINE, check_calm, wait_for
from proxy_headers import line
from relay_clients import SMALL_BUFFER, ends_with_reset, fill, read_pattern
from servers import QUICK, Scripted, dead_target, relay, upstreams, wait_upstream
from streams import pattern
from ws_client import BINARY, CLOSE, FIN, WebSocket, close_payload, frame, handshake

VOLUME = 400000
PIECE = 20000


def websockets(*servers, **more):
    return relay(*servers, listener={"protocol": "websocket", **more.pop("listener", {})}, **more)


def unacknowledged(sock):
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]


# A client has gone.


def send_all(client):
    for position in range(0, VOLUME, PIECE):
        client.send(pattern(position, PIECE))


def hears_all(behind, says):
    """Reads slowly what the client has sent; every now and then it may say something itself."""
    position = 0
    behind.settimeout(DEADLINE)
    while position < VOLUME:
        if says:
            behind.sendall(b"progress\n")
        data = behind.recv(8192)
        assert data == pattern(position, len(data)) != b""
        position += len(data)
    return behind.recv(1) == b""


@pytest.mark.parametrize("says", [False, True])
@pytest.mark.parametrize("how", ["goodbye", "kill"])
def test_a_server_gets_all_that_a_websocket_sent(gateway, how, says):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(websockets(server, limits={"queued_bytes_per_connection": "1MiB"}))
        with WebSocket(one.address("relay")) as client, server.accept() as behind:
            send_all(client)
            one.wait_listener("relay", "messages_received_total", VOLUME // PIECE)
            if how == "kill":
                one.ok("DELETE", f"/connections/{one.connection_of(client.sock)['id']}")
            else:
                client.send_frame(CLOSE, close_payload(1000))
            client.receive_close()
            one.wait_connections(0)
            assert one.metric("orphans_current") == 1
            assert hears_all(behind, says)
        one.wait_metric("orphans_current", 0)
        assert upstreams(one)[server.target]["bytes_sent_total"] == VOLUME


def test_a_server_that_has_said_all_gets_the_rest_as_well(gateway):
    """It ends its own side while it still reads."""
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(websockets(server, limits={"queued_bytes_per_connection": "1MiB"}))
        with WebSocket(one.address("relay")) as client, server.accept() as behind:
            send_all(client)
            client.send_frame(CLOSE, close_payload(1000))
            client.receive_close()
            one.wait_connections(0)
            half_close(behind)
            assert hears_all(behind, False)
        one.wait_metric("orphans_current", 0)


def test_a_server_that_never_stops_talking_is_left_when_it_has_got_all(gateway):
    with Scripted() as server:
        one = gateway(websockets(server))
        with WebSocket(one.address("relay")) as client, server.accept() as behind:
            client.send(b"last words")
            client.send_frame(CLOSE, close_payload(1000))
            assert client.receive_close()[0] == 1000
            one.wait_connections(0)
            with pytest.raises(OSError):
                while True:
                    behind.sendall(b"x" * 10000)
        one.wait_metric("orphans_current", 0)


@pytest.mark.parametrize("how", ["end", "kill", "goodbye"])
@pytest.mark.parametrize("sent", [100, 50000])
def test_half_a_message_does_not_look_whole(gateway, how, sent):
    with Scripted() as server:
        one = gateway(websockets(server))
        with WebSocket(one.address("relay")) as client, server.accept() as behind:
            if how == "goodbye":
                client.send_frame(BINARY, b"x" * sent, last=False)
                client.send_frame(CLOSE, close_payload(1000))
            else:
                client.send_bytes(frame(FIN | BINARY, b"x" * 100000)[:sent])
                one.wait_metric("bytes_received_total", lambda received: received >= sent)
            if how == "end":
                half_close(client.sock)
            elif how == "kill":
                one.ok("DELETE", f"/connections/{one.connection_of(client.sock)['id']}")
            assert ends_with_reset(behind)


def test_an_end_between_two_messages_is_an_end(gateway):
    with Scripted() as server:
        one = gateway(websockets(server))
        with WebSocket(one.address("relay")) as client, server.accept() as behind:
            client.send(b"whole")
            half_close(client.sock)
            assert read_all(behind) == b"whole"


# A server has gone.


@pytest.mark.parametrize("whole", [False, True])
def test_all_that_had_come_of_a_server_before_its_reset_goes_on(gateway, whole):
    """Also what was not read yet, and would not have fitted into the queue."""
    with Scripted() as server:
        one = gateway(relay(server))
        with connect(one.address("relay"), receive_buffer=SMALL_BUFFER) as client:
            with server.accept() as behind:
                behind.settimeout(1)
                sent = 0
                with contextlib.suppress(TimeoutError):
                    while sent < 3500000:
                        sent += behind.send(pattern(sent, 65000))
                wait_for(lambda: unacknowledged(behind), 0)
                one.wait_metric("queued_bytes_current", lambda queued: queued > 0)
                if whole:
                    half_close(behind)
                reset(behind)
            one.wait_metric("queued_bytes_current", lambda queued: queued > 256 * 1024)
            assert read_pattern(client, sent)
            if whole:
                assert client.recv(1) == b""
            else:
                assert ends_with_reset(client)
        one.wait_connections(0)


@pytest.mark.measures
def test_who_reads_slowly_but_steadily_gets_all(gateway):
    """No longer than close_timeout may nothing be taken, however long the whole takes."""
    listener = {"websocket": {"close_timeout": "1s"}}
    with Scripted() as server:
        one = gateway(websockets(server, listener=listener))
        with WebSocket(one.address("relay")) as client, server.accept() as behind:
            behind.sendall(bytes(1500000))
            half_close(behind)  # were it closed, what the client says would reset it
            began = time.monotonic()
            got = 0
            while time.monotonic() < began + 4:
                got += len(client.sock.recv(20000))
                client.sock.sendall(frame(FIN | BINARY, b"still here"))
                time.sleep(0.1)
            while data := client.sock.recv(65536):
                got += len(data)
                last = data
        assert got > 1500000 and b"upstream_closed" in last


# While it is waited until all is acknowledged before a reset, a worker has nothing to do.


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_worker_is_calm_while_a_cut_side_takes_the_rest(gateway, who):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server, workers=1))
        client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
        with client, server.accept() as behind:
            goes, stays = (client, behind) if who == "client" else (behind, client)
            fill(goes)
            reset(goes)
            got = 0
            while one.metric("queued_bytes_current") > 0:
                got += len(stays.recv(65536))
            if who == "client":
                sent = upstreams(one)[server.target]["bytes_sent_total"]
            else:
                sent = one.metric("bytes_sent_total")
            while sent - got > 1000000:
                got += len(stays.recv(65536))
            check_calm(one.worker_pids()[0])


# Descriptors of servers whose clients have gone.


def test_descriptors_of_orphans_are_not_given_away(gateway):
    limits = {"connections": 60}
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server, workers=1, limits=limits), nofile=160)
        with contextlib.ExitStack() as stack:
            while one.closed("refused_workers") == 0:
                clients = [connect(one.address("relay")) for _ in range(10)]
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.sendall(b"x" * 60000)
                for client in clients:
                    if not is_closed(client, 0.01):
                        stack.enter_context(server.accept())
                    reset(client)
                one.wait_connections(0)
            assert set(one.closed_counts()) <= {"client_reset", "refused_workers"}
            orphans = one.metric("orphans_current")
            assert 60 < orphans < 160 - 32
        one.wait_metric("orphans_current", 0)
        with connect(one.address("relay")) as client, server.accept() as behind:
            client.sendall(b"again")
            assert behind.recv(5) == b"again"


def test_who_waits_for_a_descriptor_gets_that_of_an_orphan(gateway):
    with Scripted(receive_buffer=SMALL_BUFFER) as server, contextlib.ExitStack() as stack:
        settings = relay(server, workers=1, listener={"limits": {"when_full": "wait"}})
        one = gateway(settings, nofile=80)
        with contextlib.ExitStack() as hanging:
            for _ in range(12):
                with connect(one.address("relay")) as client:
                    hanging.enter_context(server.accept())
                    fill(client)
                    reset(client)
                one.wait_connections(0)
            assert one.metric("orphans_current") == 12
            for _ in range(22):
                stack.enter_context(connect(one.address("relay")))
            one.wait_listener("relay", "state", "full")
            assert one.metric("connections_current") < 22
        one.wait_connections(22)
        assert one.metric("orphans_current") == 0


# Behind a load balancer.


@pytest.mark.parametrize("why", ["source", "server"])
def test_a_websocket_behind_a_load_balancer_is_told_that_it_is_refused(gateway, why):
    with Scripted() as server:
        target = server if why == "source" else dead_target()
        limits = {"connections_per_source": 1} if why == "source" else {}
        trusted = {"proxy_protocol": {"from": ["127.0.0.0/8"]}}
        health = QUICK if why == "server" else {"interval": 0}
        one = gateway(websockets(target, listener=trusted, limits=limits, health=health))
        if why == "server":
            wait_upstream(one, target, "state", "down")
        with connect(one.address("relay")) as first, connect(one.address("relay")) as second:
            if why == "source":
                first.sendall(line() + handshake())
                assert first.recv(12) == b"HTTP/1.1 101"
            second.sendall(line() + handshake())
            assert read_all(second).startswith(b"HTTP/1.1 503 ")
        one.wait_listener("relay", "handshakes_unavailable_total", 1)
        one.wait_closed("refused_source" if why == "source" else "refused_upstream", 1)
