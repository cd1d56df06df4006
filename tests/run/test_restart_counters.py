"""What was counted is carried on by a restart, whatever became of those who counted it."""

import os
import re
import signal

import pytest

from clients import connect, is_closed, peer_name
from gateway import DEADLINE, stopped, wait_for
from restarts import check_echo, config


def kill_worker(gateway, worker=0):
    """Returns when it is replaced."""
    restarts = gateway.metric("worker_restarts_total")
    pid = gateway.worker_pids()[worker]
    os.kill(pid, signal.SIGKILL)
    gateway.wait_metric("worker_restarts_total", restarts + 1)
    wait_for(lambda: gateway.worker_pids()[worker] not in (0, pid), True)
    gateway.wait_healthy()


def test_restarts_of_workers(keeper):
    one = keeper("echo")
    gateway = one.start(config(2))
    for _ in range(2):
        kill_worker(gateway)
    one.restart()
    assert gateway.metric("worker_restarts_total") == 2
    kill_worker(gateway)
    assert gateway.metric("worker_restarts_total") == 3


def served(one, gateway, count=10, size=1000):
    """Clients of which each has had so many bytes back."""
    clients = [connect(one.addresses["echo"]) for _ in range(count)]
    for client in clients:
        check_echo(client, b"x" * size)
    for name in ("bytes_received_total", "bytes_sent_total"):
        gateway.wait_listener("echo", name, count * size)
    return clients


@pytest.mark.parametrize("how", ["dead", "hung", "dead at upgrade", "hung at upgrade"])
def test_counters_of_a_worker_that_cannot_write_them(keeper, how):
    """It has died and is not replaced yet, or is killed as it does not stop in time."""
    one = keeper("echo")
    gateway = one.start({**config(2), "stop_timeout": "200ms"})

    def restart():
        if "upgrade" not in how:
            one.restart()
            return
        os.kill(gateway.pid, signal.SIGUSR2)
        if "hung" in how:  # it may have stored what it did not give back: systemd starts the program
            assert gateway.process.wait(DEADLINE) == 75
            one.start()
        gateway.wait_metric("connections_restored_total", 5)
        gateway.wait_healthy()

    for _ in range(3):
        kill_worker(gateway)  # the next one is replaced later and later
    clients = served(one, gateway)
    pid = gateway.worker_pids()[0]
    if "dead" in how:
        os.kill(pid, signal.SIGKILL)
        gateway.wait_closed("worker_lost", 5)
        restart()
    else:
        with stopped(pid):
            restart()
    gateway.wait_connections(5)
    assert gateway.metric("connections_accepted_total") == 10
    assert gateway.metric("connections_closed_total") == 5
    for name in ("bytes_received_total", "bytes_sent_total"):
        assert gateway.metric(name) == gateway.listener("echo")[name] == 10000
    assert gateway.metric("worker_restarts_total") >= 3
    assert sum(not is_closed(client, 0.1) for client in clients) == 5


def test_a_worker_that_is_killed_while_systemd_takes_its_time(keeper):
    """It has stored its connections and what it counted, and can tell nobody."""
    one = keeper("echo")
    gateway = one.start({**config(2), "stop_timeout": "1s"})
    clients = served(one, gateway)
    one.barriers_to_hold = 2
    one.restart()
    assert "2 workers did not stop in time" in gateway.log()
    assert gateway.metric("connections_accepted_total") == 10
    assert gateway.metric("connections_current") == 10
    assert gateway.metric("bytes_received_total") == 10000
    assert gateway.closed_counts() == {}
    for client in clients:
        check_echo(client)


def test_who_is_missing_is_counted_once(keeper):
    """One worker has parked, one is killed before it could."""
    one = keeper("echo")
    gateway = one.start({**config(2), "stop_timeout": "200ms"})
    clients = served(one, gateway)
    with stopped(gateway.worker_pids()[1]):
        one.restart()
    for _ in range(2):
        assert gateway.closed_counts() == {"park_failed": 5}
        assert gateway.metric("connections_closed_total") == 5
        assert gateway.metric("connections_current") == 5
        one.restart()
    assert "5 connections of the process before were not parked" in gateway.log()
    assert sum(not is_closed(client, 0.1) for client in clients) == 5


@pytest.mark.parametrize("what", ["closed", "lost", "both"])
def test_who_is_in_the_file_of_a_process_before_the_last(keeper, what):
    """As after one that was killed before all were restored: what it had taken up it has parked again,
    or closed. Only who is lost besides is counted, and told of."""
    one = keeper("echo")
    gateway = one.start(config(2))
    clients = served(one, gateway)
    one.end()
    older = [(name, os.dup(fd)) for name, fd in one.store if name.startswith("park/1/")]
    one.start()
    closed = {"closed": 3, "lost": 0, "both": 4}[what]
    worker_of = {item["peer"]: item["worker"] for item in gateway.connections()}
    for client in [c for c in clients if worker_of[peer_name(c)] == 0][:closed]:
        client.close()
        clients.remove(client)
    gateway.wait_closed("client_closed", closed)
    one.end()
    lost = 0 if what == "closed" else 5
    if lost:
        assert one.drop(lambda name: name.startswith("park/2/1/")) > 1
    with one.lock:
        one.store = older + one.store
    one.start()
    counts = {"client_closed": closed, "park_failed": lost}
    assert gateway.closed_counts() == {reason: n for reason, n in counts.items() if n}
    assert gateway.metric("connections_closed_total") == closed + lost
    gateway.wait_connections(10 - closed - lost)
    told = re.findall(r"(\d+) parked connections were not passed on", gateway.log())
    assert sum(map(int, told)) == lost
    assert sum(not is_closed(client, 0.1) for client in clients) == 10 - closed - lost


def test_reasons_of_each_listener(keeper):
    one = keeper("busy", "quiet")
    settings = config(2)
    settings["listeners"] = {
        "busy": {"service": "echo", "limits": {"connections": 5}},
        "quiet": {"service": "hold"},
    }
    gateway = one.start(settings)
    clients = [connect(one.addresses["busy"]) for _ in range(5)]
    with connect(one.addresses["quiet"]):
        gateway.wait_connections(6)
        assert is_closed(connect(one.addresses["busy"]))
        for client in clients[:2]:
            client.close()
        gateway.wait_closed("client_closed", 2)
        wanted = {"client_closed": 2, "refused_listener": 1}
        for _ in range(3):
            assert gateway.listener("busy")["closed"] == wanted
            assert gateway.listener("quiet")["closed"] == {}
            one.restart()
            gateway.wait_connections(4)
        text = gateway.request("GET", "/metrics")[2].decode()
    label = 'listener="busy",reason="client_closed",class="normal"'
    assert f"millgate_listener_closed_total{{{label}}} 2\n" in text
    assert 'listener_closed_total{listener="quiet"' not in text
    gateway.wait_closed("client_closed", 3)
    assert gateway.listener("quiet")["closed"] == {"client_closed": 1}
