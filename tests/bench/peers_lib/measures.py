"""
What is measured, each at a server of its own that has just been started: a function takes a peer
(a class of servers.PEERS) and a plan, and returns figures by the names of report.METRICS.
"""

import concurrent.futures
import contextlib
import csv
import dataclasses
import pathlib
import tempfile
import time

import benchlib

from peers_lib import servers, subscribers

POLL_SECONDS = 0.002
SLABS = pathlib.Path("/sys/kernel/slab")


@dataclasses.dataclass
class Plan:
    """How much of everything; the same for all servers."""

    connections: int  # idle, and accepted
    beat_connections: int
    beat_interval: float  # seconds
    beat_rounds: int  # measured intervals
    fast_interval: float
    fast_rounds: int
    echo_connections: int
    echo_concurrency: int  # of the closed loop
    echo_rate: int  # of the open one
    echo_seconds: float
    echo_bytes: int = 32
    settle_seconds: float = 0.3
    edge_seconds: float = 0.5  # at either end of a load, where CPU time is not counted


# Memory.


def user_bytes(server):
    """As tests/bench/idle: Pss, but pages of files in full for each process."""
    memory = benchlib.memory(server.pids())
    return memory["anonymous"] + memory["shmem"] + memory["file"]


def shrink_slabs():
    """Gives back what earlier rounds have left in the kernel's caches; only root may."""
    for file in SLABS.glob("*/shrink"):
        with contextlib.suppress(OSError):
            file.write_text("1")


def warm_up(server, crowd, plan):
    """Takes one connection, so that first uses do not count; returns the memory meanwhile."""
    with crowd(server, 1):
        time.sleep(plan.settle_seconds)
        empty = user_bytes(server)
    time.sleep(plan.settle_seconds)
    server.base += server.held()
    return empty


# Accepting.


def accept_rate(server, wanted):
    """
    Connections a second, from the first that the server is seen to hold to the last. A connect
    succeeds in the backlog already, so the client's own rate would flatter a slow server.
    """
    deadline = time.monotonic() + benchlib.DEADLINE
    began = None
    while (held := server.held()) < wanted:
        now = time.monotonic()
        if held > 0 and not began:
            began, first = now, held
        if now > deadline:
            raise benchlib.BenchError(f"{server.name} holds {held} of {wanted} connections")
        time.sleep(POLL_SECONDS)
    if not began:
        return None
    return (held - first) / (time.monotonic() - began) / server.per_client


def idle(peer, plan):
    websocket = peer is servers.Nchan
    crowd = subscribers.crowd if websocket else benchlib.crowd
    with peer("hold") as server, concurrent.futures.ThreadPoolExecutor(1) as executor:
        empty = warm_up(server, crowd, plan)
        shrink_slabs()
        slab = benchlib.meminfo()["Slab"]
        cpu = benchlib.cpu_seconds(server.pids())
        watch = executor.submit(accept_rate, server, plan.connections * server.per_client)
        with crowd(server, plan.connections):
            rate = watch.result()
            cpu = benchlib.cpu_seconds(server.pids()) - cpu
            time.sleep(plan.settle_seconds)
            user = user_bytes(server) - empty
            slab = benchlib.meminfo()["Slab"] - slab
    figures = {"user": user / plan.connections, "kernel": slab / plan.connections}
    if not websocket:  # there, accepting is the least part of the handshake
        figures["accept_cpu"] = cpu / plan.connections * 1e6
        if rate:
            figures["accept"] = rate
    return figures


# Under load.


def load(server, plan, connections, seconds, *arguments):
    """
    Runs millgate-bench. Returns its report, the CPU seconds that the server has used in `seconds`
    with all connections up, and the server's memory after them.
    """
    with tempfile.TemporaryDirectory(prefix="millgate-peers-") as directory:
        ready = pathlib.Path(directory) / "ready"
        process = benchlib.start_clients(
            ["--json", "--quiet", "--reset", "--ready-file", ready, "-n", connections]
            + ["--duration", servers.milliseconds(seconds + 2 * plan.edge_seconds)]
            + [*arguments, server.target]
        )
        try:
            benchlib.wait_until(
                "the clients are up", lambda: ready.exists() or process.poll() is not None
            )
            time.sleep(plan.edge_seconds)
            cpu = benchlib.cpu_seconds(server.pids())
            time.sleep(seconds)
            cpu = benchlib.cpu_seconds(server.pids()) - cpu
            memory = user_bytes(server)
        finally:
            if not ready.exists():
                process.terminate()
            report = benchlib.finish_clients(process)
    bad = report["connect_failed"], report["lost"], report.get("echo_mismatches", 0)
    if any(bad):
        raise benchlib.BenchError(f"{server.name}: failed, lost, echoed wrongly: {bad}")
    return report, cpu, memory


def busiest_second(path, count):
    """
    Arrivals in the busiest of `count` whole seconds of the measured phase, over their mean. None
    if it was too short for that.
    """
    with open(path, newline="") as file:
        rows = [int(row["arrivals"]) for row in csv.DictReader(file) if row["phase"] == "measure"]
    seconds = rows[1 : count + 1]  # the first began before all were up
    if len(seconds) < count:
        return None
    return max(seconds) * len(seconds) / sum(seconds)


def receive(server, plan, interval, rounds, *arguments):
    """Heartbeats; as load()."""
    report, cpu, user = load(
        server, plan, plan.beat_connections, interval * rounds, "--workload", "receive",
        "--heartbeat-interval", servers.milliseconds(interval), "--size", len(servers.PAYLOAD),
        *arguments,
    )  # fmt: skip
    # At the edges one for each connection may be missing, and no more.
    if report["heartbeats_received"] + plan.beat_connections < report["heartbeats_due"]:
        raise benchlib.BenchError(f"{server.name}: heartbeats are missing")
    return report, cpu / (plan.beat_connections * rounds) * 1e6, user


def heartbeat(peer, plan):
    """A few heartbeats a second: memory, and how even they are."""
    interval, rounds = plan.beat_interval, plan.beat_rounds
    with tempfile.TemporaryDirectory(prefix="millgate-peers-") as directory:
        path = pathlib.Path(directory) / "csv"
        with peer("hold", interval) as server:
            empty = warm_up(server, benchlib.crowd, plan)
            _, cpu, user = receive(server, plan, interval, rounds, "--csv", path)
        busiest = busiest_second(path, round(interval * rounds))
    return {
        "beat_user": (user - empty) / plan.beat_connections,
        "beat_cpu": cpu,
        "busiest": busiest,
    }


def heartbeat_fast(peer, plan):
    """Many a second: what each costs, and whether they are in time."""
    with peer("hold", plan.fast_interval) as server:
        report, cpu, _ = receive(server, plan, plan.fast_interval, plan.fast_rounds)
    gap = report["gap_seconds"]
    return {
        "fast_cpu": cpu,
        **{f"gap_{name}": gap[name] * 1000 for name in ("p50", "p99", "max")},
    }


def echo_closed(peer, plan):
    with peer("echo") as server:
        report, cpu, _ = load(
            server, plan, plan.echo_connections, plan.echo_seconds, "--workload", "echo",
            "--size", plan.echo_bytes, "--concurrency", plan.echo_concurrency,
        )  # fmt: skip
    rate = report["echo_per_second"]
    return {"echo": rate, "echo_closed_cpu": cpu / plan.echo_seconds / rate * 1e6}


def echo_open(peer, plan):
    with peer("echo") as server:
        report, cpu, _ = load(
            server, plan, plan.echo_connections, plan.echo_seconds, "--workload", "echo",
            "--size", plan.echo_bytes, "--rate-echo", plan.echo_rate,
        )  # fmt: skip
    latency = report["latency_seconds"]
    return {
        "echo_p50": latency["p50"] * 1e6,
        "echo_p99": latency["p99"] * 1e6,
        "echo_cpu": cpu / plan.echo_seconds / report["echo_per_second"] * 1e6,
    }


def workloads(peer):
    """Those of the functions above that a peer can be measured by."""
    result = [idle]
    if peer.echoes:
        result += [echo_closed, echo_open]
    if peer.beats:
        result += [heartbeat, heartbeat_fast]
    return result
