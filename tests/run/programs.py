"""Programs that tests use if they are there: found, started, and ended."""

import glob
import os
import pathlib
import pwd
import shutil
import subprocess

import pytest

from gateway import DEADLINE, wait_for
from relay_clients import PATIENCE

# Debian packages that scripts/test has unpacked, not installed.
TOOLS = os.environ.get("MILLGATE_TOOLS")
PLACES = ["/usr/sbin", "/sbin", "/usr/lib/postgresql/*/bin"]


def places():
    """Directories of programs: those of PATH, those of the system, those that were unpacked."""
    found = os.environ["PATH"].split(":")
    for root in ["", TOOLS] if TOOLS else [""]:
        for place in PLACES + (["/usr/bin"] if root else []):
            found += sorted(glob.glob(root + place), reverse=True)
    return found


def find(name):
    return shutil.which(name, path=":".join(places()))


def need(*names):
    """The paths of programs; the test is skipped if one is missing."""
    found = {name: find(name) for name in names}
    missing = [name for name, path in found.items() if not path]
    if missing:
        pytest.skip(f"{', '.join(missing)} IS NOT HERE (scripts/test fetches it)")
    return list(found.values())


def environment(program):
    """What is unpacked brings its libraries along."""
    settings = {**os.environ, "LC_ALL": "C"}
    if TOOLS and str(program).startswith(TOOLS):
        settings["LD_LIBRARY_PATH"] = ":".join(glob.glob(f"{TOOLS}/usr/lib/*-linux-gnu*"))
    return settings


def unprivileged():
    """Options of subprocess for programs that refuse to run as root, and who owns their files."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def start(command, **options):
    """A program that runs while the test goes on."""
    return subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(command[0]),
        **options,
    )


def output(process, timeout=PATIENCE):
    """What a started program has said, which must have ended well."""
    text, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, f"ended with {process.returncode}:\n{text}"
    return text


def run(command, timeout=PATIENCE, **options):
    return output(start(command, **options), timeout)


class Daemon:
    """A server that logs into a file of its directory, and is ready when it accepts."""

    def __init__(self, command, directory, probe, **options):
        self.log = pathlib.Path(directory) / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(command[0]),
                **options,
            )
        wait_for(lambda: self.is_up(probe), True, what=f"{command[0]} accepts")

    def is_up(self, probe):
        assert self.process.poll() is None, self.log.read_text(errors="replace")
        try:
            probe().close()
        except OSError:
            return False
        return True

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
