"""What all black-box tests share: gateways that clean up after themselves."""

import contextlib
import resource

import pytest

from gateway import Gateway
from keeper import Keeper
from measures import repeated
from servers import echoes, full, scripted  # fixtures, for every test

__all__ = ["echoes", "full", "gateway", "keeper", "scripted"]

LOG_SHOWN = 30000  # characters
DESCRIPTORS = 20000  # some tests are ten thousand clients; a login shell often allows 1024

GATEWAYS = pytest.StashKey[list]()
FAILED = pytest.StashKey[bool]()


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "measures: it measures time, and is repeated if the machine stood still"
    )
    config.addinivalue_line("markers", "alone: it measures, and nothing may run beside it")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("measures") or item.get_closest_marker("alone"):
            item.obj = repeated(item.obj)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """The report of a failed test shows what its gateways logged."""
    report = (yield).get_result()
    if not report.failed:
        return
    item.stash[FAILED] = True
    for gateway in item.stash.get(GATEWAYS, []):
        report.sections.append(
            (f"log of millgated in {gateway.directory}", gateway.log()[-LOG_SHOWN:])
        )


@pytest.fixture
def gateway(request):
    """
    Starts gateways: gateway(config, **options) as class Gateway takes them. Those that still run
    when the test has passed must stop cleanly.
    """
    started = request.node.stash.setdefault(GATEWAYS, [])
    with contextlib.ExitStack() as stack:

        def start(config, wait=True, **options):
            one = Gateway(config, **options)
            stack.callback(one.kill)
            started.append(one)
            return one.start(wait)

        yield start
        for one in started:
            if request.node.stash.get(FAILED, False):
                break
            if one.process.poll() is None:
                one.stop()


@pytest.fixture
def keeper(tmp_path, request):
    """Makes keepers: keeper("echo", "hold") opens these listeners."""
    with contextlib.ExitStack() as stack:

        def make(*sockets):
            directory = tmp_path / f"keeper{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            one = Keeper(directory, sockets)
            stack.callback(one.close)
            started = one.start

            def start(*args, **options):
                gateway = started(*args, **options)
                logs = request.node.stash.setdefault(GATEWAYS, [])
                if gateway not in logs:
                    logs.append(gateway)
                return gateway

            one.start = start
            return one

        yield make
