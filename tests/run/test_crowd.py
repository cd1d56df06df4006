"""Ten thousand clients: evenly over the workers, with even heartbeats, listed page by page."""

import collections
import statistics

import pytest

from clients import Crowd, reset
from gateway import stopped, wait_for

COUNT = 10000
BURST = 1000
CROWD_TIMEOUT = 30


def by_worker(gateway):
    return [worker["connections"] for worker in gateway.workers()]


def add_in_bursts(gateway, crowd, count):
    """Were they to come one by one, a machine that is busy would not get them to a worker as fast
    as the next comes: who has room is chosen before who has fewer."""
    for _ in range(count // BURST):
        before = gateway.metric("connections_accepted_total")
        with stopped(gateway.pid):
            crowd.add(BURST)
        gateway.wait_metric("connections_accepted_total", before + BURST, CROWD_TIMEOUT)


def check_even(gateway, count):
    loads = wait_for(lambda: by_worker(gateway), lambda found: sum(found) == count, CROWD_TIMEOUT)
    assert max(loads) - min(loads) <= 1, loads
    listed = collections.Counter(item["worker"] for item in gateway.connections())
    assert [listed[number] for number in range(len(loads))] == loads


@pytest.mark.alone
def test_hand_over_is_fair(gateway):
    one = gateway({"workers": 4, "listeners": {"hold": {}, "other": {}}})
    with Crowd(one.address()) as crowd, Crowd(one.address("other")) as others:
        add_in_bursts(one, crowd, COUNT)
        check_even(one, COUNT)
        assert one.closed_counts() == {}
        # Those of one worker leave: who comes next goes there.
        leaving = {
            item["peer"] for item in one.get("/connections?worker=2&limit=1000")["connections"]
        }
        gone = [client for client in crowd.clients if client.peer in leaving]
        assert len(gone) == 1000
        crowd.leave(gone, reset)
        one.wait_connections(COUNT - 1000)
        add_in_bursts(one, others, 1000)
        check_even(one, COUNT)
        assert len(one.connections("worker=2&listener=other&limit=1000")) == 1000


@pytest.mark.alone
def test_heartbeats_are_an_even_stream(gateway):
    interval, rounds, buckets = 2.0, 3, 10
    heartbeat = {"interval": interval, "payload": "beat\n"}
    one = gateway({"workers": 4, "listeners": {"hold": {"heartbeat": heartbeat}}})
    with Crowd(one.address(), COUNT) as crowd:
        one.wait_connections(COUNT, CROWD_TIMEOUT)
        crowd.pump_for(0.2)
        for client in crowd.clients:
            client.arrivals.clear()
            client.received = 0
        crowd.pump_for(interval * rounds + 0.3)
        arrivals = sorted(moment for client in crowd.clients for moment in client.arrivals)
        start = arrivals[0]
        in_time = [moment for moment in arrivals if moment < start + interval * rounds]
        assert len(in_time) == pytest.approx(COUNT * rounds, rel=0.02), "the rate"

        histogram = collections.Counter(
            int((moment - start) % interval / interval * buckets) for moment in in_time
        )
        expected = COUNT * rounds / buckets
        assert len(histogram) == buckets
        assert all(0.8 * expected < n < 1.2 * expected for n in histogram.values()), histogram

        for client in crowd.clients:
            assert client.received == len("beat\n") * len(client.arrivals), "one at a time"
        gaps = [
            later - earlier
            for client in crowd.clients
            for earlier, later in zip(client.arrivals, client.arrivals[1:])
        ]
        assert len(gaps) >= COUNT * (rounds - 1)
        assert statistics.median(gaps) == pytest.approx(interval, abs=0.05)
        assert interval - 0.5 < min(gaps) and max(gaps) < interval + 0.5
        assert crowd.closed_count == 0

        def bytes_for_each():
            metrics = one.stats()["metrics"]
            return metrics["bytes_sent_total"] / metrics["heartbeats_sent_total"]

        wait_for(bytes_for_each, len("beat\n"))


def test_pages_have_each_connection_once(gateway):
    one = gateway({"workers": 4, "listeners": {"hold": {}}})
    with Crowd(one.address(), COUNT) as crowd:
        one.wait_connections(COUNT, CROWD_TIMEOUT)
        for limit in (1000, 333):
            peers = [item["peer"] for item in one.connections(f"limit={limit}")]
            assert len(set(peers)) == len(peers) == COUNT
            assert set(peers) == {client.peer for client in crowd.clients}
        assert len(one.get("/connections")["connections"]) == 100


def test_pages_while_clients_come_and_go(gateway):
    """Who is there all the while is listed once; nobody is listed twice."""
    one = gateway({"workers": 4, "listeners": {"hold": {}}})
    with Crowd(one.address(), COUNT) as crowd:
        one.wait_connections(COUNT, CROWD_TIMEOUT)
        stay = crowd.clients[::2]
        leave = [client for client in crowd.clients if client not in set(stay)]
        peers, ids, after = [], [], 0
        while after is not None:
            page = one.get(f"/connections?limit=500&after={after}")
            peers += [item["peer"] for item in page["connections"]]
            ids += [item["id"] for item in page["connections"]]
            after = page["next"]
            crowd.leave([leave.pop() for _ in range(min(150, len(leave)))], reset)
            if len(crowd) < COUNT:
                crowd.add(100)
        assert len(set(ids)) == len(ids)
        assert {client.peer for client in stay} <= set(peers)
