"""millgate-bench, black box, against small servers of this file's own."""

import asyncio
import csv
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from bench_server import (
    BENCH,
    bench,
    close_later,
    corrupt,
    echo,
    free_port,
    heartbeat,
    hold,
    report,
    reset_later,
    Server,
    talkative,
)

pytestmark = pytest.mark.measures


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["127.0.0.1"],
        ["127.0.0.1:0"],
        ["localhost:7000"],
        ["-n", "0", "127.0.0.1:7000"],
        ["-n", "many", "127.0.0.1:7000"],
        ["-n", "16000001", "127.0.0.1:7000"],
        ["-n", "1.5", "127.0.0.1:7000"],
        ["-n", "100k", "-p", "1", "127.0.0.1:7000"],
        ["-r", "-1", "127.0.0.1:7000"],
        ["-d", "soon", "127.0.0.1:7000"],
        ["-w", "sleep", "127.0.0.1:7000"],
        ["--source", "10.0.0.1/8", "127.0.0.1:7000"],
        ["--backoff", "1s", "127.0.0.1:7000"],
        ["--backoff", "2s:1s", "127.0.0.1:7000"],
        ["--churn-fraction", "1.1", "127.0.0.1:7000"],
        ["--heartbeat-interval", "1s", "127.0.0.1:7000"],
        ["--coalesce", "10ms", "127.0.0.1:7000"],
        ["--pid", "4194305", "127.0.0.1:7000"],
        ["--no-such-option", "127.0.0.1:7000"],
        ["-n"],
    ],
)
def test_wrong_command_line(args):
    done = subprocess.run([BENCH, *args], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("millgate-bench: ")


def test_help_fits_a_terminal():
    assert all(len(line) <= 100 for line in bench("--help").splitlines())


@pytest.mark.parametrize("table, entry", [("options", "-n, --connections N"), ("counters", "up")])
def test_describe(table, entry):
    assert f"\n{entry}\n    " in f"\n{bench(f'--describe={table}')}"
    assert bench("--describe", table, "--mdoc").startswith(".Bl -tag")


def test_describe_knows_its_tables():
    done = subprocess.run([BENCH, "--describe=x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no table 'x'; there are options, counters, hints" in done.stderr


@pytest.mark.parametrize(
    "args, allowed",
    [
        (["-n", "16000001"], "1 to 16000000"),
        (["--processes", "1025"], "1 to 1024"),
        (["--duration", "366d"], "0s to 365d"),
        (["--heartbeat-interval", "0"], "1us to 365d"),
        (["--size", "17MiB"], "1B to 16MiB"),
        (["--churn-fraction", "1.1"], "0 to 1"),
    ],
)
def test_what_is_out_of_range_is_told_the_range(args, allowed):
    done = subprocess.run([BENCH, *args, "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and f"allowed are {allowed}: " in done.stderr


def test_version():
    assert bench("--version").startswith("millgate-bench ")


def test_idle_holds_all():
    with Server(hold) as server:
        result = report("-n", 200, "-d", "0.2", server.target)
        assert server.wait_accepted(200) == 200
    assert result["workload"] == "idle"
    assert result["connections"] == 200
    assert result["connections_ready"] == result["connections_up"] == 200
    assert result["connect_failed"] == result["lost"] == 0
    assert result["connect_errors"] == {}
    assert result["connects_per_second"] > 0
    assert result["connect_latency_seconds"]["count"] == 200
    assert 0.2 <= result["measured_seconds"] < 2
    assert result["memory"]["up"]["available_bytes"] > 0


def test_table():
    with Server(echo) as server:
        text = bench("-n", 10, "-d", "0.2", "-w", "echo", server.target)
    assert "echo: 10 connections, 1 client process, 1 source" in text
    assert "latency" in text and "p99.9" in text
    assert "kernel slab" in text


def test_refused_connects_are_counted_with_a_hint():
    target = f"127.0.0.1:{free_port()}"
    result = report("-n", 50, "-d", 0, target, status=1)
    assert result["connect_failed"] == 50
    assert result["connect_errors"] == {"ECONNREFUSED": 50}
    assert result["connections_up"] == 0
    text = bench("-n", 50, "-d", 0, "--allow-loss", target)
    assert "ECONNREFUSED x 50: nobody listens there" in text


def test_no_such_source_address():
    with Server(hold) as server:
        result = report("-n", 5, "-d", 0, "--source", "203.0.113.0/24", server.target, status=1)
    assert result["connect_errors"] == {"EADDRNOTAVAIL": 5}


def test_connect_timeout():
    """A full backlog: the kernel drops what comes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen(0)
        target = "127.0.0.1:%d" % listener.getsockname()[1]
        result = report("-n", 10, "-d", 0, "--connect-timeout", "300ms", target, status=1)
    assert 0 < result["connect_failed"] == result["connect_errors"]["ETIMEDOUT"] < 10


def test_unix_backlog_that_stays_full(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        result = report(
            "-n", 5, "-d", 0, "--connect-timeout", "300ms", f"unix:{tmp_path}/s", status=1
        )
    assert result["connect_errors"] == {"EAGAIN": result["connect_failed"]}


def test_reset_by_the_server_is_lost():
    with Server(reset_later) as server:
        result = report("-n", 20, "-d", 2, server.target, status=1)
    assert result["lost_by"] == {"eof": 0, "reset": 20, "other": 0}
    assert result["lost"] == 20
    assert result["connections_ready"] == 20
    assert result["connections_up"] == 0


def test_close_by_the_server_is_lost():
    with Server(close_later) as server:
        result = report("-n", 20, "-d", 2, "--allow-loss", server.target)
    assert result["lost_by"] == {"eof": 20, "reset": 0, "other": 0}


def test_reconnect_of_what_was_lost():
    with Server(close_later) as server:
        result = report(
            "-n",
            20,
            "-d",
            1.2,
            "--reconnect",
            "--backoff",
            "10ms:50ms",
            "--allow-loss",
            server.target,
        )
        server.wait_accepted(40)
    assert result["lost"] >= 20
    assert result["reconnect_seconds"]["max"] < 1


def test_echo_closed_loop():
    with Server(echo) as server:
        result = report("-n", 50, "-w", "echo", "-d", 1, server.target)
    assert result["echoes"] > 100
    assert result["echo_per_second"] > 100
    assert result["echo_mismatches"] == result["echo_unanswered"] == 0
    assert result["latency_seconds"]["count"] == result["echoes"]
    assert 0 < result["latency_seconds"]["p50"] <= result["latency_seconds"]["p99"]
    assert result["received_bytes"] == result["sent_bytes"] == 32 * result["echoes"]


def test_echo_concurrency_takes_turns():
    """With 2 under way at once, all connections get their turn."""
    turns = set()

    async def noting(_server, reader, writer):
        while data := await reader.read(65536):
            turns.add(writer)
            writer.write(data)

    with Server(noting) as server:
        result = report("-n", 40, "-w", "echo", "-c", 2, "-d", 0.5, server.target)
    assert len(turns) == 40
    assert result["echo_mismatches"] == result["echo_unanswered"] == 0


@pytest.mark.parametrize("size", [1, 127, 65535, 65536, 65537, "1MiB"])
def test_echo_of_any_size(size):
    with Server(echo) as server:
        result = report("-n", 3, "-w", "echo", "--size", size, "-d", 0.3, server.target)
    assert result["echoes"] > 0
    assert result["echo_mismatches"] == result["echo_unanswered"] == 0


@pytest.mark.alone
def test_echo_open_loop_keeps_its_rate():
    with Server(echo) as server:
        result = report("-n", 30, "-p", 2, "-w", "echo", "-R", 500, "-d", 2, server.target)
    assert 480 <= result["echo_per_second"] <= 520
    assert result["echo_unanswered"] == result["echo_skipped"] == 0
    assert result["send_lag_seconds"]["count"] == result["echoes"]


@pytest.mark.alone
def test_echo_latency_counts_from_when_a_message_was_due():
    """A stall of half a second in two delays a quarter of the messages, not one of each
    connection."""
    stalled = False

    async def stalling(server, reader, writer):
        nonlocal stalled
        while data := await reader.read(65536):
            if not stalled and server.begun and time.monotonic() > server.begun + 0.5:
                stalled = True
                time.sleep(0.5)
            server.begun = server.begun or time.monotonic()
            writer.write(data)

    server = Server(stalling)
    server.begun = 0
    with server:
        result = report("-n", 2, "-w", "echo", "-R", 400, "-d", 2, server.target)
    assert result["latency_seconds"]["max"] >= 0.45
    assert result["latency_seconds"]["p90"] >= 0.2
    assert 700 <= result["echoes"] <= 810


@pytest.mark.parametrize("serve", [corrupt, talkative])
def test_echo_of_other_bytes(serve):
    with Server(serve) as server:
        result = report(
            "-n", 5, "-w", "echo", "-R", 50, "-d", 0.5, "--allow-loss", server.target, status=1
        )
    assert result["echo_mismatches"] == 5


def test_echo_that_never_comes():
    with Server(hold) as server:
        result = report("-n", 5, "-w", "echo", "-d", 0.2, server.target, status=1)
    assert result["echo_unanswered"] == 5
    assert result["echoes"] == 0
    assert result["latency_seconds"] is None


def test_echo_goes_on_while_connections_churn():
    with Server(echo) as server:
        result = report("-n", 20, "-w", "echo", "--churn-rate", 50, "-d", 1, server.target)
    assert result["dropped"] >= 40
    assert result["echo_mismatches"] == result["echo_unanswered"] == result["lost"] == 0


@pytest.mark.alone
def test_receive_measures_heartbeats():
    with Server(heartbeat) as server:
        result = report(
            "-n",
            20,
            "-w",
            "receive",
            "-d",
            2,
            "--size",
            10,
            "--heartbeat-interval",
            "100ms",
            server.target,
        )
    due = 20 * 10 * result["measured_seconds"]  # which is longer where the machine is busy
    assert result["heartbeats_due"] == pytest.approx(due, abs=10)
    assert 0.85 * due <= result["heartbeats_received"] <= due + 20
    assert 0.09 <= result["gap_seconds"]["p50"] <= 0.15
    assert result["longest_silence_seconds"] < 1


@pytest.mark.alone
def test_receive_coalesced_misses_nothing():
    with Server(heartbeat) as server:
        result = report(
            "-n", 20, "-w", "receive", "-d", 2, "--size", 10, "--coalesce", "20ms",
            "--heartbeat-interval", "100ms", server.target,
        )  # fmt: skip
    assert 340 <= result["heartbeats_received"] <= 420
    assert 0.08 <= result["gap_seconds"]["p50"] <= 0.15


@pytest.mark.alone
def test_receive_while_some_churn():
    with Server(heartbeat) as server:
        result = report(
            "-n", 20, "-w", "receive", "-d", 2, "--churn-rate", 10, "--churn-fraction", 0.1,
            "--heartbeat-interval", "100ms", server.target,
        )  # fmt: skip
        came = 20 + result["dropped"]
        assert server.wait_accepted(came - 2) <= came, "some were on their way at the end"
    assert 15 <= result["dropped"] <= 21
    assert result["lost"] == result["connect_failed"] == 0
    assert abs(result["heartbeats_received"] - result["heartbeats_due"]) < 60


@pytest.mark.alone
def test_receive_notices_silence():
    with Server(hold) as server:
        result = report(
            "-n", 5, "-w", "receive", "-d", 0.5, "--heartbeat-interval", "100ms", server.target
        )
    assert result["heartbeats_received"] == 0
    assert result["heartbeats_due"] == pytest.approx(5 * 10 * result["measured_seconds"], abs=2)
    assert result["gap_seconds"] is None
    assert result["longest_silence_seconds"] >= 0.45, "it begins when the client hears of the start"


def test_churn():
    with Server(hold) as server:
        result = report(
            "-n", 50, "-p", 2, "-w", "churn", "--churn-rate", 100, "-d", 1, server.target
        )
        assert server.wait_accepted(46 + result["dropped"]) <= 50 + result["dropped"], "as above"
    assert 90 <= result["dropped"] <= 103
    assert result["lost"] == 0
    assert result["reconnect_seconds"]["count"] >= 90


@pytest.mark.alone
def test_slow_never_reads():
    blocked = []

    async def push(_server, _reader, writer):
        writer.write(b"x" * (1 << 24))
        await asyncio.sleep(0.5)
        blocked.append(writer.transport.get_write_buffer_size() > 0)
        await writer.drain()

    with Server(push) as server:
        result = report("-n", 5, "-w", "slow", "--receive-buffer", "8KiB", "-d", 1, server.target)
    assert blocked == [True] * 5
    assert result["received_bytes"] == 0


def test_slow_senders_are_blocked_in_the_end():
    with Server(echo) as server:
        result = report("-n", 3, "-w", "slow", "--slow-send", "-d", 2, server.target)
    assert result["blocked"] == 3
    assert result["sent_bytes"] > 3 * 65536
    assert result["received_bytes"] == 0


@pytest.mark.parametrize("reset", [[], ["--reset"]])
def test_storm(reset):
    with Server(hold) as server:
        result = report("-n", 100, "-w", "storm", *reset, server.target)
        assert server.wait_accepted(200) == 200
    assert result["dropped"] == 100
    assert result["connections_up"] == 100
    assert 0 < result["storm_seconds"] < 5
    assert result["reconnect_seconds"]["count"] == 100


@pytest.mark.alone
def test_storm_with_backoff_is_spread():
    with Server(hold) as server:
        result = report("-n", 100, "-w", "storm", "--backoff", "1s:5s", server.target)
    assert 0.7 <= result["storm_seconds"] <= 2
    assert 0.3 <= result["reconnect_seconds"]["p50"] <= 0.8


def test_storm_that_does_not_end():
    """The server stops listening once all are up."""

    async def stop_listening(server, reader, writer):
        if server.accepted == 10:
            server.listener.close()
        await hold(server, reader, writer)

    server = Server(stop_listening)

    async def main():
        server.listener = await asyncio.start_server(server.connected, "127.0.0.1", server.port)
        server.started.set()
        await asyncio.sleep(3600)

    server.main = main
    with server:
        result = report(
            "-n", 10, "-w", "storm", "-d", 1, "--backoff", "10ms:100ms", server.target, status=1
        )
    assert result["storm_seconds"] is None
    assert result["connect_errors"]["ECONNREFUSED"] == result["connect_retried"] > 30
    assert result["connect_failed"] == 0


def test_unix_socket(tmp_path):
    with Server(echo, path=tmp_path / "s") as server:
        result = report("-n", 50, "-w", "echo", "-d", 0.3, server.target)
    assert result["connections_up"] == 50
    assert result["echoes"] > 0


def test_several_targets_share_evenly():
    with Server(hold) as one, Server(hold) as two:
        report("-n", 41, "-d", 0, one.target, two.target)
        assert (one.wait_accepted(21), two.wait_accepted(20)) == (21, 20)


def test_source_range():
    with Server(hold) as server:
        result = report("-n", 30, "-p", 2, "-d", 0, "--source", "127.77.0.0/28", server.target)
        server.wait_accepted(30)
    assert result["sources"] == 14
    assert {host for host, _ in server.peers} == {f"127.77.0.{i}" for i in range(1, 15)}


@pytest.mark.alone
def test_rate_of_connects():
    with Server(hold) as server:
        result = report("-n", 100, "-p", 2, "-r", 200, "-d", 0, server.target)
    assert 0.45 <= result["connect_seconds"] <= 0.8


@pytest.mark.alone
def test_csv_has_a_line_for_each_second(tmp_path):
    path = tmp_path / "seconds.csv"
    with Server(echo) as server:
        bench("-n", 10, "-w", "echo", "-R", 100, "-d", 3, "--csv", path, server.target)
    rows = list(csv.DictReader(path.open()))
    assert [row["second"] for row in rows] == ["1", "2", "3"][: len(rows)]
    assert len(rows) >= 2
    assert rows[1]["phase"] == "measure"
    assert rows[1]["up"] == "10"
    assert 90 <= int(rows[1]["echoes"]) <= 110
    assert int(rows[1]["available_bytes"]) > 0


def test_csv_that_cannot_be_written(tmp_path):
    bench("--csv", tmp_path / "none" / "x.csv", "127.0.0.1:7000", status=1)


def wait_for(path):
    for _ in range(1000):
        if path.exists():
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_hold_until_a_signal(tmp_path, number):
    with Server(hold) as server:
        process = subprocess.Popen(
            [
                BENCH,
                "-n",
                "30",
                "--hold",
                "--json",
                "--ready-file",
                tmp_path / "ready",
                server.target,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert wait_for(tmp_path / "ready") == "up 30 failed 0\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert err.startswith("ready: up 30 failed 0 in ")
    assert json.loads(out)["connections_up"] == 30


def test_signal_before_all_are_up():
    with Server(hold) as server:
        process = subprocess.Popen(
            [BENCH, "-n", "1000", "-r", "10", "--json", server.target],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while server.accepted < 5:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert json.loads(out)["interrupted"] is True
    assert "interrupted" in err


def is_running(pid):
    """Neither gone nor a zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_clients_end_with_their_parent():
    with Server(hold) as server:
        process = subprocess.Popen(
            [BENCH, "-n", "10", "-p", "2", "--hold", server.target],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr.readline().startswith("ready: ")
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        clients = children.read_text().split()
        process.kill()
        process.wait(timeout=10)
        for _ in range(500):
            if not any(is_running(client) for client in clients):
                break
            time.sleep(0.01)
        else:
            raise AssertionError("clients are still there")
    assert len(clients) == 2


def test_client_that_dies_is_an_error():
    with Server(hold) as server:
        process = subprocess.Popen(
            [BENCH, "-n", "10", "--hold", server.target], stderr=subprocess.PIPE, text=True
        )
        process.stderr.readline()
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        os.kill(int(children.read_text()), signal.SIGKILL)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "client process 0 ended" in err


def test_quiet_says_nothing_on_stderr():
    with Server(hold) as server:
        done = subprocess.run(
            [BENCH, "-q", "-n", "5", "-d", "0", server.target],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    assert done.stderr == ""


@pytest.mark.alone
def test_memory_of_the_server():
    with Server(hold) as server:
        result = report("-n", 100, "-d", 0.2, "--pid", os.getpid(), server.target)
    memory = result["memory"]
    assert memory["up"]["server_pss_bytes"] > 1 << 20
    assert memory["up"]["server_processes"] == 1  # without millgate-bench, which descends from us
    assert memory["up"]["tcp_inuse"] >= 200 + memory["before"]["tcp_inuse"] - 50
    assert set(memory["per_connection"]) == {
        "server_pss_bytes",
        "slab_bytes",
        "tcp_buffer_bytes",
        "available_bytes",
    }
    assert result["server_cpu_seconds"] >= 0
