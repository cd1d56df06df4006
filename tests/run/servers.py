"""Servers that stand behind the gateway: some that a test speaks for itself, some with a thread."""

import collections
import contextlib
import selectors
import socket
import threading

import pytest

from clients import reset
from gateway import DEADLINE, free_port, wait_for
from relay_clients import PATIENCE

READ_BYTES = 65536
NO_CHECKS = {"interval": 0}
QUICK = {"interval": 0.1, "timeout": 0.1, "rise": 2, "fall": 2}  # checks of health
BACKLOG = 4096

taken = []  # sockets of dead_target()


def relay(*servers, listener=None, workers=2, limits=None, log_level="info", **upstream):
    """
    A configuration with the listener "relay", which leads to these servers (or targets). What is
    not said of `upstream` is its default, but that servers are not checked.
    """
    upstream.setdefault("health", NO_CHECKS)
    upstream["servers"] = [getattr(server, "target", server) for server in servers]
    return {
        "workers": workers,
        "log_level": log_level,
        "limits": limits or {},
        "listeners": {"relay": {"service": "relay", "upstream": upstream, **(listener or {})}},
    }


def upstreams(gateway, listener="relay"):
    """What the gateway tells of its servers, by their addresses."""
    found = gateway.get("/upstreams")["upstreams"]
    return {item["address"]: item for item in found if item["listener"] == listener}


def upstream_metrics(gateway):
    """The lines of GET /metrics that are about servers."""
    text = gateway.request("GET", "/metrics")[2].decode()
    return [line for line in text.splitlines() if line.startswith("millgate_upstream_")]


def wait_upstream(gateway, server, key, wanted, timeout=DEADLINE):
    """Waits until the server has this, which may be a predicate; returns what it has then."""
    target = getattr(server, "target", server)

    def probe():
        return upstreams(gateway).get(target, {}).get(key)

    return wait_for(probe, wanted, timeout, f"{key} of {target}")


def bind_free(sock):
    """To a port of 127.0.0.1 that is free, also when another process looks for one as well."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", free_port()))
            return sock.getsockname()
    raise RuntimeError("no port is free")


def dead_target():
    """An address at which nobody listens, and nobody else begins to meanwhile."""
    taken.append(socket.socket())
    return "%s:%d" % bind_free(taken[-1])


class Listening:
    """Something that listens, at 127.0.0.1 or a Unix socket, and can stop and begin again."""

    def __init__(self, address=None, backlog=BACKLOG, receive_buffer=None):
        self.address = address  # None: one that is free
        self.backlog = backlog
        self.receive_buffer = receive_buffer
        self.listener = None
        self.listen()

    @property
    def target(self):
        if isinstance(self.address, str):
            return f"unix:{self.address}".replace("\0", "@")
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def listen(self):
        if isinstance(self.address, str):
            self.listener = socket.socket(socket.AF_UNIX)
        else:
            is_ipv6 = self.address and ":" in self.address[0]
            self.listener = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.receive_buffer:  # inherited by its connections
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        if self.address:
            self.listener.bind(self.address)
        else:
            self.address = bind_free(self.listener)
        self.listener.listen(self.backlog)

    def close(self):
        if self.listener:
            self.listener.close()
        self.listener = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Scripted(Listening):
    """The test accepts its connections, and speaks over them."""

    def accept(self, timeout=DEADLINE):
        self.listener.settimeout(timeout)
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE)
        return sock


class Full(Listening):
    """Nobody accepts, and its backlog is full: who connects waits for long. (A Unix socket says
    EAGAIN instead.)"""

    def __init__(self, address=None):
        super().__init__(address, backlog=0)
        self.own = socket.socket(self.listener.family)  # a backlog of 0 is full with one
        self.own.connect(self.address)

    def make_room(self, count):
        """Lets so many in that had waited; returns them."""
        # With a backlog of 0 the kernel has SYN cookies instead of a queue: of those that come at
        # once, one that has sent all it had and its FIN would be reset.
        self.listener.listen()
        self.listener.settimeout(DEADLINE)
        found = []
        while len(found) < count:
            sock, peer = self.listener.accept()
            if peer == self.own.getsockname():
                sock.close()
                continue
            sock.settimeout(DEADLINE)
            found.append(sock)
        return found

    def close(self):
        self.own.close()
        super().close()


class Conversation:
    """One connection of an Echo."""

    def __init__(self, sock, greeting):
        self.sock = sock
        self.queue = bytearray(greeting)
        self.ended = False  # the other side sends no more
        self.received = 0

    def events(self):
        if self.queue:
            return selectors.EVENT_WRITE  # who does not read what came is not read either
        return selectors.EVENT_READ


class Echo(Listening):
    """
    Says its name as the first line, if it has one, and sends back what comes, in a thread of its
    own. It reads no more while something waits, and closes when the other side has, in order.
    """

    def __init__(self, name="", address=None):
        super().__init__(address)
        self.name = name
        self.greeting = f"{name}\n".encode() if name else b""
        self.selector = selectors.DefaultSelector()
        self.lock = threading.Lock()
        self.orders = collections.deque()
        self.open = {}
        self.ended_wrongly = 0  # connections that were reset
        self.wake, self.woken = socket.socketpair()
        self.selector.register(self.woken, selectors.EVENT_READ, None)
        self.watch()
        self.running = True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def watch(self):
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, None)

    def order(self, function):
        """Has the thread call this, and waits until it has."""
        done = threading.Event()
        self.orders.append(lambda: (function(), done.set()))
        self.wake.send(b"x")
        assert done.wait(DEADLINE)

    def run(self):
        while self.running:
            for key, events in self.selector.select():
                if key.fileobj is self.woken:
                    self.woken.recv(64)
                elif key.data is None:
                    self.accept_all()
                elif key.data.sock in self.open:
                    self.serve(key.data, events)
            while self.orders:
                self.orders.popleft()()

    def accept_all(self):
        with contextlib.suppress(BlockingIOError, AttributeError, OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.setblocking(False)
                if sock.family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                one = self.open[sock] = Conversation(sock, self.greeting)
                self.selector.register(sock, one.events(), one)

    def serve(self, one, events):
        try:
            if events & selectors.EVENT_READ and not one.ended:
                data = one.sock.recv(READ_BYTES)
                one.received += len(data)
                one.ended = not data
                one.queue += data
            if one.queue:
                del one.queue[: one.sock.send(one.queue)]
        except BlockingIOError:
            pass
        except OSError:
            self.ended_wrongly += 1
            self.forget(one)
            return
        if one.ended and not one.queue:
            self.forget(one)
        else:
            self.selector.modify(one.sock, one.events(), one)

    def forget(self, one, end=socket.socket.close):
        self.selector.unregister(one.sock)
        del self.open[one.sock]
        end(one.sock)

    @property
    def connections(self):
        return len(self.open)

    def wait_connections(self, wanted):
        wait_for(lambda: self.connections, wanted, what=f"connections of {self.target}")

    def stop_listening(self):
        """Refuses who comes from now on; those that are there stay."""

        def stop():
            self.selector.unregister(self.listener)
            Listening.close(self)

        self.order(stop)

    def listen_again(self):
        self.order(lambda: (self.listen(), self.watch()))

    def die(self):
        """As if it crashed with unread data: refuses, and all connections are reset."""
        self.stop_listening()
        self.order(lambda: [self.forget(one, reset) for one in list(self.open.values())])

    def end_all(self):
        """Closes all connections in order."""
        self.order(lambda: [self.forget(one) for one in list(self.open.values())])

    def close(self):
        if not self.running:
            return
        self.running = False
        self.wake.send(b"x")
        self.thread.join()
        for one in list(self.open.values()):
            self.forget(one)
        super().close()
        self.selector.close()
        self.wake.close()
        self.woken.close()


@pytest.fixture
def scripted():
    """Makes servers that the test speaks for: scripted(address=None, ...)."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(Scripted(*args, **options))


@pytest.fixture
def echoes():
    """Makes servers that greet and echo: echoes("a", "b") are two, with these names."""
    with contextlib.ExitStack() as stack:

        def make(*names, **options):
            made = [stack.enter_context(Echo(name, **options)) for name in names or [""]]
            return made if names else made[0]

        yield make


@pytest.fixture
def full():
    """Makes servers whose backlog is full."""
    with contextlib.ExitStack() as stack:
        yield lambda *args: stack.enter_context(Full(*args))
