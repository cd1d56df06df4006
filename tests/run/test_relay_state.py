"""What is parked of relayed pairs, and makes no sense: it is trusted no more than a client is."""

import pytest

from clients import connect, is_closed
from gateway import wait_for
from parkfile import CONNECTING, HANDSHAKE, LINKED, UPSTREAM, Parkfile, memory_file, stored_bytes
from relay_clients import greeting
from restarts import check_echo
from servers import relay, upstreams

STATE = "park/1/0/state"


def flag(bit):
    return lambda record: record.update(flags=record["flags"] | bit)


def update(**fields):
    return lambda record: record.update(fields)


def start(keeper, server):
    one = keeper("relay")
    gateway = one.start(relay(server))
    clients = [connect(one.addresses["relay"]) for _ in range(4)]
    assert {greeting(client) for client in clients} == {"it"}
    wait_for(lambda: [c["state"] for c in gateway.connections()], ["open"] * 4)
    mine = [c["peer"] for c in gateway.connections() if c["worker"] == 0]
    return one, gateway, clients, mine


def restart_with(one, change):
    """`change` is done to the records of a pair, all of those that the first worker has parked."""
    one.end()
    parkfile = Parkfile(stored_bytes(one, STATE))
    for client, server in zip(parkfile.records[::2], parkfile.records[1::2]):
        assert client["flags"] & LINKED and server["flags"] & UPSTREAM
        change(client, server)
    one.replace(STATE, memory_file(parkfile.pack()))
    one.start()


@pytest.mark.parametrize(
    ("of_client", "of_server"),
    [
        (flag(UPSTREAM), None),
        (update(state=CONNECTING), None),
        (update(server=200), None),
        (update(server=2**16 - 1), None),
        (update(more_flags=0), None),
        (update(to_family=9), None),
        (None, update(state=HANDSHAKE)),
        (None, update(id=12345)),
        (None, update(out_bytes=1)),
        (None, update(waiting=2**64 - 1, in_bytes=1)),
        (None, update(cookie=1)),
    ],
)
def test_a_pair_that_is_nonsense(keeper, echoes, of_client, of_server):
    server = echoes("it")[0]
    one, gateway, clients, mine = start(keeper, server)

    def change(client, follower):
        if of_client:
            of_client(client)
        if of_server:
            of_server(follower)

    restart_with(one, change)
    lost = [client for client in clients if "%s:%d" % client.getsockname() in mine]
    assert len(lost) == 2
    for client in lost:
        assert is_closed(client)
    gateway.wait_closed("park_failed", 2)
    assert gateway.closed_counts() == {"park_failed": 2}
    for client in clients:
        if client not in lost:
            check_echo(client)
    wait_for(lambda: upstreams(gateway)[server.target]["connections"], 2)
    assert gateway.metric("worker_restarts_total") == 0


def test_a_pair_that_does_not_say_so(keeper, echoes):
    one, gateway, clients, _ = start(keeper, echoes("it")[0])
    restart_with(one, lambda client, _: client.update(flags=client["flags"] & ~LINKED))
    for client in clients:
        check_echo(client)
    assert gateway.closed_counts() == {}


@pytest.mark.parametrize(
    "of_server",
    [update(state=HANDSHAKE), update(waiting=2**64 - 1, out_bytes=1), update(in_bytes=2**32 - 1)],
)
def test_a_server_that_is_nonsense_and_not_announced(keeper, echoes, of_server):
    """Its client is led to a server anew."""
    server = echoes("it")[0]
    one, gateway, clients, _ = start(keeper, server)

    def change(client, follower):
        client.update(flags=client["flags"] & ~LINKED)
        of_server(follower)

    restart_with(one, change)
    wait_for(lambda: upstreams(gateway)[server.target]["connects_total"], 6)
    assert gateway.metric("connections_current") == len(clients)
    assert gateway.closed_counts() == {}
    assert gateway.metric("worker_restarts_total") == 0


def test_a_server_with_no_client_before_it(keeper, echoes):
    one, gateway, clients, mine = start(keeper, echoes("it")[0])
    one.end()
    parkfile = Parkfile(stored_bytes(one, STATE))
    parkfile.records[0]["id"] = 0
    one.replace(STATE, memory_file(parkfile.pack()))
    one.start()
    gateway.wait_closed("park_failed", 1)
    assert gateway.metric("connections_current") == 3
    assert sum(not is_closed(client, 0.3) for client in clients) == 3
    assert len(mine) == 2


def test_a_listener_that_relays_no_more(keeper, echoes):
    """Who was in the middle of a stream is not made anything else."""
    one, _, clients, _ = start(keeper, echoes("it")[0])
    one.end()
    gateway = one.start({"workers": 2, "listeners": {"relay": {"service": "echo"}}})
    for client in clients:
        assert is_closed(client)
    gateway.wait_closed("listener_removed", 4)
