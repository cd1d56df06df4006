"""
What the benchmarks of very many connections share: a network namespace of their own, settings of the
kernel, the number of workers, tables for a page.
"""

import contextlib
import fcntl
import os
import pathlib
import resource
import socket
import struct
import subprocess
import sys

import benchlib

PAIR_BYTES = 10600  # both ends of a connection, in the kernel and in the programs
MEMORY_RESERVE = 1 << 30  # what is left to the rest of the machine
WORKERS_MAX = 256
WORKER_FDS_RESERVED = 32  # as millgated has it

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

# Of the namespace, so gone with it. The sockets of both ends share a hash table whose size a
# namespace gets from the one that makes it; were it as small as Linux makes it by default, each
# packet would search a chain of sockets.
CHILD_SYSCTLS = {"net.ipv4.tcp_child_ehash_entries": 1 << 22}
NET_SYSCTLS = {
    "net.core.somaxconn": 65535,
    "net.ipv4.tcp_max_syn_backlog": 65535,
}


def enter_namespace(*, nested, settings):
    """Runs this program again, in a network namespace of its own, and returns its exit status. The
    settings are of the whole machine, and are put back."""
    if nested:
        for key, value in CHILD_SYSCTLS.items():
            set_sysctl(key, value)
    unshare = ["unshare", "--net"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-root-user"]
    command = [*unshare, sys.executable, os.path.abspath(sys.argv[0]), "--inside", *sys.argv[1:]]
    try:
        with raised({} if nested else settings):
            return subprocess.call(command)
    except OSError as error:
        raise benchlib.BenchError(f"unshare (util-linux): {error.strerror}") from error


def raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def furnish_namespace():
    """What both ends need of the one that they are in."""
    raise_loopback()
    for key, value in NET_SYSCTLS.items():
        set_sysctl(key, value)


def sysctl_path(key):
    return pathlib.Path("/proc/sys", *key.split("."))


def set_sysctl(key, value):
    try:
        sysctl_path(key).write_text(str(value))
    except OSError as error:
        raise benchlib.BenchError(
            f"{key} must be {value}, and cannot be set: {error.strerror}"
        ) from error


def fs_sysctls(connections):
    """What both ends need."""
    return {
        "fs.file-max": 2 * connections + 100000,
        "fs.epoll.max_user_watches": 2 * connections + 100000,
    }


@contextlib.contextmanager
def raised(wanted):
    """Raises what is too low, and puts it back; yields what was raised to what."""
    before = {key: int(sysctl_path(key).read_text()) for key in wanted}
    low = {key: value for key, value in wanted.items() if before[key] < value}
    try:
        for key, value in low.items():
            set_sysctl(key, value)
        yield low
    finally:
        for key in low:
            set_sysctl(key, before[key])


def room():
    """How many pairs the memory allows."""
    return max(0, (benchlib.meminfo()["MemAvailable"] - MEMORY_RESERVE) // PAIR_BYTES)


def check_memory(connections):
    fit = room()
    if fit < connections:
        raise benchlib.BenchError(
            f"{connections} connections need about {connections * PAIR_BYTES / 2**30:.1f} GiB "
            f"and {MEMORY_RESERVE / 2**30:.0f} GiB to spare; there is room for --connections {fit}"
        )


def worker_count(connections):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - WORKER_FDS_RESERVED
    workers = max(-(-connections // limit), os.cpu_count())
    if workers > WORKERS_MAX:
        raise benchlib.BenchError(
            f"{connections} connections at {limit} a process need {workers} workers, "
            f"{WORKERS_MAX} are possible: raise the hard limit of open files (ulimit -Hn)"
        )
    return workers


def host_nofile():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def markdown_table(header, cells):
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
