#!/usr/bin/env python3
"""Writes Tests/Vectors, reproducibly. Vectors/README.md describes the files."""

import hashlib
import hmac
import io
import json
import os
import sys
import tarfile

from argon2.low_level import Type, core, ffi, lib
from tbkref import age, chunked, crypto, extract, gz, hostile, tars
from tbkref import manifest as mf
from tbkref.hostile import COST, NONCE, PASSWORD, SALT, TREE, directory, file, hardlink, manifest_of, symlink

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Vectors")
MODES = ("tar", "extract", "list", "verify")


def write(folder, name, data):
    with open(os.path.join(VECTORS, folder, name), "wb") as out:
        out.write(data if isinstance(data, bytes) else data.encode("ascii"))


# Archives


def describe(lines):
    return "".join(f"{key}: {value}\n" for key, value in lines)


def expect(statuses):
    return " ".join(f"{mode}={','.join(str(s) for s in sorted(statuses[mode]))}" for mode in MODES)


def refused():
    """The small hostile archives: every fact, but of a large family only the first and the last."""
    families = {}
    for case in hostile.catalogue():
        families.setdefault(case.family, []).append(case)
    for cases in families.values():
        for case in [cases[0], cases[-1]] if len(cases) > 4 else cases[:1]:
            archive = case.build()
            if len(archive) > 1300:
                continue
            statuses = {mode: {*case.statuses(mode), *(() if mode in case.modes else (0,))} for mode in MODES}
            write("archives", case.name + ".tbk", archive)
            write("archives", case.name + ".txt", describe([
                ("fact", case.name.replace("_", " ")), ("password", PASSWORD.hex()), ("expect", expect(statuses))]))


def accepted(name, archive, password=PASSWORD, needs=(), **statuses):
    _, payload = crypto.open_archive(archive, password)
    tar = gz.decompress(payload)
    backup = extract.Backup(payload)
    lines = [("fact", name.replace("_", " ")), ("password", password.hex()),
             ("expect", expect({mode: statuses.get(mode, {0}) for mode in MODES})),
             *(("needs", need) for need in needs), ("backup-id", backup.id),
             ("tar-sha256", hashlib.sha256(tar).hexdigest())]
    for entry in backup.manifest["files"]:
        path = mf.raw(entry["relative_path"])
        kind = mf.kind(entry)
        if backup.old:
            kind = "vanished" if path in backup.lost else backup.members[path].kind
        fields = [kind, f"{entry['permissions']:o}", str(entry["size"]), entry["sha256"], path.hex()]
        if kind == "symlink":
            fields.append((mf.raw(entry["link_target"]) if "link_target" in entry else backup.members[path].link).hex())
        if "hard_link" in entry:
            fields.append(mf.raw(entry["hard_link"]).hex())
        lines.append(("entry", " ".join(fields)))
    write("archives", name + ".tbk", archive)
    write("archives", name + ".txt", describe(lines))


def payload_of(pairs, form="pax", level=6, members=1, manifest=None):
    manifest = mf.with_id(manifest or manifest_of(pairs))
    data = {entry["relative_path"]: content for entry, content in pairs}
    tar = tars.write(manifest, lambda entry: data[entry["relative_path"]], form)
    return gz.compress(tar, level, members)


def seal(payload, password=PASSWORD, **more):
    options = {**COST, "salt": SALT, "nonce": NONCE, **more}
    return crypto.seal_tbk2(payload, password, **options)


ODD = [
    directory("empty"), file("empty file", b""), file("mode 0", mode=0o100000), file("mode 7777", mode=0o107777),
    directory("sticky", mode=0o41777), file("\udcff\udcfe not UTF-8"), file("new\nline\ttab\"quote\\"),
    file("-leading dash"), file("x" * 255), file("e\u0301"), file("\u00e9"), file("\U0001f600"),
    directory("long"), directory("long/" + "y" * 200), file("long/" + "y" * 200 + "/" + "z" * 200),
    file("manifest.json", b"mine\n", stored_as="manifest.json~~"), file("manifest.json~"),
    file("nanoseconds", mtime_ns=1_577_934_245_123_456_789, modified_at=1577934245.1234567),
    file("before 1970", mtime_ns=-1, modified_at=-1e-09),
    file("xattrs", xattrs={"user.empty": "", "user.nul": "AGEA", "user.\u00e9=x": "YQo="}),
    symlink("to nothing", "no such file"), symlink("to root", "/"), symlink("up", "../../.."),
    symlink("link \udcff", "\udcfe"), hardlink("second link", "nanoseconds"), hardlink("third link", "nanoseconds"),
    file("user and group", user="nobody", group="nogroup", uid=65534, gid=65534),
    file("high uid", uid=3_000_000_000, gid=3_000_000_000),
]


def restored():
    accepted("minimal", seal(payload_of([file("a")])))
    accepted("every_kind", seal(payload_of(TREE)))
    accepted("odd_names_modes_and_times", seal(payload_of(ODD)))
    accepted("empty_tree", seal(payload_of([])))
    accepted("password_is_not_utf8_and_ends_in_a_newline", seal(payload_of([file("a")]), b"\xff\xfe\n"), b"\xff\xfe\n")
    accepted("password_of_1000_bytes", seal(payload_of([file("a")]), b"p" * 1000), b"p" * 1000)
    for form in ("gnu", "ustar"):
        accepted("tar_" + form, seal(payload_of(TREE, form)))
    accepted("tar_gnu_long_names", seal(payload_of([directory("d" * 150), file("d" * 150 + "/" + "f" * 150),
                                                     symlink("l", "t" * 300)], "gnu")))
    accepted("tar_ustar_prefix", seal(payload_of([directory("d" * 90), file("d" * 90 + "/" + "f" * 90)], "ustar")))
    accepted("kdf_2_suite_2", seal(payload_of(TREE), kdf=2, suite=2))
    accepted("argon2_3_passes_4_lanes", seal(payload_of(TREE), memory=128, time=3, lanes=4))
    accepted("argon2_memory_not_a_multiple", seal(payload_of(TREE), memory=67, time=1, lanes=2))
    accepted("argon2_least_memory", seal(payload_of(TREE), memory=8, time=1, lanes=1))
    accepted("salt_of_8_bytes", seal(payload_of(TREE), salt=SALT[:8]))
    accepted("salt_of_255_bytes", seal(payload_of(TREE), salt=bytes(range(255))))
    for members in (2, 7):
        accepted(f"gzip_{members}_members", seal(payload_of(TREE, members=members)))
    accepted("gzip_empty_member_between", seal(gz.member(b"") + payload_of(TREE, members=2) + gz.member(b"")))
    tar = gz.decompress(payload_of(TREE))
    accepted("gzip_with_a_name", seal(gz.member(tar, name=b"backup.tar")))
    accepted("gzip_fastest", seal(payload_of([file("a")], level=1)))
    accepted("sealed_manifest", seal(gz.compress(tars.only_manifest(mf.with_id(manifest_of(TREE))))),
             tar={65}, extract={65}, verify={65})
    incremental()
    for iterations in (1, 1000, 4097):
        accepted(f"tbk1_{iterations}_iterations", tbk1(payload_of(TREE), iterations=iterations))
    for size in (15, 16, 17):
        payload = gz.member(gz.decompress(payload_of([file("a")])), name=b"x" * 32)
        payload = gz.member(gz.decompress(payload_of([file("a")])), name=b"x" * (32 + (size - len(payload)) % 16))
        accepted(f"tbk1_padding_of_{16 - size % 16}", tbk1(payload))
    termbackup6()


def tbk1(payload, iterations=1000):
    return crypto.seal_tbk1(payload, PASSWORD, iterations, salt=SALT[:16], iv=bytes(range(16)))


def incremental():
    """`base` is full; `changed` keeps two files and adds one; `again` still refers to `base`."""
    kept, linked, gone = file("kept"), file("linked", b"linked\n"), file("gone")
    base = mf.with_id(manifest_of([gone, kept, linked, hardlink("other", "linked", b"linked\n")]))
    pairs = [gone, kept, linked, hardlink("other", "linked", b"linked\n")]
    accepted("incremental_base", seal(payload_of(pairs)))

    def point(pair):
        return {**pair[0], "stored_in": base["backup_id"]}, pair[1]

    pairs = [point(kept), point(linked), hardlink("other", "linked", b"linked\n"), file("new", b"new\n")]
    body = manifest_of(pairs, backup_mode="incremental", parent_backup_id=base["backup_id"])
    changed = mf.with_id(body)
    accepted("incremental_changed", seal(payload_of(pairs, manifest=body)), needs=["incremental_base.tbk"])
    new = {**file("new", b"new\n")[0], "stored_in": changed["backup_id"]}, b"new\n"
    pairs = [point(kept), new, directory("newest"), file("newest/file")]
    body = manifest_of(pairs, backup_mode="incremental", parent_backup_id=changed["backup_id"])
    accepted("incremental_again", seal(payload_of(pairs, manifest=body)),
             needs=["incremental_base.tbk", "incremental_changed.tbk"])


def termbackup6():
    def entry(path, data, mode=0o100644):
        return {"relative_path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(),
                "permissions": mode, "modified_at": 1577934245.25}

    def backup(entries, members, parent=None, longer=()):
        body = {"version": "1.0", "os_name": "Linux", "python_version": "3.11.0", "architecture": "x86_64",
                "created_at": "2020-01-02T03:04:05.000006+00:00", "backup_mode": "incremental" if parent else "full",
                "files": [*longer, *entries], "parent_backup_id": parent, "backup_id": None}
        body = {**mf.with_id(body), "files": entries}
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8",
                          errors="surrogateescape") as tar:
            def add(name, data, **more):
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(data), 1577934245.25
                for key, value in more.items():
                    setattr(info, key, value)
                tar.addfile(info, io.BytesIO(data))
            add("manifest.json", json.dumps(body, indent=2).encode())
            for name, data, more in members:
                add(name, data, **more)
        return seal(gz.compress(out.getvalue()), kdf=2, suite=2), body["backup_id"]

    a, b = entry("d/a", b"first\n"), entry("plain", b"plain\n", 0o100755)
    plain = [("d/a", b"first\n", {}), ("plain", b"plain\n", {"mode": 0o755})]
    full, full_id = backup([a, b], plain)
    accepted("termbackup6_full", full)
    link = [*plain, ("zlink", b"", {"type": tarfile.SYMTYPE, "linkname": "plain"})]
    accepted("termbackup6_symlink_is_listed_as_its_target", backup([a, b, {**b, "relative_path": "zlink"}], link)[0])
    link = [*plain, ("zhard", b"", {"type": tarfile.LNKTYPE, "linkname": "d/a"})]
    accepted("termbackup6_hard_link_is_listed_as_a_file", backup([a, b, {**a, "relative_path": "zhard"}], link)[0])
    accepted("termbackup6_vanished_file", backup([a, entry("gone", b"gone\n"), b], plain)[0], tar={3}, extract={3}, verify={0, 3})
    own = [plain[0], ("manifest.json", b"mine\n", {}), plain[1]]
    accepted("termbackup6_own_manifest", backup([a, entry("manifest.json", b"mine\n"), b], own)[0])
    changed = entry("d/a", b"second\n")
    incremental, _ = backup([changed], [("d/a", b"second\n", {})], full_id, longer=[b])
    accepted("termbackup6_incremental", incremental, needs=["termbackup6_full.tbk"])


# Cryptography


def blocks(title, cases):
    lines = [f"# {title}\n"]
    for case in cases:
        lines.append("\n" + "".join(f"{key} = {value.hex() if isinstance(value, bytes) else value}\n"
                                    for key, value in case.items()))
    return "".join(lines)


def argon2_with(password, salt, secret, data, memory, time, lanes, length=32):
    out = ffi.new("uint8_t[]", length)
    held = {name: ffi.new("uint8_t[]", value) for name, value in
            (("pwd", password), ("salt", salt), ("secret", secret), ("ad", data))}
    context = ffi.new("argon2_context *", {
        "out": out, "outlen": length, "version": 0x13, "t_cost": time, "m_cost": memory, "lanes": lanes,
        "threads": 1, "allocate_cbk": ffi.NULL, "free_cbk": ffi.NULL, "flags": lib.ARGON2_DEFAULT_FLAGS,
        "pwd": held["pwd"], "pwdlen": len(password), "salt": held["salt"], "saltlen": len(salt),
        "secret": held["secret"], "secretlen": len(secret), "ad": held["ad"], "adlen": len(data)})
    assert core(context, Type.ID.value) == 0
    return bytes(ffi.buffer(out))


RFC9106 = bytes.fromhex("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659")
GCM_CASE_14 = bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")


def cryptography():
    rfc = dict(password=b"\1" * 32, salt=b"\2" * 16, secret=b"\3" * 8, data=b"\4" * 12, memory=32, time=3, lanes=4)
    assert argon2_with(**rfc) == RFC9106
    cases = [{"source": "RFC 9106, 5.3", **rfc, "key": RFC9106}]
    for password, salt, memory, time, lanes in [
            (b"password", b"somesalt", 64, 1, 1), (b"password", SALT, 65536, 3, 4), (b"\xff\0\n", SALT, 64, 2, 2),
            (b"p", bytes(range(255)), 67, 1, 2), (b"x" * 1000, SALT, 8, 1, 1), (b"password", SALT, 1024, 10, 16)]:
        cases.append({"password": password, "salt": salt, "memory": memory, "time": time, "lanes": lanes,
                      "key": crypto.argon2id(password, salt, memory, time, lanes)})
    write("crypto", "argon2id.txt", blocks("Argon2id 1.3; memory in KiB; `secret` and `data` only in the RFC's own", cases))

    cases = []
    for password, salt, iterations, length in [(b"passwd", b"salt", 1, 64), (b"Password", b"NaCl", 80000, 64),
                                               (PASSWORD, SALT[:16], 1000, 64), (b"\xff\0", SALT, 2, 64),
                                               (b"p" * 100, b"s", 3, 32), (b"p", b"s" * 255, 4097, 65)]:
        cases.append({"password": password, "salt": salt, "iterations": iterations,
                      "key": hashlib.pbkdf2_hmac("sha256", password, salt, iterations, length)})
    assert cases[0]["key"].hex().startswith("55ac046e56e3089fec1691c22544b605")
    write("crypto", "pbkdf2-hmac-sha256.txt", blocks("PBKDF2-HMAC-SHA256; the first two are RFC 7914's", cases))

    cases = []
    for key, nonce, plaintext in [(bytes(32), bytes(12), b""), (bytes(32), bytes(12), bytes(16)),
                                  *((SALT, bytes(range(n)), bytes(range(m))) for n in (12, 1, 7, 8, 13, 16, 60, 255)
                                    for m in ((0, 1, 15, 16, 17, 33) if n == 12 else (20,)))]:
        sealed = crypto.gcm_encrypt(key, nonce, plaintext)
        assert sealed == crypto._gcm_any_nonce(key, nonce, plaintext)
        cases.append({"key": key, "nonce": nonce, "plaintext": plaintext, "ciphertext": sealed[:-16], "tag": sealed[-16:]})
    assert cases[0]["tag"].hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    assert cases[1]["ciphertext"] + cases[1]["tag"] == GCM_CASE_14
    write("crypto", "aes-256-gcm.txt", blocks("AES-256-GCM without associated data, nonces of any length", cases))

    cases = [{"key": key, "message": message, "mac": hmac.digest(key, message, "sha256")} for key, message in [
        (b"\x0b" * 20, b"Hi There"), (b"Jefe", b"what do ya want for nothing?"), (b"\xaa" * 20, b"\xdd" * 50),
        (b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First"), (SALT, b""), (SALT, b"x" * 64)]]
    assert cases[0]["mac"].hex().startswith("b0344c61d8db38535ca8afceaf0bf12b")
    write("crypto", "hmac-sha256.txt", blocks("HMAC-SHA256; the first four are RFC 4231's", cases))

    cases = [{"message": bytes(n & 0xFF for n in range(size)),
              "hash": hashlib.sha256(bytes(n & 0xFF for n in range(size))).digest()}
             for size in (0, 1, 3, 55, 56, 63, 64, 65, 119, 120, 128, 1000)]
    write("crypto", "sha256.txt", blocks("SHA-256", cases))

    cases = []
    for size in (0, 1, 15, 16, 17, 64):
        plaintext = bytes(range(size))
        count = 16 - size % 16
        cases.append({"key": SALT, "iv": bytes(range(16)), "plaintext": plaintext,
                      "ciphertext": crypto.cbc(SALT, bytes(range(16)), plaintext + bytes([count]) * count, True)})
    write("crypto", "aes-256-cbc-pkcs7.txt", blocks("AES-256-CBC with PKCS#7 padding", cases))


# Encrypted chunks

def pattern(length):
    return bytes(at % 251 for at in range(length))


def in_chunks():
    cases = []
    for size in (0, 1, 1000, *(n * chunked.CHUNK + d for n in (1, 2) for d in (-1, 0, 1)), 300 * chunked.CHUNK + 7):
        salt, context = bytes(range(size % 7, size % 7 + 24)), b"context"[:size % 8]
        sealed = chunked.encrypt(pattern(size), SALT, context, salt)
        assert size > 100_000 or chunked.decrypt(sealed, SALT, context) == pattern(size)
        cases.append({"key": SALT, "context": context, "front": sealed[:56], "length": size,
                      "sha256": hashlib.sha256(sealed[56:]).digest()})
    write("crypto", "chunked-encryption.txt", blocks(
        "C2SP chunked-encryption with AES-256-GCM of `length` bytes, byte n being n modulo 251", cases))
    cases = []
    for size in (0, 1, 1000, *(n * age.CHUNK + d for n in (1, 2) for d in (-1, 0, 1)), 256 * age.CHUNK + 7):
        salt = bytes(range(size % 7, size % 7 + 16))
        sealed = age.payload(SALT[:16], pattern(size), salt)[16:]
        cases.append({"key": age.hkdf(SALT[:16], salt, b"payload"), "length": size,
                      "sha256": hashlib.sha256(sealed).digest()})
    write("crypto", "age-stream.txt", blocks(
        "age's STREAM with ChaCha20-Poly1305 of `length` bytes, byte n being n modulo 251", cases))


# age files


def age_files():
    one, two, other = (age.Identity(bytes(range(n, n + 32))) for n in (1, 2, 3))
    passphrase = age.Passphrase(b"a passphrase")
    file_key, salt = bytes(range(16)), bytes(range(100, 116))
    message = pattern(100)

    def put(name, data, expect, keys=(one,), released=None):
        """`expect`: "success", or the part that is refused; `released` is the output before that."""
        if expect == "success":
            assert age.read(data, *keys) == message
            released = message
        lines = [("fact", name.replace("_", " ")), ("expect", expect)]
        lines += [("passphrase", key.text.hex()) if key is passphrase else ("identity", key.text) for key in keys]
        write("age", name + ".age", data)
        write("age", name + ".txt", describe([*lines, ("sha256", hashlib.sha256(released or b"").hexdigest())]))

    def file(stanzas, text=None, **options):
        return (text or age.header(file_key, stanzas)) + age.payload(file_key, message, salt, **options)

    mine, yours = one.wrap(file_key, bytes(range(50, 82))), two.wrap(file_key, bytes(range(51, 83)))
    secret = passphrase.wrap(file_key, bytes(16), 10)
    odd = age.stanza([b"odd", b"!~"], pattern(48))
    plain = file([mine])
    good = age.header(file_key, [mine])
    put("one_recipient", plain, "success")
    put("second_of_two_recipients", file([yours, mine]), "success")
    put("second_of_two_identities", plain, "success", keys=(other, one))
    put("a_stanza_that_nobody_knows", file([odd, mine]), "success")
    put("a_passphrase", file([secret]), "success", keys=(passphrase,))
    put("armored", age.armor(plain), "success")
    put("armored_with_white_space_around", b" \r\n" + age.armor(plain).replace(b"\n", b"\r\n") + b"\n\t", "success")
    put("another_recipient", file([yours]), "no match")
    put("another_passphrase", file([age.Passphrase(b"b").wrap(file_key, bytes(16), 10)]), "no match", keys=(passphrase,))
    put("hybrid_recipients_alone", file([age.stanza([b"mlkem768x25519", age.b64(bytes(32))], bytes(32))]), "header")
    put("mac_of_another_header", file([], good.replace(mine, mine + odd)), "mac")
    put("a_passphrase_and_a_recipient", file([secret, mine]), "header")
    put("scrypt_that_costs_a_gigabyte_of_gigabytes", file([secret.replace(b" 10\n", b" 40\n")]), "header",
        keys=(passphrase,))
    put("scrypt_cost_with_a_zero_in_front", file([secret.replace(b" 10\n", b" 010\n")]), "header", keys=(passphrase,))
    put("share_of_low_order", file([age.stanza([b"X25519", age.b64(bytes(32))], bytes(32))]), "header")
    put("share_with_a_byte_less", file([age.stanza([b"X25519", age.b64(bytes(31))], bytes(32))]), "header")
    put("version_2", plain.replace(b"/v1", b"/v2", 1), "header")
    put("header_in_crlf", file([], good.replace(b"\n", b"\r\n")), "header")
    put("header_ends_early", plain[:60], "header")
    put("body_of_a_stanza_with_padding", file([mine.rstrip(b"\n") + b"=\n"]), "header")
    put("no_stanza", file([]), "header")
    put("nonce_ends_early", plain[:len(good) + 15], "header")
    put("payload_of_nothing", plain[:len(good) + 16], "payload")
    put("payload_ends_early", plain[:-1], "payload")
    put("payload_with_a_byte_behind", plain + b"x", "payload")
    put("last_chunk_is_marked_as_another", file([mine], pieces=[(message, 0, False)]), "payload")
    put("chunk_counted_from_one", file([mine], pieces=[(message, 1, True)]), "payload")
    put("armor_with_a_long_line", age.armor(plain).replace(b"\n", b"", 2).replace(b"FILE-----", b"FILE-----\n", 1), "armor")
    put("armor_without_an_end", age.armor(plain)[:-35], "armor")
    put("armor_with_text_behind", age.armor(plain) + b"x", "armor")
    put("armor_with_an_empty_line", age.armor(plain).replace(b"\n", b"\n\n", 1), "armor")


# Manifests


def manifests():
    def put(name, body, style=None):
        manifest = {**body, "backup_id": None}
        done = mf.with_id(manifest)
        write("manifest", name + ".json", json.dumps(done, **(style or {"separators": (",", ":")})))
        write("manifest", name + ".canonical", mf.canonical(manifest))
        write("manifest", name + ".txt", describe([("fact", name.replace("_", " ")), ("backup-id", done["backup_id"])]))

    put("small", manifest_of([file("a")]))
    put("empty_tree", manifest_of([]))
    put("odd_names", manifest_of(ODD))
    put("indented", manifest_of(TREE), {"indent": 2})
    put("spaced", manifest_of(TREE), {"separators": (" ,\t", " : ")})
    put("keys_in_another_order", dict(reversed(manifest_of(TREE).items())))
    floats = [0.0, -0.0, 1.0, 0.1, 1.5, 1e16, 1e15, 123456789012345680.0, 1e22, 1e-05, 0.0001, 1e-07, 5e-324,
              1.7976931348623157e308, 1577934245.1234567, -1.5, 2.220446049250313e-16, 1e21, 1e100]
    put("floats", manifest_of([file(f"f{n:02}", modified_at=value) for n, value in enumerate(floats)]))
    put("integers", manifest_of([file("a", inode=2**64 - 1, device=0, ctime_ns=-(2**63), mtime_ns=2**63 - 1)]))
    put("modified_at_is_an_integer", manifest_of([file("a", modified_at=1577934245)]))
    names = ["user.a", "user.\u00e9", "user.\ue000", "user.\U00010000", "user.\udcff", "user.B", "user._", "user.a.b", "user.\x7f"]
    put("xattr_names_sort_by_code_point", manifest_of([file("a", xattrs={name: "YQ==" for name in reversed(names)})]))
    controls = "".join(map(chr, range(1, 32))) + "\x7f\x80\u00a0\u2028\u2029\ufeff\uffff/\\\""
    put("escapes", manifest_of([file("l", b"x"), symlink("s", controls.replace("/", "") + "/")]))
    put("unknown_fields_are_kept", manifest_of([file("a", later={"b": [1, 2.5, None, True, False, "x"], "a": {}})], extra=[]))
    put("termbackup6", {"version": "1.0", "os_name": "Linux", "python_version": "3.11.0", "architecture": "x86_64",
                        "created_at": "2020-01-02T03:04:05.000006+00:00", "backup_mode": "full", "parent_backup_id": None,
                        "backup_id": None, "files": [{"relative_path": "\u00e9/a b", "size": 3, "sha256": "ab" * 32,
                                                      "permissions": 33188, "modified_at": 1577934245.1234567}]},
        {"indent": 2})


def main():
    for folder in ("age", "archives", "crypto", "manifest"):
        os.makedirs(os.path.join(VECTORS, folder), exist_ok=True)
        for name in os.listdir(os.path.join(VECTORS, folder)):
            # Vectors of Ed25519 are not generated here.
            if not name.startswith("ed25519"):
                os.remove(os.path.join(VECTORS, folder, name))
    restored()
    refused()
    cryptography()
    in_chunks()
    age_files()
    manifests()
    return 0


if __name__ == "__main__":
    sys.exit(main())
