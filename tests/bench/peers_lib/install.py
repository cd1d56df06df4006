"""Installs the peers from Debian, without starting or enabling any service."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

import benchlib

CHARTS = ["gnuplot-nox"]
POLICY = pathlib.Path("/usr/sbin/policy-rc.d")
DENY = "#!/bin/sh\nexit 101\n"


def query(package, field):
    """A field of an installed package; "" if it is not installed."""
    result = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${%s}" % field, package],
        capture_output=True,
        text=True,
    )
    status, _, value = result.stdout.partition(" ")
    return value if status == "installed" else ""


def version(package):
    return query(package, "Version")


def missing(packages):
    return [package for package in packages if not version(package)]


@contextlib.contextmanager
def no_services_start():
    """invoke-rc.d asks this file; it is put back as it was."""
    had = (POLICY.read_bytes(), POLICY.stat().st_mode) if POLICY.exists() else None
    try:
        POLICY.write_text(DENY)
        POLICY.chmod(0o755)
        yield
    finally:
        if had:
            POLICY.write_bytes(had[0])
            POLICY.chmod(had[1] & 0o7777)
        else:
            POLICY.unlink(missing_ok=True)


def apt(packages):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    if subprocess.run(command, stdout=sys.stderr, env=environment).returncode != 0:
        raise benchlib.BenchError("the packages could not be installed (try: apt-get update)")


def disable(services):
    """So that they do not start with the machine either."""
    if services and shutil.which("systemctl"):
        subprocess.run(["systemctl", "disable", "--quiet", *services], stderr=subprocess.DEVNULL)


def install(wanted, services, charts):
    """Installs what is missing; asks sudo if need be."""
    packages = missing(wanted + (CHARTS if charts else []))
    if not packages:
        return
    if os.geteuid() != 0:
        program = str(pathlib.Path(sys.argv[0]).resolve())
        command = ["sudo", sys.executable, program, "--install-only"]
        if subprocess.run(command + (["--write"] if charts else [])).returncode != 0:
            raise benchlib.BenchError("the packages could not be installed")
        return
    with no_services_start():
        apt(packages)
    disable([service for service in services if service in packages])
