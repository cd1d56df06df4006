"""The admin interface and clients that do not behave: none of them harms anybody else."""

import contextlib
import http.client
import json
import os
import random
import re
import socket
import threading
import time

import pytest

from clients import Crowd, connect, read_exactly, source_addresses
from gateway import UnixHTTPConnection, wait_for

HEAD_MAX = 8192
BODY_MAX = 65536
TIMEOUT = 10  # seconds that the daemon gives its admin clients
SERVED_AT_ONCE = 64
HEALTH = b"GET /health HTTP/1.1\r\n\r\n"


def config(**more):
    return {"workers": 2, "listeners": {"hold": {}, "echo": {"service": "echo"}}, **more}


@pytest.fixture
def one(gateway):
    return gateway(config())


def admin_client(gateway, *pieces):
    """A raw connection to the admin socket that has sent so much."""
    client = connect(str(gateway.admin_socket))
    for piece in pieces:
        client.sendall(piece)
    return client


def answer_of(client):
    """Status, headers and body of the next answer."""
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.status, response.headers, response.read()


def exchange(gateway, *pieces):
    """The answer to these bytes; whether the connection ends after it."""
    with admin_client(gateway, *pieces) as client:
        status, headers, body = answer_of(client)
        assert body
        return status, headers.get("Connection") == "close"


def check_echo(client, data=b"are you well?"):
    """A client of the gateway that notices nothing."""
    client.sendall(data)
    assert read_exactly(client, len(data)) == data


# Malformed requests.

MALFORMED = [
    b"\r\n\r\n \r\n\r\n",
    b"GET /health\r\n\r\n",
    b"GET  HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/9.1\r\n\r\n",
    b"GET /health SMTP/1.1\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nno colon\r\n\r\n",
    b"POST /drain HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /drain HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    bytes(range(256)) + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", MALFORMED)
def test_malformed_requests(one, request_bytes):
    assert exchange(one, request_bytes) == (400, True)
    assert one.health() == (200, "ok")


@pytest.mark.parametrize("method", [b"BREW", b"TRACE", b"get", b"\xff\xfe"])
def test_methods_that_do_not_exist(one, method):
    assert exchange(one, method + b" /health HTTP/1.1\r\n\r\n") == (501, True)


def test_bytes_one_by_one(one):
    with admin_client(one, *(bytes([byte]) for byte in HEALTH)) as client:
        assert answer_of(client)[0] == 200


def test_garbage(one):
    generator = random.Random(1)
    with connect(one.address("echo")) as other:
        for length in [1, 10, 100, 1000, 10000, 100000] * 8:
            with admin_client(one) as client, contextlib.suppress(OSError):
                client.sendall(generator.randbytes(length))
            check_echo(other)
    assert one.health() == (200, "ok")


def test_requests_with_a_byte_changed(one):
    """Whatever it makes of them, it answers the next one."""
    generator = random.Random(2)
    good = b'POST /drain?x=1 HTTP/1.1\r\nContent-Length: 13\r\nHost: y\r\n\r\n{"over": "x"}'
    for _ in range(300):
        bad = bytearray(good)
        bad[generator.randrange(len(bad))] = generator.randrange(256)
        with admin_client(one, bytes(bad)) as client:
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                client.recv(65536)
    assert one.health() == (200, "ok")
    assert not one.stats()["draining"]


# Too much.


def head_of(length):
    """A request whose head, line ends left out, has so many bytes."""
    lines = [b"GET /health HTTP/1.1", b"X: "]
    lines[1] += b"x" * (length - sum(map(len, lines)))
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_huge_heads(one):
    assert exchange(one, head_of(HEAD_MAX - 100)) == (200, False)
    assert exchange(one, head_of(HEAD_MAX + 100)) == (400, True)
    assert exchange(one, b"GET /" + b"x" * HEAD_MAX + b" HTTP/1.1\r\n\r\n") == (400, True)
    many = b"X-Header: some text\r\n" * 500
    assert exchange(one, b"GET /health HTTP/1.1\r\n" + many + b"\r\n") == (400, True)


def test_head_without_end(one):
    with admin_client(one, b"x" * (HEAD_MAX + 1)) as client:
        assert answer_of(client)[0] == 400


def post(length):
    head = b"POST /drain HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % length
    return head + b'{"ovr":1}'.ljust(length)


def test_huge_bodies(one):
    assert exchange(one, post(BODY_MAX)) == (400, False), "unknown key, but not too long"
    assert exchange(one, post(BODY_MAX + 1)) == (413, True)
    announced = b"POST /drain HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
    for length in (BODY_MAX + 1, 2**31, 2**32, 2**63, 10**30):
        assert exchange(one, announced % length) == (413, True), "it does not wait for it"
    expecting = b"POST /drain HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n"
    assert exchange(one, expecting) == (413, True)


def chunked(*chunks):
    head = b"POST /drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])


def test_huge_bodies_in_chunks(one):
    assert exchange(one, chunked(b'{"o', b'vr":1}')) == (400, False)
    assert exchange(one, chunked(*[b" " * 30000] * 3)) == (413, True)
    assert exchange(one, chunked(b" " * 70000)) == (413, True)
    endless = chunked()[:-5] + b"7fffffffffffffff\r\n"
    assert exchange(one, endless) == (413, True)


# Several requests on a connection.


def test_keep_alive(one):
    with admin_client(one) as client:
        for number in range(50):
            client.sendall(HEALTH)
            assert answer_of(client)[0] == 200
            client.sendall(b"GET /nothing/%d HTTP/1.1\r\n\r\n" % number)
            assert answer_of(client)[0] == 404
        assert one.metric("admin_requests_total") >= 100


def test_connection_close(one):
    with admin_client(one, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n") as client:
        assert answer_of(client)[0] == 200
        assert client.recv(1) == b""
    with admin_client(one, b"GET /health HTTP/1.0\r\n\r\n") as client:
        assert answer_of(client)[0] == 200
        assert client.recv(1) == b""


def test_pipelined_requests(one):
    with Crowd(one.address(), 5):
        one.wait_connections(5)
        requests = [HEALTH, b"GET /connections?limit=3 HTTP/1.1\r\n\r\n"] * 20
        requests += [b"GET /stats HTTP/1.1\r\n\r\n", b"GET /nothing HTTP/1.1\r\n\r\n"]
        with admin_client(one, b"".join(requests)) as client:
            reader = client.makefile("rb")
            for _ in range(20):
                assert next_json(reader)["status"] == "ok"
                assert len(next_json(reader)["connections"]) == 3
            assert next_json(reader)["pid"] == one.pid
            assert "there is no" in next_json(reader)["error"]


def next_json(reader):
    """The JSON of one of several answers that come at once."""
    head = b"".join(iter(reader.readline, b"\r\n")).decode()
    assert head.startswith("HTTP/1.1 "), "what came before has ended"
    length = int(re.search(r"Content-Length: (\d+)", head)[1])
    return json.loads(reader.read(length))


def test_answers_to_head_have_no_body(one):
    with admin_client(one, b"HEAD /health HTTP/1.1\r\n\r\n" + HEALTH) as client:
        reader = client.makefile("rb")
        assert b"405" in reader.readline()
        assert b"Allow: GET\r\n" in list(iter(reader.readline, b"\r\n"))
        assert next_json(reader)["status"] == "ok"


def test_body_is_not_taken_for_a_request(one):
    with Crowd(one.address(), 1) as crowd:
        one.wait_connections(1)
        inner = b"DELETE /connections?source=0.0.0.0/0 HTTP/1.1\r\n\r\n"
        outer = b"GET /health HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(inner)
        with admin_client(one, outer + inner) as client:
            assert answer_of(client)[0] == 400
        one.wait_metric("admin_clients_current", 1)
        assert one.closed("killed") == 0 and crowd.clients[0].is_open


# Many clients.


def ask(gateway, found):
    connection = UnixHTTPConnection(gateway.admin_socket, 30)
    with contextlib.closing(connection):
        connection.request("GET", "/stats", headers={"Connection": "close"})
        found.append(connection.getresponse().status)


def test_more_clients_than_are_served_at_once(one):
    found = []
    clients = [threading.Thread(target=ask, args=(one, found)) for _ in range(150)]
    with connect(one.address("echo")) as other:
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(admin_client(one)) for _ in range(SERVED_AT_ONCE)]
            with pytest.raises(TimeoutError):
                one.request("GET", "/health", timeout=0.3)
            for thread in clients:
                thread.start()
            check_echo(other)
            assert found == []
            idle[0].sendall(HEALTH)
            assert answer_of(idle[0])[0] == 200, "those who came in time are served"
            check_echo(other)
        for thread in clients:
            thread.join()
        check_echo(other)
    assert found == [200] * 150
    one.wait_metric("admin_clients_current", 1)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_clients_that_do_not_wait_for_the_answer(one):
    with Crowd(one.address(), 3000), connect(one.address("echo")) as other:
        one.wait_connections(3001)
        before = descriptors(one.pid)
        for path in (b"/connections?limit=1000", b"/connections?source=127.1.0.0/16", b"/stats"):
            for _ in range(40):
                admin_client(one, b"GET %s HTTP/1.1\r\n\r\n" % path).close()
                check_echo(other)
        wait_for(lambda: one.admin("GET", "/connections")[0], 200)
        wait_for(lambda: descriptors(one.pid), lambda count: count <= before)
        assert len(one.connections()) == 3001
        assert one.metric("connections_current") == 3001


def test_too_many_questions_about_connections(one):
    """Those that cannot be asked at once are told so; the others get their answer."""
    with Crowd(one.address(), 2000):
        one.wait_connections(2000)
        question = b"GET /connections?limit=1000 HTTP/1.1\r\n\r\n"
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(admin_client(one, question)) for _ in range(50)]
            found = [answer_of(client)[0] for client in clients]
        assert set(found) <= {200, 503} and found.count(200) >= 16
        assert len(one.connections()) == 2000


def test_gateway_is_stopped_while_clients_wait(one):
    with Crowd(one.address(), 2000), contextlib.ExitStack() as stack:
        one.wait_connections(2000)
        question = b"GET /connections?limit=1000 HTTP/1.1\r\n\r\n"
        for _ in range(10):
            stack.enter_context(admin_client(one, question))
        stack.enter_context(admin_client(one, b"GET /he"))
        one.stop()


# Slow clients.


@pytest.fixture
def crowded(gateway):
    """A gateway with a long answer to GET /connections."""
    sources = source_addresses()
    one = gateway(config())
    with Crowd(one.address(), 1000, sources):
        one.wait_connections(1000)
        yield one


def long_request(gateway, timeout):
    client = admin_client(gateway, b"GET /connections?limit=1000 HTTP/1.1\r\n\r\n")
    client.settimeout(timeout)
    return client


def test_slow_but_steady_reader_gets_all(crowded):
    with long_request(crowded, 5) as client:
        reader = client.makefile("rb", buffering=4096)
        head = b"".join(iter(reader.readline, b"\r\n")).decode()
        left = int(re.search(r"Content-Length: (\d+)", head)[1])
        assert left > 250000
        text = b""
        while len(text) < left:
            text += reader.read(min(4096, left - len(text)))
            time.sleep(0.005)
        assert len(json.loads(text)["connections"]) == 1000


def seconds_until_closed(clients, started):
    """When the gateway ended each of these connections; what it sends meanwhile is dropped."""
    ends = []
    for client in clients:
        client.settimeout(TIMEOUT + 10)
        with contextlib.suppress(ConnectionResetError):
            while client.recv(65536):
                pass
        ends.append(time.monotonic() - started)
    return ends


@pytest.mark.measures
def test_silent_clients_are_closed_after_the_timeout(crowded):
    """The one test that waits for it: all sorts of silence at once."""
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        silent = {
            "nothing": admin_client(crowded),
            "half a line": admin_client(crowded, b"GET /hea"),
            "half a head": admin_client(crowded, b"GET /health HTTP/1.1\r\nHost: "),
            "half a body": admin_client(crowded, post(100)[:-50]),
            "nothing more": admin_client(crowded, HEALTH),
            "zeroes": admin_client(crowded, b"\0" * 1000),
        }
        reader = stack.enter_context(long_request(crowded, 1))
        for client in silent.values():
            stack.enter_context(client)
        with connect(crowded.address("echo")) as other:
            while time.monotonic() < started + TIMEOUT - 1:
                check_echo(other)
                assert crowded.health() == (200, "ok")
                time.sleep(0.2)
        assert crowded.metric("admin_clients_current") == len(silent) + 2, "nobody is closed yet"
        ends = seconds_until_closed(silent.values(), started)
        assert all(TIMEOUT - 0.5 < end < TIMEOUT + 2 for end in ends), dict(zip(silent, ends))
        wait_for(lambda: crowded.metric("admin_clients_current"), 1, what="admin clients")
        truncated = sum(len(piece) for piece in iter(lambda: receive(reader), b""))
        assert 4096 < truncated < 250000, "who did not read was closed too"


def receive(client):
    with contextlib.suppress(ConnectionResetError):
        return client.recv(65536)
    return b""
