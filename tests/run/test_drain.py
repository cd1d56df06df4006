"""Drain and resume: all are closed, at once or at an even pace; new ones wait meanwhile."""

import statistics
import time

import pytest

from clients import Crowd

COUNT = 2000
LISTENERS = {"hold": {}, "local": {"address": "unix:DIR/local"}}


def drain(gateway, over=None):
    answer = gateway.ok("POST", "/drain", {} if over is None else {"over": over})
    assert answer["draining"] is True
    return answer


def test_at_once(gateway):
    one = gateway({"workers": 3, "listeners": LISTENERS})
    with Crowd(one.address(), COUNT) as crowd, Crowd(one.address("local"), 50) as local:
        one.wait_connections(COUNT + 50)
        assert drain(one) == {"draining": True, "over_seconds": 0, "connections": COUNT + 50}
        assert crowd.pump_until(lambda: crowd.open_count == 0, 5)
        assert local.pump_until(lambda: local.open_count == 0, 5)
        one.wait_closed("drained", COUNT + 50)
        assert set(one.closed_counts()) == {"drained"}
        assert one.stats()["draining"] is True


def test_new_ones_wait_until_resumed(gateway):
    one = gateway({"workers": 2, "listeners": {"echo": {"service": "echo"}}})
    drain(one)
    with Crowd(one.address("echo"), 20) as crowd:
        crowd.send(b"x")
        crowd.pump_for(0.3)
        assert (crowd.received, crowd.closed_count) == (0, 0)
        assert one.metric("connections_accepted_total") == 0
        assert one.metric("draining_current") == 1
        assert one.listener("echo")["state"] == "draining"
        assert one.ok("POST", "/resume") == {"draining": False}
        assert crowd.pump_until(lambda: crowd.received == 20)
        assert one.metric("draining_current") == 0
        assert one.closed_counts() == {}


@pytest.mark.measures
def test_at_an_even_pace_in_random_order(gateway):
    over = 2.0
    one = gateway({"workers": 3, "listeners": LISTENERS})
    with Crowd(one.address(), COUNT) as crowd:
        one.wait_connections(COUNT)
        start = time.monotonic()
        assert drain(one, "2s")["over_seconds"] == 2
        assert crowd.pump_until(lambda: crowd.open_count == 0, 10)
        closed = sorted(client.closed - start for client in crowd.clients)
        for tenth in range(1, 11):
            expected = over * tenth / 10
            assert expected - 0.3 < closed[COUNT * tenth // 10 - 1] < expected + 0.5, closed[::100]
        order = sorted(range(COUNT), key=lambda number: crowd.clients[number].closed)
        first_half = statistics.mean(order[: COUNT // 2])
        assert first_half == pytest.approx(COUNT / 2, rel=0.3), "not by age"
        assert any(order[i] > order[i + 1] for i in range(COUNT - 1))
        one.wait_closed("drained", COUNT)


def test_resume_keeps_those_not_yet_closed(gateway):
    one = gateway({"workers": 2, "listeners": LISTENERS})
    with Crowd(one.address(), COUNT) as crowd:
        one.wait_connections(COUNT)
        drain(one, 4)
        assert crowd.pump_until(lambda: crowd.closed_count > COUNT / 10, 5)
        one.ok("POST", "/resume")
        left = one.metric("connections_current")
        crowd.pump_for(0.5)
        assert 0 < crowd.open_count == one.metric("connections_current") <= left
        assert left - crowd.open_count < COUNT / 10
        crowd.add(10)
        one.wait_connections(crowd.open_count)


def test_another_drain_sets_another_pace(gateway):
    one = gateway({"workers": 2, "listeners": LISTENERS})
    with Crowd(one.address(), COUNT) as crowd:
        one.wait_connections(COUNT)
        drain(one, "1h")
        crowd.pump_for(0.3)
        assert crowd.closed_count < 10
        drain(one, "500ms")
        assert crowd.pump_until(lambda: crowd.open_count == 0, 5)
        one.wait_closed("drained", COUNT)


def test_clients_that_leave_while_it_lasts(gateway):
    one = gateway({"workers": 2, "listeners": LISTENERS})
    with Crowd(one.address(), COUNT) as crowd:
        one.wait_connections(COUNT)
        drain(one, "1s")
        crowd.leave(crowd.clients[: COUNT // 2])
        assert crowd.pump_until(lambda: crowd.open_count == 0, 5)
        one.wait_connections(0)
        closed = one.closed_counts()
        assert closed["drained"] + closed["client_closed"] == COUNT
