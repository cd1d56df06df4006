"""Deadlines: idle_timeout, first_byte_timeout and lifetime. None is early; none is very late."""

import time

import pytest

from clients import Crowd

pytestmark = pytest.mark.measures

TIMEOUT = 0.5
SLACK = 0.7  # how late a busy machine may be

KEYS = ["idle_timeout", "first_byte_timeout", "lifetime"]
EACH_KEY = pytest.mark.parametrize("key", KEYS)
EACH_PLACE = pytest.mark.parametrize("where", ["global", "listener"])


def config(limits, where="global", jitter=0):
    limits = dict(limits)
    own = {"limits": limits} if where == "listener" else {}
    return {
        "workers": 2,
        "limits": {"lifetime_jitter": jitter, **(limits if where == "global" else {})},
        "listeners": {"hold": own, "echo": {"service": "echo"}},
    }


def check_closed(crowd, earliest, latest):
    """All are closed, at an age within these bounds."""
    assert crowd.pump_until(lambda: crowd.open_count == 0, latest + 5)
    ages = sorted(client.age_at_close for client in crowd.clients)
    assert earliest <= ages[0] and ages[-1] <= latest, (ages[0], ages[-1])
    return ages


@EACH_KEY
@EACH_PLACE
def test_silent_ones_are_closed_in_time(gateway, key, where):
    one = gateway(config({key: TIMEOUT}, where))
    with Crowd(one.address(), 20) as crowd, Crowd(one.address("echo"), 3) as other:
        check_closed(crowd, TIMEOUT, TIMEOUT + SLACK)
        other.pump_for(0 if where == "listener" else SLACK)
        assert other.closed_count == (0 if where == "listener" else 3)
        one.wait_closed(key, 20 + other.closed_count)
        assert set(one.closed_counts()) == {key}


@EACH_KEY
def test_a_listener_without_timeout_when_the_others_have_one(gateway, key):
    limited = config({key: TIMEOUT})
    limited["listeners"]["hold"] = {"limits": {key: 0}}
    one = gateway(limited)
    with Crowd(one.address(), 5) as crowd, Crowd(one.address("echo"), 5) as other:
        check_closed(other, TIMEOUT, TIMEOUT + SLACK)
        crowd.pump_for(SLACK)
        assert crowd.closed_count == 0


def test_each_byte_puts_the_idle_timeout_off(gateway):
    one = gateway(config({"idle_timeout": TIMEOUT}))
    with Crowd(one.address("echo"), 10) as crowd:
        for _ in range(5):
            sent = time.monotonic()
            crowd.send(b"x")
            crowd.pump_for(TIMEOUT / 2)
        assert crowd.closed_count == 0
        assert crowd.pump_until(lambda: crowd.open_count == 0)
        assert all(TIMEOUT <= client.closed - sent for client in crowd.clients)
        assert crowd.received == 50


def test_what_is_sent_to_a_client_does_not_put_the_idle_timeout_off(gateway):
    limited = config({"idle_timeout": TIMEOUT})
    limited["listeners"]["hold"]["heartbeat"] = {"interval": 0.05, "payload": "x"}
    one = gateway(limited)
    with Crowd(one.address(), 5) as crowd:
        check_closed(crowd, TIMEOUT, TIMEOUT + SLACK)
        assert crowd.received > 0


def test_one_byte_is_enough_for_the_first_byte_timeout(gateway):
    one = gateway(config({"first_byte_timeout": TIMEOUT}))
    with Crowd(one.address(), 4) as crowd, Crowd(one.address(), 4) as silent:
        crowd.send(b"x")
        check_closed(silent, TIMEOUT, TIMEOUT + SLACK)
        crowd.pump_for(SLACK)
        assert crowd.closed_count == 0
        one.wait_closed("first_byte_timeout", 4)
        assert set(one.closed_counts()) == {"first_byte_timeout"}


def test_bytes_do_not_put_the_lifetime_off(gateway):
    one = gateway(config({"lifetime": TIMEOUT}))
    with Crowd(one.address("echo"), 4) as crowd:
        while crowd.open_count and time.monotonic() < crowd.clients[0].opened + 5:
            crowd.send(b"x")
            crowd.pump_for(0.05)
        check_closed(crowd, TIMEOUT, TIMEOUT + SLACK)


def test_the_earliest_deadline_counts(gateway):
    one = gateway(
        config(
            {"lifetime": 3 * TIMEOUT, "idle_timeout": 2 * TIMEOUT, "first_byte_timeout": TIMEOUT}
        )
    )
    with Crowd(one.address(), 3) as silent, Crowd(one.address(), 3) as idle:
        with Crowd(one.address("echo"), 3) as busy:
            idle.send(b"x")
            while busy.open_count and time.monotonic() < busy.clients[0].opened + 5:
                busy.send(b"x")
                busy.pump_for(0.1)
            check_closed(busy, 3 * TIMEOUT, 3 * TIMEOUT + SLACK)
        one.wait_connections(0)
        assert one.closed_counts() == {reason: 3 for reason in KEYS}
        check_closed(silent, TIMEOUT, 5)
        check_closed(idle, 2 * TIMEOUT, 5)


@pytest.mark.parametrize("jitter", [0, 50, 100])
def test_lifetime_loses_its_jitter_evenly(gateway, jitter):
    lifetime, spread = 1.2, 1.2 * jitter / 100
    one = gateway(config({"lifetime": lifetime}, jitter=jitter))
    with Crowd(one.address(), 400) as crowd:
        shortest = lifetime - spread
        ages = check_closed(crowd, shortest, lifetime + SLACK)
    one.wait_closed("lifetime", 400)
    for quarter in (1, 2, 3):
        expected = shortest + spread * quarter / 4
        assert expected - 0.05 <= ages[quarter * 100] <= expected + 0.35


@EACH_KEY
def test_reload_reaches_those_who_are_in(gateway, key):
    one = gateway(config({key: "1h"}))
    with Crowd(one.address(), 10) as crowd:
        one.wait_connections(10)
        assert set(one.reload(limits={key: TIMEOUT})) == {
            f"limits.{key}",
            f"listeners.hold.limits.{key}",
            f"listeners.echo.limits.{key}",
        }
        check_closed(crowd, TIMEOUT, 5)
        late = crowd.add(10)
        one.wait_metric("connections_accepted_total", 20)
        one.reload(limits={key: 0})
        crowd.pump_for(TIMEOUT + SLACK)
        assert all(client.is_open for client in late)
        one.reload(limits={key: TIMEOUT})
        reloaded = time.monotonic()
        assert crowd.pump_until(lambda: crowd.open_count == 0)
        assert time.monotonic() - reloaded < SLACK, "they were over it already"
        one.wait_closed(key, 20)
        assert set(one.closed_counts()) == {key}


def test_jitter_changed_by_reload(gateway):
    one = gateway(config({"lifetime": 30}))
    with Crowd(one.address(), 100) as crowd:
        one.wait_connections(100)
        one.reload(limits={"lifetime_jitter": 100})
        assert crowd.pump_until(lambda: crowd.closed_count >= 2, 5), "some lose nearly all of it"
        assert crowd.closed_count < 50
