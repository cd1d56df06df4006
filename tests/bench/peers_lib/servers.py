"""
The servers that are compared: how each is configured, built and started. All have one worker, one
thread of execution for connections, the descriptors that the hard limit allows, no logs, and the
same keep-alive and backlog where they have such a thing.
"""

import os
import pathlib
import resource
import shutil
import socket
import subprocess
import tempfile

import benchlib

NGINX_MODULES = pathlib.Path("/usr/lib/nginx/modules")
SBIN = "/usr/sbin:/sbin:" + os.environ.get("PATH", "")
PAYLOAD = "a" * 10
CONNECTIONS_MAX = 100000


def milliseconds(seconds):
    return f"{seconds * 1000:.0f}ms"


def descriptors():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


class Peer(benchlib.Server):
    """A server with a directory of its own, which answers at its port once it is up."""

    label = None  # in the tables
    note = ""
    packages = []  # Debian's, whose versions are reported
    beats = echoes = True  # what it can do
    per_client = 1  # connections that it holds for each client

    def __init__(self, mode, interval=0):
        super().__init__(self.label)
        self.mode = mode
        self.interval = interval
        self.temporary = tempfile.TemporaryDirectory(prefix="millgate-peers-")
        self.directory = pathlib.Path(self.temporary.name)
        os.chmod(self.directory, 0o755)  # workers may run as a user of their own

    @classmethod
    def available(cls):
        return True

    @classmethod
    def prepare(cls, directory):
        """Whatever has to be made before the first start."""

    def start(self):
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                env={**os.environ, "GOMAXPROCS": "1"},
                preexec_fn=raise_descriptors,
            )
        benchlib.wait_until(f"{self.name} is up", self.is_up)

    def is_up(self):
        if self.process.poll() is not None:
            log = (self.directory / "log").read_text(errors="replace")
            raise benchlib.BenchError(f"{self.name} does not start:\n{log}")
        with socket.socket() as probe:
            return probe.connect_ex((benchlib.HOST, self.port)) == 0

    def stop(self):
        super().stop()
        self.temporary.cleanup()


def raise_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors(), descriptors()))


class Millgate(Peer):
    label = "millgate"
    note = "one worker and its supervisor"

    def __init__(self, mode, interval=0):
        super().__init__(mode, interval)
        listener = {"service": mode}
        if interval:
            listener["heartbeat"] = {"interval": milliseconds(interval), "payload": PAYLOAD}
        self.gateway = benchlib.Gateway(listener, connections=CONNECTIONS_MAX)
        self.port = self.gateway.port

    @classmethod
    def available(cls):
        return os.access(benchlib.MILLGATED, os.X_OK)

    def start(self):
        self.gateway.start()
        self.process = self.gateway.process

    def stop(self):
        self.gateway.stop()
        self.temporary.cleanup()


class Bare(Peer):
    label = "bare epoll loop"
    note = "in C, tests/bench/bare: no limits, no timers, no logs; what the kernel costs"
    beats = False

    @classmethod
    def available(cls):
        return os.access(benchlib.BARE, os.X_OK)

    def command(self):
        return [benchlib.BARE, "echo" if self.mode == "echo" else "accept", str(self.port)]


class GoServer(Peer):
    packages = ["golang-go", "golang-1.19-go"]
    source = program = None

    @classmethod
    def available(cls):
        return shutil.which("go") is not None

    @classmethod
    def prepare(cls, directory):
        cls.program = directory / cls.source
        source = benchlib.ROOT / "tests" / "bench" / "go" / cls.source / "main.go"
        environment = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off", "GOFLAGS": ""}
        subprocess.run(["go", "build", "-o", cls.program, source], check=True, env=environment)

    def command(self):
        command = [self.program, "-listen", self.target, "-mode", self.mode]
        if self.interval:
            command += ["-interval", milliseconds(self.interval), "-payload", PAYLOAD]
        return command


class Goroutine(GoServer):
    label = "Go, goroutine each"
    note = "tests/bench/go/goroutine, GOMAXPROCS=1"
    source = "goroutine"


class GoEpoll(GoServer):
    label = "Go, one epoll set"
    note = "tests/bench/go/epoll, GOMAXPROCS=1"
    source = "epoll"


class Configured(Peer):
    """Reads a file when it starts."""

    beats = False

    def start(self):
        self.configuration = self.directory / "conf"
        self.configuration.write_text(self.configure())
        super().start()


class Proxy(Configured):
    """Relays to a bare server, whose memory and CPU are not counted."""

    per_client = 2
    upstream = None

    def behind(self):
        """The server that it leads to."""
        return benchlib.Bare("echo" if self.mode == "echo" else "accept")

    def start(self):
        self.upstream = self.behind()
        self.upstream.start()
        self.port = benchlib.free_port()  # not the one that the upstream has taken
        super().start()

    def stop(self):
        super().stop()
        if self.upstream:
            self.upstream.stop()


NGINX = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {directory}/pid;
error_log stderr crit;
load_module {module};
events {{ worker_connections {descriptors}; multi_accept on; }}
"""

NGINX_STREAM = """\
stream {{
    server {{
        listen {target} backlog=65535 so_keepalive=5m::;
        proxy_pass {upstream};
        proxy_buffer_size {buffer};
        proxy_timeout 1h;
    }}
}}
"""

NCHAN = """\
http {{
    access_log off;
    client_body_temp_path {directory}/1; proxy_temp_path {directory}/2;
    fastcgi_temp_path {directory}/3; uwsgi_temp_path {directory}/4; scgi_temp_path {directory}/5;
    server {{
        listen {target} backlog=65535 so_keepalive=5m::;
        location / {{ nchan_subscriber websocket; nchan_channel_id bench; }}
        location = /publish {{ nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 1; }}
    }}
}}
"""


def nginx():
    return shutil.which("nginx", path=SBIN)


def nginx_has(module):
    return nginx() is not None and (NGINX_MODULES / module).exists()


def nginx_command(peer):
    files = ["-p", str(peer.directory), "-c", str(peer.configuration)]
    return [nginx(), "-e", "stderr", *files]


class NginxStream(Proxy):
    label = "nginx stream (proxy)"
    note = "two connections per client, proxy_buffer_size 4k"
    packages = ["nginx", "libnginx-mod-stream"]
    module = "ngx_stream_module.so"
    buffer = "4k"

    @classmethod
    def available(cls):
        return nginx_has(cls.module)

    def configure(self):
        return (NGINX + NGINX_STREAM).format(
            descriptors=descriptors(),
            directory=self.directory,
            module=NGINX_MODULES / self.module,
            target=self.target,
            upstream=self.upstream.target,
            buffer=self.buffer,
        )

    def command(self):
        return nginx_command(self)


class Nchan(Configured):
    label = "nchan (WebSocket)"
    note = "subscribers of one channel, after the handshake"
    packages = ["nginx", "libnginx-mod-nchan"]
    module = "ngx_nchan_module.so"
    echoes = False

    @classmethod
    def available(cls):
        return nginx_has(cls.module)

    def configure(self):
        return (NGINX + NCHAN).format(
            descriptors=descriptors(),
            directory=self.directory,
            module=NGINX_MODULES / self.module,
            target=self.target,
        )

    def command(self):
        return nginx_command(self)


HAPROXY = """\
global
    nbthread 1
    maxconn {connections}
    maxpipes {pipes}
    ulimit-n {descriptors}
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    option clitcpka
    clitcpka-idle 5m
    {option}
listen bench
    bind {target} backlog 65535 maxconn {connections}
    server upstream {upstream}
"""


class Haproxy(Proxy):
    label = "HAProxy, TCP (proxy)"
    note = "two connections per client, nbthread 1"
    packages = ["haproxy"]
    option = ""
    connections = property(lambda self: descriptors() // 2 - 100)
    pipes = 0

    @classmethod
    def available(cls):
        return shutil.which("haproxy", path=SBIN) is not None

    def configure(self):
        return HAPROXY.format(
            descriptors=descriptors(),
            connections=self.connections,
            pipes=self.pipes,
            target=self.target,
            upstream=self.upstream.target,
            option=self.option,
        )

    def command(self):
        haproxy = shutil.which("haproxy", path=SBIN)
        return [haproxy, "-db", "-q", "-f", str(self.configuration)]


# Millgate first: the others are compared with it.
PEERS = [Millgate, Goroutine, GoEpoll, NginxStream, Haproxy, Nchan, Bare]
