"""Descriptors in flight are counted for each user: one who is nobody but this process of the tests."""

import os

import pytest

_USER = 10**6 + os.getpid()
AS_ANOTHER = ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become someone else")
