"""Relayed pairs outlive the process, with all that waits on either side."""

import contextlib
import os
import signal

import pytest

from clients import connect, half_close, is_closed, read_all, read_exactly, reset
from gateway import wait_for
from proxy_headers import CLIENT, WANTED, binary, line
from relay_clients import (
    SMALL_BUFFER,
    Guests,
    ends_with_reset,
    fill,
    greeting,
    read_pattern,
)
from servers import QUICK, Scripted, relay, upstreams, wait_upstream
from streams import Streams
from ws_client import WebSocket

TRUSTED = {"from": ["127.0.0.1/32"], "timeout": "1m"}
KILLED = {"sig": signal.SIGKILL, "status": -signal.SIGKILL}


class Restarts:
    """A gateway that is restarted in one of the ways."""

    def __init__(self, how, keeper):
        self.how = how
        self.keeper = keeper("relay")
        self.gateway = None

    def start(self, config):
        self.gateway = self.keeper.start(config)
        return self.gateway

    @property
    def address(self):
        return self.keeper.addresses["relay"]

    def restart(self):
        before = self.times_restored()
        if self.how == "SIGUSR2":
            self.gateway.process.send_signal(signal.SIGUSR2)
        else:
            self.keeper.restart(**(KILLED if self.how == "SIGKILL" else {}), wait=False)
        wait_for(self.times_restored, before + 1, what="times restored")
        self.gateway.wait_answering()

    def times_restored(self):
        return self.gateway.log().count("restored ")


@pytest.fixture(params=["SIGTERM", "SIGKILL", "SIGUSR2"])
def restarts(request, keeper):
    return Restarts(request.param, keeper)


def test_streams_go_on_over_restarts_in_a_row(restarts, echoes):
    """Bytes flow both ways all the time; some clients read nothing: both their queues are full."""
    server = echoes()
    gateway = restarts.start(relay(server, limits={"queued_bytes_per_connection": "256KiB"}))
    with Streams(restarts.address, 200, window=2000, slow=3) as streams:
        gateway.wait_connections(203)
        streams.fill_slow(gateway)
        before = {item["id"] for item in gateway.connections()}
        for count in range(1, 6):
            restarts.restart()
            assert gateway.metric("connections_restored_total") == 203 * count
            moved = streams.progress()
            wait_for(streams.progress, lambda now: now > moved + 20000)
        assert {item["id"] for item in gateway.connections()} == before
        assert server.connections == 203
        assert upstreams(gateway)[server.target]["connections"] == 203
        streams.read_slow()
        assert streams.settle() == {}
        assert gateway.closed_counts() == {}
        assert server.ended_wrongly == 0
        assert gateway.metric("bytes_received_total") == sum(
            stream.sent - stream.number * 37 for stream in streams.all
        )
        assert gateway.metric("bytes_sent_total") == gateway.metric("bytes_received_total")
    gateway.wait_connections(0)
    server.wait_connections(0)
    assert upstreams(gateway)[server.target]["connections"] == 0


def test_full_queues_on_both_sides_come_whole(restarts):
    with Scripted(receive_buffer=SMALL_BUFFER) as server, contextlib.ExitStack() as stack:
        gateway = restarts.start(relay(server, limits={"queued_bytes_per_connection": "1MiB"}))
        pairs = []
        for _ in range(2):
            client = stack.enter_context(connect(restarts.address, receive_buffer=SMALL_BUFFER))
            pairs.append((client, stack.enter_context(server.accept())))
        volumes = [(fill(client), fill(behind)) for client, behind in pairs]
        queued = gateway.metric("queued_bytes_current")
        assert queued > 0
        restarts.restart()
        gateway.wait_metric("queued_bytes_current", queued)
        for (client, behind), (up, down) in zip(pairs, volumes):
            assert read_pattern(client, down)
            assert read_pattern(behind, up)
            client.sendall(b"more")
            assert read_exactly(behind, 4) == b"more"
            behind.sendall(b"more")
            assert read_exactly(client, 4) == b"more"
        gateway.wait_metric("queued_bytes_current", 0)
        assert gateway.closed_counts() == {}


def test_half_closed_pairs_stay_half_closed(restarts, scripted):
    server = scripted()
    gateway = restarts.start(relay(server))
    with connect(restarts.address) as early, server.accept() as early_behind:
        with connect(restarts.address) as late, server.accept() as late_behind:
            half_close(early)
            half_close(late_behind)
            assert read_all(early_behind) == read_all(late) == b""
            for number in range(2):
                restarts.restart()
                early_behind.sendall(b"answer %d" % number)
                assert read_exactly(early, 8) == b"answer %d" % number
                late.sendall(b"more %d" % number)
                assert read_exactly(late_behind, 6) == b"more %d" % number
            early_behind.close()
            assert read_all(early) == b""
            late.close()
            assert read_all(late_behind) == b""
    gateway.wait_closed("client_closed", 1)
    gateway.wait_closed("upstream_closed", 1)
    gateway.wait_connections(0)


@pytest.mark.parametrize("who", ["client", "server"])
def test_an_end_that_waits_behind_a_queue(restarts, who):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        gateway = restarts.start(relay(server))
        client = connect(restarts.address, receive_buffer=SMALL_BUFFER)
        with client, server.accept() as behind:
            near, far = (client, behind) if who == "client" else (behind, client)
            sent = fill(near)
            gateway.wait_metric("queued_bytes_current", lambda queued: queued > 0)
            half_close(near)
            restarts.restart()
            assert read_pattern(far, sent)
            assert far.recv(1) == b""
            far.sendall(b"got it")
            assert read_exactly(near, 6) == b"got it"
        gateway.wait_connections(0)


def test_a_reset_that_waits_behind_a_queue(restarts, scripted):
    server = scripted()
    gateway = restarts.start(relay(server))
    with connect(restarts.address, receive_buffer=SMALL_BUFFER) as client:
        with server.accept() as behind:
            fill(behind)
            reset(behind)
        wait_for(lambda: gateway.connection_of(client)["state"], "closing")
        queued = gateway.metric("queued_bytes_current")
        restarts.restart()
        gateway.wait_metric("queued_bytes_current", queued)
        assert queued > 0 and read_pattern(client, queued)
        assert ends_with_reset(client)
    gateway.wait_closed("upstream_reset", 1)
    gateway.wait_connections(0)


# What waits for a server whose client has gone. `workers`: as before, and others, so that each
# connection is handed over anew.


def send_whole_messages(gateway, client):
    """Until something waits in a queue; returns how many bytes they were."""
    count = 0
    while gateway.metric("queued_bytes_current") == 0:
        client.send(bytes(10000))
        count += 1
        gateway.wait_listener("relay", "messages_received_total", count)
    return 10000 * count


def restart_with(restarts, workers):
    restarts.gateway.config["workers"] = workers
    restarts.gateway.write_config()
    restarts.restart()


@pytest.mark.parametrize("workers", [2, 3, 1])
def test_a_server_gets_what_waits_when_its_client_has_gone(restarts, workers):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        gateway = restarts.start(relay(server, workers=2, listener={"protocol": "websocket"}))
        with WebSocket(restarts.address) as client, server.accept() as behind:
            volume = send_whole_messages(gateway, client)
            gateway.ok("DELETE", f"/connections/{gateway.connection_of(client.sock)['id']}")
            assert client.receive_close() == (1008, "killed")
            gateway.wait_connections(0)
            queued = gateway.metric("queued_bytes_current")
            sent = upstreams(gateway)[server.target]["bytes_sent_total"]
            assert queued > 0 and sent + queued == volume
            with connect(restarts.address):  # one more, who is in a file beside it
                gateway.wait_connections(1)
                for count in (workers, 2):
                    restart_with(restarts, count)
                    gateway.wait_metric("queued_bytes_current", queued)
            assert read_all(behind) == bytes(sent + queued)
        gateway.wait_metric("queued_bytes_current", 0)
        assert upstreams(gateway)[server.target]["bytes_sent_total"] == sent + queued
        gateway.wait_closed("killed", 1)


def test_who_is_left_on_a_server_that_was_disabled_and_taken_out(restarts, echoes):
    """The order in which a server is replaced."""
    stays, goes = echoes("stays", "goes")
    gateway = restarts.start(relay(stays, goes, balance="round_robin", workers=2))
    with connect(restarts.address) as first, connect(restarts.address) as second:
        led = {greeting(client): client for client in (first, second)}
        gateway.ok("POST", "/upstreams/disable", {"server": goes.target})
        gateway.reload(listeners={"relay": {"upstream": {"servers": [stays.target]}}})
        for _ in range(2):
            restarts.restart()
            found = upstreams(gateway)
            assert [found[server.target]["connections"] for server in (stays, goes)] == [1, 1]
            assert found[goes.target]["state"] == "gone"
            for client in led.values():
                client.sendall(b"still here")
                assert read_exactly(client, 10) == b"still here"
        led["goes"].close()
        wait_for(lambda: goes.target in upstreams(gateway), False, what="it is there")


@pytest.mark.parametrize("where", ["nowhere", "another"])
def test_a_server_that_was_taken_out_gets_what_waits_for_it(restarts, where):
    """Its number may be another one's by then, which gets none of its counters."""
    with Scripted(receive_buffer=SMALL_BUFFER) as server, Scripted() as other:
        first = [server, other] if where == "nowhere" else [server]
        gateway = restarts.start(relay(*first, workers=1, listener={"protocol": "websocket"}))
        with WebSocket(restarts.address) as client, server.accept() as behind:
            sent = send_whole_messages(gateway, client)
            gateway.ok("DELETE", f"/connections/{gateway.connection_of(client.sock)['id']}")
            assert client.receive_close() == (1008, "killed")
            gateway.wait_connections(0)
            gateway.reload(listeners={"relay": {"upstream": {"servers": [other.target]}}})
            assert set(upstreams(gateway)) == {other.target}
            for _ in range(2):
                restarts.restart()
                assert gateway.metric("orphans_current") == 1
            assert read_all(behind) == bytes(sent)
        gateway.wait_metric("orphans_current", 0)
        assert upstreams(gateway)[other.target]["bytes_sent_total"] == 0


@pytest.mark.parametrize("workers", [2, 3])
def test_a_reset_follows_what_waits_when_its_client_was_reset(restarts, workers):
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        gateway = restarts.start(relay(server, workers=2))
        with server.listener, connect(restarts.address) as client, server.accept() as behind:
            fill(client)
            reset(client)
            gateway.wait_closed("client_reset", 1)
            queued = gateway.metric("queued_bytes_current")
            sent = upstreams(gateway)[server.target]["bytes_sent_total"]
            restart_with(restarts, workers)
            gateway.wait_metric("queued_bytes_current", queued)
            assert queued > 0 and read_pattern(behind, sent + queued)
            assert ends_with_reset(behind)
        gateway.wait_metric("queued_bytes_current", 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_waits_for_a_server_of_a_listener_that_leads_nowhere_any_more(keeper, workers):
    one = keeper("relay")
    with Scripted(receive_buffer=SMALL_BUFFER) as server:
        gateway = one.start(relay(server, workers=1, listener={"protocol": "websocket"}))
        with WebSocket(one.addresses["relay"]) as client, server.accept() as behind:
            client.flood()
            gateway.ok("DELETE", f"/connections/{gateway.connection_of(client.sock)['id']}")
            assert client.receive_close() == (1008, "killed")
            gateway.wait_connections(0)
            gateway.config["workers"] = workers
            gateway.config["listeners"]["relay"] = {"service": "hold"}
            one.restart()
            assert ends_with_reset(behind)
        gateway.wait_metric("queued_bytes_current", 0)


def test_what_ends_meanwhile(keeper, scripted):
    """Clients and servers close, and are reset, while no gateway is there."""
    server = scripted()
    one = keeper("relay")
    gateway = one.start(relay(server))
    with contextlib.ExitStack() as stack:
        pairs = []
        for _ in range(5):
            client = stack.enter_context(connect(one.addresses["relay"]))
            pairs.append((client, stack.enter_context(server.accept())))
            client.sendall(b"x")  # the gateway knows of the connection to the server
            assert pairs[-1][1].recv(1) == b"x"
        one.end()
        pairs[0][0].close()
        reset(pairs[1][0])
        pairs[2][1].close()
        reset(pairs[3][1])
        pairs[4][0].sendall(b"question")
        pairs[4][1].sendall(b"answer")
        one.start()
        assert read_all(pairs[0][1]) == b""
        pairs[0][1].close()
        assert is_closed(pairs[1][1])
        assert read_all(pairs[2][0]) == b""
        pairs[2][0].close()
        with pytest.raises(ConnectionResetError):
            pairs[3][0].recv(1)
        assert read_exactly(pairs[4][1], 8) == b"question"
        assert read_exactly(pairs[4][0], 6) == b"answer"
        wait_for(
            gateway.closed_counts,
            {"client_closed": 1, "client_reset": 1, "upstream_closed": 1, "upstream_reset": 1},
        )
        assert gateway.metric("connections_current") == 1


def test_connects_under_way_go_on(restarts, full):
    server = full()
    gateway = restarts.start(relay(server, connect_timeout="1m"))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(restarts.address)) for _ in range(5)]
        for number, client in enumerate(clients):
            client.sendall(b"early %d" % number)
        wait_upstream(gateway, server, "connections", 5)
        restarts.restart()
        assert upstreams(gateway)[server.target]["connections"] == 5
        server.listener.listen(100)
        behind = [stack.enter_context(sock) for sock in server.make_room(5)]
        texts = {read_exactly(sock, 7) for sock in behind}
        assert texts == {b"early %d" % number for number in range(5)}
        for sock in behind:
            sock.sendall(b"late")
        for client in clients:
            assert read_exactly(client, 4) == b"late"
        assert gateway.closed_counts() == {}


def test_clients_that_wait_for_a_server_go_on_waiting(restarts, echoes):
    server = echoes("a")[0]
    settings = relay(server, health={**QUICK, "fall": 1}, when_down="wait", retries=0)
    gateway = restarts.start(settings)
    server.stop_listening()
    with connect(restarts.address) as client:
        client.sendall(b"patience")
        wait_upstream(gateway, server, "state", "down")
        restarts.restart()
        server.listen_again()
        assert read_exactly(client, 10) == b"a\npatience"
        assert gateway.closed_counts() == {}


def test_counts_and_limits_go_on(restarts, echoes):
    servers = echoes("a", "b")
    gateway = restarts.start(relay(*servers, max_connections=5))
    crowd = Guests(gateway)
    gateway.config["listeners"]["relay"]["address"] = "%s:%d" % restarts.address
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: [client.close() for client in crowd.clients])
        crowd.come(8)
        before = upstreams(gateway)
        restarts.restart()
        after = upstreams(gateway)
        for server in servers:
            was, now = before[server.target], after[server.target]
            for key in ("connections", "connects_total", "bytes_received_total"):
                assert now[key] == was[key], key
        assert crowd.all_echo()
        assert sorted(crowd.come(2)) == ["a", "b"]
        assert crowd.come(1) == [""]


def test_a_server_that_is_not_configured_any_more_keeps_its_clients(keeper, echoes):
    a, b = echoes("a", "b")
    one = keeper("relay")
    gateway = one.start(relay(a))
    with connect(one.addresses["relay"]) as old:
        assert read_exactly(old, 2) == b"a\n"
        gateway.config["listeners"]["relay"]["upstream"]["servers"] = [b.target]
        one.restart()
        old.sendall(b"still here")
        assert read_exactly(old, 10) == b"still here"
        assert upstreams(gateway)[a.target]["state"] == "gone"
        with connect(one.addresses["relay"]) as new:
            assert read_exactly(new, 2) == b"b\n"
        old.close()
        wait_for(lambda: a.target in upstreams(gateway), False, what="it is there")


def test_what_a_load_balancer_said_is_not_forgotten(restarts, scripted, full):
    """Of a client that has come in, of one whose server is not connected yet, and of one whose
    header has come in half."""
    server, silent = scripted(), full()
    settings = relay(server, send_proxy="v2", listener={"proxy_protocol": TRUSTED})
    settings["listeners"]["other"] = {
        **relay(silent, send_proxy="v2", connect_timeout="1m")["listeners"]["relay"],
        "proxy_protocol": TRUSTED,
    }
    gateway = restarts.start(settings)
    with connect(restarts.address) as client, connect(restarts.address) as half:
        client.sendall(line())
        behind = server.accept()
        assert read_exactly(behind, len(binary())) == binary()
        half.sendall(line()[:-5])
        slow = connect(gateway.address("other"))
        slow.sendall(line((CLIENT[0], 3)))
        wait_for(lambda: upstreams(gateway, "other")[silent.target]["connections"], 1)
        restarts.restart()
        known = {f"{CLIENT[0]}:{CLIENT[1]}", f"{CLIENT[0]}:3"}
        wait_for(lambda: known <= {item["peer"] for item in gateway.connections()}, True)
        half.sendall(line()[-5:] + b"data")
        with server.accept() as late:
            assert read_exactly(late, len(binary()) + 4) == binary() + b"data"
        silent.listener.listen(100)
        (last,) = silent.make_room(1)
        wanted = binary((CLIENT[0], 3), WANTED)
        assert read_exactly(last, len(wanted)) == wanted
        for sock in (behind, slow, last):
            sock.close()


def test_a_killed_worker_loses_its_own_pairs_only(keeper, echoes):
    server = echoes()
    one = keeper("relay")
    gateway = one.start(relay(server))
    with Streams(one.addresses["relay"], 100) as streams:
        gateway.wait_connections(100)
        os.kill(gateway.worker_pids()[0], signal.SIGKILL)
        gateway.wait_closed("worker_lost", 50)
        server.wait_connections(50)
        wait_for(lambda: len(streams.errors()), 50, what="clients that were closed")
        one.restart()
        moved = streams.progress()
        wait_for(streams.progress, lambda now: now > moved + 10000)
        streams.settle()
        assert len(streams.errors()) == 50
        assert upstreams(gateway)[server.target]["connections"] == 50
