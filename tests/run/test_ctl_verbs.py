"""millgatectl against a fake gateway: every verb."""

import copy
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from ctl_fake import (
    CONFIG,
    connection,
    CTL,
    DEADLINE,
    gateway,
    run,
    STATS,
    Terminal,
    TUNING,
    UPSTREAMS,
)  # noqa: F401, F811

# ---- verbs ----


def test_status_is_one_screen_with_all_that_matters(gateway):
    out, _ = run(gateway, "status")
    assert "millgate 0.1.0 is ok  pid 4711, up 3h12m" in out
    assert re.search(r"Connections +51,200 of 100,000 +\[#+\.+\] +51%", out)
    assert re.search(r"In workers +51,200 of 52,000 +\[#+\.+\] +98%", out)
    assert re.search(r"Queued +1\.00 MiB of 256 MiB +\[#\.+\] +<1%", out)
    assert re.search(r"Top source +40 of 50 +\[#+\.+\] +80% +192\.0\.2\.0/32", out)
    assert re.search(r"public +hold +accepting +51,190 +none +- ", out)
    assert re.search(r"side\.door +echo +full +10 +10 +100% +567 +12 +unix:/run/x", out)
    assert re.search(r"client_closed +900 +90% +normal +The client closed its side\.", out)
    assert "client_reset" not in out
    assert out.index("client_closed") < out.index("idle_timeout") < out.index("worker_lost")
    assert len(out.splitlines()) <= 24


def test_status_puts_problems_first_and_exits_1(gateway):
    gateway.stats.update(status="degraded", draining=True, problems=["worker 1 is down"])
    out, _ = run(gateway, "status", code=1)
    first, second = out.splitlines()[:2]
    assert "is degraded, draining" in first
    assert "worker 1 is down" in second


def test_status_shows_warnings_and_exits_0(gateway):
    gateway.stats["warnings"] = ["raise LimitNOFILE="]
    out, _ = run(gateway, "status")
    assert "warning: raise LimitNOFILE=" in out.splitlines()[1]


@pytest.mark.parametrize("n, rows", [(8, True), (9, False)])
def test_status_sums_up_more_than_eight_workers(gateway, n, rows):
    worker = gateway.stats["workers"][0]
    gateway.stats["workers"] = [{**worker, "worker": i, "connections": i} for i in range(n)]
    gateway.stats["workers"][3].update(state="down", pid=333)
    out, _ = run(gateway, "status")
    assert ("MEDIAN" in out) != rows
    assert re.search(r"^3 +down +333 ", out, re.M)
    if not rows:
        assert "9 workers, 8 up" in out
        assert re.search(r"connections +0 +4 +8", out)
        assert not re.search(r"^4 +up", out, re.M)


def test_status_without_a_source_limit_does_not_ask_for_sources(gateway):
    gateway.stats["limits"]["connections_per_source"] = 0
    out, _ = run(gateway, "status")
    assert "Top source" not in out
    assert all(path != "/sources" for _, path, _, _ in gateway.seen)


def test_status_survives_a_gateway_that_tells_nothing(gateway):
    gateway.answers["GET", "/stats"] = (200, {})
    out, _ = run(gateway, "status", code=1)
    assert "nan" not in out


def test_status_survives_wrong_types(gateway):
    for key in STATS:
        gateway.stats = {**copy.deepcopy(STATS), key: [{"a": 1}, "b", None, 1e300, -5]}
        run(gateway, "status", code=1 if key == "status" else 0)
        gateway.stats = {**copy.deepcopy(STATS), key: {"a": [1], "b": {"connections": "x"}}}
        run(gateway, "status", code=1 if key == "status" else 0)


def test_status_shows_servers_if_there_are_any(gateway):
    assert "UPSTREAM" not in run(gateway, "status")[0]
    gateway.stats["upstreams"] = UPSTREAMS
    out, _ = run(gateway, "status")
    up = r"^app\.example:9000 +192\.0\.2\.1:9000 +public +up +12 +none +51,852 +0 +[0-9.]+ms$"
    assert re.search(up, out, re.M)
    assert re.search(r"^app\.example:9000 +\[2001:.* +down +0 +500 +0 +77 +-$", out, re.M)
    assert out.index("LISTENER") < out.index("UPSTREAM") < out.index("WORKER ")


@pytest.mark.parametrize("n, cut", [(16, False), (17, True)])
def test_status_shows_sixteen_servers(gateway, n, cut):
    gateway.stats["upstreams"] = [{**UPSTREAMS[0], "address": f"unix:{i}"} for i in range(n)]
    out, _ = run(gateway, "status")
    assert "unix:15" in out and "unix:16" not in out
    assert ("of 17 servers" in out) == cut


def test_health_ok(gateway):
    assert run(gateway, "health") == ("ok\n", "")


def test_health_degraded_exits_1(gateway):
    gateway.stats.update(status="degraded", problems=["no descriptors left"])
    out, _ = run(gateway, "health", code=1)
    assert out.startswith("degraded\n")
    assert "no descriptors left" in out
    out, _ = run(gateway, "--json", "health", code=1)
    assert json.loads(out)["problems"] == ["no descriptors left"]


def test_health_of_a_server_error_is_no_health(gateway):
    gateway.answers["GET", "/health"] = (500, {"error": "out of order"})
    out, err = run(gateway, "health", code=1)
    assert out == "" and "out of order" in err


def test_stats_prints_one_value_a_line(gateway):
    out, _ = run(gateway, "stats")
    lines = out.splitlines()
    assert "pid 4711" in lines
    assert "draining false" in lines
    assert "metrics.connections_current 51200" in lines
    assert "listeners.side.door.state full" in lines
    assert "workers.1.pid 5001" in lines
    assert "uptime_seconds 11530.5" in lines


def test_metrics_are_printed_as_they_are(gateway):
    assert run(gateway, "metrics")[0] == "# TYPE millgate_x counter\nmillgate_x 1\n"


def test_metrics_have_no_json(gateway):
    assert "not JSON" in run(gateway, "--json", "metrics", code=2)[1]


def test_tune_shows_the_worst_first_and_exits_1(gateway):
    out, _ = run(gateway, "tune", code=1)
    assert re.search(r"^STATUS +SETTING +NOW +WANTED$", out, re.M)
    assert re.search(r"^harmful +net\.ipv4\.tcp_sack +0 +1$", out, re.M)
    assert re.search(r"^short +LimitNOFILE +1024 +at least 500032$", out, re.M)
    assert re.search(r"^ok +net\.ipv4\.tcp_mem \(max\) +1 2 3 +at most 3$", out, re.M)
    assert "         > sysctl -w net.ipv4.tcp_sack=1\n" in out
    assert out.endswith("1 harmful, 1 short, 0 unknown, 1 ok.\n")


def test_tune_exits_0_when_all_is_well(gateway):
    gateway.answers["GET", "/tuning"] = (200, {**TUNING, "harmful": 0, "short": 0})
    run(gateway, "tune")
    run(gateway, "tune", "--sysctl")


def test_tune_prints_files(gateway):
    out, _ = run(gateway, "tune", "--sysctl", code=1)
    assert [line for line in out.splitlines() if line and line[0] != "#"] == [
        "net.ipv4.tcp_sack = 1"
    ]
    out, _ = run(gateway, "tune", "--unit", code=1)
    assert [line for line in out.splitlines() if line and line[0] != "#"] == [
        "[Service]",
        "LimitNOFILE=500032",
    ]


def test_tune_as_json(gateway):
    assert json.loads(run(gateway, "--json", "tune", code=1)[0]) == TUNING


@pytest.mark.parametrize("options", ["--sysctl --unit", "--json --unit", "--apply --json"])
def test_tune_does_one_thing(gateway, options):
    assert "one of" in run(gateway, "tune", *options.split(), code=2)[1]
    assert gateway.seen == []


def test_tune_without_a_gateway_points_at_the_daemon(tmp_path):
    out, err = run(tmp_path / "nobody", "tune", code=3)
    assert out == "" and "no such socket" in err and "millgated --tune" in err


def test_tune_in_colours_on_a_terminal(gateway):
    output = Terminal(gateway, "tune").finish(code=1)
    assert b"\x1b[1;31mharmful\x1b[0m" in output


def test_tune_prints_nothing_that_steers_a_terminal(gateway):
    finding = {k: "\x1b[2J\x9b" for k in TUNING["findings"][0]}
    setting = {**TUNING["settings"][0], "why": "a\nkernel.modprobe = 1"}
    gateway.answers["GET", "/tuning"] = (200, {"findings": [finding], "settings": [setting]})
    assert "\x1b" not in run(gateway, "tune")[0]
    out, _ = run(gateway, "tune", "--sysctl")
    assert "\nkernel" not in out


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_tune_applies_nothing_that_it_does_not_know(gateway):
    before = Path("/proc/sys/kernel/printk_ratelimit").read_text()
    settings = [
        {**TUNING["settings"][0], "key": key, "value": value}
        for key, value in [
            ("kernel.printk_ratelimit", "12345"),
            ("net.ipv4.tcp_sack", "1; reboot"),
            ("../kernel.printk_ratelimit", "12345"),
        ]
    ]
    gateway.answers["GET", "/tuning"] = (200, {**TUNING, "settings": settings})
    _, err = run(gateway, "tune", "--apply", code=1)
    assert "kernel.printk_ratelimit = 12345: is no setting that --apply knows" in err
    assert len(err.splitlines()) == 1
    assert Path("/proc/sys/kernel/printk_ratelimit").read_text() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_tune_apply_needs_root(gateway):
    result = subprocess.run(
        [CTL, "-s", gateway.path, "tune", "--apply"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        preexec_fn=lambda: os.setuid(65534),
    )
    assert result.returncode == 1 and "needs root" in result.stderr


def test_list_shows_one_hundred_and_says_that_there_are_more(gateway):
    out, err = run(gateway, "list")
    assert len(out.splitlines()) == 101
    assert out.splitlines()[0].split() == (
        "ID LISTENER SERVICE WORKER PEER AGE IDLE RECEIVED SENT RTT QUEUED STATE".split()
    )
    assert re.search(
        r"^ *1 +public +hold +1 +192\.0\.2\.1:40000 +1h2m +250ms +2\.00 KiB +- +120us +0 B +open$",
        out,
        re.M,
    )
    assert "--limit 0" in err


def test_list_shows_where_clients_are_led(gateway):
    assert "UPSTREAM" not in run(gateway, "list")[0]
    upstream = {"server": "app.example:9000", "address": "192.0.2.1:9000", "state": "open"}
    page = [
        {**connection(1), "upstream": None},
        {**connection(2), "upstream": upstream},
        {**connection(3), "upstream": {**upstream, "state": "connecting"}},
    ]
    gateway.answers["GET", "/connections"] = (200, {"connections": page, "next": None})
    title, *rows = run(gateway, "list")[0].splitlines()
    assert re.search(r" PEER +UPSTREAM +AGE ", title)
    assert re.search(r"192\.0\.2\.1:40000 +- +1h2m", rows[0])
    assert re.search(r"192\.0\.2\.2:40000 +192\.0\.2\.1:9000 +1h2m", rows[1])
    assert re.search(r"192\.0\.2\.3:40000 +192\.0\.2\.1:9000 \(connecting\) +1h2m", rows[2])


def test_list_passes_filters(gateway):
    run(gateway, "list", "--source", "2001:db8::/32", "--listener", "a b&c", "--worker", "3")
    assert gateway.seen[0][2] == {
        "source": "2001:db8::/32",
        "listener": "a b&c",
        "worker": "3",
        "limit": "100",
    }


@pytest.mark.parametrize("total", [0, 1, 999, 1000, 1001, 2500])
def test_list_all_pages(gateway, total):
    gateway.connections = total
    out, err = run(gateway, "list", "--limit", "0")
    assert len(out.splitlines()) == total + 1
    assert err == ""


def test_list_limit_over_a_page(gateway):
    gateway.connections = 5000
    out, _ = run(gateway, "list", "--limit", "1500")
    assert len(out.splitlines()) == 1501
    assert [query["limit"] for _, _, query, _ in gateway.seen] == ["1000", "500"]


@pytest.mark.parametrize("total", [0, 1, 2500])
def test_list_all_pages_as_one_json_object(gateway, total):
    gateway.connections = total
    out, _ = run(gateway, "--json", "list", "--limit", "0")
    listed = json.loads(out)
    assert list(listed) == ["connections"]
    assert listed["connections"] == [connection(i) for i in range(1, total + 1)]


def test_list_json_of_one_page_is_the_servers(gateway):
    out, _ = run(gateway, "--json", "list", "--limit", "10")
    assert json.loads(out)["next"] == 10


def test_list_does_not_follow_a_page_that_leads_nowhere(gateway):
    gateway.answers["GET", "/connections"] = (200, {"connections": [], "next": 5})
    assert "not a page" in run(gateway, "list", "--limit", "0", code=1)[1]


def test_list_json_that_is_cut_short_is_not_valid(gateway):
    pages = iter([(200, {"connections": [connection(1)], "next": 1}), (500, {"error": "oops"})])
    gateway.answers["GET", "/connections"] = lambda handler: next(pages)
    out, err = run(gateway, "--json", "list", "--limit", "0", code=1)
    assert "oops" in err
    with pytest.raises(ValueError):
        json.loads(out)


def test_show(gateway):
    out, _ = run(gateway, "show", "7")
    assert "peer 192.0.2.7:40000\n" in out
    assert "bytes_sent null\n" in out


def test_show_of_no_connection_exits_1(gateway):
    assert "no such thing" in run(gateway, "show", "8", code=1)[1]


def test_show_of_a_relayed_connection(gateway):
    upstream = {"server": "app.example:9000", "state": "open", "rtt_seconds": None}
    gateway.answers["GET", "/connections/7"] = (200, {**connection(7), "upstream": upstream})
    lines = run(gateway, "show", "7")[0].splitlines()
    assert {"upstream.server app.example:9000", "upstream.rtt_seconds null"} <= set(lines)


def test_upstreams(gateway):
    assert run(gateway, "upstreams")[0].splitlines()[0].split()[:3] == [
        "UPSTREAM",
        "ADDRESS",
        "LISTENER",
    ]
    gateway.stats["upstreams"] = UPSTREAMS
    out, _ = run(gateway, "upstreams")
    assert len(out.splitlines()) == 4
    disabled = r"^app\.example:9000 +unix:/run/app\.sock +public +disabled +1 +500 "
    assert re.search(disabled, out, re.M)
    assert json.loads(run(gateway, "--json", "upstreams")[0]) == {"upstreams": UPSTREAMS}
    gateway.stats["upstreams"] = [{**UPSTREAMS[0], "address": "", "state": "unresolved"}]
    out, _ = run(gateway, "upstreams")
    assert re.search(r"^app\.example:9000 +- +public +unresolved ", out, re.M)


@pytest.mark.parametrize("what", ["disable", "enable"])
def test_upstream_disable_and_enable(gateway, what):
    answer = {"changed": 1, "servers": UPSTREAMS[2:]}
    gateway.answers["POST", f"/upstreams/{what}"] = (200, answer)
    out, _ = run(gateway, "upstream", what, "unix:/run/app.sock")
    assert re.search(r"^app\.example:9000 +unix:/run/app\.sock +public +disabled ", out, re.M)
    run(gateway, "upstream", what, "a\"b", "--listener", "public")
    bodies = [json.loads(body) for _, _, _, body in gateway.seen]
    assert bodies == [{"server": "unix:/run/app.sock"}, {"server": 'a"b', "listener": "public"}]
    assert json.loads(run(gateway, "--json", "upstream", what, "x")[0]) == answer


def test_upstream_that_is_none(gateway):
    answer = {"error": 'there is no server "x"; "millgatectl upstreams" lists them'}
    gateway.answers["POST", "/upstreams/disable"] = (404, answer)
    out, err = run(gateway, "upstream", "disable", "x", code=1)
    assert out == "" and 'there is no server "x"' in err


@pytest.mark.parametrize(
    "args", [[], ["disable"], ["remove", "x"], ["disable", "x", "y"], ["disable", b"\xff"]]
)
def test_upstream_asked_for_wrongly(gateway, args):
    out, err = run(gateway, "upstream", *args, code=2)
    assert out == "" and "help upstream" in err
    assert gateway.seen == []


def test_kill_one(gateway):
    assert run(gateway, "kill", "7")[0] == "Closed 1 connection.\n"
    assert gateway.seen[0][:2] == ("DELETE", "/connections/7")


def test_kill_by_source(gateway):
    out, _ = run(gateway, "kill", "--source", "10.0.0.0/8", "--listener", "public")
    assert out == "Closed 3 connections.\n"
    assert gateway.seen[0][:3] == (
        "DELETE",
        "/connections",
        {"source": "10.0.0.0/8", "listener": "public"},
    )


def test_kill_of_no_connection_exits_1(gateway):
    assert "no such thing" in run(gateway, "kill", "8", code=1)[1]


def test_drain_at_once_and_over_a_time(gateway):
    assert run(gateway, "drain")[0] == "Draining 51,200 connections at once.\n"
    assert gateway.seen[0][3] == b""
    assert run(gateway, "drain", "--over", "10m")[0] == "Draining 51,200 connections over 10m.\n"
    assert json.loads(gateway.seen[1][3]) == {"over": "10m"}


def test_drain_over_nonsense_is_refused_by_the_server(gateway):
    assert "wanted a duration" in run(gateway, "drain", "--over", 'a"b', code=1)[1]


def test_resume(gateway):
    assert run(gateway, "resume")[0] == "Accepting connections.\n"


def test_reload(gateway):
    out, _ = run(gateway, "reload")
    assert out.split("Changed in the file")[0] == "Changed:\n  limits.connections\n"
    assert "needs a restart:\n  workers\n" in out


def test_reload_without_a_change(gateway):
    gateway.answers["POST", "/reload"] = (200, {"changed": [], "needs_restart": []})
    assert run(gateway, "reload")[0] == "Nothing changed.\n"


def test_reload_refused_shows_every_error(gateway):
    errors = [f"/etc/x.json: key{i} is unknown, " + "x" * 80 for i in range(100)]
    gateway.answers["POST", "/reload"] = (
        422,
        {"error": "the configuration was not changed", "errors": errors},
    )
    out, err = run(gateway, "reload", code=1)
    assert out == "" and "was not changed" in err
    assert all(error in err for error in errors)


def test_config_is_json(gateway):
    assert json.loads(run(gateway, "config")[0]) == CONFIG


def test_sources(gateway):
    out, _ = run(gateway, "sources", "--limit", "2")
    assert re.search(r"192\.0\.2\.0/32 +40\n192\.0\.2\.1/32 +39\nof 4 sources", out)
    assert gateway.seen[0][2] == {"limit": "2"}


@pytest.mark.parametrize(
    "verb", ["status", "stats", "health", "sources", "config", "list", "show 7"]
)
def test_json_is_what_the_server_sent(gateway, verb):
    odd = b'{ "status":"ok",  "x" : 1.50, "connections": [ ] }'
    path = {"status": "/stats", "list": "/connections", "show 7": "/connections/7"}
    gateway.answers["GET", path.get(verb, "/" + verb)] = (200, odd)
    assert run(gateway, "--json", *verb.split())[0] == odd.decode() + "\n"


@pytest.mark.parametrize("verb", ["drain", "resume", "reload", "kill 7", "kill --source ::/0"])
def test_json_of_verbs_that_steer(gateway, verb):
    assert isinstance(json.loads(run(gateway, "--json", *verb.split())[0]), dict)
