"""The PROXY protocol: what relay tells a server, and what load balancers tell any listener."""

import itertools
import select
import socket
import struct
import time

import pytest

from clients import Crowd, connect, half_close, is_closed, peer_name, read_all, read_exactly, reset
from gateway import wait_for
from proxy_headers import (
    CLIENT,
    CLIENT6,
    LOCAL,
    PROXY,
    SIGNATURE,
    TCP4,
    UNSPEC,
    WANTED6,
    binary,
    line,
    tlv,
)
from servers import relay, upstreams
from ws_client import handshake

TRUSTED = {"from": ["127.0.0.1/32"], "timeout": "10s"}
LIMIT = 3
SERVICES = pytest.mark.parametrize("service", ["hold", "echo", "websocket", "relay"])


HEADERS = {
    "v1": line(),
    "v2": binary(),
    "v2 with TLVs": binary(more=tlv(0x02, b"example.com") + tlv(0x05, b"id" * 40)),
}
HEADER = pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)


# Out: what a server is told.


def numbers(sock, name=socket.socket.getsockname):
    return name(sock)[:2]


@pytest.mark.parametrize("address", ["127.0.0.1:PORT", "[::1]:PORT"])
@pytest.mark.parametrize("version, header", [("v1", line), ("v2", binary)])
def test_a_server_is_told_who_the_client_is(gateway, scripted, address, version, header):
    server = scripted()
    one = gateway(relay(server, send_proxy=version, listener={"address": address}))
    with connect(one.address("relay")) as client, server.accept() as behind:
        wanted = header(numbers(client), numbers(client, socket.socket.getpeername))
        assert read_exactly(behind, len(wanted)) == wanted, "before the first byte"
        client.sendall(b"data")
        half_close(client)
        assert read_all(behind) == b"data"


@pytest.mark.parametrize(
    "version, header",
    [("v1", b"PROXY UNKNOWN\r\n"), ("v2", SIGNATURE + struct.pack(">BBH", PROXY, UNSPEC, 0))],
)
def test_the_client_of_a_unix_socket_is_unknown(gateway, scripted, version, header):
    server = scripted()
    one = gateway(relay(server, send_proxy=version, listener={"address": "unix:DIR/relay"}))
    with connect(one.address("relay")) as client, server.accept() as behind:
        client.sendall(b"data")
        half_close(client)
        assert read_all(behind) == header + b"data"


@pytest.mark.parametrize("version, header", [("v1", line), ("v2", binary)])
def test_the_header_goes_to_a_unix_socket_as_well(gateway, scripted, tmp_path, version, header):
    server = scripted(str(tmp_path / "app"))
    one = gateway(relay(server, send_proxy=version))
    with connect(one.address("relay")) as client, server.accept() as behind:
        wanted = header(numbers(client), numbers(client, socket.socket.getpeername))
        assert read_exactly(behind, len(wanted)) == wanted


def test_without_send_proxy_nothing_is_told(gateway, scripted):
    server = scripted()
    one = gateway(relay(server))
    with connect(one.address("relay")) as client, server.accept() as behind:
        client.sendall(b"data")
        half_close(client)
        assert read_all(behind) == b"data"


def test_send_proxy_changes_at_reload(gateway, scripted):
    server = scripted()
    one = gateway(relay(server))
    one.reload(listeners={"relay": {"upstream": {"send_proxy": "v1"}}})
    one.wait_metric("reloads_total", lambda n: n >= 1)
    with connect(one.address("relay")) as client, server.accept() as behind:
        wanted = line(numbers(client), numbers(client, socket.socket.getpeername))
        assert read_exactly(behind, len(wanted)) == wanted


def test_what_one_is_told_is_passed_on(gateway, scripted):
    """A client behind a load balancer, over two gateways; each speaks another version."""
    server = scripted()
    last = gateway(
        relay(server, send_proxy="v1", listener={"proxy_protocol": {"from": ["127.0.0.0/8"]}})
    )
    host, port = last.address("relay")
    first = gateway(
        relay(f"{host}:{port}", send_proxy="v2", listener={"proxy_protocol": TRUSTED})
    )
    with connect(first.address("relay")) as client:
        client.sendall(line() + b"data")
        half_close(client)
        with server.accept() as behind:
            assert read_all(behind) == line() + b"data"


@pytest.mark.parametrize("header", [line(CLIENT6, WANTED6), binary(CLIENT6, WANTED6)])
def test_addresses_of_ipv6_are_passed_on_over_ipv4(gateway, scripted, header):
    server = scripted()
    one = gateway(relay(server, send_proxy="v2", listener={"proxy_protocol": TRUSTED}))
    with connect(one.address("relay")) as client:
        client.sendall(header)
        wanted = binary(CLIENT6, WANTED6)
        with server.accept() as behind:
            assert read_exactly(behind, len(wanted)) == wanted


# In.


def listening(service, echoes, proxy=TRUSTED, limits=None, **listener):
    """A configuration with a listener "relay" of this service."""
    if service == "relay":
        settings = relay(echoes(), limits=limits)
        settings["listeners"]["relay"].update({"proxy_protocol": proxy, **listener})
        return settings
    kind = {"service": service}
    if service == "websocket":
        kind = {"service": "echo", "protocol": "websocket"}
    listeners = {"relay": {**kind, "proxy_protocol": proxy, **listener}}
    return {"workers": 2, "limits": limits or {}, "listeners": listeners}


def behaves(service, client):
    """It has come in: what it sends is answered as the service does."""
    if service == "hold":
        return True
    if service == "websocket":
        client.sendall(handshake())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        return head.startswith(b"HTTP/1.1 101 ")
    client.sendall(b"hello")
    return read_exactly(client, 5) == b"hello"


def peers(gateway):
    return [item["peer"] for item in gateway.connections()]


@SERVICES
@HEADER
@pytest.mark.parametrize("how", ["at once", "byte by byte", "glued to data"])
def test_a_header_names_the_client(gateway, echoes, service, header, how):
    one = gateway(listening(service, echoes))
    with connect(one.address("relay")) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if how == "byte by byte":
            for number in range(len(header)):
                client.sendall(header[number : number + 1])
                time.sleep(0.0002)  # so that they come one by one, mostly
        elif how == "glued to data" and service in ("echo", "relay"):
            client.sendall(header + b"early")
            assert read_exactly(client, 5) == b"early"
        else:
            client.sendall(header)
        wait_for(lambda: peers(one), [f"{CLIENT[0]}:{CLIENT[1]}"])
        assert behaves(service, client)
        assert one.metric("connections_current") == 1
    one.wait_closed("client_closed", 1)


@pytest.mark.parametrize("header", [line(CLIENT6, WANTED6), binary(CLIENT6, WANTED6)])
def test_a_client_with_an_ipv6_address(gateway, echoes, header):
    one = gateway(listening("echo", echoes))
    with connect(one.address("relay")) as client:
        client.sendall(header)
        assert behaves("echo", client)
        assert peers(one) == ["[2001:db8::7]:40000"]


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", SIGNATURE + struct.pack(">BBH", LOCAL, UNSPEC, 0)],
    ids=["UNKNOWN", "LOCAL"],
)
def test_a_load_balancer_that_speaks_for_itself(gateway, echoes, header):
    """As its health checks do: then it is the client."""
    one = gateway(listening("echo", echoes))
    with connect(one.address("relay")) as client:
        client.sendall(header)
        assert behaves("echo", client)
        assert peers(one) == [peer_name(client)]


@SERVICES
@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 70000\r\n",
        b"PROXY TCP4 2001:db8::7 198.51.100.1 40000 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443" + b" " * 100,
        SIGNATURE + struct.pack(">BBH", 0x31, TCP4, 12) + bytes(12),
        SIGNATURE + struct.pack(">BBH", PROXY, TCP4, 11) + bytes(11),
        SIGNATURE + struct.pack(">BBH", PROXY, TCP4, 60000) + bytes(5000),
        b"\0" * 16,
    ],
)
def test_what_is_no_header_is_an_error(gateway, echoes, service, header):
    one = gateway(listening(service, echoes))
    with connect(one.address("relay")) as client:
        client.sendall(header)
        assert is_closed(client)
    one.wait_closed("proxy_error", 1)
    one.wait_connections(0)


def test_the_end_before_the_header_is_complete(gateway, echoes):
    one = gateway(listening("relay", echoes))
    with connect(one.address("relay")) as client:
        client.sendall(line()[:20])
        half_close(client)
        assert is_closed(client)
    one.wait_connections(0)
    assert sum(one.closed_counts().values()) == 1
    assert set(one.closed_counts()) <= {"proxy_error", "client_closed"}


@pytest.mark.measures
@SERVICES
@pytest.mark.parametrize("begun", [b"", line()[:-1], binary()[:20]])
def test_a_header_that_does_not_come_in_time(gateway, echoes, service, begun):
    one = gateway(listening(service, echoes, {**TRUSTED, "timeout": "100ms"}))
    began = time.monotonic()
    with connect(one.address("relay")) as client:
        client.sendall(begun)
        assert is_closed(client)
    assert time.monotonic() - began >= 0.09
    one.wait_closed("proxy_timeout", 1)
    one.wait_connections(0)


def test_its_timeout_ends_with_the_header(gateway, echoes):
    one = gateway(listening("echo", echoes, {**TRUSTED, "timeout": "100ms"}))
    with connect(one.address("relay")) as client:
        client.sendall(line())
        wait_for(lambda: peers(one), [f"{CLIENT[0]}:{CLIENT[1]}"])
        time.sleep(0.25)
        assert behaves("echo", client)
    assert one.closed("proxy_timeout") == 0


@SERVICES
def test_others_than_those_trusted_are_refused(gateway, echoes, service):
    one = gateway(listening(service, echoes))
    with connect(one.address("relay"), "127.0.0.2") as client:
        assert is_closed(client)
    one.wait_closed("refused_proxy", 1)
    one.wait_metric("connections_refused_total", 1)
    assert one.metric("connections_accepted_total") == 0


def test_trust_changes_at_reload(gateway, echoes):
    one = gateway(listening("echo", echoes))
    one.reload(listeners={"relay": {"proxy_protocol": {"from": ["127.0.0.2/32"]}}})
    with connect(one.address("relay")) as client:
        assert is_closed(client)
    with connect(one.address("relay"), "127.0.0.2") as client:
        client.sendall(line())
        assert behaves("echo", client)
    one.reload(listeners={"relay": {"proxy_protocol": {"from": []}}})
    with connect(one.address("relay")) as client:
        assert behaves("echo", client)


# The real address counts.


@pytest.mark.parametrize("offset", [-1, 0, 1], ids=["below", "at", "above"])
@pytest.mark.parametrize("service", ["echo", "relay"])
def test_the_limit_of_a_source_is_the_clients(gateway, echoes, service, offset):
    one = gateway(listening(service, echoes, limits={"connections_per_source": LIMIT}))
    clients, admitted = [], 0
    for number in range(LIMIT + offset):
        clients.append(connect(one.address("relay")))
        clients[-1].sendall(line((CLIENT[0], 40000 + number)))
        if number < LIMIT:
            assert behaves(service, clients[-1])
            admitted += 1
        else:
            assert is_closed(clients[-1])
    one.wait_closed("refused_source", max(offset, 0))
    one.wait_connections(admitted)
    sources = {item["source"]: item["connections"] for item in one.get("/sources")["sources"]}
    assert sources == {f"{CLIENT[0]}/32": admitted}
    with connect(one.address("relay")) as other:
        other.sendall(line(("192.0.2.8", 1)))
        assert behaves(service, other), "another client behind the same load balancer"
    for client in clients:
        client.close()
    one.wait_connections(0)
    with connect(one.address("relay")) as again:
        again.sendall(line())
        assert behaves(service, again), "its places are free again"


def test_a_load_balancer_is_no_source(gateway, echoes):
    """Ten connections of it, of ten clients, where one source may have three."""
    one = gateway(listening("echo", echoes, limits={"connections_per_source": LIMIT}))
    clients = []
    for number in range(10):
        clients.append(connect(one.address("relay")))
        clients[-1].sendall(line((f"192.0.2.{number}", 1)))
        assert behaves("echo", clients[-1])
    assert one.get("/sources")["sources_current"] == 10
    for client in clients:
        client.close()


def test_a_client_is_found_by_its_own_address(gateway, echoes):
    one = gateway(listening("relay", echoes))
    with connect(one.address("relay")) as client:
        client.sendall(line())
        assert behaves("relay", client)
        assert len(one.connections(f"source={CLIENT[0]}")) == 1
        assert one.connections("source=127.0.0.1") == []
        one.ok("DELETE", f"/connections?source={CLIENT[0]}")
        assert is_closed(client)
    one.wait_closed("killed", 1)


def test_the_servers_of_a_source_are_the_clients(gateway, echoes):
    """balance "source" goes by the client, not by the load balancer."""
    a, b = echoes("a", "b")
    settings = relay(a, b, balance="source", listener={"proxy_protocol": TRUSTED})
    one = gateway(settings)

    def visit(host):
        with connect(one.address("relay")) as client:
            client.sendall(line((host, 1)))
            return client.recv(1)

    hosts = [f"192.0.2.{number}" for number in range(20)]
    first = [visit(host) for host in hosts]
    assert set(first) == {b"a", b"b"}
    assert [visit(host) for host in hosts] == first


# Many of them, and those who leave early.


def test_a_crowd_behind_a_load_balancer_is_counted_exactly(gateway, echoes):
    """Of 40 clients with 10 connections each, all at once over two workers, each has 4."""
    limits = {"connections_per_source": 4}
    one = gateway(listening("relay", echoes, limits=limits))
    with Crowd(one.address("relay"), 400, itertools.repeat("127.0.0.1")) as crowd:
        for number, client in enumerate(crowd.clients):
            client.sock.send(line((f"192.0.2.{number % 40}", 1000 + number)))
        assert crowd.pump_until(lambda: crowd.closed_count == 240)
        one.wait_connections(160)
        wait_for(one.closed_counts, {"refused_source": 240})
        assert {item["connections"] for item in one.get("/sources?limit=100")["sources"]} == {4}
        crowd.send(b"0123456789")
        assert crowd.pump_until(lambda: crowd.received == 1600)
    one.wait_connections(0)
    assert one.get("/sources")["sources_current"] == 0


@pytest.mark.parametrize("when_down", ["refuse", "wait"])
def test_servers_are_filled_exactly_by_a_crowd_behind_a_load_balancer(
    gateway, echoes, when_down
):
    """Those without a place are refused, or wait inside until there is one."""
    a, b = echoes("a", "b")
    upstream = {"max_connections": 20, "when_down": when_down}
    one = gateway(relay(a, b, listener={"proxy_protocol": TRUSTED}, **upstream))
    with Crowd(one.address("relay"), 50, itertools.repeat("127.0.0.1")) as crowd:
        for number, client in enumerate(crowd.clients):
            client.sock.send(line((f"192.0.2.{number}", 1)))
        assert crowd.pump_until(lambda: crowd.received == 2 * 40)
        assert a.connections == b.connections == 20
        if when_down == "refuse":
            assert crowd.pump_until(lambda: crowd.closed_count == 10)
            wait_for(one.closed_counts, {"refused_upstream": 10})
            return
        one.wait_connections(50)
        assert crowd.closed_count == 0
        served = [client for client in crowd.clients if client.received]
        crowd.leave(served[:15])
        assert crowd.pump_until(lambda: all(client.received for client in crowd.clients))
        one.wait_connections(35)
        assert set(one.closed_counts()) == {"client_closed"}
    one.wait_connections(0)


def test_those_who_leave_right_behind_their_header(gateway, echoes):
    """Whatever was on its way for them then, nothing of them is left."""
    server = echoes()
    settings = relay(server, listener={"proxy_protocol": TRUSTED})
    one = gateway(settings)
    for number in range(300):
        client = connect(one.address("relay"))
        client.sendall(line((f"192.0.2.{number % 50}", 1)))
        (reset if number % 2 else socket.socket.close)(client)
    wait_for(lambda: sum(one.closed_counts().values()), 300, what="clients that are closed")
    one.wait_connections(0)
    server.wait_connections(0)
    wait_for(lambda: upstreams(one)[server.target]["connections"], 0)
    wait_for(lambda: one.get("/sources")["sources_current"], 0)


def test_who_waits_inside_goes_before_who_comes(gateway, echoes):
    """Those who had told who they are when there was no place for them."""
    settings = relay(echoes("a")[0], when_down="wait", max_connections=1)
    settings["listeners"]["relay"]["proxy_protocol"] = TRUSTED
    one = gateway(settings)

    def come():
        client = connect(one.address("relay"))
        client.sendall(line())
        return client

    def served(clients):
        (client,) = wait_for(lambda: select.select(clients, [], [], 0)[0], bool)
        return client

    inside = [connect(one.address("relay")) for _ in range(5)]
    one.wait_connections(5)
    for client in inside:
        client.sendall(line())
    current = served(inside)
    inside.remove(current)
    outside = [come() for _ in range(3)]
    for wanted in (inside, inside, inside, inside, outside, outside, outside):
        current.close()
        current = served(inside + outside)
        assert current in wanted
        wanted.remove(current)
    current.close()
    one.wait_connections(0)
