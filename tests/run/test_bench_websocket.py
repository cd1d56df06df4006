"""millgate-bench --protocol websocket: every workload, against millgated."""

import pytest

from bench_server import Server, bench, echo, report

pytestmark = pytest.mark.measures

QUIET = {"ping_interval": 0}


def config(service="echo", **listener):
    ws = {"protocol": "websocket", "service": service, "websocket": QUIET, **listener}
    return {"workers": 1, "listeners": {"ws": ws}}


def target(one):
    host, port = one.address("ws")
    return f"{host}:{port}"


def run(one, *args, status=0):
    return report("--protocol", "websocket", "--duration", 0.5, *args, target(one), status=status)


def count(one, name):
    return one.listener("ws")[name]


def test_idle_websockets_are_websockets(gateway):
    one = gateway(config("hold"))
    found = run(one, "--connections", 300)
    assert (found["protocol"], found["connections_up"]) == ("websocket", 300)
    assert count(one, "handshakes_accepted_total") == 300
    assert found["connect_latency_seconds"]["count"] == 300


@pytest.mark.parametrize("size", [1, 125, 126, 65535, 65536, 300000])
def test_echo_gets_back_what_it_sent(gateway, size):
    one = gateway(config())
    found = run(one, "--connections", 5, "--workload", "echo", "--size", size)
    assert found["echoes"] > 5
    assert found["echo_mismatches"] == 0
    assert count(one, "messages_received_total") >= found["echoes"]


def test_echo_at_a_rate(gateway):
    one = gateway(config())
    found = run(one, "--connections", 20, "--workload", "echo", "--rate-echo", 1000)
    assert 0.8 <= found["echoes"] / (1000 * found["measured_seconds"]) <= 1.04


def test_receive_counts_heartbeats_by_their_payload(gateway):
    one = gateway(config("hold", heartbeat={"interval": "100ms", "payload": "aaaaaaaaaa"}))
    args = ("--workload", "receive", "--size", 10, "--heartbeat-interval", "100ms")
    found = run(one, "--connections", 50, *args)
    assert found["heartbeats_received"] == pytest.approx(500 * found["measured_seconds"], rel=0.2)


@pytest.mark.parametrize("workload", ["churn", "storm"])
def test_connections_that_come_back_shake_hands_again(gateway, workload):
    one = gateway(config("hold"))
    found = run(one, "--connections", 100, "--workload", workload)
    assert found["lost"] == 0
    assert count(one, "handshakes_accepted_total") > 100


def test_slow_clients_send_frames(gateway):
    one = gateway(config())
    run(one, "--connections", 3, "--workload", "slow", "--slow-send")
    assert one.closed("protocol_error") == 0
    assert count(one, "messages_received_total") > 100


def test_pings_are_answered(gateway):
    one = gateway(config("hold", websocket={"ping_interval": "100ms"}))
    run(one, "--connections", 20)
    assert count(one, "pongs_received_total") > 40
    assert one.closed("pong_timeout") == 0


def test_path_and_host_are_asked_for(gateway):
    one = gateway(config("hold", websocket={**QUIET, "paths": ["/chat"], "hosts": ["a.example"]}))
    run(one, "--connections", 5, "--path", "/chat?x", "--host", "a.example")
    found = run(one, "--connections", 5, "--host", "a.example", status=1)
    assert found["connect_failed"] == 5
    assert count(one, "handshakes_not_found_total") == 5


def test_a_server_that_speaks_something_else_is_told_by_name():
    with Server(echo) as server:
        text = bench("-n", 2, "-d", 0.1, "--protocol", "websocket", server.target, status=1)
        assert "EPROTO x 2" in text


@pytest.mark.parametrize(
    "args", [("--protocol", "http"), ("--path", "chat"), ("--path", "/a b"), ("--host", "")]
)
def test_wrong_options_are_named(args):
    bench(*args, "127.0.0.1:1", status=2)
