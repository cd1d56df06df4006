"""What tests/bench/relay measures, each at a proxy that has just been started."""

import dataclasses
import socket
import statistics
import struct
import subprocess
import time

import benchlib

from peers_lib import measures, relays

GIB = 2**30
CONNECT_RUNS = 9  # of a third of a second each: the median counts
ANSWER_BYTES = 32
STRAY = 8  # descriptors that were open for a moment when the empty server was looked at


@dataclasses.dataclass
class Plan:
    """How much of everything; the same for all proxies, as far as their pairs go."""

    pairs: int  # idle, opened, and the larger number of those that echo
    some_pairs: int  # the smaller one
    streams: int
    volume: int  # bytes, over one stream and over all
    at_once: int  # connects under way
    connect_rate: int  # before echoes, so slow that all pairs are whole when these begin
    echo_concurrency: int  # of the closed loop
    echo_rate: int  # of the open one
    echo_seconds: float
    echo_bytes: int = 32
    settle_seconds: float = 0.3
    edge_seconds: float = 0.5  # at either end of a load, where CPU time is not counted


def idle(peer, plan):
    """User memory of a pair. The first one does not count: it brings what is needed once."""
    pairs = peer.pairs(plan.pairs)
    with peer("hold") as server:
        empty = measures.warm_up(server, benchlib.crowd, plan)
        with benchlib.crowd(server, pairs):
            benchlib.wait_until(
                f"{server.name} holds {pairs} pairs",
                lambda: server.held() >= pairs * server.per_client - STRAY,
            )
            time.sleep(plan.settle_seconds)
            user = measures.user_bytes(server) - empty
    return {"user": user / pairs}


def run_traffic(server, direction, connections, amount, meanwhile=None):
    """The seconds that traffic says, and the CPU seconds of the server meanwhile."""
    process = subprocess.Popen(
        [benchlib.TRAFFIC, direction, benchlib.HOST]
        + [str(value) for value in (server.port, connections, amount)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if direction != "connect" and process.stdout.readline() != "READY\n":
            raise benchlib.BenchError(f"{server.name}: the streams cannot connect")
        cpu = benchlib.cpu_seconds(server.pids())
        process.stdin.write("\n")
        process.stdin.flush()
        if meanwhile:
            meanwhile(process)
        text, _ = process.communicate(timeout=benchlib.DEADLINE)
        cpu = benchlib.cpu_seconds(server.pids()) - cpu
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise benchlib.BenchError(f"{server.name}: traffic {direction} failed")
    return float(text), cpu


def flow(peer, plan, direction, mode, streams):
    with peer(mode) as server:
        seconds, cpu = run_traffic(server, direction, streams, plan.volume)
    name = "one" if streams == 1 else "many"
    return {
        f"{direction}_{name}": plan.volume / seconds / 2**20,
        f"{direction}_{name}_cpu": cpu / (plan.volume / GIB),
    }


def up_one(peer, plan):
    return flow(peer, plan, "up", "sink", 1)


def up_many(peer, plan):
    return flow(peer, plan, "up", "sink", plan.streams)


def down_one(peer, plan):
    return flow(peer, plan, "down", "source", 1)


def down_many(peer, plan):
    return flow(peer, plan, "down", "source", plan.streams)


def ask(server, process):
    """Asks the source for little, again and again, while the process runs: how long each took."""
    waits = []
    with socket.create_connection((benchlib.HOST, server.port), benchlib.DEADLINE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not waits or process.poll() is None:
            begun = time.monotonic()
            client.sendall(struct.pack("=Q", ANSWER_BYTES))
            client.recv(ANSWER_BYTES, socket.MSG_WAITALL)
            waits.append(time.monotonic() - begun)
    return sorted(waits)


def beside(peer, plan):
    waits = []
    with peer("source") as server:
        run_traffic(
            server, "down", plan.streams, 2 * plan.volume,
            lambda process: waits.extend(ask(server, process)),
        )  # fmt: skip
    return {
        "beside_p50": waits[len(waits) // 2] * 1e6,
        "beside_p99": waits[len(waits) * 99 // 100] * 1e6,
    }


def connects(peer, plan):
    pairs = peer.pairs(plan.pairs)
    rates, costs = [], []
    for _ in range(CONNECT_RUNS):
        with peer("echo") as server:
            seconds, cpu = run_traffic(server, "connect", pairs, plan.at_once)
        rates.append(pairs / seconds)
        costs.append(cpu / pairs * 1e6)
    return {"connects": statistics.median(rates), "connect_cpu": statistics.median(costs)}


def echo(peer, plan, pairs, name, *arguments):
    with peer("echo") as server:
        report, cpu, _ = measures.load(
            server, plan, pairs, plan.echo_seconds,
            "--workload", "echo", "--size", plan.echo_bytes, "--rate", plan.connect_rate,
            *arguments,
        )  # fmt: skip
    rate = report["echo_per_second"]
    return report, {name: rate, f"{name}_cpu": cpu / plan.echo_seconds / rate * 1e6}


def closed(peer, plan, pairs, name):
    return echo(peer, plan, pairs, name, "--concurrency", plan.echo_concurrency)[1]


def fixed(peer, plan, pairs, name):
    report, figures = echo(peer, plan, pairs, name, "--rate-echo", plan.echo_rate)
    latency = report["latency_seconds"]
    return {
        f"{name}_p50": latency["p50"] * 1e6,
        f"{name}_p99": latency["p99"] * 1e6,
        f"{name}_cpu": figures[f"{name}_cpu"],
    }


def echo_some(peer, plan):
    return closed(peer, plan, plan.some_pairs, "echo_some")


def echo_all(peer, plan):
    return closed(peer, plan, plan.pairs, "echo_all")


def fixed_some(peer, plan):
    return fixed(peer, plan, plan.some_pairs, "fixed_some")


def fixed_all(peer, plan):
    return fixed(peer, plan, plan.pairs, "fixed_all")


def workloads(peer):
    result = [up_one, up_many, down_one, down_many, beside, connects, echo_some, fixed_some]
    if peer is not relays.Direct:
        result.insert(0, idle)
    if peer is not relays.SocketProxyd:  # it cannot hold so many
        result += [echo_all, fixed_all]
    return result
