"""Restarts with a worker that is slow to take connections up, so that they are under way for long."""

import os
import signal
import time

import pytest

from clients import Crowd
from gateway import wait_for
from preloads import preloaded
from restarts import config

RESERVED = 32  # descriptors of a worker that are not for connections (TUNE_RESERVED_FDS)
MANY = 3600


@pytest.fixture
def slow(keeper, tmp_path):
    """A keeper whose workers are late while the file `late` is there."""
    one = keeper("echo")
    one.late = tmp_path / "late"
    one.environment |= {**preloaded("late_worker", tmp_path), "MILLGATE_LATE": str(one.late)}
    return one


def restart_slowly(one, **options):
    """Other workers than before, so that each connection is handed over anew."""
    one.gateway.config["workers"] -= 1
    one.end()
    one.late.touch()
    one.start(wait=False, **options)


@pytest.mark.parametrize("nofile", [MANY - 100, MANY + RESERVED - 1])
def test_a_worker_that_becomes_full(slow, nofile):
    """The last ones wait for a worker that has no more room after them."""
    gateway = slow.start(config(2))
    with Crowd(slow.addresses["echo"], MANY) as crowd:
        gateway.wait_connections(MANY)
        restart_slowly(slow, nofile=nofile)
        gateway.wait_healthy()
        kept = nofile - RESERVED
        assert gateway.metric("connections_restored_total") == kept
        assert crowd.pump_until(lambda: crowd.closed_count == MANY - kept)
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == kept)


def test_terminated_twice_while_connections_are_taken_up(slow):
    gateway = slow.start(config(3))
    with Crowd(slow.addresses["echo"], MANY) as crowd:
        gateway.wait_connections(MANY)
        for workers in (3, 4):
            gateway.config["workers"] = workers
            restart_slowly(slow)
            wait_for(lambda: len(gateway.children()), workers - 1)
            for _ in range(4):  # signals of one kind that wait are one
                os.kill(gateway.pid, signal.SIGTERM)
                time.sleep(0.1)
            slow.end()
            slow.late.unlink()
            slow.start()
            assert gateway.metric("connections_current") == MANY
            assert gateway.closed_counts() == {}
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == MANY)


def test_terminated_while_a_worker_takes_too_long(slow):
    """It is killed with what it was given; the rest stays with systemd."""
    gateway = slow.start({**config(3), "stop_timeout": "300ms"})
    with Crowd(slow.addresses["echo"], MANY) as crowd:
        gateway.wait_connections(MANY)
        restart_slowly(slow)
        wait_for(lambda: len(gateway.children()), 2)
        slow.end()
        slow.late.unlink()
        slow.start()
        kept = gateway.metric("connections_current")
        assert crowd.pump_until(lambda: crowd.closed_count == MANY - kept)
        assert gateway.metric("connections_closed_total") == MANY - kept
