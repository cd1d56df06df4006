"""
Tests of when something happens. While a machine stands still (another machine on the same hardware,
a burst of something else) it says nothing of the program, and a test that fails meanwhile is run
again; one that fails on a machine that kept going has failed. conftest.py has them be repeated that
are marked `measures` or `alone`.
"""

import functools
import itertools
import os
import threading
import time

ATTEMPTS = 5
STEP = 0.005  # seconds that a watcher sleeps
STALL = 0.05  # seconds that it may be late


class Watch:
    """How long each CPU kept a thread waiting at most: `longest`, seconds."""

    def __init__(self):
        self.longest = 0.0
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self.watch, args=[cpu]) for cpu in os.sched_getaffinity(0)
        ]

    def watch(self, cpu):
        os.sched_setaffinity(0, {cpu})  # of this thread
        while not self.over.is_set():
            before = time.monotonic()
            time.sleep(STEP)
            self.longest = max(self.longest, time.monotonic() - before - STEP)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        for thread in self.threads:
            thread.join()


def repeated(test):
    """A test that is called again if it failed while the machine stood still."""

    @functools.wraps(test)
    def run(*args, **options):
        for attempt in itertools.count(1):
            with Watch() as watch:
                try:
                    return test(*args, **options)
                except Exception as error:
                    if attempt == ATTEMPTS or watch.longest < STALL:
                        raise
                    print(f"again, since a CPU stood still for {watch.longest:.3f} s: {error!r}")

    return run
