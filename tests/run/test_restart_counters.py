"""What was counted is carried on by a restart, whatever became of those who counted it."""

import os
import signal

from gateway import wait_for
from restarts import config


def kill_worker(gateway, worker=0):
    """Returns when it is replaced."""
    restarts = gateway.metric("worker_restarts_total")
    pid = gateway.worker_pids()[worker]
    os.kill(pid, signal.SIGKILL)
    gateway.wait_metric("worker_restarts_total", restarts + 1)
    wait_for(lambda: gateway.worker_pids()[worker] not in (0, pid), True)
    gateway.wait_healthy()


def test_restarts_of_workers(keeper):
    one = keeper("echo")
    gateway = one.start(config(2))
    for _ in range(2):
        kill_worker(gateway)
    one.restart()
    assert gateway.metric("worker_restarts_total") == 2
    kill_worker(gateway)
    assert gateway.metric("worker_restarts_total") == 3
