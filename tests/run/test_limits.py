"""How many may be connected: in all, to a listener, from a source; below, at and above each."""

import contextlib
import ctypes
import itertools
import os
import subprocess

import pytest

from clients import Crowd, connect, is_closed, reset
from gateway import wait_for

LIMIT = 5
OFFSETS = pytest.mark.parametrize("offset", [-1, 0, 1], ids=["below", "at", "above"])


def config(limits=None, **listeners):
    return {"workers": 2, "limits": limits or {}, "listeners": listeners or {"hold": {}}}


def check_admitted(gateway, crowd, admitted, reason):
    """So many of the crowd are in, and the others, who came last, were refused for the reason."""
    refused = len(crowd) - admitted
    assert crowd.pump_until(lambda: crowd.closed_count == refused)
    gateway.wait_metric("connections_accepted_total", admitted)
    gateway.wait_metric("connections_refused_total", refused)
    assert gateway.metric("connections_current") == admitted
    assert gateway.closed_counts() == ({reason: refused} if refused else {})
    assert [client.is_open for client in crowd.clients] == [True] * admitted + [False] * refused


def sources_of(gateway):
    """How many connections each source has, as the gateway counts them."""
    answer = gateway.get("/sources?limit=1000")
    assert answer["sources_current"] == len(answer["sources"])
    return {item["source"]: item["connections"] for item in answer["sources"]}


def check_next(gateway, source, admitted, reason="refused_source"):
    """One more from this source gets in (and leaves again), or is refused."""
    connections, refused = gateway.metric("connections_current"), gateway.closed(reason)
    with contextlib.closing(connect(gateway.address(), source)) as client:
        if admitted:
            gateway.wait_connections(connections + 1)
        else:
            assert is_closed(client)
            gateway.wait_closed(reason, refused + 1)
    gateway.wait_connections(connections)


# limits.connections, in all and of a listener.


@OFFSETS
def test_total_limit_refuses(gateway, offset):
    one = gateway(config({"connections": LIMIT}))
    with Crowd(one.address(), LIMIT + offset) as crowd:
        check_admitted(one, crowd, LIMIT + min(offset, 0), "refused_total")
        assert one.health()[1] == ("ok" if offset < 0 else "degraded")


@OFFSETS
def test_listener_limit_refuses(gateway, offset):
    one = gateway(config(hold={"limits": {"connections": LIMIT}}, free={}))
    with Crowd(one.address(), LIMIT + offset) as crowd:
        check_admitted(one, crowd, LIMIT + min(offset, 0), "refused_listener")
        with Crowd(one.address("free"), 2 * LIMIT):
            one.wait_listener("free", "connections", 2 * LIMIT)
            assert one.listener("free")["refused_total"] == 0


@pytest.mark.parametrize("address", ["127.0.0.1:PORT", "[::1]:PORT", "unix:DIR/sock"])
def test_total_limit_spans_listeners(gateway, address):
    one = gateway(config({"connections": LIMIT}, hold={}, other={"address": address}))
    with Crowd(one.address("other"), LIMIT - 1), Crowd(one.address(), 1):
        one.wait_connections(LIMIT)
        for name in ("hold", "other"):
            with contextlib.closing(connect(one.address(name))) as client:
                assert is_closed(client)
        assert one.closed_counts() == {"refused_total": 2}


@pytest.mark.parametrize("limit_of", ["total", "listener"])
def test_place_of_one_who_leaves_is_free(gateway, limit_of):
    limits = {"connections": LIMIT}
    one = gateway(config(limits) if limit_of == "total" else config(hold={"limits": limits}))
    with Crowd(one.address(), LIMIT) as crowd:
        one.wait_connections(LIMIT)
        for end in (reset, type(crowd.clients[0].sock).close):
            crowd.leave(crowd.clients[:1], end)
            one.wait_connections(LIMIT - 1)
            crowd.add(1)
            one.wait_connections(LIMIT)
        crowd.add(1)
        assert crowd.pump_until(lambda: crowd.closed_count == 1)


@pytest.mark.parametrize("limit_of", ["total", "listener"])
@OFFSETS
def test_full_and_waiting(gateway, limit_of, offset):
    limits = {"connections": LIMIT, "when_full": "wait"}
    listener = {"service": "echo", "limits": limits if limit_of == "listener" else {}}
    one = gateway(config(limits if limit_of == "total" else {}, hold=listener))
    with Crowd(one.address(), LIMIT + offset) as crowd:
        crowd.send(b"x")
        admitted = LIMIT + min(offset, 0)
        assert crowd.pump_until(lambda: crowd.received == admitted)
        one.wait_connections(admitted)
        one.wait_listener("hold", "state", "accepting" if offset < 0 else "full")
        crowd.pump_for(0.2)
        assert crowd.received == admitted
        crowd.leave(crowd.clients[:1])
        admitted_now = min(LIMIT, admitted - 1 + max(offset, 0))
        one.wait_metric("connections_accepted_total", admitted + max(offset, 0))
        one.wait_connections(admitted_now)
        assert crowd.pump_until(lambda: crowd.received == len(crowd))
        assert one.closed_counts() == {"client_closed": 1}


def test_each_listener_waits_or_refuses(gateway):
    patient = {"limits": {"when_full": "wait"}}
    one = gateway(config({"connections": 1}, hold={}, patient=patient))
    with Crowd(one.address(), 1) as crowd, Crowd(one.address("patient"), 1) as waiting:
        one.wait_listener("patient", "state", "full")
        crowd.add(1)
        assert crowd.pump_until(lambda: crowd.closed_count == 1)
        assert one.closed_counts() == {"refused_total": 1}
        crowd.leave(crowd.open_clients())
        one.wait_listener("patient", "connections", 1)
        assert waiting.closed_count == 0


def test_one_who_gives_up_waiting_costs_no_place(gateway):
    one = gateway(config({"connections": 1, "when_full": "wait"}))
    with Crowd(one.address(), 4) as crowd:
        one.wait_connections(1)
        crowd.leave(crowd.clients[1:3])
        crowd.leave(crowd.clients[:1])
        one.wait_metric("connections_accepted_total", 4)
        one.wait_connections(1)
        assert crowd.closed_count == 0


@pytest.mark.parametrize("limit_of", ["total", "listener"])
def test_connections_raised_and_lowered_by_reload(gateway, limit_of):
    def reload(limit):
        limits = {"connections": limit}
        if limit_of == "total":
            assert one.reload(limits=limits) == ["limits.connections"]
        else:
            assert one.reload(listeners={"hold": {"limits": limits}})

    one = gateway(config())
    reload(3)
    with Crowd(one.address(), 3) as crowd:
        one.wait_connections(3)
        reload(4)
        crowd.add(2)
        assert crowd.pump_until(lambda: crowd.closed_count == 1)
        reload(2)
        crowd.pump_for(0.2)
        assert one.metric("connections_current") == 4, "who is in stays in"
        crowd.leave(crowd.open_clients()[:2])
        one.wait_connections(2)
        reason = "refused_total" if limit_of == "total" else "refused_listener"
        check_next(one, None, False, reason)
        crowd.leave(crowd.open_clients()[:1])
        one.wait_connections(1)
        check_next(one, None, True)


def test_those_who_wait_come_in_when_the_limit_is_raised(gateway):
    one = gateway(config({"connections": 2, "when_full": "wait"}))
    with Crowd(one.address(), 6) as crowd:
        one.wait_connections(2)
        one.reload(limits={"connections": 5})
        one.wait_connections(5)
        one.wait_listener("hold", "state", "full")
        one.reload(limits={"when_full": "refuse"})
        assert crowd.pump_until(lambda: crowd.closed_count == 1)
        assert one.closed_counts() == {"refused_total": 1}


# limits.connections_per_source.


@OFFSETS
def test_source_limit(gateway, offset):
    one = gateway(config({"connections_per_source": LIMIT}))
    with Crowd(one.address(), LIMIT + offset, itertools.repeat("127.0.0.5")) as crowd:
        check_admitted(one, crowd, LIMIT + min(offset, 0), "refused_source")
        check_next(one, "127.0.0.6", True)
        assert sources_of(one) == {"127.0.0.5/32": LIMIT + min(offset, 0)}


def test_source_limit_spans_listeners(gateway):
    one = gateway(config({"connections_per_source": 2}, hold={}, other={"service": "echo"}))
    with Crowd(one.address("other"), 2, itertools.repeat("127.0.0.5")) as crowd:
        one.wait_connections(2)
        check_next(one, "127.0.0.5", False)
        crowd.leave(crowd.clients[:1])
        one.wait_connections(1)
        check_next(one, "127.0.0.5", True)


@OFFSETS
def test_source_of_24_bits(gateway, offset):
    one = gateway(config({"connections_per_source": LIMIT, "ipv4_prefix": 24}))
    sources = (f"127.5.5.{last}" for last in itertools.count(1, 50))
    with Crowd(one.address(), LIMIT + offset, sources) as crowd:
        check_admitted(one, crowd, LIMIT + min(offset, 0), "refused_source")
        assert sources_of(one) == {"127.5.5.0/24": LIMIT + min(offset, 0)}
        check_next(one, "127.5.5.255", admitted=offset < 0)
        check_next(one, "127.5.4.255", True)
        check_next(one, "127.5.6.0", True)


def test_source_is_checked_after_the_total(gateway):
    one = gateway(config({"connections": 1, "connections_per_source": 1}))
    with Crowd(one.address(), 1, itertools.repeat("127.0.0.5")):
        one.wait_connections(1)
        check_next(one, "127.0.0.5", False, "refused_total")


def test_exempt_sources_have_no_limit(gateway):
    limits = {"connections_per_source": 1, "exempt": ["127.9.0.0/16", "127.10.0.1"]}
    one = gateway(config(limits))
    with Crowd(one.address()) as crowd:
        crowd.add(4, "127.9.0.0")
        crowd.add(3, "127.9.255.255")
        crowd.add(2, "127.10.0.1")
        crowd.add(1, "127.8.255.255")
        crowd.add(1, "127.10.0.0")
        one.wait_connections(11)
        check_next(one, "127.8.255.255", False)
        check_next(one, "127.10.0.0", False)
        assert sources_of(one)["127.9.0.0/32"] == 4, "exempt ones are counted too"
        one.reload(limits={"exempt": []})
        check_next(one, "127.9.0.0", False)
        one.reload(limits={"exempt": ["127.8.0.0/16"]})
        check_next(one, "127.8.255.255", True)


def test_unix_clients_have_no_source(gateway):
    one = gateway(config({"connections_per_source": 1}, hold={"address": "unix:DIR/sock"}))
    with Crowd(one.address(), 5):
        one.wait_connections(5)
        assert one.stats()["sources_current"] == 0
        assert sources_of(one) == {}


def test_ipv6_source_limit(gateway):
    one = gateway(config({"connections_per_source": 2}, hold={"address": "[::1]:PORT"}))
    with Crowd(one.address(), 3) as crowd:
        check_admitted(one, crowd, 2, "refused_source")
        assert sources_of(one) == {"::/64": 2}


def test_ipv4_through_an_ipv6_socket_is_ipv4(gateway):
    one = gateway(config({"connections_per_source": 2}, hold={"address": "[::]:PORT"}))
    with Crowd(("127.0.0.1", one.address()[1])) as crowd:
        crowd.add(3, "127.0.0.5")
        check_admitted(one, crowd, 2, "refused_source")
        crowd.add(1, "127.0.0.6")
        one.wait_connections(3)
        assert sources_of(one) == {"127.0.0.5/32": 2, "127.0.0.6/32": 1}


def test_source_limit_raised_and_lowered_by_reload(gateway):
    one = gateway(config({"connections_per_source": 2}))
    with Crowd(one.address(), 2, itertools.repeat("127.0.0.5")) as crowd:
        one.wait_connections(2)
        check_next(one, "127.0.0.5", False)
        one.reload(limits={"connections_per_source": 3})
        crowd.add(1)
        one.wait_connections(3)
        check_next(one, "127.0.0.5", False)
        one.reload(limits={"connections_per_source": 1})
        assert one.metric("connections_current") == 3
        crowd.leave(crowd.clients[:2])
        one.wait_connections(1)
        check_next(one, "127.0.0.5", False)
        one.reload(limits={"connections_per_source": 0})
        check_next(one, "127.0.0.5", True)


# The prefix changes while clients are in: sources are counted anew.


def test_prefix_changed_by_reload(gateway):
    one = gateway(config({"connections_per_source": 4}, hold={}, local={"address": "unix:DIR/s"}))
    with Crowd(one.address()) as crowd, Crowd(one.address("local"), 3):
        crowd.add(2, "127.5.5.1")
        crowd.add(2, "127.5.5.2")
        crowd.add(1, "127.5.6.1")
        one.wait_connections(8)
        assert one.reload(limits={"ipv4_prefix": 24}) == ["limits.ipv4_prefix"]
        one.wait_log("sources are counted by the new prefixes")
        assert sources_of(one) == {"127.5.5.0/24": 4, "127.5.6.0/24": 1}
        check_next(one, "127.5.5.9", False)
        crowd.leave(crowd.clients[:1])
        one.wait_connections(7)
        check_next(one, "127.5.5.9", True)
        one.reload(limits={"ipv4_prefix": 32})
        expected = {"127.5.5.1/32": 1, "127.5.5.2/32": 2, "127.5.6.1/32": 1}
        wait_for(lambda: sources_of(one), expected)
        crowd.leave(crowd.clients)
        one.wait_connections(3)
        assert sources_of(one) == {}


def reload_when_recounted(gateway, prefix):
    """A reload while the last recount goes on is refused, and can be tried again."""
    gateway.config["limits"]["ipv4_prefix"] = prefix
    gateway.write_config()
    wait_for(lambda: gateway.admin("POST", "/reload")[0], 200)


def test_recount_is_exact_while_clients_come_and_go(gateway):
    one = gateway(config())
    with Crowd(
        one.address(), 3000, (f"127.7.{i % 10}.{i % 100}" for i in itertools.count())
    ) as crowd:
        one.wait_connections(3000)
        for prefix in (24, 30, 16, 24):
            crowd.leave(crowd.clients[:200], reset)
            crowd.leave(crowd.clients[:200])
            reload_when_recounted(one, prefix)
            crowd.add(400)
        one.wait_metric("connections_accepted_total", 3000 + 4 * 400)
        one.wait_connections(3000)
        expected = {}
        for client in crowd.clients:
            source = client.sock.getsockname()[0].rpartition(".")[0] + ".0/24"
            expected[source] = expected.get(source, 0) + 1
        wait_for(lambda: sources_of(one), expected)
        crowd.leave(crowd.clients)
        one.wait_connections(0)
        assert sources_of(one) == {}


# Several IPv6 addresses, in a network of the test's own.

ADDRESSES = [f"fd00:0:0:{network}::{host}" for network in (1, 2) for host in (1, 2, 3)]
IN_A_NETWORK = [
    *("unshare", "--net", "sh", "-c"),
    "ip link set lo up && "
    + " && ".join(f"ip addr add {address}/128 dev lo nodad" for address in ADDRESSES)
    + ' && exec "$@"',
    "sh",
]


def can_have_a_network():
    return subprocess.run([*IN_A_NETWORK, "true"], capture_output=True).returncode == 0


@contextlib.contextmanager
def network_of(pid):
    """Sockets are made in the network of that process."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        assert libc.setns(other, 0) == 0
        yield
    finally:
        assert libc.setns(own, 0) == 0
        os.close(own)
        os.close(other)


@pytest.mark.skipif(not can_have_a_network(), reason="needs the right to make a network namespace")
def test_ipv6_prefix(gateway):
    def add(crowd, address):
        with network_of(one.pid):
            crowd.add(1, address)

    one = gateway(
        config({"connections_per_source": 2, "ipv6_prefix": 64}, hold={"address": "[::]:PORT"}),
        prefix=IN_A_NETWORK,
    )
    with Crowd((ADDRESSES[0], one.address()[1])) as crowd:
        for address in ADDRESSES[:2] + ADDRESSES[3:5]:
            add(crowd, address)
        one.wait_connections(4)
        assert sources_of(one) == {"fd00:0:0:1::/64": 2, "fd00:0:0:2::/64": 2}
        for address in (ADDRESSES[2], ADDRESSES[5]):
            add(crowd, address)
        assert crowd.pump_until(lambda: crowd.closed_count == 2)
        one.reload(limits={"ipv6_prefix": 128})
        wait_for(lambda: one.stats()["sources_current"], 4)
        add(crowd, ADDRESSES[2])
        one.wait_connections(5)
        one.reload(limits={"ipv6_prefix": 48})
        wait_for(lambda: sources_of(one), {"fd00::/48": 5})
        one.reload(limits={"connections_per_source": 6})
        add(crowd, ADDRESSES[5])
        one.wait_connections(6)
        add(crowd, ADDRESSES[5])
        assert crowd.pump_until(lambda: crowd.closed_count == 3)
        assert one.closed_counts() == {"refused_source": 3}
