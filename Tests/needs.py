"""What a test requires of the machine."""

import os
import shutil

import pytest


def absent(what):
    """Skips the test because `what` is missing; fails it under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not there", pytrace=False)
    pytest.skip(f"{what} is not there")


def require(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            absent(tool)
