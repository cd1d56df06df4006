"""relay: bytes both ways, back-pressure both ways, and how the two sides end."""

import contextlib
import hashlib
import os
import socket
import struct
import threading

import pytest

from clients import connect, half_close, is_closed, read_all, read_exactly, reset
from gateway import stopped, wait_for
from relay_clients import PATIENCE, SMALL_BUFFER, ends_with_reset, fill, read_pattern
from servers import Scripted, relay, upstreams, wait_upstream
from streams import PERIOD, Streams, pattern

VOLUME = 64 * 2**20
BLOCK = 65521
LIMITS = pytest.mark.parametrize("limit", [4096, 2**20])


def pair(gateway, server, address=None):
    """A client, and the server's end of its connection."""
    client = connect(address or gateway.address("relay"))
    return client, server.accept()


@pytest.fixture
def linked(gateway, scripted):
    """A gateway, a client, and the server's end."""
    server = scripted()
    one = gateway(relay(server))
    client, behind = pair(one, server)
    with client, behind:
        yield one, client, behind


class Flood(threading.Thread):
    """Sends a volume of the pattern, and half-closes after it."""

    def __init__(self, sock, volume, start=0):
        super().__init__()
        self.sock = sock
        self.volume = volume
        self.first = start
        self.sum = hashlib.sha256()
        self.start()

    def run(self):
        for position in range(0, self.volume, BLOCK):
            block = pattern(self.first + position, min(BLOCK, self.volume - position))
            self.sock.sendall(block)
            self.sum.update(block)
        half_close(self.sock)

    def result(self):
        self.join()
        return self.volume, self.sum.hexdigest()


class Drain(threading.Thread):
    """Reads to the end."""

    def __init__(self, sock):
        super().__init__()
        self.sock = sock
        self.volume = 0
        self.sum = hashlib.sha256()
        self.start()

    def run(self):
        while data := self.sock.recv(2**18):
            self.volume += len(data)
            self.sum.update(data)

    def result(self):
        self.join()
        return self.volume, self.sum.hexdigest()


# Bytes.


def test_bytes_go_both_ways(linked):
    one, client, behind = linked
    client.sendall(b"question")
    assert read_exactly(behind, 8) == b"question"
    behind.sendall(b"the answer")
    assert read_exactly(client, 10) == b"the answer"
    behind.sendall(b"unasked")
    assert read_exactly(client, 7) == b"unasked"
    one.wait_metric("bytes_received_total", 8)
    one.wait_metric("bytes_sent_total", 17)
    one.wait_listener("relay", "bytes_received_total", 8)
    assert one.metric("connections_current") == 1, "a pair counts once"
    assert one.workers()[0]["connections"] + one.workers()[1]["connections"] == 1


def packets_received(sock):
    """tcpi_segs_in of struct tcp_info."""
    return struct.unpack_from("=I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144), 140)[0]


def test_early_bytes_take_the_end_of_the_handshake_along(gateway, scripted):
    """Who has spoken before there is a server costs that a packet less."""
    server = scripted()
    one = gateway(relay(server))
    client, behind = pair(one, server)
    with client, behind:
        client.sendall(b"late")
        assert read_exactly(behind, 4) == b"late"
        usual = packets_received(behind)
    one.wait_connections(0)
    with stopped(one.pid):
        client = connect(one.address("relay"))
        client.sendall(b"early")
    with client, server.accept() as behind:
        assert read_exactly(behind, 5) == b"early"
        assert packets_received(behind) == usual - 1


def test_a_header_takes_the_end_of_the_handshake_along(gateway, scripted):
    server = scripted()
    one = gateway(relay(server))
    client, behind = pair(one, server)
    with client, behind:
        usual = packets_received(behind)
    one.reload(listeners={"relay": {"upstream": {"send_proxy": "v1"}}})
    client, behind = pair(one, server)
    with client, behind:
        assert behind.recv(6) == b"PROXY "
        assert packets_received(behind) == usual


def test_nobody_waits_for_more_bytes(linked):
    """A byte at a time, to and fro: neither side gathers (TCP_NODELAY)."""
    _, client, behind = linked
    for number in range(200):
        client.sendall(bytes([number]))
        assert behind.recv(1) == bytes([number])
        behind.sendall(bytes([number]))
        assert client.recv(1) == bytes([number])


def test_each_client_has_a_server_connection_of_its_own(gateway, scripted):
    server = scripted()
    one = gateway(relay(server))
    with contextlib.ExitStack() as stack:
        pairs = [pair(one, server) for _ in range(20)]
        for client, behind in pairs:
            stack.enter_context(client)
            stack.enter_context(behind)
        for number, (client, behind) in enumerate(pairs):
            client.sendall(b"%03d" % number)
        for number, (client, behind) in enumerate(pairs):
            assert read_exactly(behind, 3) == b"%03d" % number
        assert one.metric("connections_current") == 20


def test_the_server_may_speak_first(gateway, echoes):
    server = echoes("first")[0]
    one = gateway(relay(server))
    with connect(one.address("relay")) as client:
        assert read_exactly(client, 6) == b"first\n"


def test_what_a_client_sends_while_the_server_is_connected_is_kept(gateway, full):
    server = full()
    one = gateway(relay(server, connect_timeout="10s"))
    with connect(one.address("relay")) as client:
        client.sendall(b"early")
        half_close(client)
        one.wait_connections(1)
        (behind,) = server.make_room(1)
        with behind:
            assert read_all(behind) == b"early"
            behind.sendall(b"late")
        assert read_all(client) == b"late"
    one.wait_closed("client_closed", 1)


@pytest.mark.parametrize("slow", ["client", "server"])
def test_64_mib_each_way_at_once(linked, slow):
    """One side begins to read only when something waits in the gateway for it."""
    one, client, behind = linked
    client.settimeout(PATIENCE)
    late, early = (client, behind) if slow == "client" else (behind, client)
    floods = [Flood(client, VOLUME), Flood(behind, VOLUME, start=PERIOD // 2)]
    drains = [Drain(early)]
    one.wait_metric("queued_bytes_current", lambda queued: queued > 0)
    drains.append(Drain(late))
    to_late, to_early = (1, 0) if slow == "client" else (0, 1)
    assert drains[0].result() == floods[to_early].result()
    assert drains[1].result() == floods[to_late].result()
    one.wait_metric("bytes_received_total", VOLUME)
    one.wait_metric("bytes_sent_total", VOLUME)
    client.close()
    behind.close()
    one.wait_connections(0)
    assert one.metric("queued_bytes_current") == 0


def test_many_streams_at_once(gateway, echoes):
    server = echoes()
    one = gateway(relay(server))
    with Streams(one.address("relay"), 300, window=5000) as streams:
        wait_for(streams.progress, lambda bytes_: bytes_ > 300 * 20000)
        assert streams.settle() == {}
    one.wait_connections(0)
    server.wait_connections(0)
    assert one.metric("bytes_received_total") == one.metric("bytes_sent_total")


# Back-pressure.


@LIMITS
def test_a_server_that_does_not_read_stops_its_client(gateway, limit):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server, limits={"queued_bytes_per_connection": limit}))
        client, behind = pair(one, server)
        with client, behind:
            sent = fill(client)
            assert 0 < one.metric("queued_bytes_current") <= limit
            assert one.metric("bytes_received_total") < sent, "it is not read any more"
            assert read_pattern(behind, sent)
            one.wait_metric("queued_bytes_current", 0)
            client.sendall(b"goes on")
            assert read_exactly(behind, 7) == b"goes on"
            assert one.closed_counts() == {}


@LIMITS
def test_a_client_that_does_not_read_stops_its_server(gateway, scripted, limit):
    server = scripted()
    one = gateway(relay(server, limits={"queued_bytes_per_connection": limit}))
    client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
    with client, server.accept() as behind:
        sent = fill(behind)
        assert 0 < one.metric("queued_bytes_current") <= limit
        assert read_pattern(client, sent)
        one.wait_metric("queued_bytes_current", 0)
        behind.sendall(b"goes on")
        assert read_exactly(client, 7) == b"goes on"
        assert one.closed_counts() == {}


def test_one_direction_that_is_full_does_not_stop_the_other(gateway):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server))
        client, behind = pair(one, server)
        with client, behind:
            sent = fill(client)
            for number in range(100):
                behind.sendall(b"%04d" % number)
                assert read_exactly(client, 4) == b"%04d" % number
            assert read_pattern(behind, sent)


def test_both_directions_full(gateway):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server))
        client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
        with client, server.accept() as behind:
            up, down = fill(client), fill(behind)
            assert read_pattern(client, down)
            assert read_pattern(behind, up)
            one.wait_metric("queued_bytes_current", 0)


def test_other_pairs_do_not_wait_for_a_slow_one(gateway, scripted):
    server = scripted()
    one = gateway(relay(server, workers=1))
    slow, slow_behind = pair(one, server)
    quick, quick_behind = pair(one, server)
    with slow, slow_behind, quick, quick_behind:
        fill(slow)
        quick.sendall(b"quick")
        assert read_exactly(quick_behind, 5) == b"quick"


def test_other_pairs_do_not_wait_for_a_fast_one(gateway, scripted):
    """Which is moved on for as long as more comes, but not for ever."""
    server = scripted()
    one = gateway(relay(server, workers=1))
    quick, quick_behind = pair(one, server)
    fast, fast_behind = pair(one, server)
    with quick, quick_behind, fast, fast_behind:
        flood, drain = Flood(fast, 8 * VOLUME), Drain(fast_behind)
        one.wait_metric("bytes_received_total", lambda moved: moved > VOLUME)
        quick.sendall(b"quick")
        assert read_exactly(quick_behind, 5) == b"quick"
        moved = one.metric("bytes_received_total")
        assert flood.result() == drain.result()
        assert moved < 8 * VOLUME, "it was served while the other one went on"


# Half-close.


def test_a_half_close_of_the_client_passes_and_the_server_answers(linked):
    one, client, behind = linked
    client.sendall(b"all of it")
    half_close(client)
    assert read_all(behind) == b"all of it"
    for piece in (b"an ", b"answer ", b"in pieces"):
        behind.sendall(piece)
    assert read_exactly(client, 19) == b"an answer in pieces"
    assert one.metric("connections_current") == 1
    behind.close()
    assert read_all(client) == b""
    one.wait_closed("client_closed", 1)
    one.wait_connections(0)


def test_a_half_close_of_the_server_passes_and_the_client_goes_on(linked):
    one, client, behind = linked
    behind.sendall(b"that was all")
    half_close(behind)
    assert read_all(client) == b"that was all"
    for piece in (b"and ", b"yet ", b"more"):
        client.sendall(piece)
    assert read_exactly(behind, 12) == b"and yet more"
    assert one.metric("connections_current") == 1
    client.close()
    assert read_all(behind) == b""
    one.wait_closed("upstream_closed", 1)
    one.wait_connections(0)


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_half_close_comes_after_what_waits(gateway, who):
    """The end is passed on only behind the queue, not past it."""
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server))
        client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
        with client, server.accept() as behind:
            near, far = (client, behind) if who == "client" else (behind, client)
            sent = fill(near)
            one.wait_metric("queued_bytes_current", lambda queued: queued > 0)
            half_close(near)
            assert read_pattern(far, sent)
            assert far.recv(1) == b""
            far.sendall(b"got it")
            assert read_exactly(near, 6) == b"got it"


# The ends.


def test_a_server_that_closes(linked):
    one, client, behind = linked
    behind.sendall(b"bye")
    behind.close()
    assert read_all(client) == b"bye"
    client.close()
    one.wait_closed("upstream_closed", 1)
    assert one.closed_counts() == {"upstream_closed": 1}
    one.wait_connections(0)


def test_a_client_that_closes(linked):
    one, client, behind = linked
    client.sendall(b"bye")
    client.close()
    assert read_all(behind) == b"bye"
    behind.close()
    one.wait_closed("client_closed", 1)
    assert one.closed_counts() == {"client_closed": 1}
    one.wait_connections(0)


def test_a_server_that_has_closed_resets_a_client_that_sends_on(linked):
    """Its machine answers what comes now by RST, and this is passed on."""
    one, client, behind = linked
    behind.close()
    assert read_all(client) == b""

    def send():
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(b"is there anybody?")
        return one.closed("upstream_reset")

    wait_for(send, 1)
    one.wait_connections(0)


def test_a_reset_by_the_server_resets_the_client(linked):
    one, client, behind = linked
    client.sendall(b"x")
    assert behind.recv(1) == b"x"
    reset(behind)
    assert ends_with_reset(client)
    one.wait_closed("upstream_reset", 1)
    assert one.closed_counts() == {"upstream_reset": 1}
    one.wait_connections(0)


def test_a_reset_by_the_client_ends_the_servers_side(linked):
    one, client, behind = linked
    behind.sendall(b"x")
    assert client.recv(1) == b"x"
    reset(client)
    assert is_closed(behind)
    one.wait_closed("client_reset", 1)
    assert one.closed_counts() == {"client_reset": 1}
    one.wait_connections(0)


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_while_both_directions_are_full(gateway, who):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server))
        client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
        with client, server.accept() as behind:
            fill(client)
            fill(behind)
            near, far = (client, behind) if who == "client" else (behind, client)
            reset(near)
            assert is_closed(far)
            one.wait_closed("client_reset" if who == "client" else "upstream_reset", 1)
            one.wait_connections(0)
            one.wait_metric("queued_bytes_current", 0)


def reset_with_a_queue(gateway, near, far, words, half=False):
    """`near` does not read what `far` sends; then it says something, and is reset, which the gateway
    finds out when it writes to it."""
    fill(far)
    gateway.wait_metric("queued_bytes_current", lambda queued: queued > 0)
    with stopped(gateway.worker_pids()[0]):
        near.sendall(words)
        if half:
            half_close(near)
        reset(near)


@pytest.mark.parametrize("length", [1, 30000])
@pytest.mark.parametrize("who", ["client", "server"])
def test_what_came_before_a_reset_is_passed_on(gateway, who, length):
    """An answer to who is still sending, say. The reset comes behind it, also if it is read late."""
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server, workers=1))
        client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
        with client, server.accept() as behind:
            near, far = (client, behind) if who == "client" else (behind, client)
            reset_with_a_queue(one, near, far, pattern(0, length))
            assert read_pattern(far, length)
            assert ends_with_reset(far)
            one.wait_connections(0)
            reason = "client_reset" if who == "client" else "upstream_reset"
            assert one.closed_counts() == {reason: 1}
            one.wait_metric("queued_bytes_current", 0)


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_stream_that_ended_before_a_reset_is_whole(gateway, who):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        one = gateway(relay(server, workers=1))
        client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
        with client, server.accept() as behind:
            near, far = (client, behind) if who == "client" else (behind, client)
            reset_with_a_queue(one, near, far, b"all of it", half=True)
            assert read_all(far) == b"all of it"
            one.wait_connections(0)


def test_a_client_that_takes_nothing_before_a_reset_is_closed_by_an_operator(gateway, scripted):
    server = scripted()
    one = gateway(relay(server, workers=1))
    client = connect(one.address("relay"), receive_buffer=SMALL_BUFFER)
    with client, server.accept() as behind:
        fill(behind)
        reset(behind)
        wait_for(lambda: one.connection_of(client)["state"], "closing")
        one.ok("DELETE", f"/connections/{one.connection_of(client)['id']}")
        one.wait_closed("killed", 1)
        one.wait_connections(0)
        assert ends_with_reset(client)


def test_a_client_that_is_killed(linked):
    one, client, behind = linked
    assert one.ok("DELETE", f"/connections/{one.connection_of(client)['id']}")
    assert is_closed(client)
    assert is_closed(behind)
    one.wait_closed("killed", 1)
    one.wait_connections(0)


def test_drain_ends_both_sides(linked):
    one, client, behind = linked
    one.ok("POST", "/drain", {"over": 0})
    assert is_closed(client)
    assert is_closed(behind)
    one.wait_closed("drained", 1)


def test_stop_ends_both_sides(linked):
    one, client, behind = linked
    one.stop()
    assert is_closed(client)
    assert is_closed(behind)


@pytest.mark.parametrize("early", [False, True])
def test_a_client_that_leaves_while_its_server_is_connected(gateway, full, early):
    """Also one that has left before its worker has seen it."""
    server = full()
    one = gateway(relay(server, workers=1, connect_timeout="40s"))
    (worker,) = one.worker_pids()
    client = connect(one.address("relay"))
    with stopped(worker) if early else contextlib.nullcontext():
        wait_upstream(one, server, "connections", 1)
        reset(client)
    one.wait_connections(0)
    wait_upstream(one, server, "connections", 0)
    assert one.closed_counts() == {"client_reset": 1}
    assert one.metric("connections_current") == 0


def test_descriptors_of_both_sides_are_given_back(gateway, echoes):
    server = echoes()
    one = gateway(relay(server, workers=1))

    def descriptors():
        (pid,) = one.worker_pids()
        return len(os.listdir(f"/proc/{pid}/fd"))

    before = descriptors()
    for _ in range(3):
        with Streams(one.address("relay"), 100) as streams:
            wait_for(streams.progress, lambda moved: moved > 30000)
            wait_for(descriptors, before + 200, what="descriptors of 100 pairs")
            assert upstreams(one)[server.target]["connections"] == 100
        one.wait_connections(0)
        wait_for(descriptors, before)
    assert upstreams(one)[server.target]["connections"] == 0


# Other listeners.


@pytest.mark.parametrize("address", ["127.0.0.1:PORT", "[::1]:PORT", "unix:DIR/relay"])
@pytest.mark.parametrize("behind", ["tcp", "ipv6", "unix", "abstract"])
def test_every_kind_of_address_on_both_sides(gateway, echoes, tmp_path, address, behind):
    addresses = {
        "tcp": None,
        "ipv6": ("::1", 0),
        "unix": str(tmp_path / "app"),
        "abstract": f"\0millgate-test-{os.getpid()}-{tmp_path.name}",
    }
    if behind == "ipv6":
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            addresses["ipv6"] = ("::1", probe.getsockname()[1])
    server = echoes("x", address=addresses[behind])[0]
    one = gateway(relay(server, listener={"address": address}))
    with connect(one.address("relay")) as client:
        client.sendall(b"hello")
        assert read_exactly(client, 7) == b"x\nhello"
        half_close(client)
        assert read_all(client) == b""
    one.wait_closed("client_closed", 1)
    assert list(upstreams(one)) == [server.target]
