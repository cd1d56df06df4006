"""Upgrades in place, by SIGUSR2 and the admin socket; and those that are refused."""

import os
import re
import signal
import socket
import time

import pytest

from another_user import AS_ANOTHER, AS_ROOT
from clients import Crowd, connect
from gateway import MILLGATED, free_port, wait_for
from restarts import KILLED, check_echo, config, ids
from streams import Streams


def test_upgrade_without_systemd(gateway):
    one = gateway(config(3))
    with Streams(one.address("echo"), 200) as streams:
        before, descriptors = ids(one), len(os.listdir(f"/proc/{one.pid}/fd"))
        for count in range(1, 11):
            os.kill(one.pid, signal.SIGUSR2)
            one.wait_metric("connections_restored_total", 200 * count)
            moved = streams.progress()
            wait_for(streams.progress, lambda now: now > moved + 200 * 100)
        assert ids(one) == before
        assert streams.settle() == {}
    one.wait_connections(0)
    assert abs(len(os.listdir(f"/proc/{one.pid}/fd")) - descriptors) <= 1


def test_upgrade_while_it_drains(gateway):
    """The drain is over, and that is told."""
    one = gateway(config())
    client = connect(one.address("echo"))
    check_echo(client)
    one.ok("POST", "/drain", {"over": "1h"})
    assert one.admin("POST", "/upgrade")[0] == 200
    one.wait_metric("connections_restored_total", 1)
    assert "the drain ends with this process" in one.log()
    check_echo(client)
    check_echo(connect(one.address("echo")))


# Upgrades that are refused.


def test_upgrade_to_a_program_that_refuses(gateway, tmp_path):
    one = gateway(config())
    client = connect(one.address("echo"))
    one.wait_connections(1)
    one.config["workers"] = -1
    one.write_config()
    status, answer = one.admin("POST", "/upgrade")
    assert status == 422
    assert "workers: found -1" in answer["error"]
    os.kill(one.pid, signal.SIGUSR2)
    one.wait_log("no upgrade: .*\n(.*\n)*.*no upgrade")
    check_echo(client)
    assert one.metric("connections_restored_total") == 0


def copy(path):
    path.write_bytes(MILLGATED.read_bytes())
    path.chmod(0o755)


def write_script(path, text):
    path.write_text(text)
    path.chmod(0o755)


def run_copy(gateway, program):
    """A gateway that runs a copy of the program, and a client of it."""
    copy(program)
    one = gateway(config(), prefix=["sh", "-c", f'shift; exec {program} "$@"', "sh"])
    client = connect(one.address("echo"))
    one.wait_connections(1)
    return one, client


YES_AND_GONE = "#!/bin/sh\nrm $0\nexit 0\n"  # to --check; then it cannot be started


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (None, "No such file"),
        ("#!/bin/sh\nexit 3\n", "ended with status 3"),
        ("#!/bin/sh\nkill -9 $$\n", "ended with signal 9"),
        ("#!/nonexistent/interpreter\n", "No such file"),
        ("nonsense", "Exec format error"),
    ],
    ids=["gone", "fails", "killed", "interpreter", "format"],
)
def test_upgrade_to_no_program(gateway, tmp_path, script, says):
    program = tmp_path / "millgated"
    one, client = run_copy(gateway, program)
    program.unlink()
    if script is not None:
        write_script(program, script)
    status, answer = one.admin("POST", "/upgrade")
    assert status in (422, 503)
    assert says in answer["error"]
    check_echo(client)


def test_upgrade_after_the_program_was_replaced(gateway, tmp_path):
    """As a package does it: another file under the same name."""
    program, fresh = tmp_path / "millgated", tmp_path / "fresh"
    copy(fresh)
    one, client = run_copy(gateway, program)
    fresh.rename(program)
    assert one.ok("POST", "/upgrade") == {"program": str(program)}
    one.wait_metric("connections_restored_total", 1)
    assert os.readlink(f"/proc/{one.pid}/exe") == str(program)
    check_echo(client)


def test_program_that_starts_the_check_but_not_the_gateway(gateway, tmp_path):
    """Says yes and then does not run: the program that runs goes on, with all connections."""
    program = tmp_path / "millgated"
    one, client = run_copy(gateway, program)
    program.unlink()
    write_script(program, YES_AND_GONE)
    assert one.admin("POST", "/upgrade")[0] == 200
    one.wait_metric("connections_restored_total", 1)
    check_echo(client)
    assert "going on with the program that runs" in one.log()


def refused(gateway, text):
    """An upgrade that could not start is none."""
    gateway.write_config()
    status, answer = gateway.admin("POST", "/upgrade")
    assert (status, text in answer["error"]) == (422, True), answer
    assert f"no upgrade: {text}" in gateway.log()
    assert gateway.health() == (200, "ok")


def test_upgrade_to_an_address_in_use(gateway):
    one = gateway(config())
    client = connect(one.address("echo"))
    one.wait_connections(1)
    with socket.create_server(("127.0.0.1", free_port())) as other:
        address = "127.0.0.1:%d" % other.getsockname()[1]
        one.config["listeners"]["more"] = {"address": address}
        refused(one, f'listener "more": cannot listen on {address}: Address already in use')
    check_echo(client)
    assert one.admin("POST", "/upgrade")[0] == 200
    one.wait_metric("connections_restored_total", 1)
    check_echo(client)


def test_upgrade_to_an_address_that_becomes_free_by_it(gateway):
    one = gateway(config())
    client = connect(one.address("echo"))
    one.wait_connections(1)
    listener = one.config["listeners"]["echo"]
    listener["address"] = listener["address"].replace("127.0.0.1", "0.0.0.0")
    one.write_config()
    assert one.admin("POST", "/upgrade")[0] == 200
    one.wait_metric("connections_restored_total", 1)
    check_echo(client)
    assert one.listener("echo")["addresses"] == [listener["address"]]


def test_upgrade_without_the_listener_of_a_socket_unit(keeper):
    one = keeper("echo", "more")
    gateway = one.start(config(echo={"service": "echo"}, more={}))
    client = connect(one.addresses["echo"])
    check_echo(client)
    del gateway.config["listeners"]["more"]
    refused(gateway, 'systemd passed a socket named "more"')
    check_echo(client)


def test_upgrade_that_does_not_start_is_finished_by_systemd(keeper, tmp_path):
    """What cannot be known before: systemd has all connections, and tries again."""
    one = keeper("echo")
    gateway = one.start(config())
    clients = [connect(one.addresses["echo"]) for _ in range(5)]
    gateway.wait_connections(5)
    gateway.config["listeners"]["more"] = {"address": f"unix:{tmp_path}/nowhere/socket"}
    gateway.write_config()
    assert gateway.admin("POST", "/upgrade")[0] == 200
    assert gateway.process.wait(20) == 75
    (tmp_path / "nowhere").mkdir()
    one.start()
    assert gateway.metric("connections_restored_total") == 5
    for client in clients:
        check_echo(client)
    gateway.wait_connections(5)
    assert one.parked() == []


@pytest.mark.parametrize(
    ("how", "delays"),
    [({}, range(0, 16, 2)), (KILLED, range(0, 40, 4))],
    ids=["terminated", "killed"],
)
def test_ended_while_it_upgrades(keeper, how, delays):
    one = keeper("echo")
    gateway = one.start(config())
    with Streams(one.addresses["echo"], 500) as streams:
        gateway.wait_connections(500)
        for delay in delays:
            os.kill(gateway.pid, signal.SIGUSR2)
            time.sleep(delay / 1000)
            one.end(**how)
            one.start()
            assert gateway.metric("connections_current") == 500
            assert gateway.closed_counts() == {}
        assert streams.settle() == {}


def test_upgrade_after_a_program_that_did_not_start(gateway, tmp_path):
    """The program that goes on has lost its file; the next package puts another there."""
    program, fresh = tmp_path / "millgated", tmp_path / "fresh"
    copy(fresh)
    one, client = run_copy(gateway, program)
    program.unlink()
    write_script(program, YES_AND_GONE)
    one.ok("POST", "/upgrade")
    one.wait_metric("connections_restored_total", 1)
    one.wait_healthy()
    fresh.rename(program)
    assert one.ok("POST", "/upgrade") == {"program": str(program)}
    one.wait_metric("connections_restored_total", 2)
    assert os.readlink(f"/proc/{one.pid}/exe") == str(program)
    check_echo(client)


@AS_ROOT
def test_more_descriptors_than_may_be_in_flight(gateway):
    """An ordinary user may have RLIMIT_NOFILE of them, and a message more. What two workers have parked
    is above that, so that the kernel takes no berth of either before one gives connections up."""
    count, message = 2 * 288, 253
    one = gateway(config(2), nofile=32 + 288, prefix=AS_ANOTHER, open_to_all=True)
    with Crowd(one.address("echo"), count) as crowd:
        wait_for(lambda: [c["state"] for c in one.connections()], ["open"] * count)
        os.kill(one.pid, signal.SIGUSR2)
        one.wait_metric("connections_restored_total", bool)
        lost = one.closed("park_failed")
        assert 0 < lost < count
        assert one.metric("connections_restored_total") == count - lost >= message
        assert one.closed_counts() == {"park_failed": lost}
        told = re.findall(r"(\d+) connections cannot be (?:parked|passed on): too many", one.log())
        assert sum(map(int, told)) == lost
        assert crowd.pump_until(lambda: crowd.closed_count == lost)
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == count - lost)


@AS_ROOT
def test_far_more_descriptors_than_may_be_in_flight(gateway):
    """However many messages find no room, the workers stop in time, and those that found some go on."""
    nofile, count = 2032, 2 * 1980
    conf = {**config(2), "stop_timeout": "5s"}
    one = gateway(conf, nofile=nofile, prefix=AS_ANOTHER, open_to_all=True)
    with Crowd(one.address("echo"), count) as crowd:
        one.wait_connections(count)
        os.kill(one.pid, signal.SIGUSR2)
        one.wait_metric("connections_restored_total", bool)
        restored = one.metric("connections_restored_total")
        assert "did not stop in time" not in one.log()
        assert nofile - 2 * 253 <= restored <= nofile + 253
        assert one.closed_counts() == {"park_failed": count - restored}
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == restored)
