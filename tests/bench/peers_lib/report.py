"""The figures as tables, for the terminal and for docs/bench/peers.md."""

import dataclasses
import statistics

import benchlib

from peers_lib import install, servers

PAGE = benchlib.ROOT / "docs" / "bench" / "peers.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
EQUAL = 1.05  # rates so close are equal


@dataclasses.dataclass
class Metric:
    key: str
    title: str
    unit: str
    digits: int = 0
    higher: bool = False  # is better
    chart: bool = False
    bar: bool = False  # must millgate be ahead of every peer?
    note: str = ""


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
HEADER = ["", "median", "min", "max", "to millgate: min", "median", "max"]


def rounds_of(results, label, key):
    """One value a round; None where nothing was measured."""
    return [one.get(key) for one in results.get(label, [])]


def ratios(results, label, key):
    pairs = zip(rounds_of(results, label, key), rounds_of(results, servers.Millgate.label, key))
    return [peer / ours for peer, ours in pairs if peer is not None and (ours or 0) > 0]


def known(values):
    return [value for value in values if value is not None]


def rows(results, metric):
    """Per server: name, median, min, max of the values, then min, median, max of the ratios."""
    lines = []
    for peer in servers.PEERS:
        values = known(rounds_of(results, peer.label, metric.key))
        if not values:
            continue
        line = [peer.label]
        line += [f"{f(values):.{metric.digits}f}" for f in (statistics.median, min, max)]
        to_ours = ratios(results, peer.label, metric.key)
        if to_ours:
            line += [f"{f(to_ours):.2f}" for f in (min, statistics.median, max)]
        else:
            line += ["-"] * 3
        lines.append(line)
    return lines


def heading(metric):
    better = "higher" if metric.higher else "lower"
    return f"{metric.title}, {metric.unit} ({better} is better)"


def text(results):
    parts = []
    for metric in METRICS:
        lines = rows(results, metric)
        if lines:
            note = f"\n  {metric.note}" if metric.note else ""
            parts.append(f"{heading(metric)}{note}\n" + benchlib.table(HEADER, lines))
    parts.append("\n".join(f"{peer.label}: {peer.note}" for peer in present(results)))
    return "\n\n".join(parts)


def present(results):
    return [peer for peer in servers.PEERS if peer.label in results]


def behind(results):
    """Where millgate is not ahead of every peer: one line each. The bare loop is no peer."""
    lines = []
    for metric in METRICS:
        for peer in present(results):
            to_ours = ratios(results, peer.label, metric.key)
            if peer in (servers.Millgate, servers.Bare) or not metric.bar or not to_ours:
                continue
            ratio = statistics.median(to_ours)
            if ratio > EQUAL if metric.higher else ratio < 1:
                lines.append(f"{metric.title}: {peer.label} has {ratio:.2f} of millgate's")
    return lines


# The page.


def markdown_table(header, lines, align="--:"):
    text = ["| " + " | ".join(header) + " |", "|---" + f"|{align}" * (len(header) - 1) + "|"]
    return "\n".join(text + ["| " + " | ".join(line) + " |" for line in lines])


def summary(results):
    """Medians of everything: a row a figure, a column a server."""
    peers = present(results)
    lines = []
    for metric in METRICS:
        medians = {row[0]: row[1] for row in rows(results, metric)}
        if medians:
            cells = [medians.get(peer.label, "") for peer in peers]
            lines.append([f"{metric.title}, {metric.unit}", *cells])
    return markdown_table(["median", *(peer.label for peer in peers)], lines)


def versions(results):
    lines = []
    for peer in present(results):
        found = [(package, install.version(package)) for package in peer.packages]
        known_ones = ", ".join(f"{package} {version}" for package, version in found if version)
        lines.append([peer.label, known_ones or "of this tree", peer.note])
    return markdown_table(["server", "Debian packages", ""], lines, "---")


def workload(plan):
    return (
        f"{plan.connections} connections idle and accepted; "
        f"{plan.beat_connections} with a heartbeat of {len(servers.PAYLOAD)} bytes every "
        f"{plan.beat_interval} s, over {plan.beat_rounds} intervals, and every "
        f"{plan.fast_interval} s, over {plan.fast_rounds}; echoes of {plan.echo_bytes} "
        f"bytes over {plan.echo_connections} connections for {plan.echo_seconds:g} s, closed loop "
        f"with {plan.echo_concurrency} under way, fixed rate of {plan.echo_rate} a second"
    )


def figures(results, plan, command, rounds, charts):
    host = benchlib.machine()
    parts = [
        f"    {command}",
        f"Machine: {host['cores']} cores ({host['cpu']}), {host['memory_bytes'] / 2**30:.0f} GiB, "
        f"Linux {host['kernel']}; servers and clients together on it, over loopback. "
        f"Rounds: {rounds}, in which who begins takes turns; each with fresh servers.",
        f"Workloads: {workload(plan)}.",
        versions(results),
        "## Medians",
        summary(results),
        "## Every figure",
        "Ratios are those of the same round: what the server has, over what millgate has.",
    ]
    for metric in METRICS:
        lines = rows(results, metric)
        if not lines:
            continue
        parts.append(f"### {heading(metric)}")
        if metric.note:
            parts.append(metric.note[0].upper() + metric.note[1:] + ".")
        parts.append(markdown_table(HEADER, lines))
        if metric.key in charts:
            parts.append(f"![{metric.title}]({charts[metric.key]})")
    return "\n\n".join(parts)


PREFACE = f"""\
# The peers, side by side

What `tests/bench/peers --write` has measured. nginx and HAProxy are here as proxies, and so hold
two connections for each client; what stands behind them is not counted.

{BEGIN}
{END}
"""


def write(new):
    """Puts the figures into the page, and leaves what a person has written around them."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    page = PAGE.read_text() if PAGE.exists() else PREFACE
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise benchlib.BenchError(f"{PAGE.name} has lost its markers")
    PAGE.write_text(f"{before}{BEGIN}\n\n{new}\n\n{END}{after}")
