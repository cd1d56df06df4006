"""millgatectl on a terminal: colours, the live screen, and completion."""

import copy
import re
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from ctl_fake import (
    assert_screen_given_back,
    COMPLETION,
    CTL,
    DEADLINE,
    environment,
    evil_everywhere,
    gateway,
    hang,
    help_verbs,
    plain,
    run,
    STATS,
    Terminal,
    UPSTREAMS,
)  # noqa: F401, F811

# ---- colours ----


def on_terminal(gateway, *args, **env):
    return Terminal(gateway, *args, **env).finish(None)


def test_colours_on_a_terminal_only(gateway):
    assert b"\x1b[" in on_terminal(gateway, "status")
    assert "\x1b" not in run(gateway, "status")[0]


@pytest.mark.parametrize(
    "args, env",
    [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})],
)
def test_no_colours_when_not_wanted(gateway, args, env):
    assert b"\x1b" not in on_terminal(gateway, *args, "status", **env)


def test_empty_no_color_is_not_set(gateway):
    assert b"\x1b[" in on_terminal(gateway, "status", NO_COLOR="")


def test_output_that_cannot_be_written_exits_1(gateway):
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run(
            [CTL, "-s", gateway.path, "status"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert "cannot be written" in result.stderr


# ---- top ----


def busy(gateway):
    """Each question finds 10 more accepted and 100 more closed."""

    def answer(handler):
        stats = gateway.stats
        stats["uptime_seconds"] += 1
        stats["metrics"]["connections_accepted_total"] += 10
        stats["closed"]["idle_timeout"] += 100
        stats["closed"]["refused_total"] += 7
        return 200, stats

    gateway.answers["GET", "/stats"] = answer


def test_top_shows_and_quits_on_q(gateway):
    terminal = Terminal(gateway, "top")
    terminal.until("192.0.2.3/32")
    terminal.type(b"xyz")
    terminal.type(b"q")
    output = terminal.finish()
    assert_screen_given_back(output)
    assert "millgate 0.1.0 is ok" in plain(output)
    assert "side.door" in plain(output)


def test_top_redraws_in_place(gateway):
    terminal = Terminal(gateway, "top", "--interval", "0.1", "--count", "4")
    output = terminal.finish()
    assert_screen_given_back(output)
    assert output.count(b"\x1b[2J") == 1
    assert output.count(b"\x1b[H") == 4


def test_top_shows_rates(gateway):
    busy(gateway)
    terminal = Terminal(gateway, "top", "--interval", "0.2", "--count", "2")
    frame = plain(terminal.finish().split(b"\x1b[H")[2])
    accepted, closed = re.search(r"A second +([\d.]+) accepted, ([\d.]+) closed", frame).groups()
    assert 1 < float(accepted) < 51  # the machine may be slow, the clock is not
    assert 10 < float(closed) < 510
    assert re.search(r"idle_timeout +\d{2,3} ", frame)
    assert frame.index("idle_timeout") < frame.index("client_closed")


@pytest.mark.parametrize("rows, columns", [(1, 1), (2, 10), (5, 20), (10, 40), (24, 80), (60, 250)])
def test_top_stays_within_the_screen(gateway, rows, columns):
    terminal = Terminal(gateway, "top", "--count", "1", rows=rows, columns=columns)
    output = terminal.finish()
    frame = output.split(b"\x1b[H")[1].split(b"\x1b[?1049l")[0]
    lines = plain(frame).replace("\r\n", "\n").split("\n")
    assert len(lines) <= rows
    assert max(map(len, lines)) <= columns


def test_top_follows_the_size_of_the_terminal(gateway):
    terminal = Terminal(gateway, "top", "--interval", "60", rows=40, columns=60)
    seen = terminal.until("192.0.2.3/32")
    asked = len(gateway.seen)
    terminal.resize(8, 120)
    start = terminal.until(b"\x1b[H", seen)
    terminal.until("A second", start)
    assert len(gateway.seen) == asked  # drawn anew, not asked anew
    terminal.type(b"q")
    terminal.finish()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_top_gives_the_terminal_back_on_signals(gateway, number):
    terminal = Terminal(gateway, "top")
    terminal.until("A second")
    terminal.process.send_signal(number)
    assert_screen_given_back(terminal.finish(-number))


def test_top_quits_on_control_c(gateway):
    terminal = Terminal(gateway, "top")
    terminal.until("A second")
    terminal.type(b"\x03")
    assert_screen_given_back(terminal.finish(-signal.SIGINT))


@pytest.mark.measures
def test_top_quits_while_the_gateway_hangs(gateway):
    terminal = Terminal(gateway, "top", "--interval", "0.1")
    terminal.until("A second")
    gateway.answers["GET", "/stats"] = hang
    asked = len(gateway.seen)
    while len(gateway.seen) == asked:
        terminal.read(0.05)
    start = time.monotonic()
    terminal.type(b"q")
    assert_screen_given_back(terminal.finish())
    assert time.monotonic() - start < 3


def test_top_stops_and_goes_on(gateway):
    terminal = Terminal(gateway, "top", "--interval", "60")
    terminal.until("A second")
    terminal.process.send_signal(signal.SIGTSTP)
    seen = terminal.until(b"\x1b[?1049l")
    end = time.monotonic() + DEADLINE
    while "State:\tT" not in Path(f"/proc/{terminal.process.pid}/status").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert termios.tcgetattr(terminal.slave) == terminal.before
    terminal.process.send_signal(signal.SIGCONT)
    terminal.until("A second", terminal.until(b"\x1b[?1049h", seen))
    terminal.type(b"q")
    assert_screen_given_back(terminal.finish())


def test_top_says_that_the_gateway_went_away_and_tries_again(gateway):
    terminal = Terminal(gateway, "top", "--interval", "0.1", columns=250)
    seen = terminal.until("A second")
    gateway.answers["GET", "/stats"] = lambda handler: None
    seen = terminal.until("No answer for", seen)
    terminal.until("hung up", seen)
    del gateway.answers["GET", "/stats"]
    seen = len(terminal.output)
    end = time.monotonic() + DEADLINE
    while True:
        assert time.monotonic() < end
        start = terminal.until(b"\x1b[H", seen)
        frame = terminal.output[start : terminal.until(b"\x1b[J", start)]
        if b"No answer" not in frame:
            break
        seen = start
    terminal.type(b"q")
    terminal.finish()


def test_top_is_not_kept_busy_by_empty_errors(gateway):
    terminal = Terminal(gateway, "top", "--interval", "0.2")
    seen = terminal.until("A second")
    gateway.answers["GET", "/stats"] = (500, {"error": ""})
    terminal.until("status 500", seen)
    terminal.type(b"q")
    terminal.finish()


def test_top_survives_evil_text(gateway):
    evil_everywhere(gateway)
    terminal = Terminal(gateway, "top", "--count", "1", rows=50, columns=200)
    output = terminal.finish()
    assert b"owned" in output
    assert b"\x1b]0;" not in output and b"\x07" not in output and "\u009b".encode() not in output


def test_top_without_a_terminal_prints_plain_snapshots(gateway):
    busy(gateway)
    out, _ = run(gateway, "top", "--interval", "0.1", "--count", "3")
    assert "\x1b" not in out
    assert out.count("millgate 0.1.0 is ok") == 3
    assert re.search(r"A second +[\d.]+ accepted", out)


def test_top_without_a_terminal_tells_of_a_lost_gateway(gateway):
    answers = iter([(200, STATS), (200, STATS)])
    gateway.answers["GET", "/stats"] = lambda handler: next(answers, None)
    out, _ = run(gateway, "top", "--interval", "0.1", "--count", "2", code=3)
    assert out.count("is ok") == 1
    assert out.count("No answer for") == 1


def test_top_compares_nothing_across_a_restart(gateway):
    pids = iter(range(100, 200))
    gateway.answers["GET", "/stats"] = lambda handler: (200, {**STATS, "pid": next(pids)})
    out, _ = run(gateway, "top", "--interval", "0.1", "--count", "1")
    assert re.search(r"A second +- accepted, - closed", out)


# ---- completion ----


def complete(gateway, *words, command="millgatectl"):
    script = f"""
        source '{COMPLETION}'
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _millgatectl '{CTL}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(
        ["bash", "-c", script, "bash", command, *words],
        env=environment(MILLGATE_ADMIN_SOCKET=gateway.path if gateway else "/nonexistent"),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert result.stderr == ""
    words = result.stdout.split()
    assert len(words) == len(set(words))
    return set(words)


def test_completion_of_verbs():
    assert complete(None, "") == set(help_verbs())
    assert complete(None, "re") == {"resume", "reload"}
    assert complete(None, "-s", "/x", "--json", "sta") == {"status", "stats"}
    assert complete(None, "help", "to") == {"top"}
    assert complete(None, "status", "") == set()


def test_completion_of_options():
    common = {"--socket", "--json", "--timeout", "--no-color", "--help", "--version"}
    assert complete(None, "--") == common
    assert complete(None, "-") == common | {"-s", "-h", "-V"}
    assert complete(None, "list", "--") == common | {
        "--source",
        "--listener",
        "--worker",
        "--limit",
    }
    assert complete(None, "drain", "--o") == {"--over"}


def test_completion_of_listeners(gateway):
    assert complete(gateway, "list", "--listener", "") == {"public", "side.door"}
    assert complete(gateway, "kill", "--listener", "pu") == {"public"}
    assert complete(gateway, "kill", "--listener", "=") == {"public", "side.door"}
    assert complete(gateway, "kill", "--listener", "=", "pu") == {"public"}
    assert complete(None, "-s", gateway.path, "list", "--listener", "s") == {"side.door"}


def test_completion_of_listeners_without_a_gateway():
    assert complete(None, "list", "--listener", "") == set()


def test_completion_runs_nothing_a_listener_is_called(gateway, tmp_path):
    listener = gateway.stats["listeners"]["public"]
    gateway.stats["listeners"] = {f"$(touch {tmp_path}/owned)": listener, "fine": listener}
    assert complete(gateway, "list", "--listener", "") == {"fine"}
    assert not (tmp_path / "owned").exists()


def test_completion_of_servers(gateway):
    gateway.stats["upstreams"] = copy.deepcopy(UPSTREAMS)
    gateway.stats["upstreams"][1]["name"] = "$(exit)`id`:1"
    assert complete(gateway, "upstream", "") == {"disable", "enable"}
    assert complete(gateway, "upstream", "en") == {"enable"}
    servers = {"app.example:9000", "192.0.2.1:9000", "[2001:db8::1]:9000", "unix:/run/app.sock"}
    assert complete(gateway, "upstream", "disable", "") == servers
    assert complete(gateway, "upstream", "disable", "ap") == {"app.example:9000"}
    assert complete(gateway, "upstream", "disable", "--listener", "x", "ap") == {"app.example:9000"}
    assert complete(gateway, "upstream", "disable", "unix", ":", "/run/app.sock", "") == set()
    assert complete(gateway, "upstream", "disable", "x", "--listener", "pu") == {"public"}
    assert complete(None, "upstream", "disable", "") == set()


def test_completion_of_a_server_whose_name_bash_has_cut(gateway):
    """It cuts words at a ":", and wants to be told of the rest only."""
    gateway.stats["upstreams"] = UPSTREAMS
    assert complete(gateway, "upstream", "disable", "192.0.2.1", ":") == {"9000"}
    assert complete(gateway, "upstream", "disable", "192.0.2.1", ":", "90") == {"9000"}
    assert complete(gateway, "upstream", "disable", "192.0.2.1", ":", "8") == set()
    assert complete(gateway, "upstream", "disable", "[2001", ":", "db8", "::") == {"1]:9000"}
    assert complete(gateway, "upstream", "disable", "unix", ":", "/ru") == {"/run/app.sock"}


def test_completion_of_socket_paths(gateway):
    assert complete(None, "-s", gateway.path[:-2]) == {gateway.path}
