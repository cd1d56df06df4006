"""What tests/bench/peers reports."""

import benchlib

from peers_lib import servers
from peers_lib.report import BEGIN, END, Metric, Report

PAGE = benchlib.ROOT / "docs" / "bench" / "peers.md"
METRICS = [
    Metric("user", "User memory per idle connection", "bytes", chart=True, bar=True,
        note="loaded minus empty; for a proxy, of the proxy alone"),
    Metric("beat_user", "User memory per connection with heartbeats", "bytes", chart=True, bar=True,
        note="loaded minus empty, while heartbeats are sent"),
    Metric("kernel", "Kernel memory per idle connection", "bytes", chart=True,
        note="growth of Slab: the server's and the client's end, and for a proxy two more"),
    Metric("accept", "Connections accepted", "per second", higher=True, chart=True, bar=True,
        note="from the first to the last that the server holds; the client connects as fast as "
        "it can"),
    Metric("accept_cpu", "CPU per connection accepted", "microseconds", digits=1),
    Metric("echo", "Echoes, closed loop", "per second", higher=True, chart=True, bar=True),
    Metric("echo_closed_cpu", "CPU per million echoes, closed loop", "seconds", digits=2,
        note="of the server; for a proxy without its upstream"),
    Metric("echo_p50", "Echo latency at a fixed rate, p50", "microseconds"),
    Metric("echo_p99", "Echo latency at a fixed rate, p99", "microseconds", chart=True),
    Metric("echo_cpu", "CPU per million echoes at a fixed rate", "seconds", digits=2, chart=True,
        note="of the server; for a proxy without its upstream"),
    Metric("fast_cpu", "CPU per million heartbeats, one a second each", "seconds", digits=2,
        chart=True),
    Metric("beat_cpu", "CPU per million heartbeats, one in 5 seconds each", "seconds", digits=2,
        note="an even stream wakes a server for every few of them, a burst for many at once"),
    Metric("busiest", "Busiest second of the heartbeats", "times the mean second", digits=2,
        chart=True, note="one in 5 seconds to clients that all came at once; 1 is an even stream"),
    Metric("gap_p50", "Gap between heartbeats, p50", "milliseconds", digits=1,
        note="one a second each; p50 and p99 to one part in 128"),
    Metric("gap_p99", "Gap between heartbeats, p99", "milliseconds", digits=1),
    Metric("gap_max", "Gap between heartbeats, longest", "milliseconds", digits=1),
]  # fmt: skip

PREFACE = f"""\
# The peers, side by side

What `tests/bench/peers --write` has measured. nginx and HAProxy are here as proxies, and so hold
two connections for each client; what stands behind them is not counted.

{BEGIN}
{END}
"""


def workload(plan):
    return (
        f"{plan.connections} connections idle and accepted; "
        f"{plan.beat_connections} with a heartbeat of {len(servers.PAYLOAD)} bytes every "
        f"{plan.beat_interval} s, over {plan.beat_rounds} intervals, and every "
        f"{plan.fast_interval} s, over {plan.fast_rounds}; echoes of {plan.echo_bytes} "
        f"bytes over {plan.echo_connections} connections for {plan.echo_seconds:g} s, closed loop "
        f"with {plan.echo_concurrency} under way, fixed rate of {plan.echo_rate} a second"
    )


def of(results, _):
    return Report(METRICS, servers.PEERS, servers.Bare, PAGE, PREFACE, results)
