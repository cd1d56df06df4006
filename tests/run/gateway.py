"""A millgated of the test's own: started, asked, steered and stopped."""

import contextlib
import copy
import http.client
import itertools
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time

from clients import peer_name

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MILLGATE_BUILD", ROOT))
MILLGATED = BUILD / "millgated"

DEADLINE = 20  # seconds, for whatever ought to happen soon
POLL = 0.02

SANITIZER_REPORT = re.compile(r"runtime error:|ERROR: \w+Sanitizer|SUMMARY: \w+Sanitizer")
SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def own_ports():
    """The ports of this process, of those outside the range that outgoing connections are given."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    n = 12000 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    first = 20000 + int(worker) * n
    # Somebody else may run the same tests.
    start = os.getpid() * 131 % n
    return [first + (start + i) % n for i in range(n)]


OWN_PORTS = own_ports()
_ports = itertools.cycle(OWN_PORTS)


def free_port():
    """A TCP port that is free now, and was not given before, as long as that is possible."""
    for port in itertools.islice(_ports, len(OWN_PORTS)):
        with socket.socket(socket.AF_INET6) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("::", port))
                return port
    raise RuntimeError("no port is free")


def wait_for(probe, wanted, timeout=DEADLINE, what="value"):
    """Polls until `wanted` (a value, or a predicate) holds; returns what probe() gave then."""
    holds = wanted if callable(wanted) else lambda value: value == wanted
    deadline = time.monotonic() + timeout
    while True:
        value = probe()
        if holds(value):
            return value
        asked = "what is wanted" if callable(wanted) else repr(wanted)
        assert time.monotonic() < deadline, f"{what} is {value!r}, not {asked}, after {timeout} s"
        time.sleep(POLL)


class UnixHTTPConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout=DEADLINE):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def process_state(pid):
    """The letter of /proc/PID/stat ("R", "S", "T", "Z"); "" when there is no such process."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[0]


def process_runs(pid):
    return process_state(pid) not in ("", "Z")


@contextlib.contextmanager
def stopped(pid):
    """The process hangs meanwhile."""
    assert pid > 0, "kill(2) would stop the tests"
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: process_state(pid), "T")
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def cpu_seconds(pid):
    """User and system time that the process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check_calm(pid, seconds=1.0, share=0.15):
    """The process uses little CPU time for so long."""
    before = cpu_seconds(pid)
    time.sleep(seconds)
    assert cpu_seconds(pid) - before < share * seconds


class Gateway:
    """
    One millgated with a directory of its own.

    In the addresses of `config`, DIR stands for that directory and PORT for a free port; a listener
    without address gets 127.0.0.1:PORT. `nofile` is the process's limit of descriptors, `prefix` a
    command to run it by, `environment` is added to the test's own, `open_to_all` lets other users
    into the directory.
    """

    def __init__(
        self, config, *, nofile=None, prefix=(), environment=None, pass_fds=(), open_to_all=False
    ):
        self.temporary = tempfile.TemporaryDirectory(prefix="millgate-")
        self.directory = pathlib.Path(self.temporary.name)
        if open_to_all:
            self.directory.chmod(0o777)
        self.admin_socket = self.directory / "admin.sock"
        self.config_path = self.directory / "millgate.json"
        self.log_path = self.directory / "log"
        self.nofile = nofile
        self.prefix = list(map(str, prefix))
        self.environment = {**os.environ, **SANITIZER_ENVIRONMENT, **(environment or {})}
        self.pass_fds = pass_fds
        self.process = None
        self.config = self.complete(config)

    def complete(self, config):
        """The configuration as it goes into the file."""
        config = copy.deepcopy(config)
        config.setdefault("admin", {"socket": str(self.admin_socket)})
        for listener in config["listeners"].values():
            address = listener.setdefault("address", "127.0.0.1:PORT")
            if "PORT" in address:
                address = address.replace("PORT", str(free_port()))
            listener["address"] = address.replace("DIR", str(self.directory))
        return config

    # Life.

    def start(self, wait=True):
        self.write_config()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(MILLGATED), "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                pass_fds=self.pass_fds,
                preexec_fn=self.limit_descriptors if self.nofile else None,
            )
        if wait:
            self.wait_healthy()
        return self

    def limit_descriptors(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, self.nofile))

    def wait_healthy(self, timeout=DEADLINE):
        wait_for(self.health, (200, "ok"), timeout, "GET /health")

    def wait_answering(self, timeout=DEADLINE):
        """For one that starts degraded: a relay without servers, say."""
        wait_for(self.health, bool, timeout, "GET /health")

    def health(self):
        """Status and word of GET /health; None while nobody answers."""
        assert self.process.poll() is None, f"millgated ended with {self.process.returncode}"
        try:
            status, answer = self.admin("GET", "/health")
        except (FileNotFoundError, ConnectionError):
            return None
        return status, answer["status"]

    def stop(self, sig=signal.SIGTERM, status=0, timeout=DEADLINE):
        """Ends it and checks that it ended well."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        self.wait_ended(status, timeout)

    def wait_ended(self, status=0, timeout=DEADLINE):
        """Waits for its end and checks exit status and log."""
        workers = self.children()
        assert self.process.wait(timeout) == status
        for pid in workers:
            wait_for(lambda: process_runs(pid), False, what=f"worker {pid} runs")
        self.check_log()

    def check_log(self):
        assert not SANITIZER_REPORT.search(self.log()), "a sanitizer has reported"

    def kill(self):
        """Ends it the hard way; for cleaning up, and harmless afterwards."""
        if self.process and self.process.poll() is None:
            workers = self.children()
            self.process.kill()
            self.process.wait()
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.temporary.cleanup()

    def children(self):
        """The processes that the supervisor has started and not yet collected."""
        pid = self.process.pid
        try:
            text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [int(word) for word in text.split()]

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, pattern, timeout=DEADLINE):
        return wait_for(lambda: re.search(pattern, self.log()), bool, timeout, f"log /{pattern}/")

    # Where it is.

    def address(self, name="hold"):
        """Where a listener can be reached: (host, port), or the path of a Unix socket."""
        text = self.config["listeners"][name]["address"]
        if text.startswith("unix:"):
            return text[5:]
        host, _, port = text.rpartition(":")
        host = host.strip("[]")
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)

    # The admin socket.

    def request(self, method, path, body=None, headers=None, timeout=DEADLINE):
        """The status, the headers and the bytes of the answer."""
        connection = UnixHTTPConnection(self.admin_socket, timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def admin(self, method, path, body=None, timeout=DEADLINE):
        """The status and the JSON of the answer."""
        text = None if body is None else json.dumps(body)
        status, _, answer = self.request(method, path, text, timeout=timeout)
        return status, json.loads(answer)

    def get(self, path):
        """The JSON of a request that must succeed."""
        return self.ok("GET", path)

    def ok(self, method, path, body=None):
        status, answer = self.admin(method, path, body)
        assert status == 200, f"{method} {path}: {status} {answer}"
        return answer

    def stats(self):
        return self.get("/stats")

    def metric(self, name):
        return self.stats()["metrics"][name]

    def closed(self, reason):
        """How many connections were closed, or refused, for this reason."""
        return self.stats()["closed"][reason]

    def closed_counts(self):
        """All reasons for which something was closed so far."""
        return {reason: n for reason, n in self.stats()["closed"].items() if n}

    def listener(self, name):
        return self.stats()["listeners"][name]

    def workers(self):
        return self.stats()["workers"]

    def worker_pids(self):
        return [worker["pid"] for worker in self.workers()]

    def wait_metric(self, name, wanted, timeout=DEADLINE):
        deadline = time.monotonic() + timeout

        def probe():
            """A process that becomes another one, or ends, drops who asks it meanwhile."""
            while True:
                try:
                    return self.metric(name)
                except (ConnectionError, http.client.HTTPException):
                    if time.monotonic() >= deadline or self.process.poll() is not None:
                        raise
                    time.sleep(POLL)

        return wait_for(probe, wanted, timeout, name)

    def wait_connections(self, wanted, timeout=DEADLINE):
        return self.wait_metric("connections_current", wanted, timeout)

    def wait_closed(self, reason, wanted, timeout=DEADLINE):
        return wait_for(lambda: self.closed(reason), wanted, timeout, f"closed: {reason}")

    def wait_listener(self, name, key, wanted, timeout=DEADLINE):
        return wait_for(lambda: self.listener(name)[key], wanted, timeout, f"{name}: {key}")

    def connections(self, query="limit=1000"):
        """All connections that fit, page by page."""
        found, after = [], 0
        while after is not None:
            page = self.get(f"/connections?{query}&after={after}")
            found += page["connections"]
            after = page["next"]
        return found

    def connection_of(self, client):
        """What is known of the connection of a client's socket (TCP), once a worker has it."""
        peer = peer_name(client)

        def find():
            return [item for item in self.connections() if item["peer"] == peer]

        return wait_for(find, lambda found: len(found) == 1, what=f"who is {peer}")[0]

    # Configuration.

    def write_config(self):
        self.config_path.write_text(json.dumps(self.config, indent=1))

    def reload(self, **changes):
        """
        Takes over a changed configuration, and returns the keys that changed. A change is merged:
        reload(limits={"connections": 5}) leaves all else as it is; None removes a key.
        """
        merge(self.config, changes)
        self.write_config()
        answer = self.ok("POST", "/reload")
        assert answer["needs_restart"] == []
        return answer["changed"]


def merge(into, changes):
    """Puts changes into nested dicts; None removes a key."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif value is None:
            into.pop(key, None)
        else:
            into[key] = value
