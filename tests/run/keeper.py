"""systemd's part in a restart: starts the gateway, keeps what it stores, and passes it on."""

import array
import contextlib
import os
import shutil
import signal
import socket
import stat
import sys
import threading
from pathlib import Path

from gateway import DEADLINE, Gateway, free_port, process_runs, wait_for

ACTIVATE = Path(__file__).with_name("activate.py")
FDS_MAX = 253
SO_COOKIE = 57
FD_SIZE = array.array("i").itemsize


def cookie(fd):
    """The kernel's name for a socket."""
    with socket.socket(fileno=os.dup(fd)) as one:
        return one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)


class Keeper:
    """
    A service manager with one service. `sockets` are the listeners that it opens, by name; others,
    which the configuration has with an address, the gateway binds itself.
    """

    def __init__(self, directory, sockets=()):
        self.addresses = {}
        self.listeners = []  # (name, socket)
        self.store = []  # (name, descriptor), in the order in which they came
        self.removed = []  # descriptors that are not closed yet
        self.removes_late = False  # they are closed once the gateway is ready
        self.barriers_to_hold = 0  # so many barriers are not answered
        self.held = []
        self.messages = []  # fields of each
        self.lock = threading.Lock()
        self.stopping = False
        self.gateway = None
        path = str(directory / "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(path)
        self.notify.settimeout(0.05)
        self.environment = {"NOTIFY_SOCKET": path}
        for name in sockets:
            self.listen(name)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def listen(self, name):
        address = ("127.0.0.1", free_port())
        listener = socket.create_server(address, backlog=4096)
        self.listeners.append((name, listener))
        self.addresses[name] = address

    # The notify socket.

    def run(self):
        while not self.stopping:
            with contextlib.suppress(TimeoutError):
                data, control, _, _ = self.notify.recvmsg(
                    8192, socket.CMSG_SPACE(FDS_MAX * FD_SIZE), socket.MSG_CMSG_CLOEXEC
                )
                fds = array.array("i")
                for level, kind, content in control:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        fds.frombytes(content[: len(content) - len(content) % FD_SIZE])
                self.take(dict(line.split("=", 1) for line in data.decode().splitlines()), fds)

    def keep(self, name, fd):
        """As systemd: what is there already under this name, a second descriptor of it, is not
        kept again."""
        socket_ = stat.S_ISSOCK(os.fstat(fd).st_mode)
        for known, other in self.store:
            if socket_ and known == name and cookie(other) == cookie(fd):
                os.close(fd)
                return
        self.store.append((name, fd))

    def close_removed(self):
        for fd in self.removed:
            os.close(fd)
        self.removed = []

    def take(self, fields, fds):
        with self.lock:
            self.messages.append(fields)
            if fields.get("FDSTOREREMOVE") != "1":
                if not self.removes_late or "READY" in fields:
                    self.close_removed()
            if fields.get("FDSTORE") == "1":
                assert fields["FDPOLL"] == "0"
                for fd in fds:
                    self.keep(fields["FDNAME"], fd)
                return
            if fields.get("FDSTOREREMOVE") == "1":
                self.removed += [fd for name, fd in self.store if name == fields["FDNAME"]]
                self.store = [item for item in self.store if item[0] != fields["FDNAME"]]
        if fields.get("BARRIER") == "1" and self.barriers_to_hold > 0:
            self.barriers_to_hold -= 1
            self.held += fds
            return
        for fd in fds:  # BARRIER=1: the sender waits for this
            os.close(fd)

    def said(self, **fields):
        return any(fields.items() <= message.items() for message in self.messages)

    def parked(self):
        """The names of what is parked."""
        with self.lock:
            return sorted(name for name, _ in self.store if name.startswith("park/"))

    def drop(self, wanted):
        """Lets go of stored descriptors whose name this function wants; returns how many."""
        with self.lock:
            found = [item for item in self.store if wanted(item[0])]
            self.store = [item for item in self.store if not wanted(item[0])]
            for _, fd in found:
                os.close(fd)
            return len(found)

    def replace(self, name, fd):
        """Puts another descriptor into the place of a stored one; takes it."""
        with self.lock:
            index = [item[0] for item in self.store].index(name)
            os.close(self.store[index][1])
            self.store[index] = (name, fd)

    # The service.

    def passed(self):
        with self.lock:
            return [(name, listener.fileno()) for name, listener in self.listeners] + self.store

    def start(self, config=None, wait=True, **options):
        """The first time with a configuration; after that again with what is stored."""
        passed = self.passed()
        fds = [fd for _, fd in passed]
        environment = dict(self.environment)
        if passed:
            environment["LISTEN_FDS"] = str(len(passed))
            environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in passed)
        # The limit of descriptors is the service's: not yet that of who passes them.
        limit = options.pop("nofile", None)
        prefix = [sys.executable, ACTIVATE, *fds, "--"]
        if limit:
            prefix += [shutil.which("prlimit"), f"--nofile={limit}"]
        if config is not None:
            for name, address in self.addresses.items():
                config["listeners"].setdefault(name, {}).setdefault("address", "")
            self.gateway = Gateway(config, **options)
        self.gateway.environment.update(environment)
        self.gateway.prefix = list(map(str, prefix))
        self.gateway.pass_fds = fds
        self.gateway.start(wait)
        return self.gateway

    def end(self, sig=signal.SIGTERM, status=0, timeout=DEADLINE):
        """Ends the service as systemd does: `sig` to the main process, SIGTERM to all that is left."""
        workers = self.gateway.children()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.gateway.pid, sig)
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        assert self.gateway.process.wait(timeout) == status
        for pid in workers:
            wait_for(lambda: process_runs(pid), False, timeout, f"worker {pid} runs")
        self.gateway.check_log()

    def restart(self, sig=signal.SIGTERM, status=0, wait=True):
        self.end(sig, status)
        self.start(wait=wait)

    def close(self):
        self.stopping = True
        self.thread.join()
        self.notify.close()
        for _, listener in self.listeners:
            listener.close()
        self.drop(lambda name: True)
        self.close_removed()
        for fd in self.held:
            os.close(fd)
        if self.gateway:
            self.gateway.kill()
