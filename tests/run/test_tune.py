"""Tuning advice of the real programs: millgated --tune, GET /tuning, millgatectl tune."""

import json
import os
import re
import shutil
import socket
import subprocess

import pytest

from another_user import AS_ANOTHER, AS_ROOT
from gateway import BUILD, MILLGATED, SANITIZER_ENVIRONMENT, SANITIZER_REPORT

CTL = BUILD / "millgatectl"
ENVIRONMENT = {**os.environ, **SANITIZER_ENVIRONMENT}
MILLION = {"connections": 1000000}
ANYWHERE = "0.0.0.0:PORT"  # in a namespace of its own even 127.0.0.1 may be missing
MAX = 9223372036854775807


def needs(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {missing}")


def namespaces_work():
    try:
        return subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


needs_namespace = pytest.mark.skipif(not namespaces_work(), reason="needs unshare -n, as root")


def run(*command, status=0):
    """What it printed on stdout and stderr."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=60, env=ENVIRONMENT
    )
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    assert done.returncode == status, done
    return done.stdout, done.stderr


@pytest.fixture
def conf(tmp_path):
    """Writes a configuration: conf(limits={...}); returns its path."""

    def write(**keys):
        listeners = {"a": {"address": "127.0.0.1:7000"}}
        path = tmp_path / "millgate.json"
        path.write_text(json.dumps({"listeners": listeners, **keys}))
        return path

    return write


def short(tuning):
    """The keys that fall short or harm."""
    return [f["key"] for f in tuning["findings"] if f["status"] in ("short", "harmful")]


def finding(tuning, key, configured=False):
    found = [f for f in tuning["findings"] if f["key"] == key and f["configured"] == configured]
    assert found, f"nothing is said of {key}"
    return found[0]


# Without a gateway.


def test_a_million_falls_short_here(conf):
    path = conf(workers=1, limits={"connections": 16000000})
    out, err = run(MILLGATED, "--tune", "--config", path, status=1)
    assert err == ""
    assert re.search(r"^short +net\.core\.somaxconn ", out, re.M)
    assert re.search(r"^short +LimitNOFILE +\d+ +at least 16000032$", out, re.M)
    assert re.search(r"\d+ harmful, [1-9]\d* short, \d+ unknown, \d+ ok\.\n", out)
    assert "\033" not in out


def test_little_is_well_everywhere(conf):
    path = conf(
        workers=1,
        limits={"connections": 10, "queued_bytes": "1MiB"},
        listeners={"a": {"address": "unix:/run/x", "backlog": 16}},
    )
    out, _ = run(MILLGATED, "--tune", "--config", path)
    assert " 0 short" in out


def test_json_agrees_with_the_table(conf):
    path = conf(limits=MILLION)
    tuning = json.loads(run(MILLGATED, "--tune", "--json", "-c", path, status=1)[0])
    table, _ = run(MILLGATED, "--tune", "-c", path, status=1)
    for one in tuning["findings"]:
        assert re.search(rf"^{one['status']} +{re.escape(one['key'])} ", table, re.M)
        assert one["why"].endswith(".")
    rows = re.findall(r"^(?:harmful|short|unknown|ok) ", table, re.M)
    assert len(rows) == len(tuning["findings"])
    order = ["harmful", "short", "unknown", "ok"]
    ranks = [order.index(one["status"]) for one in tuning["findings"]]
    assert ranks == sorted(ranks)
    assert [ranks.count(i) for i in range(4)] == [tuning[status] for status in order]


def test_a_bad_configuration_is_refused(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text("{}")
    out, err = run(MILLGATED, "--tune", "--config", path, status=1)
    assert out == "" and "listeners" in err


@needs("sysctl")
def test_sysctl_takes_the_file(conf, tmp_path):
    file = tmp_path / "60-millgate.conf"
    file.write_text(run(MILLGATED, "--tune", "--sysctl", "-c", conf(limits=MILLION), status=1)[0])
    settings = [line for line in file.read_text().splitlines() if line and line[0] != "#"]
    assert len(settings) >= 3
    out, err = run("sysctl", "--dry-run", f"--load={file}")
    assert out.splitlines() == settings and err == ""


@needs("systemd-analyze")
def test_systemd_takes_the_drop_in(conf, tmp_path):
    unit = tmp_path / "millgate.service"
    text, _ = run(MILLGATED, "--tune", "--unit", "-c", conf(workers=1, limits=MILLION), status=1)
    assert re.search(r"^LimitNOFILE=1000032$", text, re.M)
    # A unit of its own: drop-ins are found below fixed directories only.
    unit.write_text(text + "ExecStart=/bin/true\nUnknownKey=1\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    complaints = [line for line in done.stderr.splitlines() if "millgate.service" in line]
    if not any("UnknownKey" in line for line in complaints):
        pytest.skip(f"systemd-analyze does not work here: {done.stderr}")
    assert len([line for line in complaints if "UnknownKey" not in line]) == 0, complaints


def relay(*servers, **upstream):
    """The listeners of a configuration with a relay to these servers."""
    upstream = {"servers": list(servers), **upstream}
    return {"a": {"address": "unix:/run/x", "service": "relay", "upstream": upstream}}


def tune_json(path, status=1):
    return json.loads(run(MILLGATED, "--tune", "--json", "-c", path, status=status)[0])


def test_a_relayed_client_needs_two_descriptors(conf):
    for service, wanted in (("hold", "16000032"), ("relay", "32000032")):
        listeners = relay("unix:/run/app.sock")
        if service == "hold":
            listeners = {"a": {"address": "unix:/run/x"}}
        path = conf(workers=1, limits={"connections": 16000000}, listeners=listeners)
        assert finding(tune_json(path), "LimitNOFILE")["wanted"] == wanted


def test_a_relay_to_tcp_servers_needs_ports(conf):
    """More of them than there are, unless the clients are spread over addresses."""
    limits = {"connections": 1000000}
    ports = finding(
        tune_json(conf(limits=limits, listeners=relay("127.0.0.1:80"))),
        "net.ipv4.ip_local_port_range",
    )
    assert ports["status"] == "short" and ports["part"] == "ports"
    assert ports["wanted"] == "1000000" and "= 1000000)." in ports["why"]
    assert ports["how"].startswith("more upstream.source_addresses")
    addresses = [f"127.0.0.{i}" for i in range(1, 65)]
    many = relay("127.0.0.1:80", "[::1]:80", source_addresses=addresses)
    ports = finding(tune_json(conf(limits=limits, listeners=many)), "net.ipv4.ip_local_port_range")
    assert ports["wanted"] == "500000", "there is only the kernel's choice for [::1]"
    many = relay("127.0.0.1:80", "127.0.0.1:81", source_addresses=addresses)
    ports = finding(tune_json(conf(limits=limits, listeners=many)), "net.ipv4.ip_local_port_range")
    assert ports["wanted"] == "7813" and ports["status"] == "ok"


@needs("sysctl")
def test_a_wider_range_is_a_setting(conf, tmp_path):
    machine = tmp_path / "machine"
    machine.write_text(
        "net.ipv4.ip_local_port_range = 32768 60999\n"
        "net.ipv4.ip_local_reserved_ports =\n"
    )
    path = conf(limits={"connections": 40000}, listeners=relay("127.0.0.1:80"))
    out, _ = run(MILLGATED, "--tune", "--sysctl", "-c", path, "--machine", machine, status=1)
    assert "\nnet.ipv4.ip_local_port_range = 25536 65535\n" in out


# The gateway at start.


def config(want=None, mode="warn", **more):
    return {
        "workers": 1,
        "listeners": {"a": {"address": ANYWHERE, **more.pop("listener", {})}},
        "sysctl": {"mode": mode, "want": want or {}},
        **more,
    }


def test_require_refuses_to_start(gateway):
    one = gateway(config({"net.core.somaxconn": MAX, "fs.nr_open": MAX}, "require"), wait=False)
    one.wait_ended(status=1)
    assert re.search(
        r"error supervisor: sysctl\.want: fs\.nr_open is \d+, wanted is at least", one.log()
    )
    assert re.search(
        r'not started: sysctl\.mode is "require", and of sysctl\.want net\.core\.somaxconn is \d+, '
        rf"wanted is at least {MAX} \(2 in all fall short\): sysctl -w net\.core\.somaxconn=",
        one.log(),
    )
    assert "ready" not in one.log()


def test_require_refuses_what_cannot_be_read(gateway):
    one = gateway(config({"no.such.key": 1}, "require"), wait=False)
    one.wait_ended(status=1)
    assert "no.such.key is unknown" in one.log()


def test_require_takes_what_is_reached(gateway):
    gateway(config({"net.core.somaxconn": 1, "kernel.pid_max": 2}, "require"))


def test_require_is_about_wants_only(gateway):
    """What only follows from the limits is advice."""
    one = gateway(config(mode="require", limits=MILLION))
    assert "warning supervisor: tuning: net.core.somaxconn" in one.log()


def test_systemd_is_told_why(gateway, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(20)
        one = gateway(
            config({"fs.nr_open": MAX}, "require"),
            wait=False,
            environment={"NOTIFY_SOCKET": str(path)},
        )
        text = listener.recv(4096).decode()
    assert text.startswith("STATUS=not started: sysctl.mode") and "\nERRNO=" in text
    one.wait_ended(status=1)


def test_warn_logs_a_line_each(gateway):
    one = gateway(config({"fs.nr_open": MAX}, limits=MILLION))
    lines = [line for line in one.log().splitlines() if "tuning:" in line]
    assert any("fs.nr_open is " in line for line in lines)
    assert any("net.core.somaxconn is " in line for line in lines)
    assert 2 < len(lines) <= 18
    assert "millgatectl tune" in lines[-1]


def test_warnings_are_bounded(gateway):
    forgetful = {f"l{i}": {"keepalive": 0} for i in range(30)}
    one = gateway({"workers": 1, "listeners": forgetful})
    lines = [line for line in one.log().splitlines() if "tuning:" in line]
    assert len(lines) == 18
    assert lines[16].endswith("tuning: there is more")


def test_off_compares_nothing(gateway):
    one = gateway(config({"fs.nr_open": MAX}, "off", limits=MILLION))
    assert "tuning:" not in one.log()


def test_descriptors_are_told_of_at_start_and_in_status(gateway):
    one = gateway(config(mode="off", limits={"connections": 2000}), nofile=1024)
    (text,) = one.stats()["warnings"]
    assert text.startswith(
        "1 workers with 1024 file descriptors each hold 992 connections, fewer than "
        "limits.connections (2000): LimitNOFILE=2032 in the unit"
    )
    assert text in one.log()
    assert text in run(CTL, "-s", one.admin_socket, "status")[0]


@pytest.mark.parametrize("nofile, warned", [(2031, True), (2032, False)])
def test_just_enough_descriptors(gateway, nofile, warned):
    one = gateway(config(limits={"connections": 2000}), nofile=nofile)
    assert bool(one.stats()["warnings"]) == warned
    assert ("LimitNOFILE" in short(one.get("/tuning"))) == warned


@AS_ROOT
@pytest.mark.parametrize("nofile, warned", [(1999, True), (2000, False)])
def test_descriptors_that_a_restart_needs(gateway, nofile, warned):
    """Two workers hold them with half of that."""
    two = config(limits={"connections": 2000}, workers=2)
    one = gateway(two, nofile=nofile, prefix=AS_ANOTHER, open_to_all=True)
    text = "a restart passes on 1999 of 2000 connections, those to servers included, and closes "
    assert [text in line for line in one.stats()["warnings"]] == [True] * warned
    assert (text in one.log()) == warned


@pytest.mark.parametrize("nofile, warned", [(2031, True), (2032, False)])
def test_just_enough_descriptors_for_a_relay(gateway, nofile, warned):
    upstream = {"servers": ["unix:/nowhere"], "health": {"interval": 0}}
    listener = {"service": "relay", "upstream": upstream}
    one = gateway(config(limits={"connections": 1000}, listener=listener), nofile=nofile)
    texts = [text for text in one.stats()["warnings"] if "descriptors" in text]
    assert bool(texts) == warned
    assert one.stats()["limits"]["worker_connections"] == (nofile - 32) // 2
    if warned:
        assert texts[0].startswith(
            "1 workers with 2031 file descriptors each hold 999 connections (a client of a relay "
            "needs two descriptors), fewer than limits.connections (1000): LimitNOFILE=2032"
        )


# GET /tuning and millgatectl tune.


def test_the_gateway_tells_of_itself(gateway):
    one = gateway(config({"fs.nr_open": MAX}, limits=MILLION), nofile=5000)
    tuning = one.get("/tuning")
    assert finding(tuning, "LimitNOFILE")["now"] == "5000"
    assert finding(tuning, "fs.nr_open", configured=True)["status"] == "short"
    assert tuning["short"] + tuning["harmful"] == len(short(tuning)) > 2
    assert one.admin("POST", "/tuning")[0] == 405
    assert one.admin("GET", "/tuning?x=1")[0] == 400


def test_wants_can_be_reloaded(gateway):
    one = gateway(config())
    assert not [f for f in one.get("/tuning")["findings"] if f["configured"]]
    assert one.reload(sysctl={"want": {"fs.nr_open": MAX}}) == ["sysctl.want"]
    assert finding(one.get("/tuning"), "fs.nr_open", configured=True)["status"] == "short"


def test_tune_exits_with_1(gateway):
    one = gateway(config(limits=MILLION))
    out, err = run(CTL, "-s", one.admin_socket, "tune", status=1)
    assert re.search(r"^short +net\.core\.somaxconn ", out, re.M) and err == ""
    assert (
        "\nnet.core.somaxconn = "
        in run(CTL, "-s", one.admin_socket, "tune", "--sysctl", status=1)[0]
    )
    assert "LimitNOFILE=" in run(CTL, "-s", one.admin_socket, "tune", "--unit", status=1)[0]


def test_tune_exits_with_0(gateway):
    little = {"connections": 10, "queued_bytes": "1MiB"}
    one = gateway(config(limits=little, listener={"address": "unix:DIR/a", "backlog": 16}))
    out, _ = run(CTL, "-s", one.admin_socket, "tune")
    assert " 0 short" in out


def test_tune_without_a_gateway(tmp_path):
    out, err = run(CTL, "-s", tmp_path / "none", "tune", status=3)
    assert out == "" and "millgated --tune" in err


# Setting things, in a network namespace where it does no harm.


@pytest.fixture
def apart(gateway):
    """A gateway in a network namespace of its own: (gateway, run in there)."""

    def start(limits, listener, want):
        one = gateway(config(want, limits=limits, listener=listener), prefix=["unshare", "--net"])

        def inside(*command, status=0):
            return run("nsenter", f"--target={one.pid}", "--net", *command, status=status)

        return one, inside

    return start


LITTLE = {"connections": 10, "queued_bytes": "1MiB"}


@needs_namespace
def test_apply_sets_what_falls_short(apart):
    one, inside = apart(LITTLE, {"backlog": 30000}, {})
    key = "/proc/sys/net/core/somaxconn"
    before = inside("cat", key)[0].strip()
    outside = run("cat", key)[0]
    assert "net.core.somaxconn" in short(one.get("/tuning"))
    out, err = inside(CTL, "-s", one.admin_socket, "tune", "--apply")
    assert f"net.core.somaxconn = 30000  (it was {before})" in out and err == ""
    assert inside("cat", key)[0] == "30000\n"
    assert run("cat", key)[0] == outside
    assert finding(one.get("/tuning"), "net.core.somaxconn")["status"] == "ok"
    out, _ = inside(CTL, "-s", one.admin_socket, "tune", "--apply")
    assert out == "There is nothing to set in the kernel.\n"


@needs_namespace
def test_apply_ends_what_harms(apart):
    one, inside = apart(LITTLE, {}, {})
    inside("sysctl", "-w", "net.ipv4.tcp_sack=0", "net.ipv4.tcp_syncookies=2")
    assert short(one.get("/tuning")) == ["net.ipv4.tcp_sack", "net.ipv4.tcp_syncookies"]
    out, _ = inside(CTL, "-s", one.admin_socket, "tune", status=1)
    assert out.count("\nharmful ") == 2
    inside(CTL, "-s", one.admin_socket, "tune", "--apply")
    assert inside("sysctl", "-n", "net.ipv4.tcp_sack")[0] == "1\n"
    assert inside("sysctl", "-n", "net.ipv4.tcp_syncookies")[0] == "1\n"


@needs_namespace
def test_apply_says_what_it_could_not_do(apart):
    one, inside = apart(LITTLE, {"backlog": 30000}, {"net.ipv4.ip_forward": 2**40})
    out, err = inside(CTL, "-s", one.admin_socket, "tune", "--apply", status=1)
    assert "net.core.somaxconn = 30000" in out
    assert "is no setting that --apply knows" in err
    assert "Still short or harmful" in out and "net.ipv4.ip_forward" in out


@needs_namespace
def test_apply_elsewhere_is_noticed(apart):
    """Set in one network namespace, while the gateway lives in another."""
    one, inside = apart(LITTLE, {"backlog": 30000}, {})
    out, _ = run("unshare", "--net", CTL, "-s", one.admin_socket, "tune", "--apply", status=1)
    assert "net.core.somaxconn = 30000" in out
    assert "as the gateway sees it" in out
    assert "net.core.somaxconn" in short(one.get("/tuning"))


@needs_namespace
def test_a_port_of_a_listener_is_reserved(apart):
    one, inside = apart(LITTLE, {"address": "0.0.0.0:40000"}, {})
    assert short(one.get("/tuning")) == ["net.ipv4.ip_local_port_range"]
    inside("sysctl", "-w", "net.ipv4.ip_local_reserved_ports=45000")
    inside(CTL, "-s", one.admin_socket, "tune", "--apply")
    assert inside("sysctl", "-n", "net.ipv4.ip_local_reserved_ports")[0] == "40000,45000\n"


@needs("sysctl")
@needs_namespace
def test_sysctl_loads_the_file_and_all_is_well(apart, tmp_path):
    one, inside = apart(LITTLE, {"backlog": 30000}, {})
    file = tmp_path / "60-millgate.conf"
    file.write_text(inside(CTL, "-s", one.admin_socket, "tune", "--sysctl", status=1)[0])
    inside("sysctl", f"--load={file}")
    assert short(one.get("/tuning")) == []
    again, _ = inside(CTL, "-s", one.admin_socket, "tune", "--sysctl")
    assert again == file.read_text(), "so that writing it once more loses nothing"


@needs_namespace
def test_what_a_namespace_hides_is_unknown(apart):
    one, inside = apart(LITTLE, {}, {})
    hidden = finding(one.get("/tuning"), "net.ipv4.tcp_mem")
    if hidden["status"] != "unknown":
        pytest.skip("this kernel does not hide it")
    assert hidden["now"] == "" and "host" in hidden["how"]
