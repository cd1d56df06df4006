"""millgatectl and a real gateway: each verb does what it says, and exits as it should."""

import json
import os
import re
import signal
import subprocess

import pytest

from clients import Crowd
from gateway import BUILD, SANITIZER_ENVIRONMENT, SANITIZER_REPORT, merge

CTL = BUILD / "millgatectl"
DONE, FAILED, USAGE, UNREACHABLE = range(4)
MAX_ID = 2**53


def config(**more):
    return {"workers": 2, "listeners": {"hold": {}, "echo": {"service": "echo"}}, **more}


@pytest.fixture
def one(gateway):
    return gateway(config())


def ctl_at(path, *arguments, status=DONE):
    """Runs it; what it printed on stdout and stderr."""
    environment = {**os.environ, **SANITIZER_ENVIRONMENT, "MILLGATE_ADMIN_SOCKET": str(path)}
    done = subprocess.run(
        [str(CTL), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    assert done.returncode == status, done
    assert "\033" not in done.stdout, "no colours on a pipe"
    return done.stdout, done.stderr


def ctl(gateway, *arguments):
    """What it prints when all is well."""
    out, err = ctl_at(gateway.admin_socket, *arguments)
    assert err == ""
    return out


def refused(gateway, *arguments, status=FAILED):
    """What it complains of when it is not."""
    out, err = ctl_at(gateway.admin_socket, *arguments, status=status)
    assert out == "" and err.startswith("millgatectl: ")
    return err


def ctl_json(gateway, *arguments):
    return json.loads(ctl(gateway, "--json", *arguments))


def number(text):
    return int(text.replace(",", ""))


def rows(table, first):
    """The lines of a table, as words, below the heading that starts so."""
    lines = table.splitlines()
    start = next(i for i, line in enumerate(lines) if line.lstrip().startswith(first))
    found = []
    for line in lines[start + 1 :]:
        if not line:
            break
        found.append(line.split())
    return found


# How it is.


def test_status(one):
    with Crowd(one.address(), 1200) as crowd, Crowd(one.address("echo"), 30):
        crowd.leave(crowd.clients[:100])
        one.wait_closed("client_closed", 100)
        one.wait_connections(1130)
        text, stats = ctl(one, "status"), one.stats()
    assert text.startswith(f"millgate {stats['version']} is ok  pid {one.pid}, up ")
    assert re.search(r"^Connections +1,130 of 100,000 ", text, re.MULTILINE)
    assert "1,230 accepted, 0 refused" in text
    listeners = {row[0]: row for row in rows(text, "LISTENER")}
    for name, listener in stats["listeners"].items():
        row = listeners[name]
        assert row[1:3] == [listener["service"], listener["state"]]
        assert number(row[3]) == listener["connections"]
        assert number(row[6]) == listener["accepted_total"]
        assert row[8] == listener["addresses"][0]
    for row, worker in zip(rows(text, "WORKER"), stats["workers"]):
        assert row[:2] == [str(worker["worker"]), "up"]
        assert [number(word) for word in row[2:4]] == [worker["pid"], worker["connections"]]
    assert rows(text, "CLOSED")[0][:3] == ["client_closed", "100", "100%"]


def test_status_of_a_degraded_gateway(gateway):
    one = gateway(config(limits={"connections": 5}))
    with Crowd(one.address(), 7) as crowd:
        assert crowd.pump_until(lambda: crowd.closed_count == 2)
        for arguments in (["status"], ["health"], ["--json", "status"], ["--json", "health"]):
            out, _ = ctl_at(one.admin_socket, *arguments, status=FAILED)
            assert "degraded" in out and "limits.connections is reached" in out
        text = ctl_at(one.admin_socket, "status", status=FAILED)[0]
        assert rows(text, "CLOSED")[0][:3] == ["refused_total", "2", "100%"]
        assert rows(text, "LISTENER")[0][7] == "2"


def test_health(one):
    assert ctl(one, "health").splitlines()[0] == "ok"
    assert ctl_json(one, "health") == one.get("/health")
    ctl(one, "drain")
    assert ctl(one, "health").startswith("ok, draining")


def flat(value, path=""):
    """As `millgatectl stats` names what is in nested JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        name = f"{path}.{key}" if path else str(key)
        if isinstance(item, (dict, list)):
            yield from flat(item, name)
        else:
            yield name, item


CHANGING = re.compile(r"uptime_seconds|admin_requests_total|warnings")


def test_stats(one):
    with Crowd(one.address(), 20):
        one.wait_connections(20)
        text = ctl(one, "stats")
        expected = dict(flat(one.stats()))
        printed = ctl_json(one, "stats")
    found = dict(line.split(" ", 1) for line in text.splitlines())
    assert set(found) == set(expected) == set(dict(flat(printed)))
    for name, value in expected.items():
        if not CHANGING.search(name):
            assert found[name] == (value if isinstance(value, str) else json.dumps(value)), name


def test_metrics(one):
    text = ctl(one, "metrics")
    status, _, body = one.request("GET", "/metrics")
    assert status == 200
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        line for line in body.decode().splitlines() if line.startswith("#")
    ]
    refused(one, "--json", "metrics", status=USAGE)


def test_config(one):
    printed = ctl(one, "config")
    assert json.loads(printed) == one.get("/config") == ctl_json(one, "config")


def test_top_on_a_pipe(one):
    with Crowd(one.address(), 15):
        one.wait_connections(15)
        text = ctl(one, "top", "--count", "2", "--interval", "0.2")
    frames = re.split(r"^\d{4}-\d\d-\d\dT[0-9:]+[+-]\d{4}$", text, flags=re.MULTILINE)
    assert len(frames) == 3 and frames[0] == ""
    for frame in frames[1:]:
        assert re.search(r"^Connections +15 of 100,000", frame, re.MULTILINE)
        assert "A second" in frame and rows(frame, "LISTENER")[0][3] == "15"


def test_sources(one):
    with Crowd(one.address()) as crowd:
        for last in range(1, 13):
            crowd.add(last, f"127.0.9.{last}")
        one.wait_connections(78)
        expected = [[f"127.0.9.{last}/32", str(last)] for last in range(12, 0, -1)]
        assert rows(ctl(one, "sources"), "SOURCE")[:-1] == expected[:10]
        text = ctl(one, "sources", "--limit", "1000")
        assert rows(text, "SOURCE")[:-1] == expected and text.endswith("of 12 sources\n")
        assert ctl_json(one, "sources", "--limit", "3")["sources_current"] == 12
    for limit in ("0", "1001", "x"):
        refused(one, "sources", "--limit", limit, status=USAGE)


# Connections.


def test_list_of_all(one):
    with Crowd(one.address(), 2400) as crowd, Crowd(one.address("echo"), 10):
        one.wait_connections(2410)
        table = rows(ctl(one, "list", "--limit", "0"), "ID")
        assert len(table) == 2410 and len({row[0] for row in table}) == 2410
        peers = {"%s:%d" % client.sock.getsockname() for client in crowd.clients}
        assert peers == {row[4] for row in table if row[1] == "hold"}
        found = ctl_json(one, "list", "--limit", "0")["connections"]
        assert [str(item["id"]) for item in found] == [row[0] for row in table]
        assert all(0 < item["id"] < MAX_ID for item in found)
        for limit in (1, 999, 1000, 1001, 2409, 2411):
            out, err = ctl_at(one.admin_socket, "list", "--limit", limit)
            assert len(rows(out, "ID")) == min(limit, 2410)
            assert ("there are more connections" in err) == (limit < 2410)
        out, err = ctl_at(one.admin_socket, "list")
        assert len(rows(out, "ID")) == 100 and "--limit 0 lists all" in err
        assert len(rows(ctl(one, "list", "--listener", "echo"), "ID")) == 10
        some = [len(rows(ctl(one, "list", "--limit=0", "--worker", n), "ID")) for n in (0, 1)]
        assert some == [worker["connections"] for worker in one.workers()]
        same = ctl_json(one, "list", "--source", "127.1.0.0/28", "--limit", "0")["connections"]
        assert len(same) == 15 * 100 + 10


def test_list_of_nothing(one):
    assert ctl_json(one, "list") == {"connections": [], "next": None}
    assert ctl_json(one, "list", "--limit", "0")["connections"] == []
    assert rows(ctl(one, "list"), "ID") == []
    assert "no listener" in refused(one, "list", "--listener", "nobody")
    assert "parameter worker" in refused(one, "list", "--worker", "2")
    assert "parameter source" in refused(one, "list", "--source", "1.2.3.4/33")
    refused(one, "list", "--worker", "x", status=USAGE)


def test_list_into_a_pipe_that_closes(one):
    with Crowd(one.address(), 2000):
        one.wait_connections(2000)
        shell = f"'{CTL}' -s '{one.admin_socket}' list --limit 0 | head -n 1"
        done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=20)
        assert done.stdout.split()[:2] == ["ID", "LISTENER"] and not SANITIZER_REPORT.search(
            done.stderr
        )


def test_show_and_kill(one):
    with Crowd(one.address("echo"), 3) as crowd:
        crowd.send(b"hello")
        assert crowd.pump_until(lambda: crowd.received == 15)
        item = one.connection_of(crowd.clients[0].sock)
        text = ctl(one, "show", item["id"])
        shown = dict(line.split(" ", 1) for line in text.splitlines())
        assert set(shown) == set(item)
        assert (shown["peer"], shown["bytes_sent"]) == (item["peer"], "5")
        assert ctl_json(one, "show", item["id"])["id"] == item["id"]
        assert ctl(one, "kill", item["id"]) == "Closed 1 connection.\n"
        assert crowd.pump_until(lambda: not crowd.clients[0].is_open)
        one.wait_connections(2)
        for verb in ("show", "kill"):
            assert "there is no connection" in refused(one, verb, item["id"])
            for bad in ("x", "-1", "", "1x", MAX_ID):
                ctl_at(one.admin_socket, verb, "--", bad, status=USAGE)


def test_kill_by_source(one):
    with Crowd(one.address()) as crowd, Crowd(one.address("echo")) as other:
        for place in (crowd, other):
            place.add(1200, "127.0.6.1")
            place.add(3, "127.0.7.1")
        one.wait_connections(2406)
        arguments = ("kill", "--source", "127.0.6.0/24")
        assert ctl(one, *arguments, "--listener", "echo") == "Closed 1,200 connections.\n"
        assert ctl_json(one, *arguments) == {"closed": 1200}
        assert ctl(one, *arguments) == "Closed 0 connections.\n"
        one.wait_connections(6)
        assert one.closed("killed") == 2400
    refused(one, "kill", status=USAGE)
    refused(one, "kill", "1", "--source", "::/0", status=USAGE)
    refused(one, "kill", "--listener", "echo", status=USAGE)
    assert "parameter source" in refused(one, "kill", "--source", "everybody")


# Steering.


def test_drain_and_resume(one):
    with Crowd(one.address(), 50) as crowd:
        one.wait_connections(50)
        assert ctl(one, "drain", "--over", "10h") == "Draining 50 connections over 10h.\n"
        assert "draining" in ctl(one, "status").splitlines()[0]
        assert rows(ctl(one, "status"), "LISTENER")[0][2] == "draining"
        assert ctl(one, "resume") == "Accepting connections.\n"
        assert ctl_json(one, "drain", "--over", "3600")["over_seconds"] == 3600
        assert ctl(one, "resume") == "Accepting connections.\n"
        assert ctl_json(one, "drain", "--over", "1s")["over_seconds"] == 1
        assert crowd.pump_until(lambda: crowd.open_count == 0)
        one.wait_connections(0)
        assert ctl(one, "drain") == "Draining 0 connections at once.\n"
        assert ctl_json(one, "resume") == {"draining": False}
        crowd.add(1)
        one.wait_connections(1)
    for over in ("x", "", "8d", "-1s"):
        assert "over: allowed are" in refused(one, "drain", f"--over={over}")
    assert not one.get("/health")["draining"]


def test_reload(one):
    assert ctl(one, "reload") == "Nothing changed.\n"
    merge(one.config, {"limits": {"connections": 77}, "workers": 5})
    one.write_config()
    text = ctl(one, "reload")
    assert text == (
        "Changed:\n  limits.connections\n" "Changed in the file, but needs a restart:\n  workers\n"
    )
    assert ctl_json(one, "reload") == {"changed": [], "needs_restart": ["workers"]}


def test_reload_of_a_bad_file(one):
    one.config_path.write_text('{"workers": 0, "colour": 1, "listeners": {"hold": {}}}')
    text = refused(one, "reload")
    assert "the configuration was not changed" in text
    assert "workers: found 0, allowed" in text and "colour: unknown key" in text
    out, err = ctl_at(one.admin_socket, "--json", "reload", status=FAILED)
    assert len(json.loads(out)["errors"]) == 2 and "was not changed" in err


# Failing.


def test_wrong_usage(one):
    wrong = [[], ["fly"], ["list", "more"], ["show"], ["show", "1", "2"], ["--colour"]]
    wrong += [["status", "--limit", "1"], ["--timeout", "x", "status"], ["top", "--count", "x"]]
    wrong += [["--json", "top"], ["help", "fly"], ["reload", "now"]]
    for arguments in wrong:
        out, err = ctl_at(one.admin_socket, *arguments, status=USAGE)
        assert out == "" and "Try 'millgatectl help" in err


VERBS = ["status", "health", "stats", "metrics", "list", "show 1", "sources", "kill 1", "drain"]
VERBS += ["resume", "reload", "config", "top"]


@pytest.mark.parametrize("verb", VERBS)
def test_nobody_there(tmp_path, verb):
    path = tmp_path / "admin.sock"
    _, err = ctl_at(path, *verb.split(), status=UNREACHABLE)
    assert err == (
        f"millgatectl: {path}: there is no such socket; is millgated running? "
        "(--socket names another)\n"
    )


def test_gateway_that_was_killed(gateway, one):
    one.process.kill()
    one.process.wait()
    _, err = ctl_at(one.admin_socket, "status", status=UNREACHABLE)
    assert "nobody listens there" in err


def test_gateway_that_hangs(one):
    one.process.send_signal(signal.SIGSTOP)
    try:
        _, err = ctl_at(one.admin_socket, "--timeout", "0.3", "status", status=UNREACHABLE)
    finally:
        one.process.send_signal(signal.SIGCONT)
    assert err.startswith(f"millgatectl: {one.admin_socket}: ")
    one.wait_healthy()


def test_socket_option_goes_before_the_environment(one, tmp_path):
    out, _ = ctl_at(tmp_path / "nobody", "-s", one.admin_socket, "health")
    assert out.startswith("ok")


def test_help_of_each_verb():
    text, _ = ctl_at("/nowhere", "help")
    for verb in VERBS:
        verb = verb.split()[0]
        assert re.search(rf"^  {verb}\b", text, re.MULTILINE)
        assert f"millgatectl {verb}" in ctl_at("/nowhere", "help", verb)[0]
        assert f"millgatectl {verb}" in ctl_at("/nowhere", verb, "--help")[0]


def test_version():
    assert re.fullmatch(r"millgatectl \d+\.\d+\.\d+\n", ctl_at("/nowhere", "--version")[0])
