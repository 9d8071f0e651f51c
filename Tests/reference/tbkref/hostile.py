"""Archives that a reader must refuse, one fact each.

Each is sealed correctly, under PASSWORD, around content with one fault; if the fact is about
sealing, only the sealing is faulty. Each function here is one fact (its name) or a family of
facts (name and suffix). `catalogue()` lists them; they are built on demand, because the bombs
are big.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from . import crypto, gz
from . import manifest as mf
from .header import Tbk1, Tbk2, replace

PASSWORD = b"correct horse"
SALT = bytes(range(32))
NONCE = bytes(range(12))
IV = bytes(range(16))
COST = {"memory": 64, "time": 2, "lanes": 1}
KEY = crypto.argon2id(PASSWORD, SALT, **COST)
ITERATIONS = 1000
ALL = frozenset({"tar", "extract", "list", "verify"})
OUTSIDE = b"/tmp/termbackup-hostile"  # nothing may ever be written here
MIB = 1 << 20


@dataclass(frozen=True)
class Hostile:
    name: str
    build: Callable[[], bytes]
    expect: frozenset
    modes: frozenset = ALL
    family: str = ""  # the function's name
    tar: frozenset = frozenset()  # statuses when opened as a tar on standard output, if different

    def statuses(self, mode):
        return self.tar if mode == "tar" and self.tar else self.expect


_CATALOGUE = []


def fact(*expect, modes=ALL, tar=()):
    def register(build):
        _CATALOGUE.append(Hostile(build.__name__, build, frozenset(expect or (65,)), frozenset(modes),
                                  build.__name__, frozenset(tar)))
        return build
    return register


def family(cases, *expect, modes=ALL):
    """`cases`: suffix -> argument. The function builds the archive for one argument."""
    def register(build):
        for suffix, argument in cases.items():
            _CATALOGUE.append(Hostile(f"{build.__name__}_{suffix}", lambda a=argument: build(a),
                                      frozenset(expect or (65,)), frozenset(modes), build.__name__))
        return build
    return register


def catalogue():
    names = [hostile.name for hostile in _CATALOGUE]
    assert len(names) == len(set(names)), "two facts of one name"
    return list(_CATALOGUE)


# Making tars by hand


def header(name, size=0, flag=b"0", link=b"", mode=0o644, mtime=b"00000000000\0", size_field=None,
           checksum=None, magic=b"ustar\x0000", device=b"", uid=b"0000000\0"):
    block = bytearray(512)

    def put(at, width, value):
        assert len(value) <= width
        block[at:at + len(value)] = value

    put(0, 100, name)
    put(100, 8, b"%07o\0" % mode)
    put(108, 8, uid)
    put(116, 8, b"0000000\0")
    put(124, 12, b"%011o\0" % size if size_field is None else size_field)
    put(136, 12, mtime)
    put(156, 1, flag)
    put(157, 100, link)
    put(257, 8, magic)
    put(329, 16, device)
    block[148:156] = b"        "
    put(148, 8, b"%06o\0 " % sum(block) if checksum is None else checksum)
    return bytes(block)


def padded(data):
    return data + bytes(-len(data) % 512)


def record(key, value):
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest) + 1
    while len(b"%d" % size) + len(rest) != size:
        size = len(b"%d" % size) + len(rest)
    return b"%d" % size + rest


def pax(body, flag=b"x", size=None):
    return header(b"pax", len(body) if size is None else size, flag) + padded(body)


def member(entry, data=b"", **more):
    name = mf.stored_name(entry).encode("utf-8", "surrogateescape")
    kind = mf.kind(entry)
    flag = {"file": b"0", "directory": b"5", "symlink": b"2", "hardlink": b"1"}.get(kind, b"0")
    link = entry.get("link_target" if kind == "symlink" else "hard_link", "")
    more = {"flag": flag, "link": link.encode("utf-8", "surrogateescape"),
            "mode": entry["permissions"] & 0o7777, **more}
    before = b""
    if len(name) > 100:
        before, name = pax(record(b"path", name)), b"long"
    return before + header(name, len(data), **more) + padded(data)


END = bytes(1024)


# Making trees and manifests by hand


def entry(path, kind="file", data=b"", mode=None, **more):
    bits = {"file": 0o100644, "directory": 0o40755, "symlink": 0o120777, "hardlink": 0o100644}
    return {"relative_path": path, "type": "file" if kind == "hardlink" else kind, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(),
            "permissions": bits.get(kind, 0o100644) if mode is None else mode, "modified_at": 0.0,
            "mtime_ns": 0, "ctime_ns": 0, "inode": 1, "device": 1, "uid": 0, "gid": 0, **more}


def file(path, data=b"content\n", **more):
    return entry(path, "file", data, **more), data


def directory(path, **more):
    return entry(path, "directory", **more), b""


def symlink(path, target, **more):
    return entry(path, "symlink", link_target=target, **more), b""


def hardlink(path, target, data=b"content\n", **more):
    return entry(path, "hardlink", data, hard_link=target, **more), b""


ROOT = {key: value for key, value in entry("", "directory").items() if key not in ("relative_path", "size", "sha256")}


def _sort_key(path):
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogatepass")


def manifest_of(pairs, **more):
    return {
        "version": "2.0", "os_name": "Linux", "architecture": "x86_64",
        "created_at": "2020-01-02T03:04:05.000006+00:00", "backup_mode": "full", "parent_backup_id": None,
        "backup_id": None, "nonce": "00" * 16, "source_dir": "/source", "root": ROOT, "unreadable": [],
        "files": sorted((entry for entry, _ in pairs),
                        key=lambda e: _sort_key(e["relative_path"]))
        if all(isinstance(e, dict) and isinstance(e.get("relative_path"), str) for e, _ in pairs)
        else [entry for entry, _ in pairs], **more}


TREE = [directory("d"), file("d/inside"), symlink("link", "plain"), file("plain", b"plain\n" * 200)]
MARK = "\0mark\0"  # where a test puts JSON that json.dumps would not write


def with_json(manifest, token):
    """The manifest's bytes with MARK replaced by a raw token, and with the id that Python computes."""
    body = mf.canonical(manifest).replace(mf.canonical(MARK), token)
    blank = body.replace(b'"backup_id":"' + b"0" * 64 + b'"', b'"backup_id":null')
    identity = hashlib.sha256(blank).hexdigest().encode()
    return blank.replace(b'"backup_id":null', b'"backup_id":"' + identity + b'"', 1)


def manifest_member(body):
    body = body if isinstance(body, bytes) else mf.encode(mf.with_id(body))
    return header(b"manifest.json", len(body)) + padded(body)


def tar(pairs=None, members=None, manifest=None, tail=END, extra=b""):
    pairs = TREE if pairs is None else pairs
    members = [member(e, d) for e, d in pairs] if members is None else members
    manifest = manifest_of(pairs) if manifest is None else manifest
    return b"".join(members) + extra + manifest_member(manifest) + tail


def seal(payload):
    """A valid TBK2 archive around any payload."""
    return crypto.seal_tbk2(payload, PASSWORD, **COST, salt=SALT, nonce=NONCE, key=KEY)


def seal_tar(*arguments, **more):
    return seal(gz.member(tar(*arguments, **more)))


def edited(**changes):
    """TREE with the entry of `plain` changed in the manifest only; None removes a key."""
    pairs = TREE[:-1] + [({k: v for k, v in {**TREE[-1][0], **changes}.items() if v is not None}, TREE[-1][1])]
    return seal_tar(TREE, manifest=manifest_of(pairs))


def token_in_entry(key, token):
    pairs = TREE[:-1] + [({**TREE[-1][0], key: MARK}, b"")]
    return seal_tar(TREE, manifest=with_json(manifest_of(pairs), token))


def zeros(count):
    """Gzip members with this many zero bytes."""
    chunk = 64 * MIB
    assert count % chunk == 0
    return gz.member(bytes(chunk), 9) * (count // chunk)


def letters(count):
    chunk = 64 * MIB
    assert count % chunk == 0
    return gz.member(b"a" * chunk, 9) * (count // chunk)


GOOD_TAR = tar()
GOOD_GZIP = gz.member(GOOD_TAR)
GOOD = seal(GOOD_GZIP)
GOOD_PARSED = Tbk2(SALT, NONCE, len(GOOD_GZIP) + 16, **COST)
HEADER_SIZE = len(GOOD_PARSED.pack())
BODY = GOOD[HEADER_SIZE:]
assert GOOD.startswith(GOOD_PARSED.pack())


# TBK2: the header


def _header_cuts():
    cuts = {"nothing": 0}
    fields = GOOD_PARSED.fields()
    for name, offset, size in fields:
        cuts[f"before_{name}"] = offset
        if size > 1:
            cuts[f"inside_{name}"] = offset + size // 2
    end = sum(size for _, _, size in fields)
    cuts.update({"before_payload": end, "inside_payload": (end + len(GOOD)) // 2,
                 "before_tag": len(GOOD) - 16, "inside_tag": len(GOOD) - 8, "at_last_byte": len(GOOD) - 1})
    del cuts["before_magic"]
    return cuts


@family(_header_cuts())
def truncated(at):
    return GOOD[:at]


def _flips(parsed, archive, trailers):
    fields = parsed.fields()
    end = sum(size for _, _, size in fields)
    places = {name: offset + size - 1 for name, offset, size in fields}
    places.update({"ciphertext": end})
    places.update(trailers(len(archive)))
    return places


_DENIED = ("memory", "time", "salt", "nonce", "ciphertext", "tag", "iterations", "iv", "hmac")


def _flip(archive, at, bit=0):
    return archive[:at] + bytes([archive[at] ^ 1 << bit]) + archive[at + 1:]


for _name, _at in _flips(GOOD_PARSED, GOOD, lambda end: {"tag": end - 1}).items():
    # An altered length may give another valid header in front of garbage: either status is right.
    _expect = (77,) if _name in _DENIED else (65, 77) if _name.endswith("length") else (65,)
    _CATALOGUE.append(Hostile(f"flipped_bit_in_{_name}", lambda at=_at: _flip(GOOD, at), frozenset(_expect),
                              family=f"flipped_bit_in_{_name}"))


def with_header(**changes):
    return replace(GOOD_PARSED, **changes).pack() + BODY


@fact(65, 77)  # A reader may check the tag before it sees the byte that follows.
def payload_length_one_less():
    return with_header(payload_length=len(BODY) - 1)


@family({"0": 0, "15": 15, "one_more": len(BODY) + 1, "4_gib": 1 << 32,
         "at_gcm_limit": (1 << 36) - 16, "over_gcm_limit": (1 << 36) - 15, "2_to_63_less_1": (1 << 63) - 1,
         "2_to_63": 1 << 63, "2_to_64_less_16": (1 << 64) - 16, "2_to_64_less_1": (1 << 64) - 1})
def payload_length_lies(length):
    return with_header(payload_length=length)


@fact()
def payload_shorter_than_a_tag():
    return replace(GOOD_PARSED, payload_length=15).pack() + BODY[:15]


# A payload that is no gzip may be decrypted with the wrong key: AES-GCM's tag cannot tell.
@fact(77)
def payload_is_empty():
    return seal(b"")


@family({"one_byte": b"\0", "another_archive": GOOD, "zeros": bytes(4096)})
def trailing_after_payload(trailer):
    return GOOD + trailer


@family({"0": 0, "7": 7, "over_the_cap": 2 * MIB + 1, "terabytes": (1 << 32) - 1})
def argon2_memory(memory):
    return with_header(memory=memory)


@fact()
def argon2_memory_below_8_kib_a_lane():
    return with_header(memory=31, lanes=4)


@family({"0": 0, "65535": 65535})
def argon2_passes(time):
    return with_header(time=time)


@family({"0": 0, "255": 255})
def argon2_lanes(lanes):
    return with_header(lanes=lanes, memory=64 * 255)


@family({"0": 0, "1": 1, "7": 7})
def salt_too_short(length):
    return with_header(salt=SALT[:length])


@fact()
def nonce_empty():
    return with_header(nonce=b"")


@fact(65, 77)
def nonce_of_255_bytes_not_the_right_one():
    return with_header(nonce=bytes(255))


@fact(77)
def salt_of_255_bytes_not_the_right_one():
    return with_header(salt=bytes(255))


@fact()
def salt_length_reaches_past_the_end():
    return GOOD_PARSED.pack()[:13] + b"\xff" + SALT


@family({"0": 0, "3": 3, "255": 255})
def kdf_unknown(kdf):
    return with_header(kdf=kdf)


@family({"0": 0, "3_reserved": 3, "255": 255})
def cipher_suite_unknown(suite):
    return with_header(suite=suite)


@family({"0": 0, "1": 1, "3": 3})
def version_unknown(version):
    return with_header(version=version)


@family({"TBK3": b"TBK3", "lower_case": b"tbk2", "gzip": b"\x1f\x8b\x08\0"})
def magic_unknown(magic):
    return with_header(magic=magic)


@fact(77)
def wrong_password():
    return crypto.seal_tbk2(GOOD_GZIP, b"another password", **COST, salt=SALT, nonce=NONCE)


@fact(77)
def tag_of_another_message():
    return GOOD[:-16] + seal(GOOD_GZIP + b"x")[-16:]


# TBK1


def tbk1(payload=GOOD_GZIP, **more):
    return crypto.seal_tbk1(payload, PASSWORD, ITERATIONS, salt=SALT[:16], iv=IV, **more)


HEADER1_SIZE = len(Tbk1(SALT[:16], IV).pack())
GOOD1 = tbk1()
GOOD1_PARSED = Tbk1(SALT[:16], IV, len(GOOD1) - HEADER1_SIZE - 32, ITERATIONS)
assert GOOD1.startswith(GOOD1_PARSED.pack())
BODY1 = GOOD1[HEADER1_SIZE:]


def with_header1(**changes):
    return replace(GOOD1_PARSED, **changes).pack() + BODY1


def _tbk1_cuts():
    cuts = {}
    for name, offset, size in GOOD1_PARSED.fields()[1:]:
        cuts[f"before_{name}"] = offset
        if size > 1:
            cuts[f"inside_{name}"] = offset + size // 2
    cuts.update({"before_payload": HEADER1_SIZE, "inside_payload": len(GOOD1) // 2, "before_hmac": len(GOOD1) - 32,
                 "inside_hmac": len(GOOD1) - 16, "at_last_byte": len(GOOD1) - 1})
    return cuts


@family(_tbk1_cuts())
def tbk1_truncated(at):
    return GOOD1[:at]


for _name, _at in _flips(GOOD1_PARSED, GOOD1, lambda end: {"hmac": end - 1}).items():
    _expect = (77,) if _name in _DENIED else (65, 77) if _name.endswith("length") else (65,)
    _CATALOGUE.append(Hostile(f"tbk1_flipped_bit_in_{_name}", lambda at=_at: _flip(GOOD1, at),
                              frozenset(_expect), family=f"tbk1_flipped_bit_in_{_name}"))


@fact(77)
def tbk1_wrong_password():
    return crypto.seal_tbk1(GOOD_GZIP, b"another password", ITERATIONS, salt=SALT[:16], iv=IV)


@family({"0": 0, "4294967295": (1 << 32) - 1})
def tbk1_iterations(iterations):
    return with_header1(iterations=iterations)


@family({"0": 0, "15": 15, "17": 17, "more_16": len(BODY1) - 16,
         "2_to_63": 1 << 63, "2_to_64_less_32": (1 << 64) - 32, "2_to_64_less_16": (1 << 64) - 16,
         "2_to_64_less_1": (1 << 64) - 1})
def tbk1_payload_length_lies(length):
    return with_header1(payload_length=length)


@fact(65, 77)
def tbk1_payload_length_16_less():
    return with_header1(payload_length=len(BODY1) - 48)


def _tbk1_padding(last):
    count = 16 - len(GOOD_GZIP) % 16
    return tbk1(padding=bytes(count - 1) + bytes([last]))


@family({"0": 0, "17": 17, "255": 255})
def tbk1_padding_count(last):
    return _tbk1_padding(last)


@fact()
def tbk1_padding_bytes_differ():
    payload = gz.member(GOOD_TAR, name=b"x" * ((13 - len(GOOD_GZIP)) % 16 + 15))
    count = 16 - len(payload) % 16
    assert count > 1
    return tbk1(payload, padding=bytes(count - 1) + bytes([count]))


@fact()
def tbk1_payload_is_not_whole_blocks():
    key, mac_key = crypto.tbk1_keys(PASSWORD, SALT[:16], ITERATIONS)
    ciphertext = BODY1[:-32] + b"x"
    tag = hmac.digest(mac_key, IV + ciphertext, "sha256")
    return replace(GOOD1_PARSED, payload_length=len(ciphertext)).pack() + ciphertext + tag


@fact()
def tbk1_payload_is_empty():
    _, mac_key = crypto.tbk1_keys(PASSWORD, SALT[:16], ITERATIONS)
    return replace(GOOD1_PARSED, payload_length=0).pack() + hmac.digest(mac_key, IV, "sha256")


@family({"0": 0, "12": 12, "15": 15, "17": 17, "255": 255})
def tbk1_iv_length(length):
    return with_header1(iv=bytes(length))


@family({"0": 0, "2": 2})
def tbk1_version_unknown(version):
    return with_header1(version=version)


@fact()
def tbk1_trailing_byte():
    return GOOD1 + b"\0"


# Gzip


@family({"tar": GOOD_TAR, "noise": hashlib.shake_128(b"noise").digest(4096), "zeros": bytes(4096), "one_byte": b"\x1f",
         "magic_alone": b"\x1f\x8b", "nine_bytes": GOOD_GZIP[:9], "zstd": b"\x28\xb5\x2f\xfd" + bytes(100)}, 77)
def payload_is_no_gzip(payload):
    return seal(payload)


@family({"tar": GOOD_TAR, "one_byte": b"\x1f"})
def tbk1_payload_is_no_gzip(payload):
    return tbk1(payload)


@family({"after_the_header": 10, "half_way": len(GOOD_GZIP) // 2,
         "before_the_crc": len(GOOD_GZIP) - 8, "inside_the_crc": len(GOOD_GZIP) - 6,
         "before_the_length": len(GOOD_GZIP) - 4, "at_the_last_byte": len(GOOD_GZIP) - 1})
def gzip_truncated(at):
    return seal(GOOD_GZIP[:at])


@fact()
def gzip_second_member_truncated():
    return seal(gz.compress(GOOD_TAR, members=2)[:-9])


@fact()
def gzip_wrong_crc():
    return seal(_flip(GOOD_GZIP, len(GOOD_GZIP) - 8))


@fact()
def gzip_wrong_length():
    return seal(_flip(GOOD_GZIP, len(GOOD_GZIP) - 4))


@family({"method": (2, 7), "reserved_flag": (3, 0x20)}, 77)
def gzip_bad(change):
    at, value = change
    return seal(GOOD_GZIP[:at] + bytes([value]) + GOOD_GZIP[at + 1:])


@family({"text": b"garbage", "zeros": bytes(512), "one_byte": b"\x1f", "magic_only": b"\x1f\x8b"})
def gzip_followed_by(trailer):
    return seal(GOOD_GZIP + trailer)


@fact()
def gzip_deflate_data_invalid():
    return seal(GOOD_GZIP[:10] + b"\xff" * 64 + GOOD_GZIP[74:])


@fact()
def gigabytes_of_zeros_after_the_tar():
    return seal(GOOD_GZIP + zeros(2048 * MIB))


@fact()
def gigabytes_of_letters_after_the_tar():
    return seal(GOOD_GZIP + letters(2048 * MIB))


@fact()
def thousands_of_empty_gzip_members_and_no_tar():
    return seal(gz.member(b"") * 100_000)


# Tars


@family({"inside_first_header": 100, "after_first_header": 512, "inside_content": 512 * 2 + 4,
         "inside_padding": 512 * 2 + 100, "before_manifest": -1, "inside_manifest_header": -2,
         "inside_manifest": -3, "without_end": -4})
def tar_truncated(at):
    manifest_at = len(b"".join(member(e, d) for e, d in TREE))
    at = {-1: manifest_at, -2: manifest_at + 256, -3: manifest_at + 600, -4: len(GOOD_TAR) - 1024}.get(at, at)
    return seal(gz.member(GOOD_TAR[:at]))


@family({"nothing": b"", "zeros": bytes(10240), "text": b"this is no tar at all\n" * 100,
         "ones": b"\xff" * 10240})
def tar_is_no_tar(data):
    return seal(gz.member(data))


@fact()
def tar_data_after_the_end():
    return seal_tar(tail=END + member(*file("late")))


@fact()
def tar_second_tar_after_the_end():
    return seal_tar(tail=END + GOOD_TAR)


@family({"flipped": lambda: b"0000001\0", "zero": lambda: b"0000000\0", "blank": lambda: b"        ",
         "text": lambda: b"checksum", "base_256": lambda: b"\x80" + bytes(7)})
def tar_checksum(make):
    return seal_tar(members=[member(*TREE[0]), member(*TREE[1], checksum=make()), *map(_pair, TREE[2:])])


def _pair(pair):
    return member(*pair)


@fact()
def tar_flipped_bit_in_a_header():
    return seal(gz.member(_flip(GOOD_TAR, 512 + 3)))


@family({"negative_base_256": b"\xff" * 12, "least_base_256": b"\xc0" + bytes(11),
         "2_to_63_base_256": b"\x80\0\0\0\x80" + bytes(7), "2_to_63_less_1_base_256": b"\x80\0\0\0\x7f" + b"\xff" * 7,
         "2_to_64_less_1_base_256": b"\x80\0\0\0" + b"\xff" * 8, "most_base_256": b"\xbf" + b"\xff" * 11,
         "most_octal": b"777777777777", "8_gib": b"77777777777\0", "not_octal": b"00000000009\0",
         "hexadecimal": b"0x00000004\0\0", "minus": b"-0000000004\0", "too_small": b"00000000003\0",
         "one_more": b"00000002261\0"})
def tar_size(size_field):
    return seal_tar(members=[*map(_pair, TREE[:3]), member(*TREE[3], size_field=size_field)])


@family({"device": b"3", "block_device": b"4", "fifo": b"6", "unknown": b"Z", "multi_volume": b"M",
         "sparse": b"S"})
def tar_member_of_type(flag):
    return seal_tar(extra=header(b"special", 0, flag, device=b"0000001\x000000003\0"),
                    manifest=manifest_of(TREE + [file("special", b"")]))


@family({"device": b"3", "fifo": b"6"})
def tar_unlisted_member_of_type(flag):
    return seal_tar(extra=header(b"special", 0, flag, device=b"0000001\x000000003\0"))


@family({"directory": b"5", "symlink": b"2", "hardlink": b"1"})
def tar_content_where_none_can_be(flag):
    kind = {b"5": directory("odd"), b"2": symlink("odd", "plain"),
            b"1": hardlink("odd", "plain", TREE[3][1])}[flag]
    e = kind[0]
    body = b"d/inside" + bytes(504)
    return seal_tar(TREE + [kind], members=[*map(_pair, TREE), member(e, size_field=b"00000001000\0") + body])


# Pax and GNU extensions


def _pax_before_plain(body, flag=b"x"):
    return seal_tar(members=[*map(_pair, TREE[:3]), pax(body, flag) + member(*TREE[3])])


@family({"too_long": b"99 path=plain\n", "too_short": b"5 path=plain\n", "zero": b"0 path=plain\n",
         "negative": b"-1 path=plain\n", "2_to_64": b"18446744073709551616 path=plain\n",
         "leading_zero": b"014 path=plain\n", "plus": b"+14 path=plain\n", "missing": b" path=plain\n",
         "hundreds_of_digits": b"9" * 400 + b" path=plain\n"})
def pax_record_length(body):
    return _pax_before_plain(body)


@family({"equals": b"13 pathplain\n", "newline": b"14 path=plain ", "key": b"9 =plain\n", "anything": b"garbage"})
def pax_record_without(body):
    return _pax_before_plain(body)


@family({"path": record(b"path", b"plain\0../evil"), "leading_path": record(b"path", b"\0plain"),
         "linkpath": record(b"linkpath", b"pla\0in")})
def nul_in_pax(body):
    return _pax_before_plain(body)


@family({"negative": b"-1", "2_to_63": b"9223372036854775808", "2_to_64": b"18446744073709551616",
         "thousand_digits": b"9" * 1000, "not_a_number": b"four", "fraction": b"1200.5", "2_to_62": b"%d" % (1 << 62)})
def pax_size(value):
    return _pax_before_plain(record(b"size", value))


@fact()
def pax_path_leads_out():
    return _pax_before_plain(record(b"path", b"../evil"))


@fact()
def pax_header_of_a_gigabyte():
    return _bomb(b"x")


@fact()
def global_pax_header_of_a_gigabyte():
    return _bomb(b"g")


@fact()
def gnu_long_name_of_a_gigabyte():
    return _bomb(b"L")


@fact()
def gnu_long_link_of_a_gigabyte():
    return _bomb(b"K")


def _bomb(flag):
    size = 1024 * MIB
    start = b"%d comment=" % size if flag in b"xg" else b""
    head = header(b"long", size + len(start) + 1, flag) + start
    body = letters(size)
    return seal(gz.member(head) + body + gz.member(b"\n" + bytes(511 - len(start)) + GOOD_TAR))


@fact()
def pax_header_declares_exabytes():
    return seal_tar(members=[header(b"pax", 0, b"x", size_field=b"\x80\0\0\0\x7f" + b"\xff" * 7), *map(_pair, TREE)])


@family({"pax": pax(record(b"comment", b"x" * 400)), "global_pax": pax(record(b"comment", b"x" * 400), b"g"),
         "gnu_long_name": header(b"././@LongLink", 6, b"L") + padded(b"plain\0")})
def endless_headers(one):
    return seal(gz.member(one * 65536, 1) * 8 + GOOD_GZIP)


@family({"pax": pax(record(b"path", b"ghost")), "gnu_long_name": header(b"././@LongLink", 6, b"L") + padded(b"ghost\0")})
def extended_header_without_a_member(extra):
    return seal(gz.member(GOOD_TAR[:-1024] + extra + END))


@fact()
def million_pax_records():
    return _pax_before_plain(b"".join(record(b"k%d" % n, b"v") for n in range(1_000_000)))


# Names


BAD_NAMES = {
    "dot_dot": "..", "leading_dot_dot": "../evil", "inner_dot_dot": "d/../../evil", "trailing_dot_dot": "d/..",
    "harmless_dot_dot": "d/../evil", "dot": ".", "leading_dot": "./evil", "inner_dot": "d/./evil",
    "absolute": OUTSIDE.decode(), "double_slash": "d//evil", "leading_double_slash": "//evil",
    "trailing_slash": "evil/", "only_a_slash": "/",
    "component_of_256_bytes": "x" * 256,
}


@family(BAD_NAMES)
def name_is(name):
    return seal_tar(TREE + [file(name)])


@family({key: BAD_NAMES[key] for key in ("dot_dot", "leading_dot_dot", "inner_dot_dot", "absolute", "dot")})
def unlisted_name_is(name):
    return seal_tar(extra=member(*file(name)))


@family({key: BAD_NAMES[key] for key in ("leading_dot_dot", "inner_dot_dot", "absolute", "leading_dot")})
def directory_name_is(name):
    return seal_tar(TREE + [directory(name)])


@fact()
def name_is_empty():
    return seal_tar(TREE + [file("")], members=[*map(_pair, TREE), header(b"", 8) + padded(b"content\n")])


@fact()
def nul_in_manifest_name():
    e, data = file("nul\0evil")
    return seal_tar(TREE + [(e, data)], members=[*map(_pair, TREE), pax(record(b"path", b"nul\0evil"))
                                                 + header(b"nul", 8) + padded(data)])


@fact()
def nul_in_manifest_name_only():
    e, data = file("nul\0evil")
    return seal_tar(TREE + [(e, data)], members=[*map(_pair, TREE), header(b"nul", 8) + padded(data)])


@fact()
def two_spellings_of_one_name():
    # The second name has the same bytes, spelled as if they were not UTF-8.
    pairs = TREE + [file("\u00e9"), file("\udcc3\udca9", b"other")]
    return seal_tar(pairs)


@fact()
def lone_surrogate_that_is_no_byte():
    e = entry("\ud800", data=b"content\n")
    return seal_tar(manifest=manifest_of(TREE + [(e, b"")]), extra=header(b"\xed\xa0\x80", 8) + padded(b"content\n"))


@family({"leading_dot_dot": "../evil", "absolute": OUTSIDE.decode(), "empty": "", "manifest": "manifest.json",
         "below_a_link": "link/evil", "below_a_file": "plain/evil", "in_another_directory": "d/evil",
         "in_no_directory": "e/evil", "below_the_manifest": "manifest.json/evil", "taken": "d/inside"})
def stored_as(name):
    pairs = TREE + [file("evil", stored_as=name)]
    extra = b"" if name == "manifest.json" else header(name.encode(), 8) + padded(b"content\n")
    return seal_tar(manifest=manifest_of(pairs), extra=extra)


@family({"link": symlink("link~", "d", stored_as="s"), "directory": directory("e", stored_as="s")})
def stored_as_of_a(pair):
    return seal_tar(TREE + [pair])


@fact()
def stored_as_below_another():
    return seal_tar(TREE + [file("s", stored_as="t"), file("t/a")])


@fact()
def stored_as_below_a_file_of_another_backup():
    elsewhere = file("plain", b"plain\n" * 200, stored_in="11" * 32)[0], b""
    pairs = [*TREE[:3], elsewhere, file("evil", stored_as="plain/evil")]
    return seal_tar(manifest=manifest_of(pairs), members=[*map(_pair, TREE[:3]), member(*pairs[4])])


def _own(kind="directory", top="manifest.json~", below="manifest.json~/inside", extra=(), **more):
    top = {} if top is None else {"stored_as": top}
    below = {} if below is None else {"stored_as": below}
    own = directory("manifest.json", **top) if kind == "directory" else symlink("manifest.json", "d", **top)
    pairs = TREE + [own, file("manifest.json/inside", **below), *extra]
    return seal_tar(sorted(pairs, key=lambda pair: pair[0]["relative_path"]), **more)


OWN_GOOD = _own()  # Valid: the others are variations of it.


@family({"directory": {"top": None}, "what_is_in_it": {"below": None}, "below_another": {"below": "manifest.json~~/inside"},
         "other_rest": {"below": "manifest.json~/other/inside"}, "without_a_tilde": {"top": "manifest.jsonx"},
         "link": {"kind": "symlink"}, "taken": {"extra": [file("manifest.json~")]},
         "taken_below": {"extra": [file("manifest.json~/inside")]}})
def own_manifest_stored_wrongly(changes):
    return _own(**changes)


@fact(modes=ALL - {"list"})
def manifest_alone():
    return seal_tar(manifest=manifest_of(TREE), members=[])


@fact(modes=ALL - {"list"}, tar=(66,))
def manifest_alone_of_an_increment():
    elsewhere = file("plain", b"plain\n" * 200, stored_in="11" * 32)[0], b""
    return seal_tar(manifest=manifest_of([*TREE[:3], elsewhere], backup_mode="incremental", parent_backup_id="11" * 32),
                    members=[])


# Kinds, links, and the list of files


@family({"up": "../sentinel", "up_twice": "../../sentinel", "absolute": OUTSIDE.decode(), "itself": "s", "inside": "d"})
def symlink_then_write_through(target):
    return seal_tar(TREE + [symlink("s", target), file("s/evil")])


@fact()
def symlink_chain_then_write_through():
    return seal_tar(TREE + [symlink("a", "s"), file("a/evil"), symlink("s", "../sentinel")])


@fact()
def directory_then_symlink_of_the_same_name():
    pairs = TREE + [directory("s"), file("s/evil")]
    swap = symlink("s", "../sentinel")
    return seal_tar(manifest=manifest_of(pairs), members=[*map(_pair, TREE), member(*pairs[4]), member(*swap),
                                                          member(*pairs[5])])


@fact()
def directory_in_the_manifest_is_a_symlink_in_the_tar():
    pairs = TREE + [directory("s"), file("s/evil")]
    return seal_tar(manifest=manifest_of(pairs),
                    members=[*map(_pair, TREE), member(*symlink("s", "../sentinel")), member(*pairs[5])])


@fact()
def file_below_a_file():
    return seal_tar(TREE + [file("plain/evil")])


@family({"up": "../sentinel/kept", "absolute": "/etc/passwd", "later": "zz-later", "symlink": "link", "directory": "d",
         "itself": "h", "nothing": "nowhere", "empty": "", "dot_dot_inside": "d/../plain"})
def hard_link_to(target):
    pairs = TREE + [hardlink("h", target), file("zz-later")]
    return seal_tar(pairs)


@fact()
def hard_link_in_the_tar_leads_out():
    pairs = TREE + [hardlink("z", "plain", TREE[3][1])]
    return seal_tar(pairs, members=[*map(_pair, TREE), header(b"z", 0, b"1", b"../sentinel/kept")])


@fact()
def hard_link_in_the_tar_to_another_file():
    pairs = TREE + [hardlink("z", "plain", TREE[3][1])]
    return seal_tar(pairs, members=[*map(_pair, TREE), header(b"z", 0, b"1", b"d/inside")])


@fact()
def hard_link_comes_before_its_file_in_the_tar():
    pairs = TREE + [hardlink("z", "plain", TREE[3][1])]
    return seal_tar(pairs, members=[*map(_pair, TREE[:3]), member(*pairs[4]), member(*TREE[3])])


@fact()
def hard_link_with_another_hash_in_the_manifest():
    return seal_tar(TREE + [hardlink("z", "plain", b"other")])


@fact()
def hard_link_to_a_hard_link_to_itself():
    return seal_tar(TREE + [hardlink("x", "y"), hardlink("y", "x")])


@family({"first": 0, "file": 1, "symlink": 2, "last": 3})
def member_twice(index):
    return seal_tar(members=[*map(_pair, TREE), member(*TREE[index])])


@fact()
def member_twice_with_other_content():
    return seal_tar(members=[*map(_pair, TREE), member(*file("plain", b"evil"))])


@fact()
def entry_twice_in_the_manifest():
    return seal_tar(manifest=manifest_of(TREE + [TREE[3]]))


@fact()
def entry_and_member_twice():
    return seal_tar(TREE + [TREE[3]])


@family({"file": file("evil"), "empty_file": file("evil", b""), "directory": directory("evil"),
         "symlink": symlink("evil", "../sentinel"), "hardlink": hardlink("evil", "plain")})
def unlisted(pair):
    return seal_tar(extra=member(*pair))


@family({"directory": 0, "file": 1, "symlink": 2, "last_file": 3})
def listed_and_missing(index):
    return seal_tar(members=[member(*pair) for at, pair in enumerate(TREE) if at != index])


@fact()
def listed_and_nothing_there():
    return seal_tar(members=[], manifest=manifest_of(TREE), extra=member(*TREE[0]))


@fact(modes=ALL - {"list"})
def wrong_hash():
    return edited(sha256="00" * 32)


@fact(modes=ALL - {"list"})
def flipped_bit_in_content():
    data = b"plain\n" * 199 + b"plaim\n"
    return seal_tar(members=[*map(_pair, TREE[:3]), member(TREE[3][0], data)])


@family({"less": 1199, "more": 1201, "zero": 0, "huge": 1 << 62})
def wrong_size(size):
    return edited(size=size)


@family({"directory": {"type": "directory", "size": 0, "sha256": mf.EMPTY},
         "symlink": {"type": "symlink", "size": 0, "sha256": mf.EMPTY, "link_target": "d"},
         "hardlink": {"hard_link": "d/inside", "size": 8, "sha256": TREE[1][0]["sha256"]},
         "socket": {"type": "socket"}, "device": {"type": "device"}, "fifo": {"type": "fifo"}, "empty": {"type": ""},
         "hardlink_word": {"type": "hardlink", "hard_link": "d/inside"}, "nothing": {"type": None}, "number": {"type": 1}})
def wrong_type(changes):
    return edited(**changes)


@fact()
def file_in_the_manifest_is_a_symlink_in_the_tar():
    return seal_tar(members=[*map(_pair, TREE[:3]), member(*symlink("plain", "../sentinel/kept"))])


@fact()
def wrong_link_target():
    return seal_tar(members=[*map(_pair, TREE[:2]), member(*symlink("link", "../sentinel")), member(*TREE[3])])


@family({"nothing": None, "empty": "", "nul": "a\0b", "number": 5})
def link_target_is(target):
    e = {k: v for k, v in {**TREE[2][0], "link_target": target}.items() if v is not None}
    return seal_tar(manifest=manifest_of([*TREE[:2], (e, b""), TREE[3]]), members=[*map(_pair, TREE)])


@family({"setuid": 0o104755, "setgid": 0o102755})
def set_id_bit_the_manifest_lacks(mode):
    return seal_tar(members=[*map(_pair, TREE[:3]), member(*TREE[3], mode=mode & 0o7777)])


# The manifest


@fact()
def manifest_missing():
    return seal(gz.member(b"".join(map(_pair, TREE)) + END))


@fact()
def manifest_twice():
    return seal_tar(extra=manifest_member(manifest_of(TREE)))


@fact()
def manifest_twice_and_different():
    return seal_tar(extra=manifest_member(manifest_of(TREE[:3])))


@family({"symlink": header(b"manifest.json", 0, b"2", b"plain"), "directory": header(b"manifest.json/", 0, b"5"),
         "hardlink": header(b"manifest.json", 0, b"1", b"plain")})
def manifest_is_a(block):
    return seal(gz.member(b"".join(map(_pair, TREE)) + block + END))


@fact()
def manifest_below_a_directory_only():
    body = mf.encode(mf.with_id(manifest_of(TREE)))
    return seal(gz.member(b"".join(map(_pair, TREE)) + header(b"d/manifest.json", len(body)) + padded(body) + END))


@family({"wrong": "00" * 32, "null": None, "short": "abcd", "upper_case": "AB" * 32, "number": 7, "path": "../../evil"})
def manifest_backup_id(identity):
    return seal_tar(manifest=mf.canonical({**manifest_of(TREE), "backup_id": identity}))


@fact()
def manifest_changed_after_its_id():
    manifest = mf.with_id(manifest_of(TREE))
    return seal_tar(manifest=mf.canonical({**manifest, "created_at": "2021-01-02T03:04:05.000006+00:00"}))


@family({"version": "version", "backup_mode": "backup_mode", "files": "files", "backup_id": "backup_id"})
def manifest_without(key):
    manifest = manifest_of(TREE)
    del manifest[key]
    return seal_tar(manifest=mf.canonical(manifest if key == "backup_id" else mf.with_id(manifest)))


@family({"version_3": {"version": "3.0"}, "version_number": {"version": 2.0}, "mode_unknown": {"backup_mode": "other"},
         "files_object": {"files": {}}, "files_null": {"files": None}, "files_string": {"files": "plain"},
         "files_of_null": {"files": [None]}, "files_of_lists": {"files": [[]]}, "files_of_objects": {"files": [{}]}})
def manifest_with(changes):
    return seal_tar(manifest=mf.with_id({**manifest_of(TREE), **changes}))


@family({"nothing": b"", "space": b" ", "null": b"null", "array": b"[]", "string": b'"manifest"', "number": b"1",
         "object_empty": b"{}", "object_open": b"{", "not_utf8": b'{"version":"\xff"}', "bom": b"\xef\xbb\xbf{}",
         "utf16": '{"version":"2.0"}'.encode("utf-16"), "nul": b"\0" * 100})
def manifest_bytes(body):
    return seal_tar(manifest=body)


@fact()
def manifest_is_not_sorted():
    manifest = manifest_of(TREE)
    return seal_tar(manifest={**manifest, "files": manifest["files"][::-1]})


@family({"object": b"{}", "comma": b",", "text": b"x", "nul": b"\0"})
def manifest_followed_by(trailer):
    return seal_tar(manifest=mf.encode(mf.with_id(manifest_of(TREE))) + trailer)


def _top_level(insert):
    body = mf.encode(mf.with_id(manifest_of(TREE)))
    return seal_tar(manifest=b"{" + insert + b"," + body[1:])


@family({"arrays": b"[" * 1_000_000, "objects": b'{"a":' * 1_000_000, "closed": b"[" * 200_000 + b"]" * 200_000})
def manifest_deep_nesting(body):
    return _top_level(b'"a":' + body)


@fact()
def manifest_deep_nesting_and_nothing_else():
    return seal_tar(manifest=b"[" * 10_000_000)


@family({"version": b'"version":"2.0"', "files": b'"files":[]', "backup_id": b'"backup_id":null',
         "escaped": b'"f\\u0069les":[]', "unknown": b'"a":1,"a":2'})
def manifest_duplicate_key(insert):
    return _top_level(insert)


@fact()
def entry_with_a_duplicate_key():
    manifest = mf.encode(mf.with_id(manifest_of(TREE)))
    return seal_tar(manifest=manifest.replace(b'"relative_path":"plain"',
                                              b'"relative_path":"../evil","relative_path":"plain"'))


@family({"nan": b"NaN", "infinity": b"Infinity", "leading_zero": b"01", "plus": b"+1", "bare_dot": b"1.",
         "hexadecimal": b"0x10", "single_quotes": b"'a'", "true_upper": b"True", "control_character": b'"\x01"',
         "bad_escape": b'"\\x41"', "short_escape": b'"\\u12"', "trailing_comma": b"[1,]", "comment": b"1/**/"})
def manifest_is_no_json(token):
    return _top_level(b'"a":' + token)


@family({"negative": b"-1", "fraction": b"1200.5", "2_to_63": b"9223372036854775808", "2_to_64": b"18446744073709551616",
         "minus_2_to_63": b"-9223372036854775808", "infinite": b"1e400", "thousand_digits": b"9" * 1000,
         "million_digits": b"9" * 1_000_000, "string": b'"1200"', "null": b"null", "true": b"true", "array": b"[1200]"})
def size_in_manifest(token):
    return token_in_entry("size", token)


@family({"negative": b"-1", "2_to_40": b"1099511627776", "string": b'"0644"', "null": b"null", "fraction": b"420.5"})
def permissions_in_manifest(token):
    return token_in_entry("permissions", token)


@family({"2_to_63_seconds": b"9223372036854775808000000000", "thousand_digits": b"9" * 1000, "string": b'"0"', "fraction": b"0.5"})
def mtime_ns_in_manifest(token):
    return token_in_entry("mtime_ns", token)


@family({"negative": b"-1", "2_to_40": b"1099511627776", "string": b'"0"'})
def uid_in_manifest(token):
    return token_in_entry("uid", token)


@family({"short": b'"abcd"', "upper_case": b'"' + b"AB" * 32 + b'"', "not_hex": b'"' + b"zz" * 32 + b'"',
         "null": b"null", "number": b"1", "long": b'"' + b"00" * 33 + b'"'})
def sha256_in_manifest(token):
    return token_in_entry("sha256", token)


@family({"number": b"1", "null": b"null", "array": b"[]"})
def relative_path_in_manifest(token):
    return token_in_entry("relative_path", token)


@family({"array": b"[]", "string": b'"user.a"', "number_value": b'{"user.a":1}', "not_base64": b'{"user.a":"*"}',
         "empty_name": b'{"":"YQ=="}', "nul_in_name": b'{"user.a\\u0000b":"YQ=="}'})
def xattrs_in_manifest(token):
    return token_in_entry("xattrs", token)


@family({"not_an_id": b'"base"', "path": b'"../../evil"', "null": b"null", "number": b"1"})
def stored_in_is(token):
    return token_in_entry("stored_in", token)


@fact(tar=(66,))
def stored_in_another_archive_and_here():
    return edited(stored_in="11" * 32)


@fact()
def manifest_string_of_half_a_gigabyte():
    body = b'{"version":"' + b"%s" + b'"}'
    start, end = body.split(b"%s")
    size = 512 * MIB
    return seal(gz.member(b"".join(map(_pair, TREE)) + header(b"manifest.json", len(start) + size + len(end)) + start)
                + letters(size) + gz.member(padded(end + bytes(len(start)))[:512 - len(start)] + END))


@fact()
def manifest_declares_exabytes():
    return seal(gz.member(b"".join(map(_pair, TREE))
                          + header(b"manifest.json", 0, size_field=b"\x80\0\0\0\x7f" + b"\xff" * 7)
                          + padded(b"{}") + END))


# The manifest comes first: a faulty member is recognized by its header


def _manifest_first(name, size, flag=b"0"):
    """The header of a member that is refused, followed by gigabytes."""
    head = manifest_member(manifest_of(TREE)) + b"".join(map(_pair, TREE[:3])) + header(name, size, flag)
    return seal(gz.member(head) + letters(2048 * MIB) + gz.member(END))


@fact()
def manifest_first_unlisted_file_of_gigabytes():
    return _manifest_first(b"evil", 2048 * MIB)


@fact()
def manifest_first_file_of_gigabytes_where_less_is_listed():
    return _manifest_first(b"plain", 2048 * MIB)


@fact()
def manifest_first_file_of_gigabytes_where_a_link_is_listed():
    head = manifest_member(manifest_of(TREE)) + b"".join(map(_pair, TREE[:2])) + header(b"link", 2048 * MIB)
    return seal(gz.member(head) + letters(2048 * MIB) + gz.member(END))


@fact(tar=(66,))
def manifest_first_gigabytes_of_what_another_backup_holds():
    elsewhere = file("plain", b"plain\n" * 200, stored_in="11" * 32)[0], b""
    head = manifest_member(manifest_of([*TREE[:3], elsewhere])) + b"".join(map(_pair, TREE[:3])) + header(b"plain", 2048 * MIB)
    return seal(gz.member(head) + letters(2048 * MIB) + gz.member(END))


@fact()
def second_member_of_gigabytes():
    return seal(gz.member(b"".join(map(_pair, TREE)) + header(b"plain", 2048 * MIB)) + letters(2048 * MIB)
                + gz.member(manifest_member(manifest_of(TREE)) + END))


@fact()
def file_of_gigabytes_below_a_link():
    return seal(gz.member(b"".join(map(_pair, TREE)) + header(b"link/evil", 2048 * MIB)) + letters(2048 * MIB)
                + gz.member(manifest_member(manifest_of(TREE)) + END))


# TermBackup 6


def _old(pairs, members=None, mode="full", identity=None, keep=(), after=b"", **more):
    keep = ("relative_path", "size", "sha256", "permissions", "modified_at", *keep)
    body = {"version": "1.0", "os_name": "Linux", "python_version": "3.11.0", "architecture": "x86_64",
            "created_at": "2020-01-02T03:04:05.000006+00:00", "backup_mode": mode,
            "files": [{key: e[key] for key in keep if key in e} for e, _ in pairs], "parent_backup_id": None, "backup_id": None, **more}
    body["backup_id"] = identity or mf.backup_id(body)
    members = [member(e, d) for e, d in pairs] if members is None else members
    data = gz.member(manifest_member(mf.canonical(body)) + b"".join(members) + (END if not after else b""))
    data += after + gz.member(END) if after else b""
    return crypto.seal_tbk2(data, PASSWORD, **COST, salt=SALT, nonce=NONCE, key=KEY, kdf=2, suite=2)


OLD = [file("d/inside"), file("plain", b"plain\n" * 200)]


@family({key: BAD_NAMES[key] for key in ("leading_dot_dot", "inner_dot_dot", "absolute")})
def termbackup6_name_is(name):
    return _old(OLD + [file(name)])


@fact()
def termbackup6_unlisted_file():
    return _old(OLD, [*map(_pair, OLD), member(*file("evil"))])


@fact(modes=ALL - {"list"})
def termbackup6_wrong_hash():
    return _old([file("plain", sha256="00" * 32)])


@fact()
def termbackup6_wrong_backup_id():
    return _old(OLD, identity="00" * 32)


@fact()
def termbackup6_symlink_then_write_through():
    target = entry("s", data=b"content\n")
    evil = file("s/evil")
    return _old([*OLD, (target, b""), evil], [*map(_pair, OLD), member(*symlink("s", "../sentinel")), member(*evil)])


@fact()
def termbackup6_hard_link_leads_out():
    e = entry("h", data=b"content\n")
    return _old([*OLD, (e, b"")], [*map(_pair, OLD), header(b"h", 0, b"1", b"../sentinel/kept")])


@fact()
def termbackup6_device():
    return _old([*OLD, file("special", b"")], [*map(_pair, OLD), header(b"special", 0, b"3", device=b"0000001\x000000003\0")])


@fact()
def termbackup6_member_twice():
    return _old(OLD, [*map(_pair, OLD), member(*OLD[1])])


@fact()
def termbackup6_set_id_bit_the_manifest_lacks():
    return _old(OLD, [member(*OLD[0], mode=0o4755), member(*OLD[1])])


@fact(modes=ALL - {"list"})
def termbackup6_own_manifest_with_another_hash():
    own = file("manifest.json", b"mine\n")
    return _old([*OLD, own], [*map(_pair, OLD), header(b"manifest.json", 5) + padded(b"evil\n")])


@family({"unlisted": b"evil", "longer": b"plain", "own_manifest_longer": b"manifest.json"})
def termbackup6_gigabytes(name):
    pairs = [*OLD, file("manifest.json", b"mine\n")]
    front = [member(*OLD[0]), header(name, 2048 * MIB)]
    return _old(pairs, front, after=letters(2048 * MIB))


@family({"type": {"type": "file"}, "hard_link": {"hard_link": "d/inside"}, "stored_in": {"stored_in": "11" * 32},
         "stored_as": {"stored_as": "other"}, "link_target": {"link_target": "d"}})
def termbackup6_entry_has_a(field):
    return _old([OLD[0], ({**OLD[1][0], **field}, OLD[1][1])], keep=tuple(field))


@fact()
def termbackup6_second_manifest_unlisted():
    return _old(OLD, [*map(_pair, OLD), header(b"manifest.json", 5) + padded(b"evil\n")])
