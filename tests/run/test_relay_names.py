"""Servers that are named: by a DNS server of the test's own, whose answers change."""

import contextlib
import time

import pytest

from clients import connect, is_closed, read_exactly
from gateway import free_port, wait_for
from name_server import NameServer
from relay_clients import greeting, visit
from servers import QUICK, relay, upstream_metrics, upstreams, wait_upstream

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


def test_the_longest_name_that_there_may_be(gateway, names, hosts):
    port, _ = hosts(1)
    name = ".".join(["x" * 63] * 3 + ["y" * 61])
    names.tell(name, "127.0.0.2")
    one = gateway(config(names, f"{name}:{port}", **ONCE))
    wait_for(lambda: listed(one), {"127.0.0.2"})
    assert visit(one) == "127.0.0.2"
    assert upstreams(one)[f"127.0.0.2:{port}"]["name"] == f"{name}:{port}"
    answer = one.ok("POST", "/upstreams/disable", {"server": f"{name}:{port}"})
    assert [server["state"] for server in answer["servers"]] == ["disabled"]


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


# Names without addresses, and what an operator has disabled.


def by_name(gateway):
    """The rows of GET /upstreams, by what the configuration calls them."""
    return {item["name"]: item for item in gateway.get("/upstreams")["upstreams"]}


def warnings(gateway):
    found = gateway.admin("GET", "/health")[1]["warnings"]
    return [text for text in found if "cannot be resolved" in text]


def test_a_name_without_an_address_is_seen(gateway, names, hosts):
    port, servers = hosts(2)
    unknown = f"{NAME}:{port}"
    one = gateway(config(names, servers[0].target, unknown, **OFTEN))
    wait_for(lambda: len(warnings(one)), 1)
    assert warnings(one) == [
        f"listener relay: server {unknown} cannot be resolved: there is no such name"
    ]
    row = by_name(one)[unknown]
    assert (row["state"], row["address"], row["connections"]) == ("unresolved", "", 0)
    labels = f'{{listener="relay",server="{unknown}",address=""}}'
    assert f"millgate_upstream_up{labels} 0" in upstream_metrics(one)
    assert [visit(one) for _ in range(3)] == ["127.0.0.2"] * 3
    names.tell(NAME, "127.0.0.3")
    wait_for(lambda: listed(one), {"127.0.0.2", "127.0.0.3"})
    assert warnings(one) == [] and len(one.get("/upstreams")["upstreams"]) == 2


def test_no_name_has_an_address(gateway, names):
    one = gateway(config(names, f"{NAME}:80", "other.example:80", **OFTEN), wait=False)
    one.wait_answering()
    wait_for(lambda: len(warnings(one)), 2)
    assert one.admin("GET", "/health")[1]["problems"] == [
        "listener relay has no server: no name of upstream.servers has an address"
    ]
    one.ok("POST", "/upstreams/disable", {"server": "other.example:80"})
    assert one.admin("GET", "/health")[1]["problems"] == [
        "listener relay has no server that is up: 0 down, 1 disabled, 1 without an address"
    ]


def test_a_name_that_fails_is_told_of(gateway, names, hosts):
    port, _ = hosts(1)
    names.tell(NAME, "127.0.0.2")
    one = gateway(config(names, f"{NAME}:{port}", **OFTEN))
    wait_for(lambda: listed(one), {"127.0.0.2"})
    assert warnings(one) == []
    names.names.pop(NAME)
    wait_for(lambda: len(warnings(one)), 1)
    assert "cannot be resolved: there is no such name; addresses that are kept: 1" in one.log()
    assert visit(one) == "127.0.0.2"
    names.tell(NAME, "127.0.0.2")
    wait_for(lambda: warnings(one), [])


@pytest.mark.parametrize("count", [28, 29])
def test_an_answer_that_is_too_long(gateway, names, count):
    names.tell(NAME, *(f"127.0.1.{number}" for number in range(count)))
    one = gateway(config(names, f"{NAME}:80", **ONCE), wait=False)
    one.wait_answering()
    if count == 28:
        wait_for(lambda: len(listed(one)), 28)
    else:
        one.wait_log("more addresses than fit into 512 bytes")
        assert by_name(one)[f"{NAME}:80"]["state"] == "unresolved"


@pytest.mark.parametrize("how", ["upgrade", "reload", "nothing"])
def test_an_address_that_is_disabled_stays_so_when_its_name_has_it_again(
    gateway, names, hosts, how
):
    port, (first, _) = hosts(2)
    names.tell(NAME, "127.0.0.2", "127.0.0.3")
    one = gateway(config(names, f"{NAME}:{port}", **OFTEN))
    wait_for(lambda: listed(one), {"127.0.0.2", "127.0.0.3"})
    one.ok("POST", "/upstreams/disable", {"server": first.target})
    names.tell(NAME, "127.0.0.3", "127.0.0.4")
    wait_for(lambda: listed(one), {"127.0.0.3", "127.0.0.4"})
    assert upstreams(one)[first.target]["state"] == "disabled"
    if how != "nothing":
        one.ok("POST", f"/{how}")
    if how == "upgrade":
        one.wait_log(r"ready: (.*\n)+.*ready: ")
    names.tell(NAME, "127.0.0.2", "127.0.0.3")
    wait_for(lambda: listed(one), {"127.0.0.3"})
    assert upstreams(one)[first.target]["state"] == "disabled"
    assert [visit(one) for _ in range(3)] == ["127.0.0.3"] * 3
    one.ok("POST", "/upstreams/enable", {"server": first.target})
    assert listed(one) == {"127.0.0.2", "127.0.0.3"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disabled_name_moves_on_with_clients_on_the_old_address(gateway, names, hosts, workers):
    port, (first, _) = hosts(2)
    names.tell(NAME, "127.0.0.2")
    one = gateway(config(names, f"{NAME}:{port}", workers=workers, **OFTEN))
    wait_for(lambda: listed(one), {"127.0.0.2"})
    with connect(one.address("relay")) as client:
        assert greeting(client) == "127.0.0.2"
        one.ok("POST", "/upstreams/disable", {"server": f"{NAME}:{port}"})
        names.tell(NAME, "127.0.0.3")
        wait_for(lambda: len(upstreams(one)), 2)
        one.ok("POST", "/upgrade")
        one.wait_log(r"ready: (.*\n)+.*ready: ")
        states = {item["state"] for item in upstreams(one).values()}
        assert states == {"disabled"} and upstreams(one)[first.target]["connections"] == 1
        client.sendall(b"still here")
        assert read_exactly(client, 10) == b"still here"
    wait_for(lambda: len(upstreams(one)), 1)
    assert one.closed_counts() == {"client_closed": 1}


def test_an_address_that_is_enabled_when_its_name_has_it_no_more_is_gone(gateway, names, hosts):
    port, (first, _) = hosts(2)
    names.tell(NAME, "127.0.0.2")
    one = gateway(config(names, f"{NAME}:{port}", **OFTEN))
    wait_for(lambda: listed(one), {"127.0.0.2"})
    one.ok("POST", "/upstreams/disable", {"server": first.target})
    names.tell(NAME, "127.0.0.3")
    wait_for(lambda: listed(one), {"127.0.0.3"})  # of which nothing was said
    assert visit(one) == "127.0.0.3"
    assert one.ok("POST", "/upstreams/enable", {"server": first.target})["changed"] == 1
    assert first.target not in upstreams(one)


def test_a_name_is_disabled_before_it_has_an_address(gateway, names, hosts):
    port, servers = hosts(2)
    name = f"{NAME}:{port}"
    one = gateway(config(names, servers[0].target, name, **OFTEN))
    wait_for(lambda: name in by_name(one), True)
    assert one.ok("POST", "/upstreams/disable", {"server": name.upper()})["changed"] == 1
    one.ok("POST", "/upgrade")
    one.wait_log(r"ready: (.*\n)+.*ready: ")
    names.tell(NAME, "127.0.0.3")
    wait_for(lambda: servers[1].target in upstreams(one), True)
    assert by_name(one)[name]["state"] == "disabled" and listed(one) == {"127.0.0.2"}


def test_a_server_that_has_gone_is_no_server_that_is_down(gateway, echoes):
    stays, goes = echoes("stays", "goes")
    one = gateway(relay(stays, goes, balance="round_robin"))
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(one.address("relay")))
        one.wait_connections(2)
        one.reload(listeners={"relay": {"upstream": {"servers": [stays.target]}}})
        assert upstreams(one)[goes.target]["state"] == "gone"
        lines = upstream_metrics(one)
    labels = f'{{listener="relay",server="{goes.target}",address="{goes.target}"}}'
    assert f"millgate_upstream_up{labels} 0" in lines
    assert f"millgate_upstream_disabled{labels} 1" in lines
