"""Accept rates: a burst gets in at once, the rest waits in the backlog, and nobody is refused."""

import time

import pytest

from clients import Crowd
from gateway import wait_for

pytestmark = pytest.mark.measures

BURST = 20
RATE = 10
SOON = 0.7  # seconds in which what is accepted at once is; a burst by the rate would take 2


def config(where, rate, burst=0):
    """The rate is that of all listeners together, or of the listener "hold"."""
    limits = {"accept_rate": rate, "accept_burst": burst}
    return {
        "workers": 1,
        "limits": limits if where == "total" else {},
        "listeners": {"hold": {"limits": limits if where == "listener" else {}}, "free": {}},
    }


EACH_RATE = pytest.mark.parametrize("where", ["total", "listener"])


def accepted(gateway):
    return gateway.metric("connections_accepted_total")


def check_pace(gateway, crowd, rate, burst):
    """All get in, at no moment more than the bucket allows; returns how long it took."""
    start = min(client.opened for client in crowd.clients)
    samples = []
    while not samples or samples[-1][1] < len(crowd):
        count = accepted(gateway)
        now = time.monotonic()  # not before it was counted
        samples.append((now, count))
        assert now - start < 20, samples
        assert count <= burst + (now - start) * rate + 1, samples
        time.sleep(0.01)
    assert gateway.closed_counts() == {}
    crowd.pump()
    assert crowd.closed_count == 0
    return samples[-1][0] - start


@EACH_RATE
@pytest.mark.parametrize("count", [BURST - 1, BURST])
def test_a_burst_gets_in_at_once(gateway, where, count):
    one = gateway(config(where, 1, BURST))
    with Crowd(one.address(), count) as crowd:
        assert check_pace(one, crowd, 1, BURST) < SOON


@EACH_RATE
def test_one_more_than_the_burst_waits(gateway, where):
    one = gateway(config(where, 1, BURST))
    with Crowd(one.address(), BURST + 1) as crowd:
        wait_for(lambda: accepted(one), BURST, SOON)
        one.wait_listener("hold", "state", "rate_limited")
        assert check_pace(one, crowd, 1, BURST) > 0.95


@EACH_RATE
def test_the_rest_comes_in_by_the_rate(gateway, where):
    one = gateway(config(where, RATE, BURST))
    with Crowd(one.address(), BURST + 15) as crowd:
        wait_for(lambda: accepted(one), lambda count: count >= BURST, SOON)
        assert 1.45 < check_pace(one, crowd, RATE, BURST) < 2.5


@pytest.mark.alone
def test_a_high_rate_is_reached(gateway):
    """Tokens come faster than turns of the loop, and none is lost."""
    one = gateway(config("total", 1000, 10))
    with Crowd(one.address(), 1010) as crowd:
        assert 0.95 < check_pace(one, crowd, 1000, 10) < 2


@EACH_RATE
def test_without_burst_a_second_of_the_rate_is_one(gateway, where):
    one = gateway(config(where, 15))
    with Crowd(one.address(), 15) as crowd:
        assert check_pace(one, crowd, 15, 15) < SOON


def test_the_bucket_fills_again(gateway):
    one = gateway(config("total", RATE, 5))
    with Crowd(one.address(), 5) as crowd:
        wait_for(lambda: accepted(one), 5)
        wait_for(lambda: time.monotonic() - crowd.clients[-1].opened > 0.6, True)
        crowd.add(5)
        wait_for(lambda: accepted(one), 10, 0.4)


def test_a_listener_that_waits_holds_up_no_other(gateway):
    one = gateway(config("listener", 1, 1))
    with Crowd(one.address(), 3), Crowd(one.address("free"), 100):
        one.wait_listener("free", "connections", 100, SOON)
        assert one.listener("free")["state"] == "accepting"
        assert one.listener("hold")["state"] == "rate_limited"
        assert one.listener("hold")["connections"] < 3


def test_listeners_share_the_total_rate(gateway):
    one = gateway(config("total", RATE, BURST))
    with Crowd(one.address(), BURST) as first, Crowd(one.address("free"), 15):
        wait_for(lambda: accepted(one), lambda count: count >= BURST, SOON)
        wait_for(lambda: accepted(one), BURST + 15)
        assert time.monotonic() - first.clients[0].opened > 1.45


def test_both_rates_hold(gateway):
    both = config("listener", 5, 10)
    both["limits"] = {"accept_rate": 10, "accept_burst": 20}
    one = gateway(both)
    with Crowd(one.address(), 15) as crowd:
        assert check_pace(one, crowd, 5, 10) > 0.95
    with Crowd(one.address("free"), 10):
        one.wait_listener("free", "connections", 10)


def test_a_refused_one_takes_a_token(gateway):
    limited = config("total", 1, 10)
    limited["limits"]["connections"] = 1
    one = gateway(limited)
    with Crowd(one.address(), 11) as crowd:
        assert crowd.pump_until(lambda: crowd.closed_count == 9, SOON)
        assert crowd.pump_until(lambda: crowd.closed_count == 10)
        assert time.monotonic() - crowd.clients[0].opened > 0.95


@EACH_RATE
def test_raised_lowered_and_removed_by_reload(gateway, where):
    def reload(rate, burst):
        limits = {"accept_rate": rate, "accept_burst": burst}
        if where == "total":
            return one.reload(limits=limits)
        return one.reload(listeners={"hold": {"limits": limits}})

    one = gateway(config(where, 1, 1))
    with Crowd(one.address(), 50):
        one.wait_listener("hold", "state", "rate_limited")
        assert len(reload(40, 1)) == 1
        wait_for(lambda: accepted(one), lambda count: count >= 20, 2)
        assert len(reload(1, 1)) == 1
        slow = accepted(one)
        assert slow < 50
        wait_for(lambda: accepted(one), lambda count: count > slow)
        assert len(reload(0, 0)) == 2
        wait_for(lambda: accepted(one), 50, SOON)
