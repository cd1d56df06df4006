"""A comparison from the command line to the page: rounds, in which who begins takes turns."""

import contextlib
import dataclasses
import json
import pathlib
import shlex
import shutil
import sys
import tempfile
import typing

import benchlib

from peers_lib import charts, install

SMOKE_CONNECTIONS_MAX = 2000


@dataclasses.dataclass
class Comparison:
    """What tests/bench/NAME compares. Ours is the first of the peers."""

    name: str
    peers: list
    packages: list  # of Debian
    services: list  # of those
    programs: list  # that must have been built
    plan_of: typing.Callable  # options -> a plan
    smoke_plan_of: typing.Callable  # a number of connections -> a plan
    workloads: typing.Callable  # peer -> functions of a peer and a plan, which return figures
    describe: typing.Callable  # plan -> text
    report: typing.Callable  # results, plan -> Report
    not_in_smoke: tuple = ()


def parser(name, text, connections, rounds):
    result = benchlib.parser(name, text, connections=connections, rounds=rounds)
    result.add_argument("--no-install", action="store_true", help="compare what is there")
    result.add_argument("--install-only", action="store_true", help="measure nothing")
    result.add_argument("--write", action="store_true", help=f"write docs/bench/{name}*")
    result.add_argument(
        "--smoke", action="store_true", help="does it work? small, quick, no install"
    )
    result.add_argument(
        "--only",
        metavar="WORDS",
        help="servers with one of these comma-separated words in the name",
    )
    return result


@contextlib.contextmanager
def prepared(comparison, options):
    """The peers that are there, built and ready."""
    words = options.only.lower().split(",") if options.only else [""]
    with tempfile.TemporaryDirectory(prefix="millgate-peers-") as directory:
        found = []
        for peer in comparison.peers:
            chosen = any(word in peer.label.lower() for word in words)
            if peer is not comparison.peers[0] and not (chosen and peer.available()):
                continue
            peer.prepare(pathlib.Path(directory))
            found.append(peer)
        yield found


def one_round(comparison, peers, plan, number):
    """The figures of a round by label. What is compared is measured in succession: a machine that is
    slow for a minute is so for all."""
    shift = number % len(peers)
    measured = {peer.label: {} for peer in peers}
    for workload in dict.fromkeys(one for peer in peers for one in comparison.workloads(peer)):
        for peer in peers[shift:] + peers[:shift]:
            if workload in comparison.workloads(peer):
                benchlib.progress(f"round {number + 1}: {workload.__name__}, {peer.label}")
                measured[peer.label].update(workload(peer, plan))
    return measured


def compare(comparison, options):
    plan = comparison.plan_of(options)
    text = comparison.describe(plan)
    with prepared(comparison, options) as peers:
        results = {peer.label: [] for peer in peers}
        for number in range(options.rounds):
            for label, measured in one_round(comparison, peers, plan, number).items():
                results[label].append(measured)
    report = comparison.report(results, plan)
    if options.json:
        print(json.dumps({"machine": benchlib.machine(), "results": results}, indent=2))
    else:
        print(f"{text}; {options.rounds} rounds\n\n{report.text()}")
    if options.write:
        command = shlex.join([f"tests/bench/{comparison.name}", *sys.argv[1:]])
        drawn = charts.write(report)
        report.write(report.figures(text, command, options.rounds, drawn))
    lines = report.behind()
    for line in lines:
        print(f"BEHIND  {line}", file=sys.stderr)
    return 1 if lines and not options.no_bar else 0


def smoke(comparison, options):
    """Every workload once against whatever is installed."""
    plan = comparison.smoke_plan_of(min(options.connections, SMOKE_CONNECTIONS_MAX))
    passed = failed = 0
    with prepared(comparison, options) as peers:
        absent = [peer.label for peer in comparison.peers if peer not in peers]
        if absent:
            print(f"*** NOT HERE, SO NOT TRIED: {', '.join(absent)} ***", flush=True)
        for peer in peers:
            for workload in comparison.workloads(peer):
                if workload in comparison.not_in_smoke:
                    continue
                name = f"{comparison.name}: {peer.label}, {workload.__name__}"
                try:
                    workload(peer, plan)
                except (benchlib.BenchError, OSError, KeyError, TypeError) as error:
                    print(f"not ok - {name}: {error!r}", flush=True)
                    failed += 1
                else:
                    print(f"ok - {name}", flush=True)
                    passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def main(comparison, options):
    if not options.install_only:
        benchlib.need(*comparison.programs)
    if options.smoke:
        return smoke(comparison, options)
    if not options.no_install:
        install.install(comparison.packages, comparison.services, charts=options.write)
    if options.install_only:
        return 0
    if options.write and not shutil.which("gnuplot"):
        raise benchlib.BenchError("--write draws with gnuplot, which is not installed")
    return compare(comparison, options)
