"""The servers behind relay listeners, as an operator sees and steers them."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import threading

import pytest

from clients import connect, read_exactly
from gateway import BUILD, free_port, wait_for
from servers import upstream_metrics

CTL = BUILD / "millgatectl"
KEYS = {
    *("listener", "name", "address", "state", "connections", "max_connections", "connects_total"),
    *("connect_failures_total", "connect_seconds_average", "bytes_sent_total"),
    *("bytes_received_total", "checks_total", "check_failures_total"),
}


class Server:
    """Sends its name, and then back what comes; until it is stopped."""

    def __init__(self, address=None):
        if isinstance(address, str):
            self.listener = socket.socket(socket.AF_UNIX)
            self.name = f"unix:{address}"
        else:
            address = address or ("127.0.0.1", free_port())
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.name = f"{address[0]}:{address[1]}"
        self.listener.bind(address)
        self.listener.listen(100)
        self.clients = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.clients.append(client)
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError):
            client.sendall(f"{self.name}\n".encode())
            while data := client.recv(65536):
                client.sendall(data)
            client.close()

    def stop(self):
        """Nobody is accepted any more; those that are here stay."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def servers():
    """Makes servers: servers(2), or servers(address=...)."""
    made = []

    def make(n=1, address=None):
        made.extend(Server(address) for _ in range(n))
        return made[-n:]

    yield make
    for server in made:
        server.stop()
        for client in server.clients:
            client.close()


def relay(servers, **upstream):
    return {"service": "relay", "upstream": {"servers": [s.name for s in servers], **upstream}}


def config(servers, **upstream):
    return {"workers": 2, "listeners": {"public": relay(servers, **upstream)}}


def led_to(client):
    """The name of the server that a client has got."""
    client.settimeout(20)
    line = b""
    while not line.endswith(b"\n"):
        piece = client.recv(1)
        assert piece, f"the connection ended after {line!r}"
        line += piece
    return line.decode().strip()


def upstreams(one):
    """All servers, by name."""
    return {item["name"]: item for item in one.get("/upstreams")["upstreams"]}


def ctl(one, *args, code=0):
    done = subprocess.run(
        [CTL, "-s", one.admin_socket, *args], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done
    return done.stdout + done.stderr


def test_what_is_told_of_a_server(gateway, servers):
    (server,) = servers()
    one = gateway(config([server], max_connections=7))
    (item,) = one.get("/upstreams")["upstreams"]
    assert set(item) == KEYS
    assert (item["listener"], item["name"], item["address"]) == ("public", server.name, server.name)
    assert (item["state"], item["connections"], item["max_connections"]) == ("up", 0, 7)
    assert item["connects_total"] == item["bytes_sent_total"] == 0
    assert item["connect_seconds_average"] is None
    with connect(one.address("public")) as client:
        led_to(client)
        client.sendall(b"x" * 1000)
        assert read_exactly(client, 1000) == b"x" * 1000
        item = wait_for(lambda: upstreams(one)[server.name], lambda it: it["bytes_sent_total"])
        assert (item["connections"], item["connects_total"]) == (1, 1)
        assert item["bytes_sent_total"] == 1000
        assert item["bytes_received_total"] == 1000 + len(server.name) + 1
        assert 0 < item["connect_seconds_average"] < 1
    wait_for(lambda: upstreams(one)[server.name]["connections"], 0)
    assert one.stats()["upstreams"] == one.get("/upstreams")["upstreams"]


def test_servers_are_told_of_by_listener(gateway, servers):
    first, second, third = servers(3)
    listeners = {"a": relay([second, first]), "b": {}, "c": relay([first, third])}
    one = gateway({"workers": 1, "listeners": listeners})
    found = [(item["listener"], item["name"]) for item in one.get("/upstreams")["upstreams"]]
    assert sorted(found[:2]) == sorted([("a", second.name), ("a", first.name)])
    assert sorted(found[2:]) == sorted([("c", first.name), ("c", third.name)])


def test_both_sides_of_a_connection(gateway, servers):
    (server,) = servers()
    one = gateway(config([server]))
    with connect(one.address("public")) as client:
        led_to(client)
        client.sendall(b"12345")
        assert read_exactly(client, 5) == b"12345"
        item = one.connection_of(client)
        upstream = item["upstream"]
        assert set(upstream) == {
            *("server", "address", "local", "state", "bytes_received", "bytes_sent"),
            *("rtt_seconds", "queued_bytes"),
        }
        assert (upstream["server"], upstream["address"]) == (server.name, server.name)
        assert upstream["local"] == "%s:%d" % server.clients[-1].getpeername()
        assert (item["state"], upstream["state"]) == ("open", "open")
        assert upstream["bytes_sent"] == 5 and upstream["queued_bytes"] == 0
        assert upstream["bytes_received"] == 5 + len(server.name) + 1
        assert 0 < upstream["rtt_seconds"] < 1
        assert one.get(f"/connections/{item['id']}")["upstream"]["server"] == server.name
        title, row = ctl(one, "list").splitlines()
        assert re.search(r" PEER +UPSTREAM +AGE ", title)
        assert re.search(rf"127\.0\.0\.1:\d+ +{re.escape(server.name)} +", row)
        shown = ctl(one, "show", str(item["id"]))
        assert f"\nupstream.address {server.name}\n" in shown


def test_a_client_whose_server_takes_its_time(gateway):
    """Its backlog is full."""
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(socket.socket())
        slow.bind(("127.0.0.1", free_port()))
        slow.listen(0)
        for _ in range(3):
            full = stack.enter_context(socket.socket())
            full.setblocking(False)
            full.connect_ex(slow.getsockname())
        name = "%s:%d" % slow.getsockname()
        listener = {"service": "relay", "upstream": {"servers": [name], "connect_timeout": "60s"}}
        listener["upstream"]["health"] = {"interval": 0}
        one = gateway({"workers": 1, "listeners": {"public": listener}})
        client = stack.enter_context(connect(one.address("public")))
        one.wait_connections(1)
        item = wait_for(lambda: one.connection_of(client), lambda item: item["upstream"])
        assert item["upstream"]["state"] == "connecting"
        assert f"{name} (connecting)" in ctl(one, "list")
        assert upstreams(one)[name]["connections"] == 1


def test_a_client_whose_proxy_header_is_to_come(gateway, servers):
    (server,) = servers()
    listener = {**relay([server]), "proxy_protocol": {"from": ["127.0.0.0/8"], "timeout": "1h"}}
    one = gateway({"workers": 1, "listeners": {"public": listener}})
    with connect(one.address("public")) as client:
        one.wait_connections(1)
        (item,) = wait_for(one.connections, lambda items: items and items[0]["state"] != "handover")
        assert (item["state"], item["upstream"]) == ("proxy_header", None)
        client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 80\r\n")
        led_to(client)
        (item,) = one.connections()
        assert (item["state"], item["upstream"]["server"]) == ("open", server.name)
        assert item["peer"].startswith("192.0.2.7")


def test_a_server_that_is_disabled_gets_no_new_clients(gateway, servers):
    first, second = servers(2)
    one = gateway(config([first, second], balance="round_robin"))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(one.address("public"))) for _ in range(2)]
        assert {led_to(client) for client in clients} == {first.name, second.name}
        answer = one.ok("POST", "/upstreams/disable", {"server": first.name})
        assert answer["changed"] == 1
        assert [(s["name"], s["state"]) for s in answer["servers"]] == [(first.name, "disabled")]
        assert upstreams(one)[second.name]["state"] == "up"
        for _ in range(4):
            clients.append(stack.enter_context(connect(one.address("public"))))
            assert led_to(clients[-1]) == second.name
        assert upstreams(one)[first.name]["connections"] == 1
        for client in clients:
            client.sendall(b"still here")
            assert read_exactly(client, 10) == b"still here"
        answer = one.ok("POST", "/upstreams/enable", {"server": first.name})
        assert [s["state"] for s in answer["servers"]] == ["up"]
        names = set()
        for _ in range(2):
            clients.append(stack.enter_context(connect(one.address("public"))))
            names.add(led_to(clients[-1]))
        assert names == {first.name, second.name}
    log = one.log()
    assert f"public: server {first.name} is disabled" in log
    assert f"public: server {first.name} is enabled" in log


def test_disabled_it_stays_over_a_reload_and_an_upgrade(gateway, servers):
    first, second = servers(2)
    one = gateway(config([first, second]))
    one.ok("POST", "/upstreams/disable", {"server": first.name})
    with connect(one.address("public")) as client:
        assert led_to(client) == second.name
        assert one.reload(listeners={"public": {"upstream": {"retries": 3}}})
        assert upstreams(one)[first.name]["state"] == "disabled"
        one.ok("POST", "/upgrade")
        one.wait_log("(?s)ready: .*ready: ")
        one.wait_healthy()
        states = {name: item["state"] for name, item in upstreams(one).items()}
        assert states == {first.name: "disabled", second.name: "up"}
        assert one.connection_of(client)["upstream"]["server"] == second.name


def test_one_listener_or_all(gateway, servers):
    first, second = servers(2)
    listeners = {"a": relay([first, second]), "b": relay([first, second])}
    one = gateway({"workers": 1, "listeners": listeners})

    def disabled():
        items = one.get("/upstreams")["upstreams"]
        return {(i["listener"], i["name"]) for i in items if i["state"] == "disabled"}

    body = {"server": first.name, "listener": "b"}
    assert one.ok("POST", "/upstreams/disable", body)["changed"] == 1
    assert disabled() == {("b", first.name)}
    assert one.ok("POST", "/upstreams/disable", {"server": first.name})["changed"] == 2
    assert disabled() == {("a", first.name), ("b", first.name)}
    assert one.log().count("is disabled") == 2, "only what changed is told of"
    assert one.ok("POST", "/upstreams/enable", body)["changed"] == 1
    assert disabled() == {("a", first.name)}
    body = {"server": "127.0.0.1:1", "listener": "b"}
    status, answer = one.admin("POST", "/upstreams/enable", body)
    assert status == 404 and 'listener b has no server "127.0.0.1:1"' in answer["error"]


def test_a_name_or_an_address(gateway, servers):
    """Both are names of a server."""
    (server,) = servers()
    port = server.listener.getsockname()[1]
    upstream = {"servers": [f"localhost:{port}"], "health": {"interval": 0}}
    one = gateway(
        {"workers": 1, "listeners": {"public": {"service": "relay", "upstream": upstream}}}
    )
    items = wait_for(lambda: one.get("/upstreams")["upstreams"], bool)
    assert {item["name"] for item in items} == {f"localhost:{port}"}
    assert server.name in [item["address"] for item in items]
    answer = one.ok("POST", "/upstreams/disable", {"server": server.name})
    assert [item["address"] for item in answer["servers"]] == [server.name]
    answer = one.ok("POST", "/upstreams/disable", {"server": f"localhost:{port}"})
    assert answer["changed"] == len(items)


def test_when_no_server_is_left(gateway, servers):
    first, second = servers(2)
    one = gateway(config([first, second]))
    one.ok("POST", "/upstreams/disable", {"server": first.name})
    assert one.get("/health")["problems"] == []
    one.ok("POST", "/upstreams/disable", {"server": second.name})
    status, health = one.admin("GET", "/health")
    assert (status, health["status"]) == (503, "degraded")
    assert health["problems"] == ["listener public has no server that is up: 0 down, 2 disabled"]
    with connect(one.address("public")) as client:
        assert client.recv(1) == b""
    one.wait_closed("refused_upstream", 1)
    one.ok("POST", "/upstreams/enable", {"server": second.name})
    one.wait_healthy()


def test_a_client_that_waits_gets_the_server_that_is_enabled(gateway, servers):
    (server,) = servers()
    one = gateway(config([server], when_down="wait"))
    one.ok("POST", "/upstreams/disable", {"server": server.name})
    with connect(one.address("public")) as client:
        one.wait_listener("public", "state", "no_server")
        one.ok("POST", "/upstreams/enable", {"server": server.name})
        assert led_to(client) == server.name


def test_a_source_address_that_is_not_ours(gateway, servers):
    (server,) = servers(1)
    one = gateway(config([server], source_addresses=["127.0.0.9", "192.0.2.9"]))
    text = (
        "listener public: no connection can come from 192.0.2.9 (upstream.source_addresses): it is "
        "no address of this machine"
    )
    assert text in one.get("/health")["warnings"]
    assert text in one.log()


def test_a_server_that_is_down(gateway, servers):
    """A warning as long as there is another one, then a problem."""
    first, second = servers(2)
    health = {"interval": "100ms", "timeout": "100ms", "rise": 1, "fall": 1}
    one = gateway(config([first, second], health=health))
    wait_for(lambda: upstreams(one)[first.name]["checks_total"], lambda n: n > 1)
    assert upstreams(one)[first.name]["check_failures_total"] == 0
    first.stop()
    wait_for(lambda: upstreams(one)[first.name]["state"], "down")
    answer = one.get("/health")
    assert answer["problems"] == []
    assert f"listener public: server {first.name} is down" in answer["warnings"]
    assert upstreams(one)[first.name]["check_failures_total"] >= 1
    down = rf"^{re.escape(first.name)} .* down "
    assert re.search(down, ctl(one, "status"), re.M)
    assert re.search(down, ctl(one, "upstreams"), re.M)
    second.stop()
    wait_for(lambda: upstreams(one)[second.name]["state"], "down")
    problem = "listener public has no server that is up: 2 down, 0 disabled"
    assert one.admin("GET", "/health")[1]["problems"] == [problem]
    assert problem in ctl(one, "status", code=1)


def test_many_that_are_down_are_not_told_one_by_one(gateway, servers):
    (server,) = servers()
    health = {"interval": "100ms", "timeout": "100ms", "fall": 1}
    names = [server.name] + [f"127.0.0.1:{free_port()}" for _ in range(10)]
    upstream = {"servers": names, "health": health}
    one = gateway(
        {"workers": 1, "listeners": {"public": {"service": "relay", "upstream": upstream}}}
    )
    down = wait_for(
        lambda: [text for text in one.get("/health")["warnings"] if "down" in text],
        lambda texts: len(texts) == 9,
    )
    assert down[-1] == "2 more servers are down: millgatectl upstreams lists them"


def test_a_server_that_is_not_wanted_any_more(gateway, servers):
    first, second = servers(2)
    one = gateway(config([first]))
    with connect(one.address("public")) as client:
        assert led_to(client) == first.name
        one.reload(listeners={"public": {"upstream": {"servers": [second.name]}}})
        found = {name: item["state"] for name, item in upstreams(one).items()}
        assert found == {first.name: "gone", second.name: "up"}
        assert one.connection_of(client)["upstream"]["server"] == first.name
        with connect(one.address("public")) as other:
            assert led_to(other) == second.name
    wait_for(lambda: set(upstreams(one)), {second.name})


def test_metrics(gateway, servers):
    first, second = servers(2)
    one = gateway(config([first, second], health={"interval": 0}))
    one.ok("POST", "/upstreams/disable", {"server": second.name})
    with connect(one.address("public")) as client:
        led_to(client)
        lines = upstream_metrics(one)
    for server, up in ((first, 1), (second, 0)):
        labels = f'{{listener="public",server="{server.name}",address="{server.name}"}}'
        for name in ("connections", "up", "connects_total", "checks_total"):
            wanted = 0 if name == "checks_total" else up
            assert f"millgate_upstream_{name}{labels} {wanted}" in lines
    assert len(lines) == 11 * 2


def test_labels_are_escaped(gateway, servers, tmp_path):
    path = str(tmp_path / 'a"b\\c')
    (server,) = servers(address=path)
    one = gateway(config([server]))
    with connect(one.address("public")) as client:
        assert led_to(client) == server.name
    escaped = server.name.replace("\\", "\\\\").replace('"', '\\"')
    assert any(f'server="{escaped}",address="{escaped}"}} ' in line for line in upstream_metrics(one))
    if shutil.which("promtool"):
        text = one.request("GET", "/metrics")[2]
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
        assert done.returncode == 0, done.stderr
    assert one.ok("POST", "/upstreams/disable", {"server": server.name})["changed"] == 1


def test_millgatectl(gateway, servers):
    first, second = servers(2)
    one = gateway(config([first, second], max_connections=1000))
    row = rf"^{re.escape(first.name)} +{re.escape(first.name)} +public +%s +0 +1,000 "
    assert re.search(row % "up", ctl(one, "upstreams"), re.M)
    assert re.search(row % "up", ctl(one, "status"), re.M)
    assert re.search(row % "up", ctl(one, "top", "--count", "1"), re.M)
    out = ctl(one, "upstream", "disable", first.name, "--listener", "public")
    assert re.search(row % "disabled", out, re.M) and second.name not in out
    assert re.search(row % "disabled", ctl(one, "upstreams"), re.M)
    assert json.loads(ctl(one, "--json", "upstreams"))["upstreams"][0]["state"] == "disabled"
    out = ctl(one, "upstream", "disable", "127.0.0.1:1", code=1)
    assert 'there is no server "127.0.0.1:1"' in out
    assert 'no listener "x"' in ctl(
        one, "upstream", "enable", first.name, "--listener", "x", code=1
    )
    assert re.search(row % "up", ctl(one, "upstream", "enable", first.name), re.M)
