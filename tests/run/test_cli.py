"""The command line of millgated: what it prints, what it refuses, how it exits."""

import json
import os
import re
import subprocess

import pytest

from gateway import MILLGATED, ROOT, SANITIZER_ENVIRONMENT, SANITIZER_REPORT

CONF = ROOT / "tests" / "conf"
GOOD = sorted((CONF / "good").glob("*.json"))
BAD = sorted((CONF / "bad").glob("*.json"))
EACH_GOOD = pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
EACH_BAD = pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
NOBODY = 65534

# A JSON Schema sees these, and most others; what values must be to each other it does not.
STRUCTURAL = [
    *("addresses", "admin-socket", "dotted-keys", "durations", "empty-listeners", "fractions"),
    *("groups-not-objects", "heartbeat-nul", "listener-names", "listener-not-an-object"),
    *("listeners-not-an-object", "long-value", "modes", "no-listeners", "not-an-object"),
    *("nul-in-key", "nul-in-texts", "odd-keys", "out-of-range", "ranges", "schema-not-text"),
    *("sizes", "sysctls", "sysctls-not-an-object", "too-many-listeners", "too-many-ranges"),
    *("too-many-sysctls", "unknown-keys", "unknown-listeners"),
    *("lists-of-texts", "words", "wrong-types"),
]

TABLES = {
    "conf": r'CONF_(?:GLOBAL|LISTENER)\("([^"]+)"',
    "metrics": r"METRIC(?:_LISTENER)?\(\w+, (\w+), (?:GAUGE|COUNTER)",
    "commands": r'COMMAND\(\w+,[^)]*?"([a-z]+)",\s*"[a-z]+',
    "close_reasons": r'CLOSE\(\w+, "(\w+)"',
    "sysctl": r'TUNE\(\w+, \w+, "([\w.-]+)"',
}


def run(*arguments, **options):
    """How it ends; it must say nothing of the sanitizers'."""
    done = subprocess.run(
        [str(MILLGATED), *map(str, arguments)],
        **{"stdout": subprocess.PIPE, **options},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env={**os.environ, **SANITIZER_ENVIRONMENT},
    )
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return done


def output(*arguments, **options):
    """What it prints when all is well."""
    done = run(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def complaint(*arguments, status, **options):
    """What it says when it is not."""
    done = run(*arguments, **options)
    assert (done.returncode, done.stdout or "") == (status, ""), done
    assert done.stderr
    return done.stderr


# Help and version.


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(option):
    text = output(option)
    names = ["config", "check", "print-config", "json-schema", "describe", "tune", "sysctl", "unit"]
    for name in (*names, "json", "mdoc", "machine", "version", "help"):
        assert f"--{name}" in text
    lines = [line for line in text.splitlines() if "--config" not in line]
    assert all(len(line) <= 80 for line in lines), "but where the path stands"


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option):
    assert re.fullmatch(r"millgated \d+\.\d+\.\d+\n", output(option))


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--colour"], "unrecognized option"),
        (["-x"], "invalid option"),
        (["--config"], "requires an argument"),
        (["-c"], "requires an argument"),
        (["--check"], "requires an argument"),
        (["--describe"], "requires an argument"),
        (["--version=1"], "doesn't allow an argument"),
        (["millgate.json"], "unexpected argument 'millgate.json'"),
        (["--check", GOOD[0], "more"], "unexpected argument 'more'"),
        ([""], "unexpected argument ''"),
        (["--describe=colours"], "no table 'colours'; there are conf, metrics, commands"),
        (["--describe="], "no table ''"),
        (["--sysctl"], "go with --tune"),
        (["--unit", "--print-config"], "go with --tune"),
        (["--mdoc"], "goes with --describe"),
        (["--machine", "/dev/null"], "goes with --tune"),
        (["--tune", "more"], "unexpected argument 'more'"),
    ],
)
def test_wrong_usage(arguments, expected):
    assert expected in complaint(*arguments, status=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["--json-schema"],
        ["--describe=conf"],
        ["--print-config", "--config", GOOD[0]],
        ["--tune", "--config", GOOD[0]],
    ],
    ids=lambda arguments: arguments[0],
)
def test_output_that_cannot_be_written(arguments):
    with open("/dev/full", "wb") as full:
        text = complaint(*arguments, status=1, stdout=full)
    assert text == "millgated: standard output: No space left on device\n"


# Checking files.


@EACH_GOOD
def test_check_of_good_files(path):
    assert output("--check", path) == ""


@EACH_BAD
def test_check_names_every_error(path):
    expected = path.with_suffix(".expected").read_text().splitlines()
    text = complaint("--check", path.name, status=1, cwd=path.parent)
    assert text.splitlines() == [f"millgated: {line}" for line in expected]


def test_start_with_a_bad_file_names_every_error():
    path = CONF / "bad" / "out-of-range.json"
    text = complaint("--config", path, status=1)
    assert text == complaint("--check", path, status=1)
    assert len(text.splitlines()) > 5


def test_the_installed_examples_are_good():
    examples = sorted((ROOT / "conf").glob("*.json"))
    assert examples
    for path in examples:
        assert output("--check", path) == ""


ONLY = pytest.mark.parametrize("option", ["--check", "--config"])


@ONLY
@pytest.mark.parametrize(
    "path, expected",
    [
        ("/nowhere/millgate.json", "No such file or directory"),
        ("/etc", "Is a directory"),
        ("/dev/zero", "is too large"),
        ("/dev/null", "/dev/null:1:1: "),
        ("", "No such file or directory"),
        ("/etc/passwd/x", "Not a directory"),
    ],
)
def test_files_that_cannot_be_read(option, path, expected):
    text = complaint(option, path, status=1)
    assert text.startswith(f"millgated: {path}") and expected in text
    assert len(text.splitlines()) == 1


@ONLY
def test_file_without_permission(option, tmp_path):
    path = tmp_path / "millgate.json"
    path.write_text(GOOD[0].read_text())
    path.chmod(0)
    user = {} if os.geteuid() else {"user": NOBODY}
    try:
        text = complaint(option, path, status=1, **user)
    except PermissionError:
        pytest.skip(f"user {NOBODY} may not run {MILLGATED}")
    assert text == f"millgated: {path}: cannot be read: Permission denied\n"


# Printing.


@EACH_GOOD
def test_printed_config_prints_itself(path, tmp_path):
    printed = output("--print-config", "--config", path)
    assert printed == path.with_suffix(".expected").read_text()
    again = tmp_path / "printed.json"
    again.write_text(printed)
    assert output("--config", again, "--print-config") == printed
    assert output("--check", again) == ""


def test_bad_config_is_not_printed():
    complaint("--print-config", "--config", CONF / "bad" / "words.json", status=1)


@pytest.mark.parametrize("table", TABLES)
def test_description_mentions_every_row(table):
    name = "close_reason" if table == "close_reasons" else table
    found = re.findall(TABLES[table], (ROOT / "src" / f"{name}.def").read_text())
    assert len(found) > 10
    text = output(f"--describe={table}")
    for row in found:
        assert re.search(rf"\b(listener_)?{re.escape(row)}\b", text), row
    assert text.count("\n\n") >= len(set(found))


# The schema.


def load(path):
    """The JSON of a file, if it is any."""
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError):
        return None


@pytest.fixture(scope="module")
def schema():
    jsonschema = pytest.importorskip("jsonschema", reason="Debian package python3-jsonschema")
    text = json.loads(output("--json-schema"))
    jsonschema.Draft202012Validator.check_schema(text)
    return jsonschema.Draft202012Validator(text)


@pytest.mark.parametrize(
    "path", GOOD + sorted((ROOT / "conf").glob("*.json")), ids=lambda p: p.stem
)
def test_schema_takes_what_is_good(schema, path):
    schema.validate(load(path))
    schema.validate(json.loads(output("--print-config", "--config", path)))


@pytest.mark.parametrize("name", STRUCTURAL)
def test_schema_refuses_what_is_bad(schema, name):
    found = load(CONF / "bad" / f"{name}.json")
    assert found is not None and not schema.is_valid(found)


def test_schema_describes_every_key(schema):
    def walk(properties):
        for name, item in properties.items():
            assert item.get("description") or "properties" in item or "$ref" in item, name
            walk(item.get("properties", {}))

    properties = dict(schema.schema["properties"])
    assert properties.pop("$schema") == {"type": "string"}, "for editors"
    walk(properties)
    keys = re.findall(TABLES["conf"], (ROOT / "src" / "conf.def").read_text())
    text = json.dumps(schema.schema)
    for key in keys:
        assert all(f'"{part}": {{' in text for part in key.split(".")), key
