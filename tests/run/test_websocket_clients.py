"""Clients that other people wrote: Debian's python3-websockets, ws of Node, Chromium. Those that
are not here are skipped; scripts/test installs them."""

import asyncio
import http.server
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import threading
import urllib.parse

import pytest

from gateway import DEADLINE, wait_for

PEERS = pathlib.Path(__file__).with_name("ws_peers")
NODE_MODULES = os.environ.get("MILLGATE_NODE_MODULES", "")
NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium")

needs_node = pytest.mark.skipif(
    not (NODE and NODE_MODULES), reason="no node, or no MILLGATE_NODE_MODULES with ws in it"
)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no chromium")


def config(**websocket):
    listener = {"protocol": "websocket", "service": "echo"}
    return {
        "workers": 1,
        "listeners": {"ws": {**listener, "websocket": {"subprotocols": ["v1"], **websocket}}},
    }


def url(one, path="/chat"):
    host, port = one.address("ws")
    return f"ws://{host}:{port}{path}"


def replace(one):
    """Another process takes over."""
    n = one.log().count("restored ")
    one.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: one.log().count("restored "), n + 1, what="times restored")
    one.wait_healthy()


# python3-websockets.


@pytest.fixture
def websockets():
    return pytest.importorskip("websockets")


def test_python_echoes_every_kind_of_message(gateway, websockets):
    one = gateway(config())

    async def talk():
        async with websockets.connect(url(one), subprotocols=["v0", "v1"]) as client:
            assert client.subprotocol == "v1"
            assert client.extensions == []
            for message in ["", "Grüße", b"", b"\xff" * 70000, "ü" * 500000]:
                await client.send(message)
                assert await client.recv() == message
            await client.send(["frag", "men", "ted"])
            assert await client.recv() == "fragmented"
            await (await client.ping())
            await client.close(4000, "bye")
            assert (client.close_code, client.close_reason) == (4000, "")

    asyncio.run(asyncio.wait_for(talk(), DEADLINE))
    one.wait_closed("client_closed", 1)


def test_python_is_told_why_it_is_closed(gateway, websockets):
    one = gateway(config())

    async def talk():
        async with websockets.connect(url(one)) as client:
            one.ok("DELETE", f"/connections/{one.connections()[0]['id']}")
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()
            assert (client.close_code, client.close_reason) == (1008, "killed")

    asyncio.run(asyncio.wait_for(talk(), DEADLINE))
    one.wait_closed("killed", 1)


def test_python_is_refused_by_its_status(gateway, websockets):
    one = gateway(config(paths=["/chat"]))

    async def talk():
        with pytest.raises(websockets.InvalidStatusCode) as caught:
            await websockets.connect(url(one, "/other"))
        assert caught.value.status_code == 404

    asyncio.run(asyncio.wait_for(talk(), DEADLINE))


@pytest.mark.alone
def test_python_answers_pings_and_lives_through_restarts(gateway, websockets):
    one = gateway(config(ping_interval="200ms"))

    async def talk():
        clients = [await websockets.connect(url(one)) for _ in range(20)]
        for turn in range(3):
            await asyncio.to_thread(replace, one)
            for client in clients:
                await client.send(f"turn {turn}")
                assert await client.recv() == f"turn {turn}"
            await asyncio.sleep(0.3)
        for client in clients:
            await client.close()

    asyncio.run(asyncio.wait_for(talk(), 2 * DEADLINE))
    assert one.listener("ws")["pongs_received_total"] > 20
    assert one.listener("ws")["handshakes_accepted_total"] == 20
    one.wait_closed("client_closed", 20)


# Node.


@needs_node
def test_node_echoes_and_lives_through_restarts(gateway):
    one = gateway(config())
    with subprocess.Popen(
        [NODE, str(PEERS / "client.mjs"), url(one), "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as node:
        try:
            for _ in range(2):
                assert node.stdout.readline() == "ready\n"
                replace(one)
                node.stdin.write("go on\n")
                node.stdin.flush()
            assert node.stdout.readline() == "closed\n"
            assert node.wait(DEADLINE) == 0
        finally:
            node.kill()
    one.wait_closed("client_closed", 1)


# Chromium.


class PageServer(http.server.ThreadingHTTPServer):
    """Serves the page, and hears what it says."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), PageHandler)
        self.said = queue.Queue()
        self.may_go_on = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.server_port}"

    def hear(self):
        return self.said.get(timeout=60)


class PageHandler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/page.html"):
            self.answer(200, (PEERS / "page.html").read_bytes())
        elif self.path == "/go-on":
            self.server.may_go_on.wait(60)
            self.answer(204)
        else:
            self.answer(404)

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.said.put(text)  # before the page goes on, and says more
        self.answer(204)

    def log_message(self, *_):
        pass


@pytest.fixture
def browse(tmp_path):
    """Opens the page in a browser of its own: browse(url of a WebSocket) -> PageServer."""
    server = PageServer()
    started = []

    def start(target):
        query = urllib.parse.urlencode({"url": target})
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu"]
        command += ["--no-first-run", "--disable-dev-shm-usage", "--disable-background-networking"]
        command += [f"--user-data-dir={tmp_path}", f"{server.origin}/page.html?{query}"]
        started.append(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        return server

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    server.shutdown()
    server.server_close()


@needs_chromium
def test_chromium_echoes_lives_through_a_restart_and_reconnects(gateway, browse):
    one = gateway(config(origins=["http://127.0.0.1:*"], ping_interval="500ms"))
    page = browse(url(one))
    assert page.hear() == "open v1 []"
    assert page.hear() == "echoed"
    replace(one)
    page.may_go_on.set()
    assert page.hear() == "echoed on the same socket"
    one.ok("DELETE", f"/connections/{one.connections()[0]['id']}")
    assert page.hear() == "closed 1008 killed true"
    assert page.hear() == "echoed after a reconnect"
    assert page.hear() == "end"
    assert one.listener("ws")["handshakes_accepted_total"] == 2


@needs_chromium
def test_chromium_is_not_let_in_from_another_origin(gateway, browse):
    one = gateway(config(origins=["https://example.com"]))
    page = browse(url(one))
    assert page.hear() == "failed: closed with 1006 before it was open"
    assert one.listener("ws")["handshakes_forbidden_total"] == 1
