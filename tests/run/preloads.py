"""Libraries that are loaded before those of a gateway, where the system is to fail it."""

import pathlib
import subprocess

from gateway import SANITIZER_ENVIRONMENT

SOURCES = pathlib.Path(__file__).with_name("preload")


def preloaded(name, directory):
    """The environment of a gateway that runs with preload/NAME.c; it is built in this directory."""
    library = directory / f"{name}.so"
    source = SOURCES / f"{name}.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {
        "LD_PRELOAD": str(library),
        "ASAN_OPTIONS": SANITIZER_ENVIRONMENT["ASAN_OPTIONS"] + ":verify_asan_link_order=0",
    }
