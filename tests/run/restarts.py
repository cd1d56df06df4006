"""What the tests of restarts share."""

import signal

from clients import read_exactly
from gateway import wait_for

KILLED = {"sig": signal.SIGKILL, "status": -signal.SIGKILL}


def config(workers=2, *, limits=None, **listeners):
    settings = {"workers": workers, "listeners": listeners or {"echo": {"service": "echo"}}}
    if limits:
        settings["limits"] = limits
    return settings


def ids(gateway):
    return {item["id"] for item in gateway.connections()}


def settled_queue(gateway):
    """What waits for slow readers, once no more comes."""
    seen = []

    def steady():
        seen.append(gateway.metric("queued_bytes_current"))
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    wait_for(steady, True, what="the queue is steady")
    return seen[-1]


def check_echo(client, text=b"hello"):
    client.sendall(text)
    assert read_exactly(client, len(text)) == text
