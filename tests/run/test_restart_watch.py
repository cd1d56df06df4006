"""What is watched of connections goes on in the next process, or is begun anew there."""

import array
import os
import re
import select
import socket
import struct

import pytest

from clients import connect, is_closed
from gateway import wait_for
from parkfile import Parkfile, memory_file, stored_bytes
from restarts import check_echo, config
from servers import relay

FIRST = struct.Struct("<I")
POLLSET = 2**32 - 1  # as FIRST
OWN = 16  # numbers below are a worker's own
FDS_MAX = 253
ITEM = re.compile(r"tfd:\s*(\d+) events:\s*(\w+) data:\s*(\w+)")


def watched(pid):
    """By descriptor: (events, data) of connections in the worker's set, as /proc shows them. Beside
    them there is the channel to the supervisor."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:[eventpoll]":
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
                items = {int(tfd): (events, data) for tfd, events, data in ITEM.findall(file.read())}
            (own,) = [number for number in items if number < OWN]
            del items[own]
            return items
    raise AssertionError(f"process {pid} has no set")


def all_watched(gateway):
    return [watched(pid) for pid in gateway.worker_pids()]


def generations(watched_by_worker):
    return {int(data, 16) >> 32 for items in watched_by_worker for _, data in items.values()}


def numbers(pid):
    return sorted(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))


def connect_all(gateway, address, count, more=0):
    clients = [connect(address) for _ in range(count)]
    gateway.wait_connections(count + more)
    return clients


def leave(gateway, clients, keep):
    """Some close, here and there; those who stay."""
    for i, client in enumerate(clients):
        if not keep(i):
            client.close()
    clients = [client for i, client in enumerate(clients) if keep(i)]
    gateway.wait_connections(len(clients))
    return clients


def churned(keeper, count=60, workers=2, keep=lambda i: i % 3):
    """Connections under numbers that have been others' before, and numbers that nobody has."""
    one = keeper("echo")
    gateway = one.start(config(workers))
    for client in connect_all(gateway, one.addresses["echo"], count):
        client.close()
    gateway.wait_connections(0)
    clients = connect_all(gateway, one.addresses["echo"], count)
    clients = leave(gateway, clients, keep)
    for client in clients:
        check_echo(client)
    return one, gateway, clients


# Berths, taken apart and put together again.


def receive_all(fd):
    """The messages of a berth: (first record, descriptors)."""
    messages = []
    with socket.socket(fileno=os.dup(fd)) as berth:
        berth.setblocking(False)
        while True:
            try:
                data, control, _, _ = berth.recvmsg(64, socket.CMSG_SPACE(FDS_MAX * 4))
            except (BlockingIOError, ConnectionResetError):
                return messages
            if not data:
                return messages
            fds = array.array("i")
            for _, _, content in control:
                fds.frombytes(content)
            messages.append((FIRST.unpack(data)[0], list(fds)))


def rebuild(keeper, change, writer=0):
    """What `change` makes of the messages of a worker's only berth is in a new one."""
    with keeper.lock:
        names = [name for name, _ in keeper.store if re.fullmatch(rf"park/\d+/{writer}/1", name)]
        berth = next(fd for name, fd in keeper.store if name == names[0])
    messages = change(receive_all(berth))
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        for first, fds in messages:
            socket.send_fds(near, [FIRST.pack(first)], fds)
        keeper.replace(names[0], os.dup(far.fileno()))
    for _, fds in messages:
        for fd in fds:
            os.close(fd)


def change_records(keeper, change, writer=0):
    name = next(n for n in keeper.parked() if re.fullmatch(rf"park/\d+/{writer}/state", n))
    state = Parkfile(stored_bytes(keeper, name))
    change(state.records)
    keeper.replace(name, memory_file(state.pack()))


def check_all(one, gateway, clients):
    """They are served, each is watched once, and newcomers and leavers are as ever."""
    for client in clients:
        check_echo(client)
    assert sum(map(len, all_watched(gateway))) == len(clients)
    more = connect_all(gateway, one.addresses["echo"], 5, len(clients))
    for client in more:
        check_echo(client)
    for client in [*more, *clients]:
        client.close()
    gateway.wait_connections(0)
    assert all_watched(gateway) == [{}] * len(gateway.worker_pids())
    for pid in gateway.worker_pids():
        assert max(numbers(pid)) < OWN, "nothing is left open"


def check_goes_on(one, gateway, clients):
    before = all_watched(gateway)
    assert generations(before) != {0}, "those that are watched anew have it"
    for _ in range(3):
        one.restart()
        assert all_watched(gateway) == before
        for client in clients:
            check_echo(client)


def test_the_set_goes_on(keeper):
    one, gateway, clients = churned(keeper)
    check_goes_on(one, gateway, clients)
    check_all(one, gateway, clients)


def test_the_set_goes_on_in_place(keeper):
    one, gateway, clients = churned(keeper)
    before = all_watched(gateway)
    gateway.ok("POST", "/upgrade")
    gateway.wait_metric("connections_restored_total", len(clients))
    gateway.wait_healthy()
    assert all_watched(gateway) == before
    check_all(one, gateway, clients)


def test_many_restarts_while_clients_come_and_go(keeper):
    one, gateway, clients = churned(keeper, 300)
    for i in range(6):
        one.restart()
        clients += connect_all(gateway, one.addresses["echo"], 50, len(clients))
        clients = leave(gateway, clients, lambda n: (n + i) % 4)
        for client in clients:
            check_echo(client)
        assert sum(map(len, all_watched(gateway))) == len(clients)
    check_all(one, gateway, clients)


def test_other_worker_counts_watch_anew(keeper):
    one, gateway, clients = churned(keeper)
    for workers in 3, 1, 2:
        gateway.config["workers"] = workers
        one.restart()
        assert generations(all_watched(gateway)) == {0}
        assert sum(map(len, all_watched(gateway))) == len(clients)
    check_all(one, gateway, clients)


def test_few_of_many_are_watched_anew(keeper):
    """To take all the numbers between them would be more work."""
    one, gateway, clients = churned(keeper, 300, workers=1, keep=lambda i: i > 295)
    one.restart()
    assert generations(all_watched(gateway)) == {0}
    check_all(one, gateway, clients)


def test_a_slow_reader_goes_on(keeper):
    """It is watched for room to write; the client gets every byte."""
    one = keeper("echo")
    gateway = one.start(config(1))
    client = connect(one.addresses["echo"], receive_buffer=4096)
    client.setblocking(False)
    sent = 0
    for _ in range(10000):
        try:
            sent += client.send(bytes(65536))
        except BlockingIOError:
            if gateway.metric("queued_bytes_current"):
                break
            select.select([], [client], [], 0.05)
    before = all_watched(gateway)
    one.restart()
    assert [set(items) for items in all_watched(gateway)] == [set(items) for items in before]
    client.setblocking(True)
    client.shutdown(socket.SHUT_WR)
    received = 0
    while data := client.recv(1 << 20):
        received += len(data)
    assert received == sent


def test_a_client_that_left_meanwhile(keeper):
    one, gateway, clients = churned(keeper, 30)
    one.end()
    clients[3].close()
    clients[7].close()
    one.start()
    gateway.wait_connections(len(clients) - 2)
    check_all(one, gateway, clients[:3] + clients[4:7] + clients[8:])


def test_a_message_that_is_missing(keeper):
    """Those behind it get other numbers, and are watched anew."""
    one, gateway, clients = churned(keeper, 280, workers=1, keep=lambda i: True)
    one.end()

    def change(messages):
        assert [len(fds) for _, fds in messages] == [1, FDS_MAX, 280 - FDS_MAX]
        for fd in messages[1][1]:
            os.close(fd)
        return [messages[0], messages[2]]

    rebuild(one, change)
    one.start()
    gateway.wait_closed("park_failed", FDS_MAX)
    assert "253 parked connections were not passed on" in gateway.log()
    open_clients = [client for client in clients if not is_closed(client, 0.01)]
    assert len(open_clients) == 280 - FDS_MAX
    assert generations(all_watched(gateway)) == {0}
    check_all(one, gateway, open_clients)


def test_a_set_that_tells_of_others(keeper):
    """It would tell of them for ever."""
    one, gateway, clients = churned(keeper, 30, workers=1)
    one.end()
    mine, other = socket.socketpair()
    other.send(b"ready to be read")

    def change(messages):
        with select.epoll.fromfd(os.dup(messages[0][1][0])) as epoll:
            epoll.register(mine, select.EPOLLIN)
        return messages

    rebuild(one, change)
    one.start()
    gateway.wait_log("the set of watched descriptors of the process before tells of others")
    check_all(one, gateway, clients)
    mine.close()
    other.close()


def open_set():
    with select.epoll() as epoll:
        return os.dup(epoll.fileno())


def open_null():
    return os.open("/dev/null", os.O_RDONLY)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda messages: messages[1:], id="none"),
        pytest.param(lambda messages: [*messages[1:], messages[0]], id="late"),
        pytest.param(lambda messages: [(POLLSET, [open_null()]), *messages[1:]], id="no set"),
        pytest.param(
            lambda messages: [(POLLSET, [open_set()]), *messages[1:]],
            id="an empty one",
        ),
        pytest.param(
            lambda messages: [(POLLSET, [open_set()]), *messages],
            id="two",
        ),
        pytest.param(
            lambda messages: [(POLLSET, [open_null(), *messages[0][1]]), *messages[1:]],
            id="something else first",
        ),
    ],
)
def test_a_set_that_is_none(keeper, change):
    one, gateway, clients = churned(keeper, 30, workers=1)
    one.end()
    rebuild(one, change)
    one.start()
    check_all(one, gateway, clients)


def update(**fields):
    return lambda records: [record.update(fields) for record in records[:1]]


def swap_numbers(records):
    records[0]["fd"], records[1]["fd"] = records[1]["fd"], records[0]["fd"]


@pytest.mark.parametrize(
    "change",
    [
        update(fd=3),
        update(fd=OWN - 1),
        update(fd=2**32 - 1),
        update(watched=0),
        update(watched=select.EPOLLOUT),
        update(generation=12345),
        lambda records: records[1].update(generation=12345),
        swap_numbers,
        lambda records: [record.update(fd=record["fd"] + 1) for record in records],
        lambda records: records[-1].update(fd=19999),
    ],
)
def test_numbers_and_events_that_are_not_so(keeper, change):
    one, gateway, clients = churned(keeper, 30, workers=1)
    one.end()
    change_records(one, change)
    one.start()
    assert gateway.metric("connections_restored_total") == len(clients)
    check_all(one, gateway, clients)


# Relayed pairs, whose numbers do not come in their order.


def paired(keeper, server, count=60, **options):
    """As churned(), behind a relay with one worker."""
    one = keeper("relay")
    gateway = one.start(relay(server, workers=1), **options)
    for client in connect_all(gateway, one.addresses["relay"], count):
        client.close()
    gateway.wait_connections(0)
    clients = connect_all(gateway, one.addresses["relay"], count)
    for client in clients:
        check_echo(client)  # its server is there
    clients = leave(gateway, clients, lambda i: i % 3)
    clients += connect_all(gateway, one.addresses["relay"], count // 6, len(clients))
    for client in clients:
        check_echo(client)
    return one, gateway, clients


def check_all_pairs(gateway, clients):
    for client in clients:
        check_echo(client)
    (items,) = all_watched(gateway)
    assert len(items) == 2 * len(clients)
    for client in clients:
        client.close()
    gateway.wait_connections(0)
    wait_for(lambda: all_watched(gateway), [{}])
    (pid,) = gateway.worker_pids()
    assert max(numbers(pid)) < OWN, "nothing is left open"


def test_the_set_of_pairs_goes_on(keeper, echoes):
    one, gateway, clients = paired(keeper, echoes())
    check_goes_on(one, gateway, clients)
    check_all_pairs(gateway, clients)


def test_a_message_of_pairs_that_is_missing(keeper, echoes):
    one, gateway, clients = paired(keeper, echoes(), 300)
    one.end()
    lost = []

    def change(messages):
        lost.extend(messages[1][1])
        for fd in lost:
            os.close(fd)
        return [messages[0], *messages[2:]]

    rebuild(one, change)
    one.start()
    assert len(lost) == 252, "as many pairs as fit"
    gateway.wait_closed("park_failed", len(lost) // 2)
    open_clients = [client for client in clients if not is_closed(client, 0.01)]
    assert len(open_clients) == len(clients) - len(lost) // 2
    assert generations(all_watched(gateway)) != {0}, "each has its own number all the same"
    check_all_pairs(gateway, open_clients)


def test_no_room_to_move_pairs(keeper, echoes):
    """Beside them and their numbers a message's descriptors must fit."""
    one, gateway, clients = paired(keeper, echoes(), 60, nofile=160)
    one.end()
    one.start(nofile=160)
    assert generations(all_watched(gateway)) == {0}
    check_all_pairs(gateway, clients)
