"""Reload, by SIGHUP and POST /reload: what changes, for whom, and what a bad file does: nothing."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from clients import Crowd, connect, read_exactly
from gateway import merge, process_runs, wait_for

EACH_WAY = pytest.mark.parametrize("way", ["SIGHUP", "POST"])


def config(limits=None, **more):
    """Listeners of both services; more overrides."""
    return {
        "workers": 2,
        "limits": limits or {},
        "listeners": {"hold": {}, "echo": {"service": "echo"}},
        **more,
    }


def reloads(gateway):
    metrics = gateway.stats()["metrics"]
    return metrics["reloads_total"], metrics["reload_errors_total"]


def reload_by(gateway, way, **changes):
    """Takes over a changed file, which must be good."""
    if way == "POST":
        return gateway.reload(**changes)
    merge(gateway.config, changes)
    gateway.write_config()
    before = gateway.metric("reloads_total")
    gateway.process.send_signal(signal.SIGHUP)
    return gateway.wait_metric("reloads_total", before + 1)


def refused_text(gateway, text):
    """The errors of a reload of a file with this text, which must be bad."""
    gateway.config_path.write_text(text)
    status, answer = gateway.admin("POST", "/reload")
    assert status == 422 and set(answer) == {"error", "errors"}, answer
    assert answer["error"] == "the configuration was not changed"
    return answer["errors"]


# What a good file changes.


def test_nothing_changed(gateway):
    one = gateway(config())
    assert one.reload() == []
    assert reloads(one) == (1, 0)
    assert "0 keys changed, 0 need a restart" in one.log()


@EACH_WAY
def test_limit_of_connections(gateway, way):
    one = gateway(config({"connections": 5}))
    with Crowd(one.address(), 6) as crowd:
        assert crowd.pump_until(lambda: crowd.closed_count == 1)
        reload_by(one, way, limits={"connections": 7})
        crowd.add(3)
        assert crowd.pump_until(lambda: crowd.closed_count == 2)
        one.wait_connections(7)
        assert one.stats()["limits"]["connections"] == 7
        assert one.metric("connections_limit") == 7
        assert one.get("/config")["limits"]["connections"] == 7
        assert "reload: limits.connections changed" in one.log()


@pytest.mark.measures
@EACH_WAY
def test_idle_timeout_of_those_who_are_in(gateway, way):
    one = gateway(config({"idle_timeout": "1h"}))
    with Crowd(one.address(), 30) as crowd, Crowd(one.address("echo"), 30) as busy:
        one.wait_connections(60)
        changed = time.monotonic()
        reload_by(one, way, limits={"idle_timeout": "600ms"})

        def nobody_silent():
            busy.send(b"x")
            busy.pump(0.05)
            return crowd.open_count == 0

        assert crowd.pump_until(nobody_silent, 10)
        assert time.monotonic() - changed < 3
        assert busy.closed_count == 0 and set(one.closed_counts()) == {"idle_timeout"}


def heartbeats_a_second(crowd, seconds=1.0):
    before, started = crowd.received, time.monotonic()
    crowd.pump_for(seconds)
    return (crowd.received - before) / len(crowd) / (time.monotonic() - started)


@pytest.mark.measures
def test_heartbeats_of_those_who_are_in(gateway):
    one = gateway(config(listeners={"hold": {}}))
    with Crowd(one.address(), 50) as crowd:
        one.wait_connections(50)
        paths = ["listeners.hold.heartbeat.interval", "listeners.hold.heartbeat.payload"]
        on = {"heartbeat": {"interval": "100ms", "payload": "x"}}
        assert sorted(one.reload(listeners={"hold": on})) == paths
        assert heartbeats_a_second(crowd) == pytest.approx(10, abs=2)
        assert one.reload(listeners={"hold": {"heartbeat": {"interval": "20ms"}}}) == paths[:1]
        assert heartbeats_a_second(crowd) == pytest.approx(50, abs=10)
        one.reload(listeners={"hold": {"heartbeat": {"interval": "1h", "payload": "yy"}}})
        crowd.pump_for(0.1)
        assert heartbeats_a_second(crowd, 0.5) == 0, "the old interval is over"
        one.reload(listeners={"hold": {"heartbeat": {"interval": "100ms"}}})
        assert heartbeats_a_second(crowd) == pytest.approx(20, abs=4), "two bytes each"
        one.reload(listeners={"hold": {"heartbeat": None}})
        crowd.pump_for(0.1)
        assert heartbeats_a_second(crowd, 0.5) == 0
        assert crowd.closed_count == 0


def test_queue_limit_of_those_who_are_in(gateway):
    one = gateway(config())
    with connect(one.address("echo")) as client:
        client.setblocking(False)
        deadline = time.monotonic() + 20
        while one.metric("queued_bytes_current") == 0:
            assert time.monotonic() < deadline
            with contextlib.suppress(BlockingIOError):
                client.send(b"x" * 65536)
        assert one.metric("queued_bytes_current") > 1
        one.reload(limits={"queued_bytes_per_connection": 1, "queued_bytes": 1})
        one.wait_connections(0)
        assert set(one.closed_counts()) <= {"slow_reader", "queues_full"}


@EACH_WAY
def test_log_level(gateway, way):
    one = gateway(config(log_level="error"))
    with connect(one.address()):
        one.wait_connections(1)
    one.wait_connections(0)
    assert one.log() == ""
    reload_by(one, way, log_level="debug")
    with connect(one.address()):
        one.wait_connections(1)
    one.wait_log("debug supervisor: hold: connection [0-9]+ from 127.[0-9.]+/32 closed")
    reload_by(one, way, log_level="error")
    before = one.log()
    reload_by(one, way, limits={"connections": 5})
    assert one.log() == before


def keepalive_timers(port):
    """What ss(8) tells of the keepalive timers of the connections to a port."""
    found = subprocess.run(
        ["ss", "-tnoH", "state", "established", f"sport = :{port}"],
        capture_output=True,
        text=True,
        check=True,
    )
    timers = re.findall(r"timer:\(keepalive,(?:(\d+)min)?(?:([0-9.]+)sec)?", found.stdout)
    return [60 * int(minutes or 0) + float(seconds or 0) for minutes, seconds in timers]


def test_keepalive_of_new_connections(gateway):
    one = gateway(config())
    port = one.address()[1]
    with Crowd(one.address(), 2) as crowd:
        one.wait_connections(2)
        one.reload(listeners={"hold": {"keepalive": "20s"}})
        crowd.add(1)
        one.wait_connections(3)
        timers = keepalive_timers(port)
        assert len(timers) == 3 and len([timer for timer in timers if timer <= 20]) == 1
        one.reload(listeners={"hold": {"keepalive": 0}})
        crowd.add(5)
        one.wait_connections(8)
        assert len(keepalive_timers(port)) == 3, "new ones have none"


def test_worker_timeout_and_stop_timeout(gateway):
    one = gateway(config())
    assert one.reload(worker_timeout="1s", stop_timeout="100ms") == [
        "worker_timeout",
        "stop_timeout",
    ]
    pid = one.worker_pids()[0]
    os.kill(pid, signal.SIGSTOP)
    one.wait_log(rf"worker \d \(pid {pid}\) has not ticked for [1-9]\.\d s; killing it")
    wait_for(lambda: process_runs(pid), False)
    one.wait_metric("workers_current", 2)
    pid = one.worker_pids()[0]
    os.kill(pid, signal.SIGSTOP)
    one.stop()
    assert "1 workers did not stop in time" in one.log()


def test_new_worker_has_the_new_configuration(gateway):
    one = gateway(config({"idle_timeout": "1h"}, workers=1))
    one.reload(limits={"idle_timeout": "500ms"})
    one.reload(listeners={"hold": {"heartbeat": {"interval": "50ms", "payload": "beat"}}})
    os.kill(one.worker_pids()[0], signal.SIGKILL)
    one.wait_metric("worker_restarts_total", 1)
    one.wait_metric("workers_current", 1)
    with Crowd(one.address(), 5) as crowd:
        assert crowd.pump_until(lambda: crowd.open_count == 0, 5)
        assert all(client.age_at_close > 0.5 for client in crowd.clients)
        assert crowd.received >= 5 * 4 * len("beat")
        one.wait_closed("idle_timeout", 5)


def test_worker_that_starts_while_it_is_reloaded(gateway):
    one = gateway(config({"idle_timeout": "1h"}, workers=4))
    for pid in one.worker_pids():
        os.kill(pid, signal.SIGKILL)
    for number in range(20):
        one.reload(limits={"idle_timeout": 10 + number})
    one.reload(limits={"idle_timeout": "300ms"})
    one.wait_metric("workers_current", 4)
    with Crowd(one.address(), 20) as crowd:
        assert crowd.pump_until(lambda: crowd.open_count == 0, 5)


# What a bad file does.

BAD = [
    (lambda good: good[:-3], r":\d+:\d+: "),
    (lambda good: "", r":1:1: "),
    (lambda good: good.replace('"workers": 2', '"workers": 257'), "workers: found 257, allowed"),
    (lambda good: good.replace('"limits"', '"limit"'), "limit: unknown key"),
    (lambda good: good.replace('"service"', '"sevrice"'), r"listeners.echo.sevrice: unknown key"),
    (
        lambda good: good.replace('"connections": 9', '"connections": 0'),
        "limits.connections: found",
    ),
    (lambda good: good.replace('"workers": 2', '"workers": 2, "workers": 2'), "workers"),
]


@pytest.mark.parametrize("spoil, expected", BAD)
def test_bad_file_changes_nothing(gateway, spoil, expected):
    one = gateway(config({"connections": 9}))
    good = one.config_path.read_text()
    before = one.get("/config")
    with Crowd(one.address(), 9) as crowd:
        one.wait_connections(9)
        errors = refused_text(one, spoil(good))
        assert len(errors) == 1 and errors[0].startswith(str(one.config_path))
        assert re.search(expected, errors[0]), errors
        one.process.send_signal(signal.SIGHUP)
        one.wait_metric("reload_errors_total", 2)
        assert one.log().count(f"error supervisor: {errors[0]}") == 2
        assert one.log().count("reload failed: the configuration is in error") == 2
        assert "nothing was changed" in one.log()
        assert one.get("/config") == before
        crowd.add(1)
        assert crowd.pump_until(lambda: crowd.closed_count == 1), "the limit still holds"
        assert crowd.open_count == 9
    one.config_path.write_text(good)
    assert one.reload() == [] and reloads(one) == (1, 2)


def test_all_errors_are_told(gateway):
    one = gateway(config())
    errors = refused_text(
        one, '{"workers": 0, "log_level": "loud", "listeners": {"a b": {}}, "x": 1}'
    )
    for word in ("workers", "log_level", "a b", "x"):
        assert any(f": {word}" in error or word in error for error in errors), (word, errors)
    assert len(errors) >= 4


@pytest.mark.parametrize("what", ["gone", "directory", "too large"])
def test_file_that_cannot_be_read(gateway, what):
    one = gateway(config())
    one.config_path.unlink()
    if what == "directory":
        one.config_path.mkdir()
    if what == "too large":
        one.config_path.write_text(" " * (1024 * 1024 + 1))
    status, answer = one.admin("POST", "/reload")
    assert status == 422
    expected = {"gone": "No such file", "directory": "Is a directory", "too large": "too large"}
    assert expected[what] in answer["errors"][0]
    assert one.health() == (200, "ok")


# What needs a restart.


def test_keys_that_need_a_restart(gateway, tmp_path):
    one = gateway(config())
    merge(one.config, {"workers": 3, "admin": {"socket": str(tmp_path / "s"), "mode": "0666"}})
    merge(one.config, {"listeners": {"hold": {"address": "127.0.0.1:1", "backlog": 7}}})
    merge(one.config, {"listeners": {"echo": {"service": "hold"}, "new": {}}})
    merge(one.config, {"limits": {"connections": 77}})
    one.write_config()
    before = one.get("/config")
    for _ in range(2):
        answer = one.ok("POST", "/reload")
        assert set(answer["needs_restart"]) == {
            *("workers", "admin.socket", "admin.mode", "listeners.new"),
            *("listeners.hold.address", "listeners.hold.backlog", "listeners.echo.service"),
        }
    assert answer["changed"] == [], "it was changed by the first one"
    after = one.get("/config")
    assert after.pop("limits")["connections"] == 77 and before.pop("limits")
    assert after == before, "it tells what is in force"
    assert "warning supervisor: reload: workers changed, which needs a restart" in one.log()
    assert len(one.workers()) == 2 and not (tmp_path / "s").exists()
    with connect(one.address("echo")) as client:
        client.sendall(b"x")
        assert read_exactly(client, 1) == b"x"


def test_listener_that_went_goes_on(gateway):
    one = gateway(config())
    address = one.address("echo")
    echo = one.config["listeners"].pop("echo")
    one.write_config()
    assert one.ok("POST", "/reload") == {"changed": [], "needs_restart": ["listeners.echo"]}
    with connect(address) as client:
        client.sendall(b"x")
        assert read_exactly(client, 1) == b"x"
    one.config["listeners"] = {"echo": echo, **one.config["listeners"]}
    assert one.reload() == [], "another order is no change"


def test_running_values_that_do_not_fit_the_new_ones(gateway):
    """A listener that went keeps its queue limit, which is above the new limit of all."""
    big = {"limits": {"queued_bytes_per_connection": "1MiB"}}
    one = gateway(config(listeners={"hold": {}, "big": big}))
    before, workers = one.get("/config"), one.worker_pids()
    one.config["listeners"].pop("big")
    merge(one.config, {"limits": {"queued_bytes": "512KiB", "connections": 3}})
    with Crowd(one.address(), 4) as crowd:
        one.wait_connections(4)
        one.write_config()
        status, answer = one.admin("POST", "/reload")
        assert (status, len(answer["errors"])) == (422, 1)
        assert "with what only a restart changes: " in answer["errors"][0]
        assert 'queued_bytes_per_connection: found "1MiB"' in answer["errors"][0]
        assert one.get("/config") == before and one.worker_pids() == workers
        assert one.metric("worker_restarts_total") == 0 and crowd.open_count == 4
        assert "limits.connections changed" not in one.log()
    merge(one.config, {"limits": {"queued_bytes": "1MiB"}})
    one.write_config()
    assert one.ok("POST", "/reload")["needs_restart"] == ["listeners.big"]
    one.wait_metric("workers_current", 2)
    assert one.worker_pids() == workers


# Under load.


def echo_without_end(address, stopping, counts):
    """Clients that stay and clients that come and go; counts what came back."""
    with connect(address) as client:
        while not stopping.is_set():
            for sock in (client, connect(address)):
                sock.sendall(b"0123456789")
                counts.append(read_exactly(sock, 10) == b"0123456789")
                if sock is not client:
                    sock.close()


def test_fifty_reloads_under_load_drop_nobody(gateway):
    heartbeat = {"interval": "100ms", "payload": "x"}
    one = gateway(config(listeners={"hold": {"heartbeat": heartbeat}, "echo": {"service": "echo"}}))
    stopping, counts = threading.Event(), []
    arguments = (one.address("echo"), stopping, counts)
    load = [threading.Thread(target=echo_without_end, args=arguments) for _ in range(4)]
    with Crowd(one.address(), 2000) as crowd:
        one.wait_connections(2000)
        for thread in load:
            thread.start()
        for number in range(50):
            reload_by(
                one,
                "POST" if number % 2 else "SIGHUP",
                limits={"idle_timeout": 3600 + number, "connections": 50000 + number},
                listeners={"hold": {"heartbeat": {"interval": 0.1 + number / 1000}}},
            )
            crowd.pump()
        stopping.set()
        for thread in load:
            thread.join()
        crowd.pump_for(0.3)
        assert crowd.closed_count == 0 and all(client.received for client in crowd.clients)
        assert set(one.closed_counts()) == {"client_closed"}
    assert all(counts) and len(counts) > 50
    assert reloads(one) == (50, 0)
    assert one.metric("worker_restarts_total") == 0


def test_hangup_before_and_while_ready(gateway):
    """SIGHUP is never fatal, however early it comes."""
    one = gateway(config(), wait=False)
    wait_for(lambda: bool(one.children()), True)
    for _ in range(20):
        one.process.send_signal(signal.SIGHUP)
    one.wait_healthy()
    one.wait_metric("reloads_total", lambda count: count >= 1)
