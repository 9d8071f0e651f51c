"""C2SP chunked-encryption with SHA-512 and AES-256-GCM, as in suite 3."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHUNK = 16 * 1024
TAG = 16
SALT = 24
COMMITMENT = 32


def keys(key, salt, context):
    """(key of the chunks, base nonce, commitment)"""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    out = HKDFExpand(hashes.SHA512(), 32 + 12 + COMMITMENT, info).derive(key)
    return out[:32], out[32:44], out[44:]


def nonce(base, index):
    return (int.from_bytes(base, "big") ^ index).to_bytes(12, "big")


def encrypt(message, key, context, salt):
    chunk_key, base, commitment = keys(key, salt, context)
    aead = AESGCM(chunk_key)
    chunks = [message[at:at + CHUNK] for at in range(0, len(message) + 1, CHUNK)]
    return salt + commitment + b"".join(aead.encrypt(nonce(base, at), chunk, None) for at, chunk in enumerate(chunks))


def decrypt(message, key, context):
    chunk_key, base, commitment = keys(key, message[:SALT], context)
    if message[SALT:SALT + COMMITMENT] != commitment:
        raise ValueError("another key or context")
    aead, body, out = AESGCM(chunk_key), message[SALT + COMMITMENT:], b""
    for index, at in enumerate(range(0, len(body), CHUNK + TAG)):
        out += aead.decrypt(nonce(base, index), body[at:at + CHUNK + TAG], None)
    if len(body) % (CHUNK + TAG) < TAG:
        raise ValueError("the last chunk is missing")
    return out
