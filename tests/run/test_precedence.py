"""Whose work comes first where CPUs are short: that of the workers."""

import os
import signal

import pytest

from gateway import wait_for
from restarts import config

USUAL, YIELDS = os.SCHED_OTHER, os.SCHED_BATCH


def policies(one):
    return [os.sched_getscheduler(pid) for pid in (one.pid, *one.worker_pids())]


def wait_policies(one, wanted):
    wait_for(lambda: policies(one), wanted, what="the policies of supervisor and workers")


def test_the_supervisor_yields_to_its_workers(gateway):
    one = gateway(config(2), prefix=("chrt", "--other", "0"))
    wait_policies(one, [YIELDS, USUAL, USUAL])


def test_a_worker_that_is_replaced_does_not_yield(gateway):
    one = gateway(config(2), prefix=("chrt", "--other", "0"))
    wait_policies(one, [YIELDS, USUAL, USUAL])
    killed = one.worker_pids()[1]
    os.kill(killed, signal.SIGKILL)
    wait_for(one.worker_pids, lambda pids: pids[1] not in (0, killed), what="the workers")
    wait_policies(one, [YIELDS, USUAL, USUAL])


def upgrade(one):
    """Its log tells when it is over: whoever asks a process that becomes another one may be dropped."""
    os.kill(one.pid, signal.SIGUSR2)
    one.wait_log(r"ready: (.*\n)+.*ready: ")


def test_an_upgrade_begins_as_a_start_does(gateway):
    one = gateway(config(2), prefix=("chrt", "--other", "0"))
    one.wait_log("ready: ")
    before = one.worker_pids()
    upgrade(one)
    assert not set(before) & set(one.worker_pids())
    assert policies(one) == [YIELDS, USUAL, USUAL]


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(os.SCHED_BATCH, id="batch"),
        pytest.param(os.SCHED_IDLE, id="idle", marks=pytest.mark.alone),  # who is idle waits for all
    ],
)
def test_a_policy_that_was_chosen_is_kept(gateway, policy):
    one = gateway(config(2), prefix=("chrt", "--batch" if policy == YIELDS else "--idle", "0"))
    one.wait_log("ready: ")
    assert policies(one) == [policy] * 3
    before = one.worker_pids()
    upgrade(one)
    assert not set(before) & set(one.worker_pids())
    assert policies(one) == [policy] * 3
