"""State that no gateway would write, in files that are sound: it is trusted no more than a client."""

import struct

import pytest

from clients import connect, is_closed
from gateway import wait_for
from parkfile import CLOSING, HANDSHAKE, Parkfile, memory_file, stored_bytes
from restarts import check_echo, config
from ws_client import FIN, PING, TEXT, WebSocket

STATE = "park/1/0/state"


def change(one, how):
    """Lets how(parkfile, record) change what was parked of each connection of the first worker."""
    parkfile = Parkfile(stored_bytes(one, STATE))
    for record in parkfile.records:
        how(parkfile, record)
    one.replace(STATE, memory_file(parkfile.pack()))


def check_lost(one, gateway, clients, reason):
    """Who was parked so is closed, nobody else is, and no process has died of it."""
    for client in clients:
        assert is_closed(client)
    gateway.wait_closed(reason, len(clients))
    assert set(gateway.closed_counts()) == {reason}
    check_echo(connect(one.addresses["echo"]))
    assert gateway.metric("worker_restarts_total") == 0
    assert len(gateway.worker_pids()) == 2


def update(**fields):
    return lambda parkfile, record: record.update(fields)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (update(state=77), "park_failed"),
        (update(state=HANDSHAKE), "park_failed"),
        (update(family=9), "park_failed"),
        (update(out_bytes=1), "park_failed"),
        (update(in_bytes=2**32 - 1), "park_failed"),
        (update(waiting=2**64 - 1, out_bytes=1), "park_failed"),
        (update(id=0), "park_failed"),
        (update(id=2**24), "park_failed"),
        (update(id=2**64 - 1), "park_failed"),
        (update(cookie=0), "park_failed"),
        (update(listener=255), "listener_removed"),
        (update(proto=bytes(16)), "listener_removed"),
        (update(proto=b"\xff" * 16), "listener_removed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_record_that_is_nonsense(keeper, how, reason):
    one = keeper("echo")
    gateway = one.start(config(2))
    clients = [connect(one.addresses["echo"]) for _ in range(4)]
    wait_for(lambda: [c["state"] for c in gateway.connections()], ["open"] * 4)
    mine = [c["peer"] for c in gateway.connections() if c["worker"] == 0]
    one.end()
    change(one, how)
    one.start()
    lost = [client for client in clients if "%s:%d" % client.getsockname() in mine]
    assert len(lost) == 2
    check_lost(one, gateway, lost, reason)
    for client in clients:
        if client not in lost:
            check_echo(client)


# All flags at once make it a server's connection, and there is no client that it belongs to.
@pytest.mark.parametrize(("flags", "reason"), [(31, "shutdown"), (255, "park_failed")])
def test_a_reason_to_close_that_nobody_knows(keeper, flags, reason):
    one = keeper("echo", "web")
    web = {"protocol": "websocket", "websocket": {"close_timeout": "200ms"}}
    gateway = one.start(config(2, web=web, echo={"service": "echo"}))
    client = WebSocket(one.addresses["web"]).sock
    gateway.wait_connections(1)
    one.end()
    change(one, update(state=CLOSING, reason=255, flags=flags))
    one.start()
    check_lost(one, gateway, [client], reason)


def test_two_records_of_one_id(keeper):
    one = keeper("echo")
    gateway = one.start(config(2))
    clients = [connect(one.addresses["echo"]) for _ in range(4)]
    gateway.wait_connections(4)
    one.end()
    parkfile = Parkfile(stored_bytes(one, STATE))
    parkfile.records[1]["id"] = parkfile.records[0]["id"]
    one.replace(STATE, memory_file(parkfile.pack()))
    one.start()
    assert gateway.metric("connections_current") == 3
    assert gateway.closed_counts() == {"park_failed": 1}
    assert sum(not is_closed(client, 0.3) for client in clients) == 3


def reader(head, **fields):
    """struct ws_reader, in which so much of a head is there."""
    values = {"left": 0, "message_bytes": 0, "in_payload": 0, "message": 0, "control": 0, **fields}
    return struct.pack(
        "<QQ4sBBBBBB14s125sB2x",
        *(values["left"], values["message_bytes"], b"", values["in_payload"], values["message"]),
        *(0, 0, len(head), values["control"], head, b"", 0),
    )


INPUTS = {
    "line": {"a line": b"whole\nand half"},
    "length32": {"a message": b"\0\0\0\x04whole", "an empty one": b"\0\0\0\0"},
    "websocket": {
        "half a reader": bytes(100),
        "a long ping": reader(bytes([FIN | PING, 0xFE])),
        "a ping after its end": reader(bytes([FIN | PING, 0xFD]), left=125, in_payload=1, control=1),
        "more than the message": reader(
            bytes([FIN | TEXT, 0xFE]), left=2**63, message_bytes=200, in_payload=1, message=TEXT
        ),
        "of no message": reader(bytes([FIN | TEXT, 0xFE]), left=9, message_bytes=9, in_payload=1),
    },
}


@pytest.mark.parametrize(
    ("kind", "data"),
    [(kind, data) for kind, inputs in INPUTS.items() for data in inputs.values()],
    ids=[f"{kind}: {name}" for kind, inputs in INPUTS.items() for name in inputs],
)
def test_input_that_is_nonsense(keeper, kind, data):
    settings = {"protocol": kind} if kind == "websocket" else {"framing": kind}
    one = keeper("echo", "it")
    gateway = one.start(config(2, it={"service": "echo", **settings}, echo={"service": "echo"}))
    if kind == "websocket":
        client = WebSocket(one.addresses["it"]).sock
    else:
        client = connect(one.addresses["it"])
    gateway.wait_connections(1)
    one.end()
    change(one, lambda parkfile, record: parkfile.keep_input(record, data))
    client.sendall(b"\x37\xfa\x21\x3d" * 1000)
    one.start()
    check_lost(one, gateway, [client], "park_failed")
