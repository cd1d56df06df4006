"""
The manual pages: complete, as fresh as the programs, and without a complaint of those who set them.
"""

import json
import os
import re
import shutil
import subprocess

import pytest

from gateway import BUILD, ROOT, SANITIZER_ENVIRONMENT

NAMES = ["millgate-bench.1", "millgate.json.5", "millgate.7", "millgatectl.8", "millgated.8"]
EACH_PAGE = pytest.mark.parametrize("name", NAMES)
TABLES = {
    ("millgated", "conf"): "millgate.json.5",
    ("millgated", "metrics"): "millgate.7",
    ("millgated", "commands"): "millgatectl.8",
    ("millgated", "close_reasons"): "millgate.7",
    ("millgated", "sysctl"): "millgate.7",
    ("millgate-bench", "options"): "millgate-bench.1",
    ("millgate-bench", "counters"): "millgate-bench.1",
    ("millgate-bench", "hints"): "millgate-bench.1",
}
BLOCK = re.compile(
    r'^\.\\" begin: (\S+) --describe=(\S+) --mdoc\n(.*?)^\.\\" end\n', re.DOTALL | re.MULTILINE
)
ENVIRONMENT = {**os.environ, **SANITIZER_ENVIRONMENT, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"}


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"needs {program}")


def page(name):
    return (BUILD / "man" / name).read_text()


def run(*command, status=0, **options):
    """What it printed on stdout and stderr."""
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=60,
        env=ENVIRONMENT,
        **options,
    )
    assert done.returncode == status, done
    return done.stdout, done.stderr


# Form.


@needs("mandoc")
@EACH_PAGE
def test_mandoc_has_nothing_to_say(name):
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "all", str(BUILD / "man" / name)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    # Which other manuals are installed here is not the page's fault.
    said = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert said == []


@needs("man")
@needs("groff")
@EACH_PAGE
def test_man_has_nothing_to_say(name):
    out, err = run("man", "-l", "--warnings", BUILD / "man" / name)
    assert err == ""
    assert len(out.splitlines()) > 50


@EACH_PAGE
def test_our_manuals_that_are_referred_to_are_there(name):
    found = re.findall(r"^\.Xr (millgate\S*) (\d)", page(name), re.MULTILINE)
    assert found
    for title, section in found:
        assert f"{title}.{section}" in NAMES


@EACH_PAGE
def test_nothing_is_left_to_be_filled_in(name):
    assert not re.search(r'@[a-z]+@|\.\\" @', page(name))


# Freshness.


@pytest.mark.parametrize("program, table", TABLES)
def test_every_table_is_what_the_program_says(program, table):
    blocks = {
        (block_program, block_table): text
        for block_program, block_table, text in BLOCK.findall(page(TABLES[program, table]))
    }
    expected, _ = run(BUILD / program, f"--describe={table}", "--mdoc")
    assert blocks[program, table] == expected


@EACH_PAGE
def test_the_rest_is_what_the_template_says(name):
    template = (ROOT / "man" / f"{name}.in").read_text()
    template = re.sub(r'^\.\\" @.*@\n', "", template, flags=re.MULTILINE)
    pattern = re.sub(r"@[a-z]+@", r"\\S+", re.escape(template))
    assert re.fullmatch(pattern, BLOCK.sub("", page(name)))


def test_no_table_is_without_a_page():
    for program, option in (("millgated", "--describe=?"), ("millgate-bench", "--describe=?")):
        _, err = run(BUILD / program, option, status=2)
        names = re.search(r"there are (.*)", err).group(1).split(", ")
        assert sorted(names) == sorted(table for one, table in TABLES if one == program)


# Completeness: row by row from the source, without the programs.


def plain(text):
    """The words of mdoc source, unescaped."""
    for escape, character in (
        *(("\\&", ""), ("\\%", ""), ("\\-", "-"), ("\\ ", " "), ("\\(dq", '"')),
        *(("\\(ti", "~"), ("\\(ha", "^"), ("\\(ga", "`"), ("\\e", "\\")),
    ):
        text = text.replace(escape, character)
    return " ".join(word for word in text.split() if word != ".br")


def entries(program, table):
    """The entries of a list: {term: what is said of it}; a term's last is that of several."""
    blocks = {found[:2]: found[2] for found in BLOCK.findall(page(TABLES[program, table]))}
    items = re.split(r"^\.It (.*)\n", blocks[program, table], flags=re.MULTILINE)[1:]
    found = {}
    for term, text in zip(items[::2], items[1::2]):
        found.setdefault(plain(term), "")
        found[plain(term)] += plain(text) + " "
    return found


ARGUMENT = re.compile(r'(?:"(?:\\.|[^"\\])*"|\((?:[^()]|\([^()]*\))*\)|[^,"()])+')
STRING = re.compile(r'"((?:\\.|[^"\\])*)"')


def unquoted(argument):
    """A C argument as text: a string, which may be in parts, or what stands there."""
    parts = STRING.findall(argument)
    return json.loads(f'"{"".join(parts)}"') if parts else argument.strip()


def rows(name, macro):
    """The arguments of each row of a table of the source."""
    text = (ROOT / "src" / f"{name}.def").read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    calls = re.findall(rf"^{macro}\((.*?)\)$", text, re.DOTALL | re.MULTILINE)
    assert len(calls) == len(re.findall(rf"^{macro}\(", text, re.MULTILINE)) > 0
    return [[unquoted(one) for one in ARGUMENT.findall(call)] for call in calls]


@pytest.mark.parametrize("scope, prefix", [("GLOBAL", ""), ("LISTENER", "listeners.NAME.")])
def test_every_key_is_there(scope, prefix):
    found = entries("millgated", "conf")
    for row in rows("conf", f"CONF_{scope}"):
        path, _, kind, words, default, low, high, unit, applies, text = row
        said = found[f"Cm {prefix}{path}"]
        assert text in said
        assert f"default: {default.replace('@', 'that of ', 1) or 'none'};" in said
        assert f"applies on {applies.lower()}." in said
        assert all(f'"{word}"' in said for word in words.split("|") if word)
        if kind in ("UINT", "AUTO"):
            lowest = 0 if unit.startswith("0|") else low
            assert f"{lowest} to {high} {unit.removeprefix('0|')};" in said
        elif kind in ("DURATION", "SIZE", "MODE"):
            assert re.search(r' "?\w+"? to "?\w+"?\b', said), "the range, with its units"
        elif kind in ("STRING", "PATH", "CIDRS", "SYSCTLS"):
            assert high in said


def test_every_metric_is_there():
    found = entries("millgated", "metrics")
    for macro, prefix in (("METRIC", ""), ("METRIC_LISTENER", "listener_"), ("METRIC_SPLIT", "")):
        for row in rows("metrics", macro):
            _, name, *labels, kind, unit, text = row
            labels = ["listener"] if macro == "METRIC_LISTENER" else labels
            said = found[f"Va {prefix}{name}" + "".join(f"{{{label}}}" for label in labels)]
            assert f"{kind.capitalize()}, {unit or 'no unit'}." in said
            assert text in said


def test_every_metric_that_a_gateway_tells_is_there(gateway):
    text = gateway({"listeners": {"hold": {}}}).request("GET", "/metrics")[2].decode()
    told = re.findall(r"^# TYPE millgate_(\S+) (\S+)$", text, re.MULTILINE)
    assert len(told) > 20
    found = entries("millgated", "metrics")
    for name, kind in told:
        said = [said for term, said in found.items() if re.match(rf"Va {name}(\{{|$)", term)]
        assert len(said) == 1 and said[0].startswith(kind.capitalize())


def test_every_command_is_there():
    text = page("millgatectl.8")
    found = entries("millgated", "commands")
    for row in rows("commands", "COMMAND"):
        _, method, path, access, _, verb, usage, text = row
        term = f"Cm {verb}" if verb else f"Cm {method} {path}"
        said = [said for one, said in found.items() if f"{one} ".startswith(f"{term} ")]
        assert len(said) == 1, term
        assert text in said[0]
        assert not method or f"Access: {access.lower()}." in said[0]
        assert not (method and verb) or f"{method} {path}." in said[0]
        assert all(f"Fl -{option}" in page("millgatectl.8") for option in options_of(usage))


def options_of(usage):
    return re.findall(r"--([a-z-]+)", usage)


def test_every_close_reason_is_there_with_advice():
    found = entries("millgated", "close_reasons")
    for row in rows("close_reason", "CLOSE"):
        _, name, kind, code, text, advice = row
        said = found[f"Cm {name}"]
        assert f"Class: {kind.lower()}" in said
        assert (f"WebSocket {code}." in said) == (code != "0")
        assert text in said and advice in said
        assert len(advice.split()) > 5, "not advice but a word"


def test_every_demand_on_the_machine_is_there():
    text = page("millgate.7")
    found = entries("millgated", "sysctl")
    for row in rows("sysctl", "TUNE"):
        _, _, key, _, part, rule, _, _, _, why, _ = row
        said = found[f"Va {key} ({part})" if part else f"Va {key}"]
        assert f"{why}." in said
        assert ("Wanted: " in said) or rule == "UNUSED"
    for macro in ("TUNE_GIVEN", "TUNE_DERIVED"):
        for row in rows("sysctl", macro):
            assert f"Va {row[0]}" in found
    assert "sysctl --system" in text


def test_every_option_of_the_bench_is_there():
    found = entries("millgate-bench", "options")
    for row in rows("bench_option", "BENCH_OPTION"):
        _, name, letter, argument, _, kind, default, _, _, text = row
        letter = f"Fl {letter[1]} , " if letter != "0" else ""
        argument = f" Ar {argument}" if argument != "NULL" else ""
        said = found[f"{letter}Fl -{name}{argument}"]
        assert text[1:] in said
        assert (f"Default: {default}." in said) == (default != "")
        assert ("Allowed: " in said) == (kind in ("COUNT", "NUMBER", "DURATION", "SIZE"))


def test_every_counter_and_hint_of_the_bench_is_there():
    found = entries("millgate-bench", "counters")
    for row in rows("bench_counter", "BENCH_COUNTER"):
        assert row[3][1:] in found[f"Va {row[1]}"]
    found = entries("millgate-bench", "hints")
    for row in rows("bench_hint", "BENCH_HINT"):
        assert row[1][1:] in found[f"Er {row[0]}"]


@pytest.mark.parametrize("program", ["millgated", "millgatectl", "millgate-bench"])
def test_every_option_of_the_help_is_there(program):
    name = next(name for name in NAMES if name.startswith(f"{program}."))
    out, _ = run(BUILD / program, "--help")
    options = set(re.findall(r"(?<![\w-])--([a-z-]+)", out))
    assert len(options) > 3
    for option in options:
        assert re.search(rf"\bFl -{option}\b|[|] -{option}\b", page(name)), option
