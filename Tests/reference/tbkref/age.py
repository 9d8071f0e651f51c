"""age files (age-encryption.org/v1): X25519 and scrypt stanzas, armor, the payload. A writer that accepts every part as an
argument, and a reader that expects well-formed input."""

import base64
import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FIRST = b"age-encryption.org/v1\n"
CHUNK = 64 * 1024
TAG = 16
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def bech32(prefix, data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at:at + 5], 2) for at in range(0, len(bits), 5)]

    def polymod(values):
        total = 1
        for value in values:
            top = total >> 25
            total = (total & 0x1FFFFFF) << 5 ^ value
            for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                total ^= generator if top >> bit & 1 else 0
        return total

    front = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = polymod(front + values + [0] * 6) ^ 1
    return prefix + "1" + "".join(ALPHABET[v] for v in values + [check >> 5 * (5 - at) & 31 for at in range(6)])


def b64(data):
    return base64.b64encode(data).rstrip(b"=")


def unb64(text):
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)


def hkdf(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


class Identity:
    def __init__(self, scalar):
        self.private = X25519PrivateKey.from_private_bytes(scalar)
        self.text = bech32("age-secret-key-", scalar).upper()
        self.point = self.private.public_key().public_bytes_raw()
        self.recipient = bech32("age", self.point)

    def wrap(self, file_key, ephemeral):
        """The stanza for this identity's recipient."""
        secret = X25519PrivateKey.from_private_bytes(ephemeral)
        share = secret.public_key().public_bytes_raw()
        shared = secret.exchange(X25519PublicKey.from_public_bytes(self.point))
        key = hkdf(shared, share + self.point, b"age-encryption.org/v1/X25519")
        return stanza([b"X25519", b64(share)], ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None))

    def unwrap(self, words, body):
        share = unb64(words[1])
        shared = self.private.exchange(X25519PublicKey.from_public_bytes(share))
        key = hkdf(shared, share + self.point, b"age-encryption.org/v1/X25519")
        return ChaCha20Poly1305(key).decrypt(bytes(12), body, None)


class Passphrase:
    def __init__(self, text):
        self.text = text

    def _key(self, salt, log_n):
        return hashlib.scrypt(self.text, salt=b"age-encryption.org/v1/scrypt" + salt, n=1 << log_n, r=8, p=1, dklen=32,
                              maxmem=(1 << log_n + 11))

    def wrap(self, file_key, salt, log_n):
        key = self._key(salt, log_n)
        return stanza([b"scrypt", b64(salt), b"%d" % log_n], ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None))

    def unwrap(self, words, body):
        return ChaCha20Poly1305(self._key(unb64(words[1]), int(words[2]))).decrypt(bytes(12), body, None)


def stanza(words, body):
    text = b64(body)
    lines = [text[at:at + 64] for at in range(0, len(text) + 1, 64)]
    return b"-> " + b" ".join(words) + b"\n" + b"".join(line + b"\n" for line in lines)


def header(file_key, stanzas):
    text = FIRST + b"".join(stanzas) + b"---"
    mac = hmac.digest(hkdf(file_key, b"", b"header"), text, "sha256")
    return text + b" " + b64(mac) + b"\n"


def nonce(index, last):
    return index.to_bytes(11, "big") + bytes([last])


def chunks(message):
    return [message[at:at + CHUNK] for at in range(0, len(message), CHUNK)] or [b""]


def payload(file_key, message, salt, pieces=None):
    """`pieces`: (chunk, number, whether it is the last one) of each, if they differ from those of the message."""
    aead = ChaCha20Poly1305(hkdf(file_key, salt, b"payload"))
    if pieces is None:
        cut = chunks(message)
        pieces = [(chunk, at, at == len(cut) - 1) for at, chunk in enumerate(cut)]
    return salt + b"".join(aead.encrypt(nonce(at, last), chunk, None) for chunk, at, last in pieces)


def armor(data):
    text = base64.b64encode(data)
    lines = [text[at:at + 64] for at in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN AGE ENCRYPTED FILE-----", *lines, b"-----END AGE ENCRYPTED FILE-----", b""])


def read(data, *keys):
    """The message in an age file."""
    if data.lstrip().startswith(b"-----BEGIN AGE"):
        data = base64.b64decode(b"".join(data.strip().splitlines()[1:-1]), validate=True)
    end = data.index(b"\n---") + 4
    mac, _, body = data[end + 1:].partition(b"\n")
    file_key = None
    for text in data[len(FIRST):end - 3].split(b"-> ")[1:]:
        line, _, rest = text.partition(b"\n")
        words = line.split(b" ")
        for key in keys:
            if words[0] == (b"X25519" if isinstance(key, Identity) else b"scrypt"):
                try:
                    file_key = key.unwrap(words, unb64(rest.replace(b"\n", b"")))
                except InvalidTag:
                    continue
    if file_key is None:
        raise ValueError("no key fits")
    if unb64(mac) != hmac.digest(hkdf(file_key, b"", b"header"), data[:end], "sha256"):
        raise ValueError("the header's MAC is wrong")
    aead, sealed = ChaCha20Poly1305(hkdf(file_key, body[:16], b"payload")), body[16:]
    cut = [sealed[at:at + CHUNK + TAG] for at in range(0, len(sealed), CHUNK + TAG)]
    return b"".join(aead.decrypt(nonce(at, at == len(cut) - 1), chunk, None) for at, chunk in enumerate(cut))
