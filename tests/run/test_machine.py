"""Tuning for another machine: millgated --tune --machine, and the example made by it."""

import ast
import json
import os
import shutil
import subprocess

import pytest

from gateway import BUILD, MILLGATED, ROOT, SANITIZER_ENVIRONMENT

MACHINE = ROOT / "conf" / "machine-16gib.sysctl"
MILLION = ROOT / "conf" / "millgate-million.json"
SYSCTL_EXAMPLE = BUILD / "examples" / "sysctl.d" / "60-millgate.conf"


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"needs {program}")


def run(*command, status=0):
    """What it printed on stdout and stderr."""
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **SANITIZER_ENVIRONMENT},
    )
    assert done.returncode == status, done
    return done.stdout, done.stderr


def tuning(machine, status):
    command = [MILLGATED, "--tune", "--json", "--config", MILLION, "--machine", machine]
    return json.loads(run(*command, status=status)[0])


def finding(answer, key):
    return next(one for one in answer["findings"] if one["key"] == key)


# The option.


def test_what_the_file_says_is_what_counts(tmp_path):
    machine = tmp_path / "machine"
    machine.write_text("CPUs = 8\nLimitNOFILE = 125031\nnet.core.somaxconn = 65535\n")
    answer = tuning(machine, status=1)
    assert finding(answer, "LimitNOFILE")["status"] == "short"
    assert finding(answer, "LimitNOFILE")["wanted"] == "125032", "a million over 8 workers"
    assert finding(answer, "net.core.somaxconn")["status"] == "ok"
    assert finding(answer, "fs.nr_open")["status"] == "unknown", "whatever it is here"
    machine.write_text(machine.read_text().replace("125031", "125032"))
    in_flight = finding(tuning(machine, status=1), "LimitNOFILE")  # the worst comes first
    assert (in_flight["status"], in_flight["wanted"]) == ("short", "1000000")
    assert in_flight["part"] == "in flight"
    machine.write_text(machine.read_text().replace("125032", "1000000"))
    assert finding(tuning(machine, status=0), "LimitNOFILE")["status"] == "ok"


def test_the_table_does_not_speak_of_this_shell():
    out, _ = run(MILLGATED, "--tune", "--config", MILLION, "--machine", MACHINE, status=1)
    assert "short    net.core.somaxconn" in out
    assert "this shell" not in out


@needs("sysctl")
def test_it_takes_what_sysctl_prints(tmp_path):
    machine = tmp_path / "machine"
    machine.write_text(
        subprocess.run(["sysctl", "-a"], capture_output=True, text=True, timeout=60).stdout
    )
    assert finding(tuning(machine, status=1), "fs.file-max")["now"]


@pytest.mark.parametrize(
    "text, expected",
    [("nonsense\n", ":1: is no line"), (None, "No such file or directory")],
)
def test_a_file_that_is_none(text, expected, tmp_path):
    machine = tmp_path / "machine"
    if text:
        machine.write_text(text)
    out, err = run(MILLGATED, "--tune", "--config", MILLION, "--machine", machine, status=1)
    assert out == "" and err.startswith(f"millgated: {machine}") and expected in err


def settings_of_the_bench():
    """The kernel settings that tests/bench/million raises: the keys of its dictionaries, and of those
    of manylib, which does so for it."""
    folder = ROOT / "tests" / "bench"
    trees = [ast.parse((folder / name).read_text()) for name in ("million", "manylib.py")]
    keys = {
        key.value
        for tree in trees
        for one in ast.walk(tree)
        if isinstance(one, ast.Dict)
        for key in one.keys
        if isinstance(key, ast.Constant) and str(key.value).startswith(("fs.", "net."))
    }
    assert len(keys) >= 6
    # Its namespace has a table of its own, whose size is set from without.
    assert "net.ipv4.tcp_child_ehash_entries" in keys
    return keys - {"net.ipv4.tcp_child_ehash_entries"} | {"net.ipv4.tcp_ehash_entries"}


def test_what_the_bench_of_a_million_sets_is_found(tmp_path):
    machine = tmp_path / "machine"
    # As they are with less memory, and without systemd.
    little = {
        "fs.epoll.max_user_watches": 800000,
        "fs.file-max": 800000,
        "net.ipv4.tcp_ehash_entries": 131072,
    }
    lines = [f"{key} = {value}" for key, value in little.items()]
    machine.write_text("\n".join([MACHINE.read_text(), *lines, ""]))
    answer = tuning(machine, status=1)
    for key in settings_of_the_bench():
        assert finding(answer, key)["status"] == "short", key


# The example for /etc/sysctl.d.


def test_the_sysctl_example_is_fresh():
    out, err = run(ROOT / "scripts" / "example-sysctl", BUILD, ROOT / "conf")
    assert err == ""
    assert SYSCTL_EXAMPLE.read_text() == out


def test_the_sysctl_example_is_enough_for_its_machine(tmp_path):
    """With the example applied to it, nothing falls short there."""
    machine = tmp_path / "machine"
    machine.write_text(MACHINE.read_text() + SYSCTL_EXAMPLE.read_text())
    before, after = tuning(MACHINE, status=1), tuning(machine, status=0)
    assert before["short"] >= 5
    assert (after["short"], after["harmful"], after["unknown"]) == (0, 0, 0)


@needs("unshare")
def test_the_sysctl_example_does_not_depend_on_this_machine():
    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        pytest.skip("needs unshare -n, as root")
    # Another network has other settings, most of them missing, and there is one CPU.
    out, _ = run(
        *("unshare", "-n", "taskset", "-c", "0", "prlimit", "--nofile=1024:1024"),
        *(ROOT / "scripts" / "example-sysctl", BUILD, ROOT / "conf"),
    )
    assert SYSCTL_EXAMPLE.read_text() == out


@needs("sysctl")
def test_sysctl_reads_the_example():
    settings = [line for line in SYSCTL_EXAMPLE.read_text().splitlines() if line and line[0] != "#"]
    out, err = run("sysctl", "--dry-run", f"--load={SYSCTL_EXAMPLE}")
    assert out.splitlines() == settings and err == ""
