"""Keys; sealing and opening of payloads."""

import hashlib
import hmac
import os

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import corrupt, denied
from .header import HMAC, TAG, Tbk1, Tbk2, replace, split


def argon2id(password, salt, memory, time, lanes, length=32):
    return hash_secret_raw(password, salt, time_cost=time, memory_cost=memory, parallelism=lanes,
                           hash_len=length, type=Type.ID, version=0x13)


def tbk1_keys(password, salt, iterations):
    """(AES-256 key, HMAC key)"""
    both = hashlib.pbkdf2_hmac("sha256", password, salt, iterations, 64)
    return both[:32], both[32:]


def gcm_encrypt(key, nonce, plaintext):
    if 8 <= len(nonce) <= 128:
        return AESGCM(key).encrypt(nonce, plaintext, None)
    return _gcm_any_nonce(key, nonce, plaintext)


def _gcm_any_nonce(key, nonce, plaintext):
    """GCM as in SP 800-38D, for nonce lengths that the library does not support. Slow."""
    def block(data):
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        return encryptor.update(data) + encryptor.finalize()

    h = int.from_bytes(block(bytes(16)), "big")

    def multiply(x):
        z, v = 0, h
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                z ^= v
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        return z

    def ghash(data):
        y = 0
        for at in range(0, len(data), 16):
            y = multiply(y ^ int.from_bytes(data[at:at + 16], "big"))
        return y

    def padded(data):
        return data + bytes(-len(data) % 16)

    if len(nonce) == 12:
        j0 = int.from_bytes(nonce + b"\0\0\0\1", "big")
    else:
        j0 = ghash(padded(nonce) + bytes(8) + (8 * len(nonce)).to_bytes(8, "big"))
    high, counter = j0 >> 32 << 32, j0 & 0xFFFFFFFF
    out = bytearray()
    for at in range(0, len(plaintext), 16):
        counter = (counter + 1) & 0xFFFFFFFF
        stream = block((high | counter).to_bytes(16, "big"))
        out += bytes(a ^ b for a, b in zip(plaintext[at:at + 16], stream))
    lengths = bytes(8) + (8 * len(out)).to_bytes(8, "big")
    tag = ghash(padded(bytes(out)) + lengths) ^ int.from_bytes(block(j0.to_bytes(16, "big")), "big")
    return bytes(out) + tag.to_bytes(16, "big")


def cbc(key, iv, data, encrypt):
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    context = cipher.encryptor() if encrypt else cipher.decryptor()
    return context.update(data) + context.finalize()


def seal_tbk2(payload, password, memory=65536, time=3, lanes=4, salt=None, nonce=None, kdf=1, suite=1,
              key=None):
    """An archive around any payload; for a valid one, that is a gzipped tar."""
    header = Tbk2(salt=os.urandom(32) if salt is None else salt,
                  nonce=os.urandom(12) if nonce is None else nonce,
                  payload_length=len(payload) + TAG, memory=memory, time=time, lanes=lanes,
                  kdf=kdf, suite=suite)
    if key is None:
        key = argon2id(password, header.salt, memory, time, lanes)
    return header.pack() + gcm_encrypt(key, header.nonce, payload)


def seal_tbk1(payload, password, iterations=600000, salt=None, iv=None, padding=None):
    """A TBK1 archive. `padding` replaces the PKCS#7 padding, for hostile archives."""
    header = Tbk1(salt=os.urandom(32) if salt is None else salt,
                  iv=os.urandom(16) if iv is None else iv, iterations=iterations)
    key, mac_key = tbk1_keys(password, header.salt, iterations)
    if padding is None:
        count = 16 - len(payload) % 16
        padding = bytes([count]) * count
    ciphertext = cbc(key, header.iv, payload + padding, encrypt=True)
    tag = hmac.digest(mac_key, header.iv + ciphertext, "sha256")
    return replace(header, payload_length=len(ciphertext)).pack() + ciphertext + tag


def open_archive(archive, password):
    """(header, decrypted payload) of TBK2 or TBK1; nothing is interpreted before the tag is verified."""
    header, payload = split(archive)
    if header.format == "TBK2":
        key = argon2id(password, header.salt, header.memory, header.time, header.lanes)
        if not 8 <= len(header.nonce) <= 128:
            raise corrupt(f"a nonce of {len(header.nonce)} bytes is not supported here")
        try:
            return header, AESGCM(key).decrypt(header.nonce, payload, None)
        except InvalidTag:
            raise denied("wrong password, or the archive was altered") from None
    key, mac_key = tbk1_keys(password, header.salt, header.iterations)
    ciphertext, tag = payload[:-HMAC], payload[-HMAC:]
    if not hmac.compare_digest(hmac.digest(mac_key, header.iv + ciphertext, "sha256"), tag):
        raise denied("wrong password, or the archive was altered")
    plain = cbc(key, header.iv, ciphertext, encrypt=False)
    count = plain[-1]
    if not 1 <= count <= 16 or plain[-count:] != bytes([count]) * count:
        raise corrupt("bad padding")
    return header, plain[:-count]
