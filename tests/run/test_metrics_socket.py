"""The metrics socket: who may only look, and what is open to everybody."""

import contextlib
import errno
import http.client
import json
import os
import re
import socket
import stat

import pytest

from clients import Crowd, connect, is_closed, read_all
from gateway import UnixHTTPConnection, free_port, wait_for

SERVED = "allowed here are GET /health, GET /metrics; found "
HIDDEN = ["/", "/stats", "/connections", "/connections/1", "/sources", "/config", "/tuning"]
WRITES = [
    ("POST", "/drain"),
    ("POST", "/resume"),
    ("POST", "/reload"),
    ("DELETE", "/connections/1"),
]
SERVED_AT_ONCE = 64


def config(address, **more):
    listeners = {"hold": {}, "echo": {"service": "echo"}}
    return {"workers": 2, "listeners": listeners, "metrics": {"address": address, **more}}


class Scraper:
    """Who asks on the metrics socket: an address as in the configuration."""

    def __init__(self, address):
        self.address = address

    def connect(self, timeout=20):
        if self.address.startswith("unix:"):
            return UnixHTTPConnection(self.address[5:].replace("@", "\0"), timeout)
        host, _, port = self.address.rpartition(":")
        return http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout)

    def raw(self):
        connection = self.connect()
        connection.connect()
        return connection.sock

    def ask(self, method, path, body=None, timeout=20):
        """Status, headers and text of the answer."""
        with contextlib.closing(self.connect(timeout)) as connection:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def health(self):
        status, _, text = self.ask("GET", "/health")
        return status, json.loads(text)["status"]


@pytest.fixture
def served(gateway):
    """A gateway with a metrics socket on TCP, and who asks there."""
    address = f"127.0.0.1:{free_port()}"
    return gateway(config(address)), Scraper(address)


def error_of(answer):
    assert answer[1]["Content-Type"] == "application/json"
    return json.loads(answer[2])["error"]


# Where it is.


def places(directory):
    yield from (f"127.0.0.1:{free_port()}", f"[::1]:{free_port()}")
    yield from (f"unix:{directory}/metrics.sock", f"unix:@{directory}/metrics")


@pytest.mark.parametrize("number", range(4), ids=["ipv4", "ipv6", "unix", "abstract"])
def test_addresses(gateway, tmp_path, number):
    address = list(places(tmp_path))[number]
    one = gateway(config(address))
    assert Scraper(address).health() == (200, "ok")
    assert "\nmillgate_connections_current 0\n" in Scraper(address).ask("GET", "/metrics")[2]
    one.stop()
    assert not (tmp_path / "metrics.sock").exists()
    with pytest.raises(OSError):
        Scraper(address).raw()


def test_without_an_address_there_is_none(gateway):
    one = gateway({"workers": 1, "listeners": {"hold": {}}})
    assert one.get("/config")["metrics"] == {"address": "", "mode": "0666"}
    with open(f"/proc/{one.pid}/net/tcp", encoding="ascii") as table:
        listening = [line for line in table if " 0A " in line]
    assert not any(":24F8 " in line.split(" 0A ")[0] for line in listening), "not on port 9464"


@pytest.mark.parametrize("mode", ["0666", "0600"])
def test_mode(gateway, tmp_path, mode):
    path = tmp_path / "metrics.sock"
    gateway(config(f"unix:{path}", mode=mode))
    assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)


def test_no_admin_socket_is_needed(gateway):
    address = f"127.0.0.1:{free_port()}"
    gateway({**config(address), "admin": {}}, wait=False)

    def health():
        with contextlib.suppress(ConnectionError):
            return Scraper(address).health()

    wait_for(health, (200, "ok"))


def test_address_in_use(gateway):
    with socket.create_server(("127.0.0.1", free_port())) as other:
        address = "127.0.0.1:%d" % other.getsockname()[1]
        one = gateway(config(address), wait=False)
        one.wait_ended(status=75)
    reason = os.strerror(errno.EADDRINUSE)
    assert f"metrics.address: cannot listen on {address}: {reason}" in one.log()


def test_change_needs_a_restart(served):
    one, scraper = served
    one.config["metrics"] = {"address": f"127.0.0.1:{free_port()}", "mode": "0600"}
    one.write_config()
    answer = one.ok("POST", "/reload")
    assert answer == {"changed": [], "needs_restart": ["metrics.address", "metrics.mode"]}
    assert scraper.health() == (200, "ok")
    assert one.get("/config")["metrics"]["address"] == scraper.address


# What it answers.


def test_metrics_are_those_of_the_admin_socket(served):
    one, scraper = served
    with Crowd(one.address(), 5):
        one.wait_connections(5)
        status, headers, text = scraper.ask("GET", "/metrics")
        assert (status, headers["Content-Type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
        assert "\nmillgate_connections_current 5\n" in text
        names = re.compile(r"^(\w+)", re.MULTILINE)
        same = one.request("GET", "/metrics")[2].decode()
        assert names.findall(text) == names.findall(same)


def test_health_tells_when_it_is_degraded(served):
    one, scraper = served
    one.reload(limits={"connections": 1})
    with Crowd(one.address(), 1):
        one.wait_connections(1)
        status, _, text = scraper.ask("GET", "/health")
        assert (status, json.loads(text)["problems"]) == (503, ["limits.connections is reached"])


@pytest.mark.parametrize("path", HIDDEN)
def test_other_routes_do_not_exist(served, path):
    answer = served[1].ask("GET", path)
    assert answer[0] == 404
    assert error_of(answer) == f"{SERVED}GET {path}"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/metrics", "/health", "/nothing"])
def test_only_get_is_allowed(served, method, path):
    answer = served[1].ask(method, path, body="{}")
    assert (answer[0], answer[1]["Allow"]) == (405, "GET")
    assert error_of(answer) == f"{SERVED}{method} {path}"


def test_nothing_is_changed(served):
    one, scraper = served
    with Crowd(one.address(), 3) as crowd:
        one.wait_connections(3)
        for method, path in [*WRITES, ("DELETE", "/connections?source=0.0.0.0/0")]:
            answer = scraper.ask(method, path)
            assert (answer[0], answer[1]["Allow"]) == (405, "GET")
        assert not one.stats()["draining"]
        assert one.metric("reloads_total") == 0
        crowd.pump()
        assert (crowd.open_count, one.closed_counts()) == (3, {})


def test_head_has_no_body(served):
    status, headers, text = served[1].ask("HEAD", "/metrics")
    assert (status, headers["Allow"], text) == (405, "GET", "")


def test_long_paths_do_not_hide_what_is_allowed(served):
    answer = served[1].ask("GET", "/" + "x" * 4000)
    assert answer[0] == 404 and error_of(answer).startswith(SERVED)


# What is no request is answered as on the admin socket: with JSON.

MALFORMED = [
    (b"GET /metrics HTTP/9.1\r\n\r\n", 400, "no HTTP request"),
    (b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", 400, "no HTTP request"),
    (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 400, "longer than 8192 bytes"),
    (b"POST /drain HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", 413, "longer than 65536 bytes"),
    (b"BREW /metrics HTTP/1.1\r\n\r\n", 501, "no such method"),
    (b"POST /x HTTP/1.1\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", 417, "100-continue"),
]


@pytest.mark.parametrize("face", ["admin", "metrics"])
@pytest.mark.parametrize("data, status, text", MALFORMED, ids=[str(i) for i in range(6)])
def test_what_is_no_request(served, face, data, status, text):
    one, scraper = served
    with connect(str(one.admin_socket)) if face == "admin" else scraper.raw() as client:
        client.sendall(data)
        answer = read_all(client)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert re.match(rf"HTTP/1\.[01] {status} ", lines[0])
    assert {"Content-Type: application/json", "Connection: close"} <= set(lines)
    assert f"Content-Length: {len(body)}" in lines
    assert text in json.loads(body)["error"]
    assert scraper.health() == (200, "ok")


def test_an_error_after_good_requests(served):
    _, scraper = served
    with scraper.raw() as client:
        client.sendall(
            b"GET /metrics HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\nBREW / HTTP/1.1\r\n\r\n"
        )
        answer = read_all(client)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200", b"200", b"501"]
    assert answer.endswith(b'{"error": "there is no such method"}')


# Many who ask.


def test_a_crowd_there_keeps_nobody_from_the_admin_socket(served):
    one, scraper = served
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(scraper.raw()) for _ in range(SERVED_AT_ONCE + 20)]
        with pytest.raises(TimeoutError):
            scraper.ask("GET", "/health", timeout=0.3)
        assert one.health() == (200, "ok")
        assert one.metric("metrics_clients_current") == SERVED_AT_ONCE
        assert one.metric("admin_clients_current") == 1
        idle[0].sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert idle[0].recv(12) == b"HTTP/1.1 200"
    wait_for(lambda: one.metric("metrics_clients_current"), 0)
    assert scraper.health() == (200, "ok")


def test_requests_are_counted(served):
    one, scraper = served
    scraper.ask("GET", "/metrics")
    scraper.ask("POST", "/nothing")
    assert one.metric("metrics_requests_total") == 2


def test_silence_ends(served):
    """The one test that waits for it."""
    with served[1].raw() as silent, served[1].raw() as slow:
        slow.sendall(b"GET /met")
        assert is_closed(silent, 15) and is_closed(slow, 15)
