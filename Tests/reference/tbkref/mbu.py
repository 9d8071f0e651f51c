"""mbu packages: written and read, with the matching settings."""

import base64
import hashlib
import hmac
import io
import os
import tarfile

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import corrupt, denied, gz, tars

IV = TAG = 16


def key(password, salt, iterations):
    """PBKDF2 (RFC 8018, 5.2), its first block by hand: not every hashlib supports it with BLAKE2s."""
    pad = password if len(password) <= 64 else hashlib.blake2s(password).digest()
    running = hmac.new(pad, digestmod="blake2s")

    def step(data):
        mac = running.copy()
        mac.update(data)
        return mac.digest()

    block = step(salt + b"\0\0\0\1")
    total = int.from_bytes(block, "big")
    for _ in range(iterations - 1):
        block = step(block)
        total ^= int.from_bytes(block, "big")
    return total.to_bytes(32, "big")


def seal(payload, password, salt, iterations, iv=None):
    """A package around any payload; for a valid one, that is a tar.gz."""
    iv = os.urandom(IV) if iv is None else iv
    sealed = AESGCM(key(password, salt, iterations)).encrypt(iv, payload, None)
    return sealed[:-TAG] + iv + sealed[-TAG:]


def open_package(package, password, salt, iterations):
    """The decrypted payload."""
    if len(package) <= IV + TAG:
        raise corrupt("too short")
    ciphertext, iv, tag = package[:-IV - TAG], package[-IV - TAG:-TAG], package[-TAG:]
    try:
        return AESGCM(key(password, salt, iterations)).decrypt(iv, ciphertext + tag, None)
    except InvalidTag:
        raise denied("wrong password, or the package was altered") from None


def members(package, password, salt, iterations):
    """The members of the tar in a package."""
    return tars.read(gz.decompress(open_package(package, password, salt, iterations)))


def tar(directory, name=None):
    """The tar of one directory, as tarfile writes it for a whole tree."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        file.add(os.fsdecode(directory), arcname=name or os.path.basename(os.fsdecode(directory)))
    return out.getvalue()


def settings(salt, iterations, password=b"", package_directory="packaging/", restore_directory="packaging/contents/"):
    """A config.toml in mbu's format."""
    digest = hashlib.blake2s(password).hexdigest() if password else ""
    return f'''
user_password = "{digest}"
salt = "{base64.b64encode(salt).decode()}"
hash_iterations = {iterations}
[storage]
use_database = false
database_init_script = """CREATE TABLE one (name TEXT); CREATE TABLE two (name TEXT);"""
buffer_size = 2048

[packer]
module = "default_packer"
package_directory = "{package_directory}"
restore_directory = "{restore_directory}"
pigeon_file = "packaging/send/package"

[watcher]
module = "default_watcher"
'''.encode()
