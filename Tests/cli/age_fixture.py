"""Identities and age files."""

import subprocess

import pytest
from conftest import PATIENCE, require
from tbkref import age

ONE, TWO = age.Identity(bytes(range(1, 33))), age.Identity(bytes(range(2, 34)))
FILE_KEY, SALT = bytes(range(16)), bytes(range(16, 32))


def stock(*arguments, input=b"", status=0):
    require("age")
    done = subprocess.run(arguments, input=input, capture_output=True, timeout=PATIENCE)
    assert done.returncode == status, done.stderr
    return done.stdout


def with_passphrase(message, text, log_n=10):
    stanzas = [age.Passphrase(text).wrap(FILE_KEY, bytes(16), log_n)]
    return age.header(FILE_KEY, stanzas) + age.payload(FILE_KEY, message, SALT)


@pytest.fixture
def key(tbk, tmp_path):
    """An identity file written by tbk-keygen."""
    path = tmp_path / "key"
    tbk.run("tbk-keygen", "-o", path)
    return path
