"""
A machine that stands still for longer than any deadline: a virtual one that is paused, moved or saved.
What its clients sent meanwhile is there when it goes on, and nobody loses a connection.
"""

import contextlib
import time

import pytest

from clients import Crowd
from gateway import stopped
from servers import relay
from ws_client import frame, handshake

PONG = frame(0x8A, b"", b"mask")
SOME = 100
MANY = 3000  # for one worker; more than it reads before it looks at deadlines

pytestmark = pytest.mark.measures  # a standstill more would be one too many


@contextlib.contextmanager
def standstill(gateway, seconds):
    """Time passes, and the gateway's processes do nothing. The supervisor goes on first."""
    with contextlib.ExitStack() as stack:
        for pid in [*gateway.worker_pids(), gateway.pid]:
            stack.enter_context(stopped(pid))
        start = time.monotonic()
        yield
        time.sleep(max(0, start + seconds - time.monotonic()))


def config(limits, listener, **top):
    return {"workers": 1, "limits": limits, "listeners": {"one": listener}, **top}


def test_workers_have_not_hung(gateway):
    one = gateway(config({}, {"service": "echo"}, worker_timeout="1s"))
    pids = one.worker_pids()
    with Crowd(one.address("one"), SOME) as crowd:
        one.wait_connections(SOME)
        for _ in range(2):
            with standstill(one, 2.5):
                crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == 2 * SOME)
        assert crowd.closed_count == 0
        assert one.health() == (200, "ok")
    assert one.worker_pids() == pids
    assert "has not ticked" not in one.log()


def test_workers_that_had_no_time_to_tick_have_not_hung(gateway):
    """The supervisor is awake between two standstills, and they are not."""
    one = gateway(config({}, {"service": "echo"}, worker_timeout="1s"))
    pids = one.worker_pids()
    with stopped(pids[0]):
        for _ in range(2):
            with stopped(one.pid):
                time.sleep(2.5)
            for _ in range(2):  # it has looked at its workers before it answers the second time
                assert one.health() == (200, "ok")
    with Crowd(one.address("one"), SOME) as crowd:
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == SOME)
    assert one.worker_pids() == pids
    assert "has not ticked" not in one.log()


@pytest.mark.parametrize("key", ["idle_timeout", "first_byte_timeout"])
def test_clients_that_spoke_are_not_silent(gateway, key):
    one = gateway(config({key: "2s"}, {"service": "echo"}))
    with Crowd(one.address("one"), MANY) as crowd:
        one.wait_connections(MANY)
        with standstill(one, 2.5):
            crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == MANY)
        assert crowd.closed_count == 0
    assert one.closed(key) == 0


def test_servers_that_spoke_are_not_silent(gateway, echoes):
    server = echoes()
    one = gateway(relay(server, workers=1, limits={"idle_timeout": "2s"}))
    with Crowd(one.address("relay"), MANY) as crowd:
        server.wait_connections(MANY)
        crowd.send(b"x")
        assert crowd.pump_until(lambda: crowd.received == MANY)
        with standstill(one, 2.5):
            server.order(lambda: [each.sock.send(b"y") for each in list(server.open.values())])
        assert crowd.pump_until(lambda: crowd.received == 2 * MANY)
        assert crowd.closed_count == 0
    assert one.closed("idle_timeout") == 0


def websockets(ping_interval):
    listener = {"protocol": "websocket", "websocket": {"ping_interval": ping_interval}}
    return config({}, listener)


def open_all(crowd):
    """Returns how many bytes the answer to a handshake is."""
    crowd.send(handshake())
    assert crowd.pump_until(lambda: all(client.received for client in crowd.clients))
    return min(client.received for client in crowd.clients)


def answer_all(crowd, answered):
    """Answers pings that have come; `answered` counts the bytes for which that was done."""
    for client in crowd.open_clients():
        if client.received > answered[client]:
            answered[client] = client.received
            client.sock.send(PONG)


def test_clients_that_answered_a_ping_have_answered(gateway):
    one = gateway(websockets("3s"))
    with Crowd(one.address("one"), MANY) as crowd:
        answered = dict.fromkeys(crowd.clients, open_all(crowd))
        one.wait_listener("one", "pings_sent_total", lambda count: count > MANY * 0.8)
        with standstill(one, 3.5):
            crowd.pump_for(0.2)
            answer_all(crowd, answered)
        one.wait_listener("one", "pongs_received_total", lambda count: count > MANY * 0.8)
        crowd.pump()
        assert crowd.closed_count == 0
    assert one.closed("pong_timeout") == 0


def test_a_ping_that_is_late_leaves_time_to_answer(gateway):
    """The next moment for one may follow at once."""
    one = gateway(websockets("2s"))
    with Crowd(one.address("one"), SOME) as crowd:
        answered = dict.fromkeys(crowd.clients, open_all(crowd))
        with standstill(one, 2.5):
            crowd.pump()
            answer_all(crowd, answered)
        while one.listener("one")["pings_sent_total"] < 4 * SOME:
            crowd.pump_for(0.3)
            answer_all(crowd, answered)
            assert crowd.closed_count == 0
