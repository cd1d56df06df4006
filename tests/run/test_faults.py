"""What goes wrong: no descriptors, workers that die, hang or crash again and again, and the end."""

import contextlib
import itertools
import os
import resource
import signal
import time

import pytest

from another_user import AS_ANOTHER, AS_ROOT
from clients import Crowd, connect, read_exactly, reset
from gateway import check_calm, process_runs, stopped, wait_for

RESERVED = 32  # descriptors of a worker that are not for connections (TUNE_RESERVED_FDS)


def config(workers=3, limits=None, **top):
    return {
        "workers": workers,
        "limits": limits or {},
        "listeners": {"hold": {}, "echo": {"service": "echo"}},
        **top,
    }


def check_serves(gateway, count=20):
    """New clients get in and are served."""
    with Crowd(gateway.address("echo"), count) as crowd:
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == count)


def wait_workers(gateway, count):
    gateway.wait_metric("workers_current", count)


def clients_of_worker(gateway, crowd, worker):
    """Once all are in some worker's hands."""
    wait_for(lambda: {item["state"] for item in gateway.connections()}, {"open"})
    peers = {item["peer"] for item in gateway.connections(f"worker={worker}&limit=1000")}
    return [client for client in crowd.clients if client.peer in peers]


# Descriptors run out.


def set_descriptors(pid, limit):
    """RLIMIT_NOFILE of a process that runs."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit or hard, hard))


@pytest.mark.measures
def test_accepting_pauses_without_descriptors_and_resumes(gateway):
    one = gateway(config())
    with Crowd(one.address(), 10) as crowd:
        one.wait_connections(10)
        set_descriptors(one.pid, 10)
        late = connect(one.address("echo"))
        wait_for(lambda: "accepting pauses" in one.log(), True)
        with pytest.raises(TimeoutError):
            one.request("GET", "/health", timeout=0.5)
        check_calm(one.pid)
        set_descriptors(one.pid, None)
        late.sendall(b"x")
        assert read_exactly(late, 1) == b"x"
        assert one.wait_metric("accept_pauses_total", bool) < 40
        one.wait_metric("accept_paused_current", 0)
        crowd.pump()
        assert crowd.closed_count == 0
        assert one.closed_counts() == {}
        late.close()


def test_a_burst_larger_than_the_descriptors_of_the_supervisor(gateway):
    """It has 70 or so for a moment; the workers take 96 each. Nothing is lost."""
    one = gateway(config(workers=4), nofile=RESERVED + 96)
    with stopped(one.pid):
        crowd = Crowd(one.address("echo"), 4 * 96)
    with crowd:
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == 4 * 96)
        assert crowd.closed_count == 0
        assert [worker["connections"] for worker in one.workers()] == [96] * 4
        assert one.closed_counts() == {}


@pytest.mark.parametrize("clients", [1, 252, 253, 254])
def test_who_comes_while_the_worker_is_busy_is_served_after(gateway, clients):
    """The supervisor has them meanwhile, or the channel."""
    one = gateway(config(workers=1))
    (worker,) = one.worker_pids()
    with stopped(worker):
        with Crowd(one.address("echo"), 1) as first, Crowd(one.address("echo"), clients) as crowd:
            one.wait_metric("connections_accepted_total", 1 + clients)
            os.kill(worker, signal.SIGCONT)
            for some in (first, crowd):
                some.send(b"x")
            assert crowd.pump_until(lambda: crowd.received == clients)
            assert first.pump_until(lambda: first.received == 1)
            assert one.workers()[0]["connections"] == 1 + clients
    one.wait_connections(0)
    assert one.closed_counts() == {"client_closed": 1 + clients}


def test_who_did_not_arrive_does_not_hold_up_who_comes_then(gateway):
    """The kernel drops descriptors for which a worker has no room."""
    one = gateway(config(workers=1))
    (worker,) = one.worker_pids()
    used = {int(fd) for fd in os.listdir(f"/proc/{worker}/fd")}
    set_descriptors(worker, next(fd for fd in itertools.count() if fd not in used))
    with Crowd(one.address("echo"), 5) as crowd:
        assert crowd.pump_until(lambda: crowd.closed_count == 5)
        one.wait_connections(0)
    assert one.closed_counts() == {"handover_failed": 5}
    set_descriptors(worker, None)
    with Crowd(one.address("echo"), 50) as crowd:
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == 50)
        assert crowd.closed_count == 0


@pytest.mark.parametrize("offset", [-1, 0, 1], ids=["below", "at", "above"])
def test_full_workers_refuse(gateway, offset):
    one = gateway(config(workers=2), nofile=RESERVED + 50)
    assert one.stats()["limits"]["worker_connections"] == 100
    with Crowd(one.address(), 100 + offset) as crowd:
        refused = max(offset, 0)
        assert crowd.pump_until(lambda: crowd.closed_count == refused)
        one.wait_connections(100 - (offset < 0))
        assert one.closed_counts() == ({"refused_workers": 1} if refused else {})
        assert one.metric("connections_refused_total") == refused
        crowd.leave(crowd.clients[:10])
        one.wait_connections(90 - (offset < 0))
        check_serves(one, 10)


@pytest.mark.measures
def test_full_workers_let_wait(gateway):
    one = gateway(config(2, {"when_full": "wait"}), nofile=RESERVED + 50)
    with Crowd(one.address("echo"), 110) as crowd:
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == 100)
        one.wait_listener("echo", "state", "full")
        check_calm(one.pid, 0.5)
        assert one.closed_counts() == {}
        crowd.leave([client for client in crowd.clients if client.received][:10])
        assert crowd.pump_until(lambda: crowd.received == 100)
        one.wait_connections(100)
        assert set(one.closed_counts()) == {"client_closed"}


def check_admin_in_need(gateway, crowd):
    """Whoever looks and steers is served, several at once and again and again."""
    for _ in range(300):  # also between one try to accept and the next
        status, answer = gateway.admin("GET", "/health")
        assert status == 503
        assert "accepting pauses: the kernel refused a descriptor or memory" in answer["problems"]
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(str(gateway.admin_socket)))
        assert len(gateway.connections()) < len(crowd.clients), "some wait in the backlog"
        assert gateway.reload(limits={"connections": 1000}) == ["limits.connections"]


@pytest.mark.measures
@AS_ROOT
def test_descriptors_in_flight_run_out(gateway):
    """An ordinary user may have RLIMIT_NOFILE descriptors in flight (ETOOMANYREFS)."""
    count = 3 * 88
    one = gateway(config(workers=3), nofile=RESERVED + 88, prefix=AS_ANOTHER, open_to_all=True)
    with contextlib.ExitStack() as stack:
        for pid in one.worker_pids():
            stack.enter_context(stopped(pid))
        crowd = stack.enter_context(Crowd(one.address("echo"), count))
        crowd.send(b"x")
        # It holds what it cannot hand over; what is left is not for clients.
        one.wait_log("accepting pauses")
        check_calm(one.pid)
        check_admin_in_need(one, crowd)
        for pid in one.children():
            os.kill(pid, signal.SIGCONT)
        assert crowd.pump_until(lambda: crowd.received == count)
        assert one.closed_counts() == {}


# A worker that hangs for a while.


@pytest.mark.measures
def test_connections_on_their_way_to_a_stopped_worker(gateway):
    """Many at once: more than fit into one message."""
    one = gateway(config(workers=1))
    (worker,) = one.worker_pids()
    with contextlib.ExitStack() as stack:
        stack.enter_context(stopped(worker))
        with stopped(one.pid):
            crowd = stack.enter_context(Crowd(one.address("echo"), 2000))
        crowd.send(b"x")
        one.wait_metric("connections_accepted_total", 2000)
        check_calm(one.pid)
        listed = one.connections()
        assert {item["state"] for item in listed} == {"handover"}
        assert listed[0]["peer"].startswith("127.1.0.1")
        killed = listed[0]["id"]
        assert one.ok("DELETE", f"/connections/{killed}") == {"closed": 1}
        os.kill(worker, signal.SIGCONT)
        assert crowd.pump_until(lambda: crowd.received >= 1999 and crowd.closed_count == 1)
        one.wait_closed("killed", 1)
        assert one.closed_counts() == {"killed": 1}
        assert {item["state"] for item in one.connections()} == {"open"}


@pytest.mark.parametrize("over", ["0s", "300ms"])
def test_drain_reaches_those_on_their_way(gateway, over):
    one = gateway(config(workers=1))
    (worker,) = one.worker_pids()
    with Crowd(one.address()) as crowd:
        with stopped(worker):
            for number in range(500):  # more than fit into the channel, one by one
                crowd.add(1)
                one.wait_metric("connections_accepted_total", number + 1)
            one.ok("POST", "/drain", {"over": over})
        assert crowd.pump_until(lambda: crowd.open_count == 0, 5)
        one.wait_closed("drained", 500)


# A worker dies.


def test_killed_worker_takes_only_its_own_along(gateway):
    limit = 100
    one = gateway(config(limits={"connections_per_source": limit}))
    with Crowd(
        one.address("echo"), 6 * limit, itertools.cycle(["127.0.0.5", "127.0.0.6"])
    ) as crowd:
        assert crowd.pump_until(lambda: crowd.closed_count == 4 * limit)
        one.wait_connections(2 * limit)
        before = one.workers()
        victims = clients_of_worker(one, crowd, 1)
        assert len(victims) == before[1]["connections"] in (66, 67)
        os.kill(before[1]["pid"], signal.SIGKILL)
        assert crowd.pump_until(lambda: not any(client.is_open for client in victims))
        one.wait_closed("worker_lost", len(victims))
        assert crowd.open_count == 2 * limit - len(victims)
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == crowd.open_count)

        wait_workers(one, 3)
        after = one.workers()
        assert [a["pid"] == b["pid"] for a, b in zip(after, before)] == [True, False, True]
        assert [worker["restarts"] for worker in after] == [0, 1, 0]
        assert one.metric("worker_restarts_total") == 1
        one.wait_log(rf"worker 1 \(pid {before[1]['pid']}\) died of signal 9")

        refused = one.closed("refused_source")
        crowd.add(2 * limit)
        assert crowd.pump_until(lambda: crowd.open_count == 2 * limit)
        one.wait_connections(2 * limit)
        one.wait_closed("refused_source", refused + 2 * limit - len(victims))
        counts = {item["source"]: item["connections"] for item in one.get("/sources")["sources"]}
        assert counts == {"127.0.0.5/32": limit, "127.0.0.6/32": limit}
        assert max(w["connections"] for w in one.workers()) <= 67


def test_all_workers_killed_at_once(gateway):
    one = gateway(config())
    with Crowd(one.address("echo"), 300) as crowd:
        one.wait_connections(300)
        for pid in one.worker_pids():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: one.log().count("died of signal 9"), 3)
        late = [connect(one.address("echo")) for _ in range(50)]
        assert crowd.pump_until(lambda: crowd.open_count == 0)
        one.wait_closed("worker_lost", 300)
        wait_workers(one, 3)
        for client in late:
            client.sendall(b"x")
            assert read_exactly(client, 1) == b"x"
            client.close()
        one.wait_connections(0)
        assert one.stats()["sources_current"] == 0


def test_killed_while_clients_connect_reset_and_send(gateway):
    """Whatever was under way: in the end all counts are right."""
    one = gateway(config(workers=2))
    with Crowd(one.address("echo")) as crowd:
        for turn in range(6):
            crowd.add(300)
            crowd.send(b"x" * 100)
            os.kill(one.worker_pids()[turn % 2], signal.SIGKILL)
            crowd.add(100)
            crowd.leave(crowd.open_clients()[:50], reset)
            crowd.pump_for(0.05)
            wait_for(lambda: all(one.worker_pids()), True)
        wait_workers(one, 2)
        one.wait_metric("connections_accepted_total", 6 * 400)
        settled = lambda: one.metric("connections_current") == crowd.open_count
        assert crowd.pump_until(settled), (one.metric("connections_current"), crowd.open_count)
        metrics, closed = one.stats()["metrics"], one.closed_counts()
        assert metrics["connections_closed_total"] == sum(closed.values())
        assert metrics["connections_accepted_total"] == (
            metrics["connections_closed_total"] + metrics["connections_current"]
        )
        assert len(one.connections()) == crowd.open_count
    one.wait_connections(0)
    assert one.stats()["sources_current"] == 0


@pytest.mark.measures
def test_crash_loop_backs_off(gateway):
    one = gateway(config(workers=2))
    waits = []
    for _ in range(4):
        pid = one.worker_pids()[1]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: process_runs(pid), False)
        start = time.monotonic()
        wait_for(lambda: one.workers()[1]["pid"] not in (0, pid), True)
        waits.append(time.monotonic() - start)
        check_serves(one)
    expected = (0.1, 0.2, 0.4, 0.8)
    assert all(e - 0.05 < wait < e + 0.4 for wait, e in zip(waits, expected)), waits
    wait_workers(one, 2)
    assert one.metric("worker_restarts_total") == 4


# A worker hangs.


def test_hung_worker_is_killed_and_replaced(gateway):
    one = gateway(config(workers=3, worker_timeout="1s"))
    with Crowd(one.address("echo"), 300) as crowd:
        one.wait_connections(300)
        victims = clients_of_worker(one, crowd, 0)
        pid = one.worker_pids()[0]
        with stopped(pid):
            crowd.send(b"x")
            assert crowd.pump_until(lambda: crowd.received == 300 - len(victims))
            one.wait_closed("worker_lost", len(victims))
        wait_workers(one, 3)
        assert one.worker_pids()[0] != pid
        assert not process_runs(pid)
        one.wait_log(rf"worker 0 \(pid {pid}\) has not ticked for [1-9]\.\d s")
        assert crowd.pump_until(lambda: crowd.closed_count == len(victims))
        check_serves(one)


def test_worker_that_hangs_briefly_is_left_alone(gateway):
    one = gateway(config(workers=1, worker_timeout="30s"))
    (pid,) = one.worker_pids()
    with Crowd(one.address("echo"), 10) as crowd:
        one.wait_connections(10)
        with stopped(pid):
            crowd.send(b"x")
            crowd.pump_for(1.5)
            assert crowd.received == 0
            assert one.health() == (200, "ok")
        assert crowd.pump_until(lambda: crowd.received == 10)
        assert one.worker_pids() == [pid]
        assert one.reload(worker_timeout="1s") == ["worker_timeout"]
        with stopped(pid):
            one.wait_closed("worker_lost", 10)


# The end.


def test_workers_go_when_the_supervisor_is_killed(gateway):
    one = gateway(config())
    with Crowd(one.address(), 100) as crowd:
        one.wait_connections(100)
        workers = one.worker_pids()
        one.process.kill()
        assert crowd.pump_until(lambda: crowd.open_count == 0)
        one.wait_ended(-signal.SIGKILL)
        for pid in workers:
            wait_for(lambda: process_runs(pid), False)


@pytest.mark.measures
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly_with_clients(gateway, sig):
    one = gateway(config())
    with Crowd(one.address(), 500) as crowd, Crowd(one.address("echo"), 500) as echoes:
        one.wait_connections(1000)
        echoes.send(b"x")
        start = time.monotonic()
        one.stop(sig)
        assert time.monotonic() - start < 5
        assert crowd.pump_until(lambda: crowd.open_count == 0)
        assert echoes.pump_until(lambda: echoes.open_count == 0)
        assert not one.admin_socket.exists()
        with pytest.raises(ConnectionRefusedError):
            connect(one.address())
        assert "stopped" in one.log()


def test_starts_again_at_once_on_the_same_addresses(gateway):
    one = gateway(config())
    with Crowd(one.address(), 100):
        one.wait_connections(100)
        one.stop()
    one.start()
    check_serves(one)


@pytest.mark.measures
def test_stop_timeout_kills_a_stopped_worker(gateway):
    one = gateway(config(stop_timeout="500ms"))
    with stopped(one.worker_pids()[2]), Crowd(one.address(), 30) as crowd:
        one.wait_metric("connections_accepted_total", 30)
        start = time.monotonic()
        one.stop()
        assert 0.45 < time.monotonic() - start < 3
        assert "1 workers did not stop in time" in one.log()
        assert crowd.pump_until(lambda: crowd.open_count == 0)


@pytest.mark.measures
def test_second_signal_kills_at_once(gateway):
    one = gateway(config(stop_timeout="60s"))
    pid = one.worker_pids()[0]
    with stopped(pid):
        one.process.send_signal(signal.SIGINT)
        one.wait_log("stopping")
        wait_for(lambda: one.children(), [pid])
        assert one.process.poll() is None
        start = time.monotonic()
        one.stop(signal.SIGINT)
        assert time.monotonic() - start < 3


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGABRT])
def test_worker_does_not_heed_what_is_for_all_processes(gateway, sig):
    """systemd and terminals signal all at once: the supervisor says what it means for a worker."""
    one = gateway(config())
    with Crowd(one.address(), 30) as crowd:
        one.wait_connections(30)
        before = one.worker_pids()
        for pid in before:
            os.kill(pid, sig)
        check_serves(one)
        one.wait_connections(30)  # those of the check have gone
        assert one.worker_pids() == before
        assert crowd.closed_count == 0
