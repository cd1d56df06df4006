"""millgatectl against a fake gateway: wrong arguments, no gateway, and hostile answers."""

import json
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ctl_fake import (
    CTL,
    environment,
    EVIL,
    evil_everywhere,
    gateway,
    hang,
    help_verbs,
    run,
    STATS,
    Terminal,
)  # noqa: F401, F811

# ---- arguments ----


def test_help_explains_every_verb(gateway):
    verbs = help_verbs()
    assert {"status", "top", "list", "kill", "help"} <= set(verbs)
    for verb in verbs:
        out, _ = run(gateway, "help", verb)
        assert out.startswith(f"Usage:\n  millgatectl {verb}")
        assert run(gateway, verb, "--help")[0] == out
    assert gateway.seen == []


def test_help_fits_a_terminal(gateway):
    for verb in [None, *help_verbs()]:
        out, _ = run(gateway, *(["help", verb] if verb else ["--help"]))
        assert max(map(len, out.splitlines())) <= 80


def test_version(gateway):
    assert re.match(r"millgatectl \S+\n$", run(gateway, "--version")[0])
    assert run(gateway, "-V")[0] == run(gateway, "--version")[0]


@pytest.mark.parametrize(
    "args",
    [
        "",
        "frobnicate",
        "--frobnicate status",
        "status now",
        "status --limit 5",
        "list --over 5m",
        "list --limit -1",
        "list --limit x",
        "list --limit",
        "list --worker 256",
        "list --worker 1x",
        "show",
        "show 1 2",
        "show x",
        "show ../stats",
        "show 9007199254740992",
        "show 18446744073709551616",
        "kill",
        "kill 7 --source 10.0.0.0/8",
        "kill 7 --listener public",
        "kill --listener public",
        "sources --limit 0",
        "sources --limit 1001",
        "top --interval 0",
        "top --interval x",
        "--json top",
        "--timeout 0 status",
        "--timeout 1y status",
        "--timeout nan status",
        "help frobnicate",
        "help list list",
    ],
)
def test_wrong_usage_exits_2_and_asks_nothing(gateway, args):
    out, err = run(gateway, *args.split(), code=2)
    assert out == ""
    assert "help" in err or "usage" in err
    assert gateway.seen == []


def test_socket_option_without_a_path(gateway):
    run("", "status", code=2)


def test_socket_path_that_is_too_long(gateway):
    assert "at most 107" in run("/" + "x" * 107, "status", code=2)[1]
    run("/" + "x" * 106, "status", code=3)


def test_socket_from_the_environment(gateway):
    result = subprocess.run(
        [CTL, "health"],
        env=environment(MILLGATE_ADMIN_SOCKET=gateway.path),
        capture_output=True,
        check=True,
    )
    assert result.stdout == b"ok\n"


def test_socket_option_wins_over_the_environment(gateway):
    run(gateway, "health", MILLGATE_ADMIN_SOCKET="/nonexistent")


# ---- not reachable ----


@pytest.mark.parametrize("verb", ["status", "list", "kill 7", "reload", "top", "--json list"])
def test_no_socket_exits_3(tmp_path, verb):
    path = tmp_path / "none.sock"
    out, err = run(path, *verb.split(), code=3)
    assert str(path) in err and "no such socket" in err
    assert out == ""


def test_nobody_listens_exits_3(tmp_path):
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    err = run(path, "status", code=3)[1]
    assert str(path) in err and "nobody listens" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_permission_denied_names_the_group(tmp_path):
    tmp = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True)
    folder = Path(tmp.stdout.strip())
    path = folder / "admin.sock"
    binary = folder / "millgatectl"
    binary.write_bytes(CTL.read_bytes())
    binary.chmod(0o755)
    folder.chmod(0o755)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            os.chown(path, 0, 4)
            path.chmod(0o660)
            result = subprocess.run(
                [binary, "-s", path, "status"],
                user=65534,
                group=65534,
                extra_groups=[],
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
    finally:
        for file in (path, binary):
            file.unlink()
        folder.rmdir()
    assert result.returncode == 3
    assert str(path) in result.stderr and "group adm" in result.stderr


def drip(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not handler.server.release.wait(0.02):
        handler.wfile.write(b" ")


@pytest.mark.measures
@pytest.mark.parametrize("behaviour", [hang, drip])
def test_an_answer_that_takes_too_long_exits_3(gateway, behaviour):
    gateway.answers["GET", "/stats"] = behaviour
    start = time.monotonic()
    err = run(gateway, "--timeout", "300ms", "status", code=3)[1]
    assert 0.2 < time.monotonic() - start < 3
    assert gateway.path in err and "no answer within 0.3 s" in err


def test_a_full_backlog_times_out(tmp_path):
    path = tmp_path / "full.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            err = run(path, "--timeout", "0.3", "status", code=3)[1]
    assert "no answer within" in err


def test_hanging_up_without_an_answer_exits_3(gateway):
    gateway.answers["GET", "/stats"] = lambda handler: None
    assert "hung up" in run(gateway, "status", code=3)[1]


# ---- hostile answers ----


def reply(body, head=b""):
    length = b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 200 OK\r\n" + length + head + b"\r\n" + body


@pytest.mark.parametrize(
    "answer, text",
    [
        (b"\x00\xff\x1b]0;x\x07" * 1000, "answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "too early"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "too early"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 268435457\r\n\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100000, "too long"),
        (b"HTTP/1.1 200 OK\r\n\r\n[" + b"[" * 100000, "not a JSON object"),
        (reply(b""), "not a JSON object"),
        (reply(b"[]"), "not a JSON object"),
        (reply(b"{}garbage"), "not a JSON object"),
        (reply(b'{"a":1,"a":2}'), "not a JSON object"),
        (reply(b'{"a":"\xff"}'), "not a JSON object"),
        (reply(b"{}", b"Transfer-Encoding: chunked\r\n"), "both"),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("verb", ["status", "stats", "--json stats", "top"])
def test_hostile_answers_exit_1_and_say_what_is_wrong(gateway, answer, text, verb):
    gateway.answers["GET", "/stats"] = answer
    out, err = run(gateway, *verb.split(), code=1)
    assert out == ""
    assert gateway.path in err and text in err
    assert err.isprintable() or err.rstrip("\n").isprintable()


def test_a_huge_answer_is_cut_off(gateway):
    def huge(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(257):
            handler.wfile.write(b" " * 2**20)

    gateway.answers["GET", "/stats"] = huge
    assert "longer than" in run(gateway, "stats", code=1)[1]


def test_chunked_answers_and_answers_up_to_the_end_are_read(gateway):
    body = json.dumps(STATS).encode()
    head = b"HTTP/1.1 200 OK\r\n"
    gateway.answers["GET", "/stats"] = head + b"\r\n" + body
    assert json.loads(run(gateway, "--json", "stats")[0]) == STATS
    gateway.answers["GET", "/stats"] = (
        head
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
        + b"0\r\n\r\n"
    )
    assert json.loads(run(gateway, "--json", "stats")[0]) == STATS


def test_an_error_that_is_no_json_names_the_status(gateway):
    gateway.answers["GET", "/stats"] = (404, b"<html>Not found</html>")
    assert "status 404" in run(gateway, "stats", code=1)[1]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_error_is_json_too_if_that_is_wanted(gateway, options):
    answer = {"error": "there is no server", "allowed": ["a", "b"]}
    gateway.answers["POST", "/upstreams/enable"] = (404, json.dumps(answer).encode())
    out, err = run(gateway, *options, "upstream", "enable", "nope", code=1)
    assert "there is no server" in err
    assert (json.loads(out) == answer) if options else (out == "")


ESCAPED_VERBS = [
    "status",
    "stats",
    "health",
    "metrics",
    "list",
    "sources",
    "config",
    "reload",
    "--json stats",
    "--json list --limit 0",
]


@pytest.mark.parametrize("verb", ESCAPED_VERBS)
def test_nothing_the_server_says_steers_the_terminal(gateway, verb):
    evil_everywhere(gateway)
    terminal = Terminal(gateway, "--no-color", *verb.split())
    output = terminal.finish(None).decode()
    text = output.replace("\r\n", "\n")
    bad = [c for c in text if c != "\n" and not c.isprintable()]
    assert bad == [], text
    assert "owned" in text
    if verb != "metrics":
        assert "\nfake" not in text


def test_json_on_a_terminal_is_indented_and_still_the_same(gateway):
    evil_everywhere(gateway)
    terminal = Terminal(gateway, "--json", "config", columns=500)
    assert json.loads(terminal.finish()) == {EVIL: EVIL}
    assert b"\n  " in terminal.output
