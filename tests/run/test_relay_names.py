"""Servers that are named: by a DNS server of the test's own, whose answers change."""

import contextlib
import time

import pytest

from clients import connect, is_closed, read_exactly
from gateway import free_port, wait_for
from name_server import NameServer
from relay_clients import greeting, visit
from servers import QUICK, relay, upstreams, wait_upstream

NAME = "app.example"
OFTEN = {"resolve_interval": "1s"}
ONCE = {"resolve_interval": 0}


@pytest.fixture
def names():
    with NameServer() as server:
        yield server


@pytest.fixture
def hosts(echoes):
    """hosts(2) makes servers 127.0.0.2 and 127.0.0.3 with one port, whose names are their
    addresses; returns the port, and the servers."""

    def make(count):
        port = free_port()
        addresses = [f"127.0.0.{2 + number}" for number in range(count)]
        return port, [echoes(host, address=(host, port))[0] for host in addresses]

    return make


def config(names, *targets, **upstream):
    settings = relay(*targets, **upstream)
    settings["resolver"] = {"nameservers": [names.target]}
    return settings


def listed(gateway):
    """The hosts of servers that get clients."""
    return {
        address.rpartition(":")[0]
        for address, item in upstreams(gateway).items()
        if item["state"] == "up"
    }


def test_a_name_with_an_address(gateway, names, hosts):
    port, _ = hosts(1)
    names.tell(NAME, "127.0.0.2")
    one = gateway(config(names, f"{NAME}:{port}", **ONCE))
    wait_for(lambda: listed(one), {"127.0.0.2"})
    assert visit(one) == "127.0.0.2"
    assert upstreams(one)[f"127.0.0.2:{port}"]["name"] == f"{NAME}:{port}"


def test_each_address_of_a_name_is_a_server(gateway, names, hosts):
    port, _ = hosts(3)
    names.tell(NAME, "127.0.0.2", "127.0.0.3", "127.0.0.4")
    one = gateway(config(names, f"{NAME}:{port}", balance="round_robin", **ONCE))
    wait_for(lambda: listed(one), {"127.0.0.2", "127.0.0.3", "127.0.0.4"})
    assert {visit(one) for _ in range(3)} == {"127.0.0.2", "127.0.0.3", "127.0.0.4"}


def test_a_name_with_an_ipv6_address(gateway, names, echoes):
    port = free_port()
    echoes("six", address=("::1", port))
    names.tell(NAME, "::1")
    one = gateway(config(names, f"{NAME}:{port}", **ONCE))
    wait_for(lambda: listed(one), {"[::1]"})
    assert visit(one) == "six"


def test_a_name_of_this_machine_needs_no_name_server(gateway, names, echoes):
    """/etc/hosts goes first."""
    server = echoes("here")[0]
    names.silent = True
    port = server.address[1]
    one = gateway(config(names, f"localhost:{port}", **ONCE))
    wait_for(lambda: "127.0.0.1" in listed(one), True)
    wait_for(lambda: visit(one), "here")


@pytest.mark.parametrize("how", ["interval", "reload"])
def test_a_changed_answer_leads_new_clients_elsewhere(gateway, names, hosts, how):
    port, (old, _) = hosts(2)
    names.tell(NAME, "127.0.0.2")
    settings = OFTEN if how == "interval" else ONCE
    one = gateway(config(names, f"{NAME}:{port}", **settings))
    wait_for(lambda: listed(one), {"127.0.0.2"})
    with connect(one.address("relay")) as client:
        assert greeting(client) == "127.0.0.2"
        names.tell(NAME, "127.0.0.3")
        if how == "reload":
            one.ok("POST", "/reload")
        wait_for(lambda: listed(one), {"127.0.0.3"})
        assert [visit(one) for _ in range(5)] == ["127.0.0.3"] * 5
        client.sendall(b"still here")
        assert read_exactly(client, 10) == b"still here"
        assert upstreams(one)[old.target]["state"] == "gone"
    wait_for(lambda: old.target in upstreams(one), False, what="the old one is there")


def test_a_name_that_goes_to_another_address_and_back(gateway, names, hosts):
    """While clients are left on both: the first is checked again, and the other no more."""
    port, (first, _) = hosts(2)
    names.tell(NAME, "127.0.0.2")
    one = gateway(config(names, f"{NAME}:{port}", health=QUICK, **OFTEN))
    wait_for(lambda: listed(one), {"127.0.0.2"})
    with connect(one.address("relay")) as on_first:
        assert greeting(on_first) == "127.0.0.2"
        names.tell(NAME, "127.0.0.3")
        wait_for(lambda: listed(one), {"127.0.0.3"})
        with connect(one.address("relay")) as on_other:
            assert greeting(on_other) == "127.0.0.3"
            names.tell(NAME, "127.0.0.2")
            wait_for(lambda: listed(one), {"127.0.0.2"})
        first.stop_listening()
        wait_upstream(one, first, "state", "down")
        first.listen_again()
        wait_upstream(one, first, "state", "up")
    assert visit(one) == "127.0.0.2"


def test_who_waits_is_let_in_when_a_name_goes_back(gateway, names, hosts):
    port, _ = hosts(2)
    names.tell(NAME, "127.0.0.2")
    settings = {**OFTEN, "when_down": "wait", "max_connections": 2}
    one = gateway(config(names, f"{NAME}:{port}", **settings))
    wait_for(lambda: listed(one), {"127.0.0.2"})
    with contextlib.ExitStack() as stack:
        stack.enter_context(connect(one.address("relay")))
        one.wait_connections(1)
        names.tell(NAME, "127.0.0.3")
        wait_for(lambda: listed(one), {"127.0.0.3"})
        for _ in range(3):
            last = stack.enter_context(connect(one.address("relay")))
        one.wait_listener("relay", "state", "no_server")
        names.tell(NAME, "127.0.0.2")
        assert greeting(last) == "127.0.0.2"


@pytest.mark.parametrize("how", ["failing", "silent"])
def test_a_name_server_that_fails_changes_nothing(gateway, names, hosts, how):
    port, _ = hosts(1)
    names.tell(NAME, "127.0.0.2")
    one = gateway(config(names, f"{NAME}:{port}", **OFTEN))
    wait_for(lambda: listed(one), {"127.0.0.2"})
    setattr(names, how, True)
    asked = len(names.asked)
    wait_for(lambda: len(names.asked), lambda now: now > asked + 1)
    assert listed(one) == {"127.0.0.2"}
    assert visit(one) == "127.0.0.2"


def test_a_name_that_is_not_known_yet(gateway, names, hosts):
    port, _ = hosts(1)
    one = gateway(config(names, f"{NAME}:{port}", **OFTEN), wait=False)
    one.wait_answering()
    wait_for(lambda: NAME in names.asked, True)
    with connect(one.address("relay")) as client:
        assert is_closed(client)
    one.wait_closed("refused_upstream", 1)
    names.tell(NAME, "127.0.0.2")
    wait_for(lambda: listed(one), {"127.0.0.2"})
    assert visit(one) == "127.0.0.2"


def test_clients_wait_for_a_name(gateway, names, hosts):
    port, _ = hosts(1)
    one = gateway(config(names, f"{NAME}:{port}", when_down="wait", **OFTEN), wait=False)
    one.wait_answering()
    wait_for(lambda: NAME in names.asked, True)
    with contextlib.closing(connect(one.address("relay"))) as client:
        names.tell(NAME, "127.0.0.2")
        assert greeting(client) == "127.0.0.2"


@pytest.mark.alone
def test_nobody_waits_for_a_silent_name_server(gateway, names, echoes):
    """Neither clients of another server, nor the admin socket, nor a reload."""
    server = echoes("known")[0]
    one = gateway(config(names, "unknown.example:80", server, **OFTEN))
    assert visit(one) == "known"
    names.silent = True
    asked = len(names.asked)
    wait_for(lambda: len(names.asked), lambda now: now > asked)
    began = time.monotonic()
    for _ in range(20):
        assert visit(one) == "known"
    one.reload(listeners={"relay": {"upstream": {"retries": 5}}})
    assert visit(one) == "known"
    assert time.monotonic() - began < 1


@pytest.mark.alone
def test_a_silent_name_server_does_not_keep_other_listeners_waiting_at_start(gateway, names):
    names.silent = True
    settings = config(names, "unknown.example:80", **OFTEN)
    settings["listeners"]["echo"] = {"service": "echo"}
    one = gateway(settings, wait=False)
    one.wait_answering()
    began = time.monotonic()
    with connect(one.address("echo")) as client:
        client.sendall(b"hello")
        assert read_exactly(client, 5) == b"hello"
    assert time.monotonic() - began < 1


def test_a_reload_takes_up_a_new_name(gateway, names, hosts):
    port, servers = hosts(2)
    names.tell(NAME, "127.0.0.2")
    one = gateway(config(names, servers[1].target, **ONCE))
    assert visit(one) == "127.0.0.3"
    one.reload(listeners={"relay": {"upstream": {"servers": [f"{NAME}:{port}"]}}})
    wait_upstream(one, servers[0], "state", "up")
    wait_for(lambda: visit(one), "127.0.0.2")
    assert listed(one) == {"127.0.0.2"}
