"""Which server a client gets: when some refuse, are full, down or gone; balance, and health."""

import contextlib
import itertools
import os
import threading

import pytest

from clients import connect, is_closed, read_exactly, reset
from gateway import wait_for
from relay_clients import Guests, greeting, visit
from servers import QUICK, dead_target, relay, upstreams, wait_upstream

OFFSETS = pytest.mark.parametrize("offset", [-1, 0, 1], ids=["below", "at", "above"])
LIMIT = 5


@pytest.fixture
def guests():
    with contextlib.ExitStack() as stack:

        def make(gateway):
            made = Guests(gateway)
            stack.callback(lambda: [client.close() for client in made.clients])
            return made

        yield make


# Servers that refuse.


def test_another_server_is_taken_when_one_refuses(gateway, echoes):
    server, dead = echoes("good")[0], dead_target()
    one = gateway(relay(dead, server))
    assert [visit(one) for _ in range(10)] == ["good"] * 10
    assert upstreams(one)[dead]["connect_failures_total"] >= 1
    assert upstreams(one)[server.target]["connects_total"] == 10
    assert not one.closed("upstream_failed")


def test_a_server_that_has_failed_is_not_tried_first_again(gateway, echoes):
    server, dead = echoes("good")[0], dead_target()
    one = gateway(relay(dead, server))
    for _ in range(20):
        assert visit(one) == "good"
    assert upstreams(one)[dead]["connect_failures_total"] == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_client_is_closed_after_its_last_retry(gateway, retries):
    dead = [dead_target(), dead_target()]
    one = gateway(relay(*dead, retries=retries))
    with connect(one.address("relay")) as client:
        assert is_closed(client)
    one.wait_closed("upstream_failed", 1)
    failures = [item["connect_failures_total"] for item in upstreams(one).values()]
    assert sum(failures) == retries + 1
    assert max(failures) - min(failures) <= 1, "another one each time"
    one.wait_connections(0)


@OFFSETS
def test_retries_are_as_many_as_configured(gateway, echoes, offset):
    """With `retries` other servers before it that refuse, the good one is just reached."""
    server = echoes("good")[0]
    dead = [dead_target() for _ in range(2)]
    one = gateway(relay(*dead, server, retries=len(dead) - offset, balance="round_robin"))
    assert visit(one) == ("" if offset > 0 else "good")
    one.wait_closed("upstream_failed", 1 if offset > 0 else 0)
    assert sum(item["connect_failures_total"] for item in upstreams(one).values()) == 2


def test_a_server_that_does_not_answer_is_left_after_connect_timeout(gateway, echoes, full):
    silent, server = full(), echoes("good")[0]
    one = gateway(relay(silent, server, connect_timeout="200ms"))
    assert visit(one) == "good"
    assert upstreams(one)[silent.target]["connect_failures_total"] == 1
    assert upstreams(one)[silent.target]["connections"] == 0


def test_no_server_answers_in_time(gateway, full):
    silent = full()
    one = gateway(relay(silent, connect_timeout="100ms", retries=2))
    with connect(one.address("relay")) as client:
        assert is_closed(client)
    one.wait_closed("upstream_failed", 1)
    wait_upstream(one, silent, "connect_failures_total", 3)


def test_connect_timeout_changes_at_reload_for_connects_under_way(gateway, full):
    server = full()
    one = gateway(relay(server, connect_timeout="1h", retries=0))
    with connect(one.address("relay")) as client:
        wait_upstream(one, server, "connections", 1)
        wait_for(lambda: one.connection_of(client)["upstream"]["state"], "connecting")
        one.reload(listeners={"relay": {"upstream": {"connect_timeout": "100ms"}}})
        one.wait_closed("upstream_failed", 1)
        assert is_closed(client)


def test_a_unix_socket_with_a_full_backlog_is_left(gateway, echoes, full, tmp_path):
    silent, server = full(str(tmp_path / "full")), echoes("good")[0]
    one = gateway(relay(silent, server))
    assert visit(one) == "good"
    assert upstreams(one)[silent.target]["connect_failures_total"] == 1


def test_a_unix_socket_that_is_not_there_is_left(gateway, echoes, tmp_path):
    missing, server = f"unix:{tmp_path}/missing", echoes("good")[0]
    one = gateway(relay(missing, server))
    assert visit(one) == "good"
    assert upstreams(one)[missing]["connect_failures_total"] == 1


# max_connections.


@OFFSETS
def test_max_connections_is_exact(gateway, echoes, guests, offset):
    """Over two workers; who finds no room is refused."""
    servers = echoes("a", "b")
    one = gateway(relay(*servers, max_connections=LIMIT))
    crowd = guests(one)
    crowd.come(2 * LIMIT + offset)
    admitted = 2 * LIMIT + min(offset, 0)
    assert crowd.names.count("") == max(offset, 0)
    assert one.closed_counts() == ({"refused_upstream": 1} if offset > 0 else {})
    assert sum(server.connections for server in servers) == admitted
    assert max(server.connections for server in servers) == LIMIT
    assert sum(worker["connections"] for worker in one.workers()) == admitted


def test_a_place_is_free_when_its_client_has_gone(gateway, echoes, guests):
    one = gateway(relay(*echoes("a", "b"), max_connections=LIMIT))
    crowd = guests(one)
    crowd.come(2 * LIMIT)
    assert visit(one) == ""
    crowd.leave("b")
    one.wait_connections(LIMIT)
    assert crowd.come(LIMIT) == ["b"] * LIMIT
    assert visit(one) == ""


def test_who_waits_gets_the_place_that_becomes_free(gateway, echoes, guests):
    one = gateway(relay(*echoes("a"), max_connections=LIMIT, when_down="wait"))
    crowd = guests(one)
    crowd.come(LIMIT)
    with connect(one.address("relay")) as client:
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        crowd.clients.pop().close()
        client.settimeout(20)
        assert greeting(client) == "a"
    assert one.closed("refused_upstream") == 0


def test_max_connections_changes_at_reload(gateway, echoes, guests):
    one = gateway(relay(*echoes("a"), max_connections=2))
    crowd = guests(one)
    crowd.come(2)
    assert visit(one) == ""
    one.reload(listeners={"relay": {"upstream": {"max_connections": 3}}})
    assert crowd.come(1) == ["a"]
    assert visit(one) == ""
    one.reload(listeners={"relay": {"upstream": {"max_connections": 1}}})
    assert crowd.all_echo(), "who is there stays"
    assert visit(one) == ""


# Balance.


def test_least_connections_is_even(gateway, echoes, guests):
    one = gateway(relay(*echoes("a", "b", "c", "d")))
    crowd = guests(one)
    crowd.come(40)
    assert crowd.counts() == {"a": 10, "b": 10, "c": 10, "d": 10}
    crowd.leave("c")
    one.wait_connections(30)
    assert crowd.come(10) == ["c"] * 10


def test_round_robin_takes_each_in_turn(gateway, echoes, guests):
    one = gateway(relay(*echoes("a", "b", "c"), balance="round_robin"))
    crowd = guests(one)
    names = crowd.come(9)
    assert names == names[:3] * 3
    assert sorted(names[:3]) == ["a", "b", "c"]
    crowd.leave(names[1])  # which does not change whose turn it is
    one.wait_connections(6)
    assert crowd.come(6) == names[:6]


def test_source_always_gives_the_same_server(gateway, echoes):
    servers = echoes("a", "b", "c", "d")
    one = gateway(relay(*servers, balance="source"))
    sources = [f"127.1.0.{number}" for number in range(1, 41)]
    first = {source: visit(one, source) for source in sources}
    assert set(first.values()) == {"a", "b", "c", "d"}
    assert {source: visit(one, source) for source in sources} == first
    one.reload(listeners={"relay": {"upstream": {"servers": [s.target for s in servers[:3]]}}})
    after = {source: visit(one, source) for source in sources}
    assert "d" not in after.values()
    moved = [source for source in sources if after[source] != first[source]]
    assert all(first[source] == "d" for source in moved), "only those of the server that went"


# Health.


def test_a_server_that_stops_is_left_out_until_it_is_back(gateway, echoes):
    """No client notices: who comes before the checks have, is led to the other."""
    a, b = echoes("a", "b")
    one = gateway(relay(a, b, health=QUICK))
    assert {visit(one) for _ in range(4)} <= {"a", "b"}
    a.stop_listening()
    seen = []
    wait_for(lambda: (seen.append(visit(one)), upstreams(one)[a.target]["state"])[1], "down")
    assert "" not in seen
    assert upstreams(one)[a.target]["check_failures_total"] + (
        upstreams(one)[a.target]["connect_failures_total"]
    ) >= 2
    failures = upstreams(one)[a.target]["connect_failures_total"]
    assert [visit(one) for _ in range(10)] == ["b"] * 10
    assert upstreams(one)[a.target]["connect_failures_total"] == failures, "it is not tried"
    checks = upstreams(one)[a.target]["checks_total"]
    wait_upstream(one, a, "checks_total", lambda now: now > checks + 2)
    a.listen_again()
    wait_upstream(one, a, "state", "up")
    wait_for(lambda: visit(one), "a")
    assert one.closed("upstream_failed") == one.closed("refused_upstream") == 0
    one.wait_log(f"{a.target}.*down")
    one.wait_log(f"{a.target}.*up")


@pytest.mark.parametrize("fall", [1, 4])
def test_a_server_is_down_after_as_many_failures_as_configured(gateway, fall):
    dead = dead_target()
    one = gateway(relay(dead, health={**QUICK, "fall": fall}), wait=False)
    one.wait_answering()
    wait_upstream(one, dead, "state", "down")
    assert upstreams(one)[dead]["check_failures_total"] >= fall
    found = upstreams(one)[dead]["check_failures_total"]
    assert fall <= found <= fall + 3, "checks go on, but it was not down before"


def test_a_server_that_does_not_answer_checks_is_down(gateway, echoes, full):
    silent, server = full(), echoes("good")[0]
    one = gateway(relay(silent, server, health=QUICK))
    wait_upstream(one, silent, "state", "down")
    assert [visit(one) for _ in range(5)] == ["good"] * 5


def test_clients_that_fail_make_a_server_down_as_checks_do(gateway, echoes):
    a, b = echoes("a", "b")
    one = gateway(relay(a, b, health={"interval": "1h", "fall": 1}))
    a.stop_listening()
    assert {visit(one) for _ in range(3)} == {"b"}
    assert upstreams(one)[a.target]["state"] == "down"


def test_checks_disturb_no_client(gateway, echoes, guests):
    server = echoes("a")[0]
    one = gateway(relay(server, health=QUICK))
    crowd = guests(one)
    crowd.come(3)
    checks = upstreams(one)[server.target]["checks_total"]
    wait_upstream(one, server, "checks_total", lambda now: now > checks + 5)
    assert crowd.all_echo()
    assert upstreams(one)[server.target]["check_failures_total"] == 0
    assert upstreams(one)[server.target]["connects_total"] == 3, "checks are no clients"
    assert one.metric("connections_current") == 3


def test_clients_are_refused_while_all_are_down(gateway, echoes):
    server = echoes("a")[0]
    one = gateway(relay(server, health=QUICK))
    server.stop_listening()
    wait_upstream(one, server, "state", "down")
    for _ in range(3):
        with connect(one.address("relay")) as client:
            assert is_closed(client)
    one.wait_closed("refused_upstream", 3)
    assert one.metric("connections_refused_total") == 3
    server.listen_again()
    wait_upstream(one, server, "state", "up")
    assert visit(one) == "a"


def test_clients_wait_while_all_are_down(gateway, echoes):
    """In the backlog: those are not accepted, and so not counted."""
    server = echoes("a")[0]
    one = gateway(relay(server, health=QUICK, when_down="wait"))
    server.stop_listening()
    wait_upstream(one, server, "state", "down")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(one.address("relay"))) for _ in range(5)]
        checks = upstreams(one)[server.target]["checks_total"]
        wait_upstream(one, server, "checks_total", lambda now: now > checks)
        assert one.metric("connections_accepted_total") == 0
        server.listen_again()
        assert [greeting(client) for client in clients] == ["a"] * 5
    assert one.closed("refused_upstream") == one.closed("upstream_failed") == 0


def test_a_client_that_was_let_in_already_waits_inside(gateway, echoes):
    server = echoes("a")[0]
    one = gateway(relay(server, health={**QUICK, "fall": 1}, when_down="wait", retries=0))
    server.stop_listening()
    with connect(one.address("relay")) as client:
        client.sendall(b"patience")
        wait_upstream(one, server, "state", "down")
        server.listen_again()
        assert greeting(client) == "a"
        assert read_exactly(client, 8) == b"patience"
    assert one.closed("upstream_failed") == 0


def waiting(gateway, server):
    """A client that was let in, and for which there is no server any more."""
    server.stop_listening()
    client = connect(gateway.address("relay"))
    gateway.wait_connections(1)
    wait_upstream(gateway, server, "state", "down")
    return client


WAITING = {"health": {**QUICK, "fall": 1}, "when_down": "wait", "retries": 0}


@pytest.mark.parametrize("how", ["leaves", "killed", "drained", "late", "stop"])
def test_the_ends_of_a_client_that_waits_inside(gateway, echoes, how):
    server = echoes("a")[0]
    limits = {"first_byte_timeout": "1s"} if how == "late" else {}
    one = gateway(relay(server, limits=limits, **WAITING))
    with waiting(one, server) as client:
        if how == "leaves":
            reset(client)
        elif how == "killed":
            one.ok("DELETE", f"/connections/{one.connection_of(client)['id']}")
        elif how == "drained":
            one.ok("POST", "/drain", {"over": 0})
        elif how == "stop":
            one.stop()
            assert is_closed(client)
            return
        reason = {"leaves": "client_reset", "late": "first_byte_timeout"}.get(how, how)
        one.wait_closed(reason, 1)
        assert how == "leaves" or is_closed(client)
    one.wait_connections(0)
    assert one.closed_counts() == {reason: 1}
    assert upstreams(one)[server.target]["connections"] == 0


def test_a_client_that_waits_inside_gets_a_server_that_a_reload_adds(gateway, echoes):
    a, b = echoes("a", "b")
    one = gateway(relay(a, **WAITING))
    with waiting(one, a) as client:
        one.reload(listeners={"relay": {"upstream": {"servers": [b.target]}}})
        assert greeting(client) == "b"
    assert a.target not in upstreams(one)


def test_a_client_that_waits_inside_is_closed_when_none_is_to_wait_any_more(gateway, echoes):
    server = echoes("a")[0]
    one = gateway(relay(server, **WAITING))
    with waiting(one, server) as client:
        one.reload(listeners={"relay": {"upstream": {"when_down": "refuse"}}})
        assert is_closed(client)
    one.wait_connections(0)
    assert set(one.closed_counts()) <= {"upstream_failed", "refused_upstream"}


# Servers that go while clients are there.


def test_the_death_of_a_server_under_load(gateway, echoes):
    """Its clients are reset, the others' are undisturbed, and new ones go elsewhere."""
    a, b = echoes("a", "b")
    one = gateway(relay(a, b, health=QUICK))
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        clients = {"a": [], "b": []}
        for _ in range(100):
            client = stack.enter_context(connect(one.address("relay")))
            clients[greeting(client)].append(client)
        assert {name: len(found) for name, found in clients.items()} == {"a": 50, "b": 50}
        wrong, echoed = [], itertools.count()

        def talk():
            while not stop.is_set():
                for client in clients["b"]:
                    client.sendall(b"0123456789")
                    if read_exactly(client, 10) != b"0123456789":
                        wrong.append(client)
                    next(echoed)

        thread = threading.Thread(target=talk)
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        a.die()
        for client in clients["a"]:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        one.wait_closed("upstream_reset", 50)
        assert [visit(one) for _ in range(20)] == ["b"] * 20
        before = next(echoed)
        wait_for(lambda: next(echoed), lambda now: now > before + 200)
        stop.set()
        thread.join()
        assert not wrong
        assert one.closed("upstream_failed") == 0


def test_a_reload_changes_servers_while_traffic_flows(gateway, echoes, guests):
    a, b, c = echoes("a", "b", "c")
    one = gateway(relay(a, b))
    crowd = guests(one)
    crowd.come(10)
    one.reload(listeners={"relay": {"upstream": {"servers": [b.target, c.target]}}})
    assert crowd.all_echo(), "those of the server that was removed as well"
    assert upstreams(one)[a.target]["state"] == "gone"
    assert upstreams(one)[a.target]["connections"] == 5
    assert {visit(one) for _ in range(6)} <= {"b", "c"}
    assert crowd.come(10).count("a") == 0
    assert crowd.all_echo()
    crowd.leave("a")
    wait_for(lambda: a.target in upstreams(one), False, what="it is there")
    assert crowd.all_echo()
    one.reload(listeners={"relay": {"upstream": {"servers": [a.target, b.target, c.target]}}})
    assert crowd.come(5).count("a") == 5, "it is back, with the fewest"
    assert set(one.closed_counts()) <= {"client_closed"}


def test_a_server_that_comes_back_before_its_clients_have_gone_keeps_their_count(
    gateway, echoes, guests
):
    a, b = echoes("a", "b")
    one = gateway(relay(a, b))
    crowd = guests(one)
    crowd.come(10)
    one.reload(listeners={"relay": {"upstream": {"servers": [b.target]}}})
    one.reload(listeners={"relay": {"upstream": {"servers": [a.target, b.target]}}})
    assert [item["connections"] for item in upstreams(one).values()] == [5, 5]
    assert sorted(crowd.come(2)) == ["a", "b"]


def test_a_worker_that_dies_takes_its_pairs_with_it(gateway, echoes, guests):
    server = echoes("a")[0]
    one = gateway(relay(server, max_connections=20))
    crowd = guests(one)
    crowd.come(20)
    victim = one.workers()[0]
    os.kill(victim["pid"], 9)
    one.wait_closed("worker_lost", 10)
    one.wait_connections(10)
    server.wait_connections(10)
    assert upstreams(one)[server.target]["connections"] == 10
    wait_for(lambda: len(one.workers()) == 2 and all(w["pid"] for w in one.workers()), True)
    assert crowd.come(10) == ["a"] * 10
    assert visit(one) == ""
