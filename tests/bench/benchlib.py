"""
What the benchmarks share: a gateway and other servers of their own, crowds of clients, what
/proc tells of them, and the report. Python's standard library only.
"""

import argparse
import contextlib
import dataclasses
import http.client
import itertools
import json
import os
import pathlib
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MILLGATE_BUILD", ROOT)).resolve()
MILLGATED = BUILD / "millgated"
MILLGATE_BENCH = BUILD / "millgate-bench"
BARE = BUILD / "tests" / "bench" / "bare"
TRAFFIC = BUILD / "tests" / "bench" / "traffic"

HOST = "127.0.0.1"
PORTS = range(20000, 32000)  # outside the range that outgoing connections are given
NEXT_PORT = itertools.count(os.getpid() * 131)
DEADLINE = 60  # seconds, for whatever ought to happen soon
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The benchmark could not be run; the text says why."""


# Command lines.


def parser(program, text, *, connections, rounds):
    """What the benchmarks understand alike; the defaults are those of the claim."""
    result = argparse.ArgumentParser(
        prog=f"tests/bench/{program}",
        description=text,
        epilog="The programs are those in $MILLGATE_BUILD (the root of the tree).",
    )
    result.add_argument(
        "-n", "--connections", type=positive, default=connections, metavar="N",
        help="how many (%(default)s)",
    )  # fmt: skip
    if rounds:
        result.add_argument(
            "--rounds", type=positive, default=rounds, metavar="N", help="(%(default)s)"
        )
    result.add_argument("--no-bar", action="store_true", help="exit 0 even if a bar is missed")
    result.add_argument("--json", action="store_true", help="a JSON object instead of a table")
    return result


def positive(text):
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be positive")
    return value


def seconds(text):
    """"3m", "180s" or "180"."""
    factor = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    value = float(text[:-1] if factor else text) * (factor or 1)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be positive")
    return value


def run(main):
    """Calls main() and exits with its status; what went wrong is said in one line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except BenchError as error:
        print(f"{pathlib.Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def need(*programs):
    for program in programs:
        if not os.access(program, os.X_OK):
            name = program.relative_to(BUILD)
            raise BenchError(f"{name} is missing: make {name} (or set MILLGATE_BUILD)")


# Small things.


def free_port():
    """A TCP port that is free, and was not given before: thousands of connections of the server
    before may be in TIME_WAIT there, and the kernel looks at each while it seeks ports for others."""
    for _ in PORTS:
        port = PORTS[next(NEXT_PORT) % len(PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    raise BenchError("no port is free")


def wait_until(what, probe, timeout=DEADLINE, poll=0.02):
    """Polls until probe() is true; returns that value."""
    deadline = time.monotonic() + timeout
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise BenchError(f"after {timeout} s still not so: {what}")
        time.sleep(poll)
    return value


# What /proc tells. A process tree is a list of pids, its root first.


def process_tree(root):
    pids = [root]
    for pid in pids:
        with contextlib.suppress(OSError):
            text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
            pids += map(int, text.split())
    return pids


def key_values(text):
    """The numbers of lines like "Pss:   12 kB"; kB become bytes."""
    result = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            result[name] = int(words[0]) * (1024 if words[-1] == "kB" else 1)
    return result


def memory(pids):
    """
    User memory of processes in bytes: "pss"; its parts "anonymous" and "shmem"; and "file", all
    that is mapped of files, which Pss would divide by the number of those who map them.
    """
    total = dict.fromkeys(["pss", "anonymous", "shmem", "file"], 0)
    for pid in pids:
        rollup = key_values(pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text())
        status = key_values(pathlib.Path(f"/proc/{pid}/status").read_text())
        total["pss"] += rollup["Pss"]
        total["anonymous"] += rollup["Pss_Anon"]
        total["shmem"] += rollup["Pss_Shmem"]
        total["file"] += status["RssFile"]
    return total


def meminfo():
    return key_values(pathlib.Path("/proc/meminfo").read_text())


def cpu_seconds(pids):
    """User and system time that processes have used, to the nanosecond where the kernel counts."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
            except FileNotFoundError:
                fields = (task / "stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
    return total


def context_switches(pids):
    """How often the threads of processes slept and were woken; how often they were displaced."""
    voluntary = displaced = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            values = key_values((task / "status").read_text())
            voluntary += values["voluntary_ctxt_switches"]
            displaced += values["nonvoluntary_ctxt_switches"]
    return voluntary, displaced


def open_descriptors(pids):
    """Since Linux 6.2 the size of the directory tells; before, it has to be read."""
    total = 0
    for pid in pids:
        path = f"/proc/{pid}/fd"
        total += os.stat(path).st_size or len(os.listdir(path))
    return total


def machine():
    """What the figures depend on; no names."""
    cpu = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_bytes": meminfo()["MemTotal"],
        "kernel": platform.release(),
    }


# Servers.


class Server:
    """A server process with a port of its own; gone at the end of a `with`."""

    def __init__(self, name):
        self.name = name
        self.port = free_port()
        self.process = None
        self.base = 0

    @property
    def target(self):
        return f"{HOST}:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def pids(self):
        return process_tree(self.pid)

    def held(self):
        """Connections that are where they end up: in the workers, if there are any."""
        pids = self.pids()
        return open_descriptors(pids[1:] or pids) - self.base

    def __enter__(self):
        try:
            self.start()
            self.base = self.held()
            return self
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if not self.process:
            return
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bare(Server):
    """The least that a server can do: tests/bench/bare."""

    def __init__(self, what):
        super().__init__(f"bare {what}")
        self.what = what

    def start(self):
        self.process = subprocess.Popen(
            [BARE, self.what, str(self.port)], stdout=subprocess.PIPE, text=True
        )
        if self.process.stdout.readline() != "READY\n":
            raise BenchError("bare does not start")


class AdminConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Gateway(Server):
    """A millgated with one listener, whose keys are `listener`."""

    def __init__(self, listener, *, workers=1, connections=100000):
        super().__init__("millgate")
        self.directory = tempfile.TemporaryDirectory(prefix="millgate-bench-")
        path = pathlib.Path(self.directory.name)
        self.socket = path / "admin.sock"
        self.log = path / "log"
        self.config = path / "millgate.json"
        self.settings = {
            "workers": workers,
            "listeners": {"bench": {"address": self.target, "backlog": 65535, **listener}},
            "admin": {"socket": str(self.socket)},
            "limits": {"connections": connections},
        }

    def start(self):
        self.config.write_text(json.dumps(self.settings))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [MILLGATED, "--config", self.config], stdout=log, stderr=log
            )
        wait_until("millgated is ready", self.is_ready)

    def is_ready(self):
        if self.process.poll() is not None:
            raise BenchError(f"millgated does not start:\n{self.log.read_text()}")
        try:
            return self.get("/health")["status"] == "ok"
        except (FileNotFoundError, ConnectionError):
            return False

    def get(self, path):
        with contextlib.closing(AdminConnection(self.socket)) as connection:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    def metric(self, name):
        return self.get("/stats")["metrics"][name]

    def wait_connections(self, wanted):
        wait_until(
            f"the gateway has {wanted} connections",
            lambda: self.metric("connections_current") == wanted,
        )

    def stop(self):
        super().stop()
        self.directory.cleanup()


# Clients.


def start_clients(arguments, **options):
    command = [MILLGATE_BENCH, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def finish_clients(process):
    """The report of a millgate-bench that was started with --json."""
    text, _ = process.communicate()
    if process.returncode not in (0, 1) or not text:
        raise BenchError(f"millgate-bench ended with status {process.returncode}")
    return json.loads(text)


def clients(server, connections, *arguments):
    """Runs millgate-bench against a server; returns its report. Whatever failed is an error."""
    report = finish_clients(
        start_clients(
            ["--json", "--quiet", "--reset", "-n", connections, "--pid", server.pid]
            + [*arguments, server.target]
        )
    )
    bad = report["connect_failed"], report["lost"], report.get("echo_mismatches", 0)
    if any(bad):
        raise BenchError(f"{server.name}: failed, lost, echoed wrongly: {bad}")
    return report


@contextlib.contextmanager
def crowd(server, connections, *arguments):
    """Connections that are held, and do nothing, during a `with`."""
    with tempfile.TemporaryDirectory(prefix="millgate-bench-") as directory:
        ready = pathlib.Path(directory) / "ready"
        process = start_clients(
            ["--hold", "--quiet", "--reset", "--ready-file", ready, "-n", connections]
            + [*arguments, server.target]
        )
        try:
            wait_until("the clients are up", lambda: ready.exists() or process.poll() is not None)
            if not ready.exists() or f"up {connections} failed 0" not in ready.read_text():
                raise BenchError(f"{server.name}: not all of {connections} clients could connect")
            yield process
        finally:
            process.terminate()
            process.communicate()


# Two servers compared.


def side_by_side(servers, options, measure):
    """
    Calls measure(server, options) for each server in each round; they take turns in being first.
    Returns, by the server's name, a list of what measure() returned.
    """
    rounds = {server.name: [] for server in servers}
    for i in range(options.rounds):
        for server in servers if i % 2 == 0 else reversed(servers):
            progress(f"round {i + 1}: {server.name}")
            wait_until("the server has no connections", lambda: server.held() <= 0)
            rounds[server.name].append(measure(server, options))
    return rounds


def ratio(rounds, key):
    """The first server's median over the second's."""
    ours, theirs = (statistics.median(one[key] for one in each) for each in rounds.values())
    return ours / theirs


def comparison(rounds, figures):
    """A table of the rounds; figures are (title, key, format)."""
    rows = []
    for title, key, form in figures:
        for name, each in rounds.items():
            found = spread([one[key] for one in each])
            row = [f"{title}, {name}"]
            row += [form.format(found[which]) for which in ("min", "median", "max")]
            rows.append([*row, f"{ratio(rounds, key):.3f}" if name == next(iter(rounds)) else ""])
    return table(["", "min", "median", "max", "ratio"], rows)


# Reports.


def spread(values):
    return {
        "min": min(values),
        "median": statistics.median(values),
        "max": max(values),
        "rounds": list(values),
    }


@dataclasses.dataclass
class Bar:
    """What a figure must not pass."""

    name: str
    value: float
    at_most: float = None
    at_least: float = None

    @property
    def met(self):
        if self.at_most is not None and self.value > self.at_most:
            return False
        return self.at_least is None or self.value >= self.at_least

    def text(self):
        verdict = "met" if self.met else "MISSED"
        bar = f"at least {self.at_least:,}" if self.at_most is None else f"at most {self.at_most:,}"
        value = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:.3f}"
        return f"{verdict:6}  {self.name}: {value}, {bar}"

    def record(self):
        return {**dataclasses.asdict(self), "met": self.met}


def table(header, rows):
    """Text in columns, numbers to the right."""
    cells = [list(map(str, row)) for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = []
    for row in cells:
        line = [row[0].ljust(widths[0])]
        line += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(line).rstrip())
    return "\n".join(lines)


def finish(options, name, results, text, bars):
    """Prints the report; returns the exit status: 1 if a bar is missed."""
    if options.json:
        record = {
            "bench": name,
            "machine": machine(),
            "connections": options.connections,
            "results": results,
            "bars": [bar.record() for bar in bars],
        }
        print(json.dumps(record, indent=2))
    else:
        host = machine()
        print(text)
        print()
        for bar in bars:
            print(bar.text())
        print(
            f"on {host['cores']} cores ({host['cpu']}), "
            f"{host['memory_bytes'] / 2**30:.0f} GiB, Linux {host['kernel']}"
        )
    return 0 if options.no_bar or all(bar.met for bar in bars) else 1


def progress(text):
    """For a person who waits."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)
