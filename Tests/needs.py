"""What a test needs of the machine."""

import os
import shutil

import pytest


def absent(what):
    """Skips for want of `what`, or fails where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not there", pytrace=False)
    pytest.skip(f"{what} is not there")


def require(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            absent(tool)
