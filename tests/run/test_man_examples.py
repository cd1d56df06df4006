"""The examples of the manual pages, each run as it stands there, in small."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from gateway import BUILD, DEADLINE, MILLGATED, SANITIZER_ENVIRONMENT, free_port

NAMES = ["millgate-bench.1", "millgate.json.5", "millgate.7", "millgatectl.8", "millgated.8"]
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def examples(name):
    """The literal blocks of a page's EXAMPLES."""
    section = re.search(
        r"^\.Sh EXAMPLES\n(.*?)^\.Sh ", (BUILD / "man" / name).read_text(), re.DOTALL | re.MULTILINE
    )
    blocks = re.findall(
        r"^\.Dl (.*\n)|^\.Bd -literal.*\n((?:.*\n)*?)\.Ed", section.group(1), re.MULTILINE
    )
    return [(line or block).replace("\\e", "\\").replace("\\-", "-") for line, block in blocks]


def all_examples():
    return [
        pytest.param(name, i, id=f"{name}-{i + 1}")
        for name in NAMES
        if (BUILD / "man" / name).exists()
        for i in range(len(examples(name)))
    ]


# What an example has that a test cannot: a million connections, minutes of time.
SMALLER = [
    (r"-n (10k|1M|1000)\b", "-n 100"),
    (r"-r 20k\b", "-r 2k"),
    (r"-R 20k\b", "-R 200"),
    (r"-c 50\b", "-c 5 -d 1s"),
    (r"-d \d+[ms]\b", "-d 1s"),
    (r"--heartbeat-interval 10s", "--heartbeat-interval 200ms"),
    (r"--churn-rate 100", "--churn-rate 10"),
]
# It ends with a daemon, which runs until the test has seen that it is well.
STAYS = re.compile(r"millgated --config \S+\n?\Z")


def fit(script, directory, port):
    """The example with files, ports and sizes of the test's own."""
    for pattern, smaller in SMALLER:
        script = re.sub(pattern, smaller, script)
    script = script.replace("/tmp/", f"{directory}/").replace("/run/millgate/", f"{directory}/")
    script = re.sub(r"/\S+/millgate\.json", str(directory / "millgate.json"), script)
    # Any millgated will do that is there, but not one of somebody else's.
    script = script.replace("$(pgrep -o millgated)", "$GATEWAY_PID")
    return script.replace("127.0.0.1:7000", f"127.0.0.1:{port}")


def environment(directory, pid=0):
    """Programs of this build, the directory's admin socket, and nothing of ours that is unset."""
    return {
        **os.environ,
        **SANITIZER_ENVIRONMENT,
        "PATH": f"{BUILD}:{SYSTEM_PATH}",
        "MILLGATE_ADMIN_SOCKET": str(directory / "admin.sock"),
        "GATEWAY_PID": str(pid),
    }


def script_of(text, directory, pid=0):
    return subprocess.Popen(
        ["bash", "-euc", text],
        cwd=directory,
        env=environment(directory, pid),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end_group(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=DEADLINE)
    return output


def see_it_well_and_stop_it(process, directory):
    """The example has started a gateway: it answers, and ends when it is told to."""
    deadline = time.monotonic() + DEADLINE
    while True:
        done = subprocess.run(
            [str(BUILD / "millgatectl"), "health"],
            env=environment(directory),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        if done.returncode == 0:
            break
        assert process.poll() is None and time.monotonic() < deadline, end_group(process)
        time.sleep(0.05)
    end_group(process)


@pytest.fixture
def config():
    """A gateway that every example can work with: echo, and heartbeats that nobody notices."""
    port = free_port()
    return port, {
        "workers": 2,
        "listeners": {"public": {"address": f"127.0.0.1:{port}", "service": "echo"}},
        "limits": {"connections": 1000, "idle_timeout": "1h"},
    }


def skip_without(script):
    for program in ("curl", "sysctl", "systemd-socket-activate"):
        if re.search(rf"^{program}\b", script) and not shutil.which(program, path=SYSTEM_PATH):
            pytest.skip(f"needs {program}")


def run_script(script, directory, pid=0):
    process = script_of(script, directory, pid)
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        if process.returncode is None:
            end_group(process)
    assert process.returncode == 0, output


@pytest.mark.parametrize("name, i", all_examples())
def test_example(name, i, config, gateway, tmp_path):
    script = examples(name)[i]
    port, conf = config
    skip_without(script)
    if "-w receive" in script:
        heartbeat = {"interval": "200ms", "payload": "a" * 10}
        conf["listeners"]["public"].update(service="hold", heartbeat=heartbeat)
    if "millgatectl upstream" in script:
        upstream = {"servers": ["127.0.0.1:8081"], "health": {"interval": 0}}
        conf["listeners"]["public"].update(service="relay", upstream=upstream)
    if script.startswith("{"):
        (tmp_path / "example.json").write_text(script)
        run_script("millgated --check example.json", tmp_path)
    elif STAYS.search(script):
        conf["admin"] = {"socket": str(tmp_path / "admin.sock")}
        (tmp_path / "millgate.json").write_text(json.dumps(conf))
        see_it_well_and_stop_it(script_of(fit(script, tmp_path, port), tmp_path), tmp_path)
    elif "millgated --config" in script and "--tune" not in script and "--print" not in script:
        run_script(fit(script, tmp_path, port), tmp_path)
    else:
        running = gateway(conf)
        run_script(fit(script, running.directory, port), running.directory, running.pid)


def test_every_page_has_examples():
    assert all(examples(name) for name in NAMES)
