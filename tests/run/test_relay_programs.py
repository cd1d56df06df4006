"""Real programs on both sides of a relay: databases, web servers, copies of large files."""

import contextlib
import hashlib
import os
import pathlib
import random
import re
import signal
import tempfile

import pytest

import programs
from clients import connect, is_closed, read_exactly
from gateway import free_port, wait_for
from servers import QUICK, relay, upstreams, wait_upstream

FILE_BYTES = 60 * 2**20
ENDS = {"client_closed", "upstream_closed", "client_reset"}


@pytest.fixture
def daemons():
    with contextlib.ExitStack() as stack:

        def start(command, directory, address, **options):
            return stack.enter_context(
                programs.Daemon(command, directory, lambda: connect(address), **options)
            )

        yield start


def upgrade(gateway):
    before = gateway.log().count("restored ")
    gateway.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: gateway.log().count("restored "), before + 1, what="times restored")
    gateway.wait_healthy()


def upgrade_while(gateway, process, times=4):
    """Restarts the gateway while the program runs, each time that more bytes have gone through; on
    a slow machine fewer times. Returns what the program says."""
    upgrades = 0
    while upgrades < times and process.poll() is None:
        moved = gateway.metric("bytes_sent_total")
        wait_for(
            lambda: process.poll() is not None or gateway.metric("bytes_sent_total") > moved, True
        )
        upgrade(gateway)
        upgrades += process.poll() is None
    assert upgrades, "it had ended before: make it longer"
    return programs.output(process)


def check_ends(gateway):
    gateway.wait_connections(0)
    assert set(gateway.closed_counts()) <= ENDS


# Redis.


@pytest.fixture
def redis(daemons, tmp_path):
    """redis() starts one; its process and its address."""
    (server,) = programs.need("redis-server")

    def start():
        address = ("127.0.0.1", free_port())
        directory = tmp_path / str(address[1])
        directory.mkdir()
        command = [server, "--bind", address[0], "--port", address[1], "--dir", directory]
        return daemons([*command, "--save", ""], directory, address), "%s:%d" % address

    return start


def benchmark(gateway, *arguments):
    (program,) = programs.need("redis-benchmark")
    host, port = gateway.address("relay")
    return programs.start([program, "-h", host, "-p", port, "--csv", *arguments])


def check_benchmark(text, *tests):
    assert "rror" not in text, text
    for test in tests:
        assert re.search(rf'^"{test}[^"]*","[1-9]', text, re.MULTILINE), text


def test_redis_benchmark(gateway, redis):
    _, address = redis()
    one = gateway(relay(address))
    plain = benchmark(one, "-n", 10000, "-c", 50, "-t", "set,get,lpush,lrange_100")
    check_benchmark(programs.output(plain), "SET", "GET", "LPUSH", "LRANGE_100")
    large = benchmark(one, "-n", 20000, "-c", 50, "-P", 16, "-d", 4000, "-t", "set,get")
    check_benchmark(programs.output(large), "SET", "GET")
    check_ends(one)
    assert upstreams(one)[address]["bytes_sent_total"] == one.metric("bytes_received_total")
    assert upstreams(one)[address]["bytes_received_total"] == one.metric("bytes_sent_total")


def test_redis_benchmark_over_upgrades(gateway, redis):
    _, address = redis()
    one = gateway(relay(address))
    process = benchmark(one, "-n", 50000, "-c", 50, "-d", 500, "-t", "set,get")
    check_benchmark(upgrade_while(one, process), "SET", "GET")
    check_ends(one)


def test_redis_is_killed_under_load(gateway, redis):
    """Clients of the one are closed, those of the other go on, and new ones go there."""
    (first, a), (_, b) = redis(), redis()
    one = gateway(relay(a, b, health=QUICK, balance="round_robin"))
    clients = {a: [], b: []}
    for _ in range(20):
        client = connect(one.address("relay"))
        client.sendall(b"INFO server\r\n")
        text = b""
        while b"tcp_port:" not in text or not text.endswith(b"\r\n"):
            text += client.recv(65536)
        port = re.search(rb"tcp_port:(\d+)", text)[1].decode()
        clients[f"127.0.0.1:{port}"].append(client)
    assert len(clients[a]) == len(clients[b]) == 10
    first.process.kill()
    assert all(is_closed(client) for client in clients[a])
    wait_upstream(one, a, "state", "down")
    for client in clients[b]:
        client.sendall(b"PING\r\n")
        assert read_exactly(client, 7) == b"+PONG\r\n"
    text = programs.output(benchmark(one, "-n", 5000, "-c", 20, "-t", "set,get"))
    check_benchmark(text, "SET", "GET")
    for client in clients[a] + clients[b]:
        client.close()
    one.wait_connections(0)
    assert upstreams(one)[a]["connections"] == 0
    assert one.closed("upstream_failed") == 0


# PostgreSQL.


@pytest.fixture
def postgres(daemons):
    """The address of one that trusts everybody, TCP and Unix."""
    initdb, server = programs.need("initdb", "postgres")
    programs.need("pgbench")
    user = programs.unprivileged()
    with tempfile.TemporaryDirectory(prefix="millgate-postgres-") as name:
        directory = pathlib.Path(name)
        if user:
            os.chown(directory, user["user"], user["group"])
        yield from serve_postgres(daemons, initdb, server, directory, user)


def serve_postgres(daemons, initdb, server, directory, user):
    data = directory / "data"
    options = ["-D", data, "-U", "millgate", "-A", "trust", "--no-sync", "--no-locale"]
    programs.run([initdb, *options, "-E", "UTF8"], cwd=directory, **user)
    address = ("127.0.0.1", free_port())
    command = [server, "-D", data, "-p", address[1], "-h", address[0], "-k", directory, "-F"]
    with daemons(command, directory, address, cwd=directory, **user):
        yield "%s:%d" % address, f"unix:{directory}/.s.PGSQL.{address[1]}"


def pgbench(gateway, *arguments):
    (program,) = programs.need("pgbench")
    host, port = gateway.address("relay")
    return programs.start(
        [program, "-h", host, "-p", port, "-U", "millgate", *arguments, "postgres"]
    )


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_pgbench(gateway, postgres, kind):
    """Also over upgrades: no transaction fails."""
    one = gateway(relay(postgres[kind == "unix"]))
    programs.output(pgbench(one, "-i", "-s", 1, "--no-vacuum"))
    process = pgbench(one, "-c", 10, "-T", 1, "--no-vacuum")
    text = upgrade_while(one, process) if kind == "tcp" else programs.output(process)
    assert "number of failed transactions: 0 " in text, text
    assert int(re.search(r"actually processed: (\d+)", text)[1]) > 50, text
    check_ends(one)


# nginx.


@pytest.fixture
def nginx(daemons, tmp_path):
    (program,) = programs.need("nginx")
    address = ("127.0.0.1", free_port())
    paths = "client_body proxy fastcgi uwsgi scgi".split()
    temporary = " ".join(f"{name}_temp_path {tmp_path}/{name};" for name in paths)
    (tmp_path / "small").write_bytes(b"x" * 100)
    (tmp_path / "large").write_bytes(random.Random(2).randbytes(2**20))
    configuration = tmp_path / "conf"
    configuration.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr crit;"
        "events { worker_connections 1000; }"
        f"http {{ access_log off; {temporary} keepalive_requests 1000000;"
        f"server {{ listen {address[0]}:{address[1]} reuseport; root {tmp_path}; }} }}"
    )
    command = [program, "-p", tmp_path, "-c", configuration, "-e", "stderr"]
    daemons(command, tmp_path, address)
    return "%s:%d" % address


@pytest.mark.parametrize("path", ["small", "large"])
def test_wrk(gateway, nginx, path):
    """Keep-alive requests over 50 connections, and over upgrades."""
    (wrk,) = programs.need("wrk")
    one = gateway(relay(nginx))
    host, port = one.address("relay")
    process = programs.start([wrk, "-t1", "-c50", "-d1s", f"http://{host}:{port}/{path}"])
    text = upgrade_while(one, process)
    assert "Socket errors" not in text and "Non-2xx" not in text, text
    assert int(re.search(r"(\d+) requests in", text)[1]) > 100, text
    check_ends(one)


# rsync.


@pytest.fixture
def large_file(tmp_path):
    path = tmp_path / "large file"
    block = random.Random(3).randbytes(2**20)
    with open(path, "wb") as file:
        for number in range(FILE_BYTES // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path


def checksum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize("direction", ["from", "to"])
def test_rsync_of_a_large_file(gateway, daemons, tmp_path, large_file, direction):
    (rsync,) = programs.need("rsync")
    address = ("127.0.0.1", free_port())
    share = tmp_path / "share"
    share.mkdir()
    configuration = tmp_path / "rsyncd.conf"
    configuration.write_text(
        f"pid file = {tmp_path}/pid\nuse chroot = no\nuid = {os.geteuid()}\n"
        f"gid = {os.getegid()}\n[share]\npath = {share}\nread only = no\n"
    )
    command = [rsync, "--daemon", "--no-detach", "--log-file=/dev/null"]
    command += [f"--config={configuration}"]
    daemons([*command, f"--address={address[0]}", f"--port={address[1]}"], tmp_path, address)
    one = gateway(relay("%s:%d" % address))
    host, port = one.address("relay")
    url = f"rsync://{host}:{port}/share/copy"
    if direction == "from":
        large_file.rename(share / "copy")
        source, copy = share / "copy", tmp_path / "copy"
        process = programs.start([rsync, "--whole-file", "--bwlimit=200M", url, copy])
    else:
        source, copy = large_file, share / "copy"
        process = programs.start([rsync, "--whole-file", "--bwlimit=200M", large_file, url])
    upgrade(one)
    programs.output(process)
    assert checksum(copy) == checksum(source)
    counted = "bytes_sent_total" if direction == "from" else "bytes_received_total"
    assert one.metric(counted) > FILE_BYTES
    check_ends(one)
