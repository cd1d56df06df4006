"""The configuration changes from one process to the next."""

import pytest

from clients import connect, is_closed
from gateway import wait_for
from restarts import KILLED, check_echo, config, ids
from streams import Streams


@pytest.mark.parametrize("workers", [1, 3, 7])
def test_other_worker_counts(keeper, workers):
    one = keeper("echo")
    gateway = one.start(config(3))
    with Streams(one.addresses["echo"], 210) as streams:
        gateway.wait_connections(210)
        gateway.config["workers"] = workers
        one.restart()
        counts = [worker["connections"] for worker in gateway.workers()]
        assert (sum(counts), len(counts)) == (210, workers)
        assert max(counts) - min(counts) <= 1
        moved = streams.progress()
        wait_for(streams.progress, lambda now: now > moved + 210 * 100)
        assert streams.settle() == {}


def test_other_worker_count_with_few_descriptors(keeper):
    """The supervisor, which has no more of them than a worker, takes no more at a time than it can hold."""
    one = keeper("echo")
    count = 2400
    gateway = one.start(config(8), nofile=700)
    with Streams(one.addresses["echo"], count) as streams:
        for restored, workers in enumerate((7, 8, 5), 1):
            gateway.wait_connections(count)
            gateway.config["workers"] = workers
            one.end()
            one.start(nofile=700)
            assert gateway.metric("connections_restored_total") == count * restored
        moved = streams.progress()
        wait_for(streams.progress, lambda now: now > moved + count * 100)
        assert streams.settle() == {}


def test_removed_listener(keeper):
    one = keeper()
    gateway = one.start(config(stays={"service": "echo"}, goes={"service": "echo"}))
    stays, goes = connect(gateway.address("stays")), connect(gateway.address("goes"))
    gateway.wait_connections(2)
    address = gateway.address("goes")
    del gateway.config["listeners"]["goes"]
    one.restart()
    assert is_closed(goes)
    check_echo(stays)
    assert gateway.closed_counts() == {"listener_removed": 1}
    with pytest.raises(ConnectionRefusedError):
        connect(address)


def test_listeners_change_places(keeper):
    one = keeper()
    gateway = one.start(config(a={"service": "echo"}, b={}))
    echo, hold = connect(gateway.address("a")), connect(gateway.address("b"))
    gateway.wait_connections(2)
    gateway.config["listeners"] = dict(reversed(gateway.config["listeners"].items()))
    one.restart()
    check_echo(echo)
    assert {item["listener"] for item in gateway.connections()} == {"a", "b"}
    assert gateway.listener("a")["bytes_received_total"] == 5
    hold.close()
    gateway.wait_listener("b", "connections", 0)


def test_lower_limit_closes_the_newest(keeper):
    one = keeper("echo")
    gateway = one.start(config())
    clients = []
    for count in range(1, 21):
        clients.append(connect(one.addresses["echo"]))
        gateway.wait_connections(count)
    gateway.config["limits"] = {"connections": 12}
    one.end()
    one.start(wait=False)
    wait_for(gateway.health, (503, "degraded"))  # the limit is reached
    gateway.wait_metric("connections_restored_total", 12)
    for client in clients[:12]:
        check_echo(client)
    assert all(is_closed(client) for client in clients[12:])
    assert gateway.closed_counts() == {"over_limit": 8}
    assert gateway.metric("connections_current") == 12


def test_limits_of_sources_and_listeners_count_those_who_are_in(keeper):
    one = keeper("echo")
    gateway = one.start(config(limits={"connections_per_source": 3}))
    clients = [connect(one.addresses["echo"], "127.0.9.1") for _ in range(3)]
    gateway.wait_connections(3)
    one.restart()
    assert gateway.get("/sources")["sources"][0]["connections"] == 3
    assert is_closed(connect(one.addresses["echo"], "127.0.9.1"))
    check_echo(connect(one.addresses["echo"], "127.0.9.2"))
    clients[0].close()
    gateway.wait_closed("client_closed", 2)
    check_echo(connect(one.addresses["echo"], "127.0.9.1"))
    gateway.config["limits"] = {"connections_per_source": 1}
    one.restart()
    assert gateway.closed("over_limit") == 1


def test_no_id_is_given_twice(keeper):
    one = keeper("echo")
    gateway = one.start(config())
    seen, kept = set(), connect(one.addresses["echo"])
    gateway.wait_connections(1)
    for how in ({}, KILLED, {}, KILLED):
        clients = [connect(one.addresses["echo"]) for _ in range(20)]
        gateway.wait_connections(21)
        fresh = ids(gateway)
        assert len(fresh - seen) == 20 + (not seen)
        seen |= fresh
        for client in clients:
            client.close()
        gateway.wait_connections(1)
        one.restart(**how)
    check_echo(kept)
