"""The admin interface: each route, what it takes, what it refuses, and that its numbers agree."""

import collections
import json
import re
import shutil
import signal
import stat
import subprocess
import threading

import pytest

from clients import Crowd, connect, read_exactly, reset
from gateway import MILLGATED, ROOT, process_runs, wait_for

COMMAND = re.compile(r'COMMAND\(\w+, "(\w*)", "([^"]*)", \w+, (\w+),', re.MULTILINE)
REASON = re.compile(r'CLOSE\(\w+, "(\w+)", (\w+),')
METRIC = re.compile(r"METRIC\(\w+, (\w+), (GAUGE|COUNTER),")
METRIC_LISTENER = re.compile(r"METRIC_LISTENER\(\w+, (\w+), (GAUGE|COUNTER),")

MAX_ID = 2**53
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


def rows(table, pattern):
    return pattern.findall((ROOT / "src" / f"{table}.def").read_text())


ROUTES = [
    (method, path.replace("ID", "1"), body)
    for method, path, body in rows("commands", COMMAND)
    if method
]
PATHS = sorted({path for _, path, _ in ROUTES})
REASONS = dict(rows("close_reason", REASON))
REFUSED = [name for name, kind in REASONS.items() if kind == "REFUSED"]
EACH_ROUTE = pytest.mark.parametrize(
    "method, path, body", ROUTES, ids=[f"{method}{path}" for method, path, _ in ROUTES]
)


def config(**more):
    return {"workers": 2, "listeners": {"hold": {}, "echo": {"service": "echo"}}, **more}


@pytest.fixture
def one(gateway):
    return gateway(config())


def refused(gateway, method, path, body=None, status=400):
    """The words of the answer to a request that must be refused."""
    found, answer = gateway.admin(method, path, body)
    assert found == status and list(answer) == ["error"], (method, path, found, answer)
    return answer["error"]


# What each route answers.


def test_the_table_is_read():
    assert len(ROUTES) >= 12 and "client_closed" in REASONS and "refused_total" in REFUSED


def test_health(one):
    answer = one.get("/health")
    assert set(answer) == {"status", "problems", "warnings", "draining"}
    assert (answer["status"], answer["problems"], answer["draining"]) == ("ok", [], False)


def test_health_when_full(gateway):
    one = gateway(config(limits={"connections": 1}))
    with Crowd(one.address(), 1):
        one.wait_connections(1)
        status, answer = one.admin("GET", "/health")
        assert (status, answer["status"]) == (503, "degraded")
        assert answer["problems"] == ["limits.connections is reached"]
        assert one.stats()["problems"] == answer["problems"]


def test_stats(one):
    stats = one.stats()
    assert stats["pid"] == one.pid and stats["version"]
    assert set(stats["closed"]) == set(REASONS)
    assert set(stats["metrics"]) == {name for name, _ in rows("metrics", METRIC)}
    assert set(stats["limits"]) == {
        *("connections", "connections_per_source", "queued_bytes", "worker_connections")
    }
    assert list(stats["listeners"]) == ["hold", "echo"]
    for name, listener in stats["listeners"].items():
        host, port = one.address(name)
        assert listener["addresses"] == [f"{host}:{port}"]
        assert (listener["service"], listener["state"]) == (name, "accepting")
    assert [worker["worker"] for worker in stats["workers"]] == [0, 1]
    assert {worker["state"] for worker in stats["workers"]} == {"up"}
    assert sorted(worker["pid"] for worker in stats["workers"]) == sorted(one.children())
    assert 0 <= stats["uptime_seconds"] - stats["metrics"]["uptime_seconds"] < 1


def test_config(one):
    answer = one.get("/config")
    assert answer["workers"] == 2
    assert answer["admin"] == {"socket": str(one.admin_socket), "mode": "0660"}
    assert set(answer["listeners"]) == {"hold", "echo"}
    one.config = answer
    assert one.reload() == [], "what it prints is what it reads"


def test_sources(one):
    with Crowd(one.address()) as crowd:
        for number in range(12):
            crowd.add(12 - number, f"127.0.5.{number + 1}")
        one.wait_connections(78)
        answer = one.get("/sources")
        expected = [
            {"source": f"127.0.5.{number + 1}/32", "connections": 12 - number}
            for number in range(12)
        ]
        assert answer == {"sources": expected[:10], "sources_current": 12}
        assert one.get("/sources?limit=1")["sources"] == expected[:1]
        assert one.get("/sources?limit=1000")["sources"] == expected


def check_connection(item, client, listener):
    host, port = client.getsockname()
    assert set(item) == {
        *("id", "listener", "service", "worker", "peer", "age_seconds", "idle_seconds"),
        *("bytes_received", "bytes_sent", "rtt_seconds", "queued_bytes", "state"),
        "upstream",
    }
    assert item["upstream"] is None
    assert 0 < item["id"] < MAX_ID
    assert (item["peer"], item["state"]) == (f"{host}:{port}", "open")
    assert (item["listener"], item["service"]) == (listener, listener)
    assert item["worker"] in (0, 1) and item["queued_bytes"] == 0
    assert 0 <= item["idle_seconds"] <= item["age_seconds"] < 30
    assert 0 < item["rtt_seconds"] < 1


def test_connection(one):
    with connect(one.address("echo")) as client:
        client.sendall(b"0123456789")
        assert read_exactly(client, 10) == b"0123456789"
        item = one.connection_of(client)
        check_connection(item, client, "echo")
        again = one.get(f"/connections/{item['id']}")
        check_connection(again, client, "echo")
        assert again["id"] == item["id"]
        wait_for(lambda: one.get(f"/connections/{item['id']}")["bytes_sent"], 10)
        assert again["bytes_received"] == 10
    one.wait_connections(0)
    assert refused(one, "GET", f"/connections/{item['id']}", status=404)


def test_kill_one(one):
    with Crowd(one.address(), 3) as crowd:
        one.wait_connections(3)
        client = crowd.clients[1]
        path = f"/connections/{one.connection_of(client.sock)['id']}"
        assert one.ok("DELETE", path) == {"closed": 1}
        assert crowd.pump_until(lambda: crowd.closed_count == 1) and not client.is_open
        one.wait_closed("killed", 1)
        assert refused(one, "DELETE", path, status=404)
        assert refused(one, "GET", path, status=404)


def test_kill_by_source(one):
    with Crowd(one.address()) as crowd, Crowd(one.address("echo")) as other:
        for place in (crowd, other):
            place.add(2, "127.0.6.1")
            place.add(3, "127.0.6.2")
            place.add(4, "127.0.7.1")
        one.wait_connections(18)
        assert one.ok("DELETE", "/connections?source=127.0.8.0/24") == {"closed": 0}
        assert one.ok("DELETE", "/connections?source=127.0.6.1&listener=echo") == {"closed": 2}
        one.wait_connections(16)
        assert one.ok("DELETE", "/connections?source=127.0.6.0/24") == {"closed": 8}
        one.wait_connections(8)
        assert one.ok("DELETE", "/connections?source=::/0") == {"closed": 0}
        assert one.ok("DELETE", "/connections?source=0.0.0.0/0") == {"closed": 8}
        one.wait_closed("killed", 18)


def test_connections_in_pages(one):
    with Crowd(one.address(), 250), Crowd(one.address("echo"), 7):
        one.wait_connections(257)
        first = one.get("/connections")
        assert len(first["connections"]) == 100, "the default limit"
        everybody = {item["id"]: item for item in one.connections()}
        assert len(everybody) == 257
        for limit in (1, 64, 256, 257, 258):
            found = one.connections(f"limit={limit}")
            assert len(found) == 257 and {item["id"] for item in found} == set(everybody)
        assert len(one.connections("listener=echo")) == 7
        per_worker = [len(one.connections(f"worker={n}")) for n in (0, 1)]
        assert per_worker == [worker["connections"] for worker in one.workers()]
        peer = first["connections"][0]["peer"].partition(":")[0]
        same = [item for item in everybody.values() if item["peer"].startswith(f"{peer}:")]
        assert len(one.connections(f"source={peer}")) == len(same) > 0
        assert one.connections("source=127.0.9.0/24") == []


def test_drain_and_resume(one):
    with Crowd(one.address(), 10) as crowd:
        one.wait_connections(10)
        answer = one.ok("POST", "/drain", {"over": "1h"})
        assert answer["draining"] is True and answer["over_seconds"] == 3600
        assert answer["connections"] == 10
        assert one.stats()["draining"] and one.listener("hold")["state"] == "draining"
        crowd.add(1)
        assert one.ok("POST", "/resume") == {"draining": False}
        one.wait_connections(11)
        assert not one.stats()["draining"]
        assert one.ok("POST", "/drain")["over_seconds"] == 0
        assert crowd.pump_until(lambda: crowd.open_count == 0)
        one.wait_closed("drained", 11)
        assert one.ok("POST", "/resume") == {"draining": False}
        crowd.add(1)
        one.wait_connections(1)


@pytest.mark.parametrize("over, seconds", [("90s", 90), (1.5, 1.5), (0, 0), ("7d", 604800)])
def test_drain_over(one, over, seconds):
    assert one.ok("POST", "/drain", {"over": over})["over_seconds"] == seconds


def test_reload(one):
    assert one.ok("POST", "/reload") == {"changed": [], "needs_restart": []}


# What is refused.


def test_unknown_paths(one):
    paths = ["/", "//health", "/health/", "/Health", "/%68ealth", "/stats/x", "/connections/"]
    paths += ["/connections/x", "/connections/1x", "/connections/-1", "/connections/1/2"]
    paths += ["/connections/99999999999999999999", "/" + "x" * 4000, "*"]
    for path in paths:
        for method in ("GET", "POST", "DELETE"):
            refused(one, method, path, status=404)
    for number in (0, 1, 2**24, 2**53, 2**64 - 1):
        assert "there is no connection" in refused(one, "GET", f"/connections/{number}", status=404)


@pytest.mark.parametrize("path", PATHS)
def test_wrong_methods(one, path):
    allowed = [method for method, of, _ in ROUTES if of == path]
    for method in METHODS:
        if method in allowed:
            continue
        status, headers, answer = one.request(method, path)
        assert (status, headers["Allow"]) == (405, ", ".join(allowed)), method
        assert headers["Content-Type"] == "application/json"
        assert method == "HEAD" or "allows only" in json.loads(answer)["error"]


@EACH_ROUTE
def test_unknown_and_repeated_parameters(one, method, path, body):
    assert "unknown parameter" in refused(one, method, f"{path}?colour=red")
    known = {"/connections": "source=1.2.3.4", "/sources": "limit=5"}.get(path)
    if known:
        assert "there twice" in refused(one, method, f"{path}?{known}&{known}")
        assert "unknown parameter" in refused(one, method, f"{path}?{known.title()}")
    for query in ("&", "=", "=x", "x", "a=b&&c=d", "limit=5%00"):
        refused(one, method, f"{path}?{query}")


@EACH_ROUTE
def test_bodies_where_none_is_allowed(one, method, path, body):
    for text in ("{}", "x", " " * 65536):
        status, _, answer = one.request(method, path, text)
        if body == "BODY" and text == "{}":
            assert status == 200 or path.startswith("/upstreams/")
        else:
            assert status == 400 and "body" in json.loads(answer)["error"]


NUMBERS = ["", "x", "-1", "+1", " 1", "1 ", "1x", "0x1", "1.0", "1e1", "%20", "%0a", "%ff"]


@pytest.mark.parametrize(
    "path, low, high",
    [
        ("/sources?limit=", 1, 1000),
        ("/connections?limit=", 1, 1000),
        ("/connections?worker=", 0, 1),
        ("/connections?after=", 0, 2**63 - 1),
    ],
)
def test_numbers_in_queries(one, path, low, high):
    for good in (low, high):
        one.get(f"{path}{good}")
    for bad in [low - 1, high + 1, 2**64, 10**30, *NUMBERS]:
        found = refused(one, "GET", path + str(bad).replace(" ", "%20"))
        assert f"allowed are {low} to {high}" in found


BAD_SOURCES = ["", "x", "1.2.3", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/24/8", "::/129", "1.2.3.4%00"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_sources_and_listeners_in_queries(one, method):
    for bad in BAD_SOURCES:
        refused(one, method, f"/connections?source={bad}")
    assert "no listener" in refused(one, method, "/connections?source=::/0&listener=nobody")
    refused(one, method, "/connections?source=::/0&listener=")


def test_kill_needs_a_source(one):
    assert "source is needed" in refused(one, "DELETE", "/connections")
    assert "source is needed" in refused(one, "DELETE", "/connections?listener=hold")


BODIES = ["x", "[]", "1", '"x"', "null", "{", "{}{}", '{"over": 1, "over": 2}', "{'over': 1}"]
BODIES += ['{"over": "\x01"}', "[" * 65000, b'{"over": "\xff"}', b"\0", "\x1b[31m"]


def test_bodies_that_are_no_object(one):
    for body in BODIES:
        status, _, answer = one.request("POST", "/drain", body)
        assert status == 400 and "the body is no JSON" in json.loads(answer)["error"], body
    assert not one.get("/health")["draining"]


def test_bodies_that_say_nonsense(one):
    for over in ("", "x", "-1s", "7d1s", "8d", -1, 604801, 1e300, None, True, [], {}, "10 m", "1y"):
        assert "over: allowed are" in refused(one, "POST", "/drain", {"over": over})
    assert "unknown key" in refused(one, "POST", "/drain", {"ovr": "1s"})
    assert not one.get("/health")["draining"]


BAD_SERVERS = [{}, {"server": 1}, {"server": None}, {"server": "x", "listener": 1}]
BAD_SERVERS += [{"server": ["x"]}, {"server": "x", "what": 1}, {"listener": "hold"}]


@pytest.mark.parametrize("what", ["disable", "enable"])
def test_servers_that_are_none(one, what):
    path = f"/upstreams/{what}"
    assert one.get("/upstreams") == {"upstreams": []} and one.stats()["upstreams"] == []
    for bad in BAD_SERVERS:
        refused(one, "POST", path, bad)
    assert "the key server is needed" in refused(one, "POST", path)
    assert "unknown key" in refused(one, "POST", path, {"name": "x"})
    for server in ("", "127.0.0.1:80", "x" * 4000, "\n"):
        found = refused(one, "POST", path, {"server": server}, 404)
        assert "there is no server" in found
        found = refused(one, "POST", path, {"server": server, "listener": "hold"}, 404)
        assert "listener hold has no server" in found
    found = refused(one, "POST", path, {"server": "x", "listener": "nobody"}, 404)
    assert 'there is no listener "nobody"' in found


# Numbers.


def check_metrics_text(text):
    if not shutil.which("promtool"):
        pytest.skip("promtool is missing: install the Debian package prometheus")
    check = ["promtool", "check", "metrics"]
    found = subprocess.run(check, input=text, capture_output=True, text=True)
    assert found.returncode == 0 and found.stderr == "", found.stdout + found.stderr


def test_rules_for_prometheus_are_about_metrics_that_exist():
    rules = ROOT / "conf/prometheus-rules.yml"
    text = subprocess.run([MILLGATED, "--describe=metrics"], capture_output=True, text=True).stdout
    known = set(re.findall(r"^(\w+)", text, re.MULTILINE))
    used = set(re.findall(r"millgate_(\w+)", rules.read_text()))
    assert used and used <= known
    if shutil.which("promtool"):
        check = ["promtool", "check", "rules", str(rules)]
        found = subprocess.run(check, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout + found.stderr


def test_metrics(one):
    with Crowd(one.address(), 3), Crowd(one.address("echo"), 2):
        one.wait_connections(5)
        status, headers, body = one.request("GET", "/metrics")
        stats = one.stats()
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    text = body.decode("ascii")
    values = dict(re.findall(r"^millgate_(\S+) (\d+)$", text, re.MULTILINE))
    for name, kind in rows("metrics", METRIC):
        assert f"# TYPE millgate_{name} {kind.lower()}\n" in text
        if name not in ("uptime_seconds", "admin_requests_total"):
            assert int(values[name]) == stats["metrics"][name], name
    for name, kind in rows("metrics", METRIC_LISTENER):
        assert f"# TYPE millgate_listener_{name} {kind.lower()}\n" in text
        for listener in ("hold", "echo"):
            found = int(values[f'listener_{name}{{listener="{listener}"}}'])
            assert found == stats["listeners"][listener][name]
    for name, kind in REASONS.items():
        assert f'closed_total{{reason="{name}",class="{kind.lower()}"}}' in values
    assert values['worker_connections_current{worker="0"}'] in "23"
    check_metrics_text(text)


def check_invariants(stats):
    """What holds at every moment."""
    metrics, listeners = stats["metrics"], stats["listeners"].values()
    refused_count = sum(stats["closed"][name] for name in REFUSED)
    closed_count = sum(stats["closed"].values()) - refused_count
    current = metrics["connections_current"]
    assert metrics["connections_accepted_total"] == current + closed_count
    assert metrics["connections_closed_total"] == closed_count
    assert metrics["connections_refused_total"] == refused_count
    assert sum(worker["connections"] for worker in stats["workers"]) == current
    assert sum(listener["connections"] for listener in listeners) == current
    by_reason = collections.Counter()
    for listener in listeners:
        by_reason.update(listener["closed"])
    assert by_reason == {name: count for name, count in stats["closed"].items() if count}
    accepted = sum(listener["accepted_total"] for listener in listeners)
    assert accepted == metrics["connections_accepted_total"]
    assert sum(listener["refused_total"] for listener in listeners) == refused_count
    assert metrics["workers_current"] == len(stats["workers"])
    assert metrics["sources_current"] == stats["sources_current"]


def check_bytes(stats):
    """What holds while no byte is on its way."""
    for name in ("bytes_received_total", "bytes_sent_total"):
        total = stats["metrics"][name]
        assert sum(worker[name] for worker in stats["workers"]) == total
        assert sum(listener[name] for listener in stats["listeners"].values()) == total


def churn(address, stopping):
    while not stopping.is_set():
        with Crowd(address, 20) as crowd:
            crowd.send(b"some bytes")
            crowd.pump(0.01)
            crowd.leave(crowd.clients[:5], reset)


def test_numbers_agree_under_load(gateway):
    one = gateway(config(limits={"connections": 60, "connections_per_source": 15}))
    stopping = threading.Event()
    load = [
        threading.Thread(target=churn, args=(one.address(name), stopping))
        for name in ("hold", "echo", "hold", "echo", "hold")
    ]
    for thread in load:
        thread.start()
    try:
        for _ in range(150):
            check_invariants(one.stats())
    finally:
        stopping.set()
        for thread in load:
            thread.join()
    one.wait_connections(0)
    stats = one.stats()
    check_invariants(stats)
    check_bytes(stats)
    assert stats["closed"]["refused_source"] > 0 and stats["closed"]["client_closed"] > 0
    assert stats["metrics"]["bytes_sent_total"] > 0


def test_numbers_agree_after_a_worker_is_lost(one):
    with Crowd(one.address(), 20) as crowd:
        one.wait_connections(20)
        subprocess.run(["kill", "-9", str(one.worker_pids()[0])], check=True)
        assert crowd.pump_until(lambda: crowd.closed_count == 10)
        one.wait_closed("worker_lost", 10)
        one.wait_metric("workers_current", 2)
        check_invariants(one.stats())
        assert one.metric("worker_restarts_total") == 1


def test_ids_are_small_and_new(one):
    seen = set()
    for _ in range(5):
        with Crowd(one.address(), 40):
            one.wait_connections(40)
            found = {item["id"] for item in one.connections()}
            assert len(found) == 40 and max(found) < MAX_ID
            assert not found & seen
            seen |= found
        one.wait_connections(0)


# The socket.


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", ["0660", "0600", "0666", "0000"])
def test_socket_permissions(gateway, tmp_path, mode):
    path = tmp_path / "admin.sock"
    admin = {"socket": str(path), "mode": mode}
    one = gateway(config(admin=admin if mode != "0660" else {"socket": str(path)}), wait=False)
    one.wait_log("ready")
    assert stat.S_ISSOCK(path.stat().st_mode) and permissions(path) == int(mode, 8)
    one.stop()
    assert not path.exists(), "it goes with the gateway"


def test_socket_is_removed_when_interrupted(one):
    one.stop(signal.SIGINT)
    assert not one.admin_socket.exists()


def test_socket_left_by_a_crash_is_replaced(gateway, tmp_path):
    admin = {"socket": str(tmp_path / "admin.sock")}
    one = gateway(config(admin=admin), wait=False)
    one.wait_log("ready")
    workers = one.children()
    one.process.kill()
    one.process.wait()
    for pid in workers:
        wait_for(lambda: process_runs(pid), False, what=f"worker {pid} outlives the supervisor")
    assert (tmp_path / "admin.sock").is_socket()
    one = gateway(config(admin=admin), wait=False)
    one.admin_socket = tmp_path / "admin.sock"
    one.wait_healthy()


def failed_start(gateway, status, **more):
    """What a gateway logs that cannot start."""
    one = gateway(config(**more), wait=False)
    one.wait_ended(status)
    return one.log()


def test_socket_in_use_is_left_alone(gateway, one):
    log = failed_start(gateway, 75, admin={"socket": str(one.admin_socket)})
    assert f"admin.socket: cannot listen on {one.admin_socket}: Address already in use" in log
    assert one.health() == (200, "ok"), "who was there first is well"


def test_file_in_the_way_is_left_alone(gateway, tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    log = failed_start(gateway, 1, admin={"socket": str(path)})
    assert f"cannot listen on {path}: File exists" in log
    assert path.read_text() == "precious"


def test_socket_in_a_directory_that_is_not_there(gateway, tmp_path):
    path = tmp_path / "nowhere" / "admin.sock"
    log = failed_start(gateway, 1, admin={"socket": str(path)})
    assert f"cannot listen on {path}: No such file or directory" in log


def test_no_socket_at_all(gateway):
    one = gateway(config(admin={}), wait=False)
    one.wait_log("ready")
    with connect(one.address("echo")) as client:
        client.sendall(b"x")
        assert read_exactly(client, 1) == b"x"
    assert not one.admin_socket.exists()
