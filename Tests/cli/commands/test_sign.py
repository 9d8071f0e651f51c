"""tbk-sign: keys shared with openssl and TermBackup 6, signatures, and which keys are refused."""

import base64
import hashlib
import json
import os
import signal
import subprocess

import pytest
from conftest import PASSWORD, PATIENCE, crypto, put, require
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from seal_fixture import Terminal

DATA = bytes(range(256)) * 40
# Formats in which openssl writes a private key; the arguments follow `openssl pkcs8 -topk8`.
ENCRYPTIONS = {
    "ours": "-v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 600000",
    "default": "",
    "aes-128 and SHA-1": "-v2 aes-128-cbc -v2prf hmacWithSHA1",
    "aes-192 and SHA-512": "-v2 aes-192-cbc -v2prf hmacWithSHA512 -iter 1",
    "scrypt": "-scrypt",
    "more scrypt": "-scrypt -scrypt_N 2048 -scrypt_r 4 -scrypt_p 3",
}
OTHER_KINDS = {
    "RSA": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    "RSA-PSS": ["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:1024"],
    "EC": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "X25519": ["-algorithm", "X25519"],
    "X448": ["-algorithm", "X448"],
    "Ed448": ["-algorithm", "ED448"],
}


def openssl(*arguments, input=None, status=0):
    require("openssl")
    done = subprocess.run(["openssl", *arguments], input=input, capture_output=True, timeout=PATIENCE)
    assert done.returncode == status or status is None, done.stderr
    return done


class Keys:
    """A pair of files."""

    def __init__(self, private, public):
        self.private, self.public = private, public


@pytest.fixture
def password(tbk):
    return ["--password-file", tbk.password_file]


@pytest.fixture
def plain(tbk, tmp_path):
    """An unencrypted key, which is quick to open."""
    keys = Keys(tmp_path / "plain.pem", tmp_path / "plain.pub")
    tbk.run("tbk-sign", "keygen", "--no-password", "--private", keys.private, "--public", keys.public)
    return keys


def sign(tbk, key, data=DATA, *arguments, **options):
    return tbk.run("tbk-sign", "sign", "--any", "--key", key, *arguments, input=data, **options).out


def verify(tbk, signature, data, *arguments, status=0):
    path = put(tbk.scratch / "signature", signature)
    return tbk.run("tbk-sign", "verify", path, *arguments, input=data, status=status)


def openssl_verify(public, signature, data, tmp_path):
    put(tmp_path / "of.sig", signature)
    put(tmp_path / "of.data", data)
    done = openssl("pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public, "-in", tmp_path / "of.data",
                   "-sigfile", tmp_path / "of.sig", status=None)
    return done.returncode == 0


# Making keys


def test_a_new_key_is_two_files_that_openssl_reads(tbk, password, tmp_path):
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    result = tbk.run("tbk-sign", "keygen", "--private", private, "--public", public, *password)
    assert private.stat().st_mode & 0o7777 == 0o600 and public.stat().st_mode & 0o7777 == 0o644
    der = openssl("pkey", "-pubin", "-in", public, "-outform", "DER").stdout
    assert result.lines == [hashlib.sha256(der).hexdigest()] and result.err == b""
    assert openssl("pkey", "-in", private, "-passin", f"file:{tbk.password_file}", "-pubout").stdout == public.read_bytes()
    form = openssl("asn1parse", "-in", private).stdout
    for part in (b":PBES2", b":PBKDF2", b":hmacWithSHA256", b":0927C0", b":aes-256-cbc"):
        assert part in form
    assert tbk.run("tbk-sign", "public", "--key", private, *password).out == public.read_bytes()
    assert tbk.run("tbk-sign", "fingerprint", "--key", public).lines == result.lines


def test_a_new_key_in_clear_says_so(tbk, tmp_path):
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    result = tbk.run("tbk-sign", "keygen", "-q", "--no-password", "--private", private, "--public", public)
    assert b"not encrypted" in result.err and private.stat().st_mode & 0o7777 == 0o600
    assert openssl("pkey", "-in", private, "-pubout").stdout == public.read_bytes()
    assert openssl("pkey", "-in", private).stdout == private.read_bytes()
    assert openssl("pkey", "-pubin", "-in", public).stdout == public.read_bytes()


def test_a_new_key_as_json(tbk, tmp_path):
    private, public = os.fsencode(tmp_path) + b"/k \xff", tmp_path / "k.pub"
    found = json.loads(tbk.run("tbk-sign", "keygen", "--json", "--no-password", "--private", private, "--public", public).out)
    assert found == {"fingerprint": found["fingerprint"], "private": os.fsdecode(private), "public": str(public)}
    shown = json.loads(tbk.run("tbk-sign", "fingerprint", "--json", "--key", public).out)
    assert shown == {"fingerprint": found["fingerprint"], "key": str(public)}


@pytest.mark.parametrize("there", [{"k.pem"}, {"k.pub"}, {"k.pem", "k.pub"}])
def test_a_key_that_is_there_stays(there, tbk, tmp_path):
    for name in there:
        put(tmp_path / "keys" / name, b"precious", mode=0o640)
    files = ["--private", tmp_path / "keys" / "k.pem", "--public", tmp_path / "keys" / "k.pub"]
    result = tbk.run("tbk-sign", "keygen", "--no-password", *files, status=73)
    assert result.out == b"" and b"--force" in result.err
    assert set(os.listdir(tmp_path / "keys")) == there
    assert all((tmp_path / "keys" / name).read_bytes() == b"precious" for name in there)
    tbk.run("tbk-sign", "keygen", "--no-password", "--force", *files)
    assert sorted(os.listdir(tmp_path / "keys")) == ["k.pem", "k.pub"]
    assert tbk.run("tbk-sign", "public", "--key", files[1]).out == (tmp_path / "keys" / "k.pub").read_bytes()
    assert (tmp_path / "keys" / "k.pem").stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("private, public, status", [
    ("a", "a", {64, 73}), ("a", "./a", {64, 73}), ("a", "no/b", 73), ("no/a", "b", 73), ("a", "directory", 73),
    ("directory", "b", 73), ("fifo", "b", 73), ("-", "b", 64), ("a", "-", 64)])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_both_files_are_in_place_or_neither(private, public, status, force, tbk, tmp_path):
    top = tmp_path / "keys"
    (top / "directory").mkdir(parents=True)
    os.mkfifo(top / "fifo")
    result = tbk.run("tbk-sign", "keygen", "--no-password", *force, "--private", private, "--public", public, cwd=top,
                     status=status)
    assert result.out == b"" and sorted(os.listdir(top)) == ["directory", "fifo"] and os.listdir(top / "directory") == []


@pytest.mark.parametrize("arguments", [
    ["--no-password", "--password-file", "x"], ["--no-password", "--password-fd", "3"], ["--password", "secret"]])
def test_contradictions_are_refused(arguments, tbk, tmp_path):
    result = tbk.run("tbk-sign", "keygen", "--private", tmp_path / "a", "--public", tmp_path / "b", *arguments, status=64)
    assert result.out == b"" and not (tmp_path / "a").exists()


@pytest.mark.parametrize("arguments", [
    [], ["keygen"], ["keygen", "--private", "x"], ["sign"], ["verify"], ["verify", "x"], ["verify", "--key", "x"],
    ["public"], ["fingerprint"], ["no-such-verb"], ["verify", "--key", "x", "a", "b"]])
def test_what_is_missing_is_wrong_usage(arguments, tbk, tmp_path):
    assert tbk.run("tbk-sign", *arguments, status=64, cwd=tmp_path).out == b""
    assert not (tmp_path / "x").exists()


# Passwords


def test_a_new_password_is_asked_for_twice_and_an_old_one_once(tbk, tmp_path):
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    terminal = Terminal(tbk, "tbk-sign", "keygen", "--private", private, "--public", public)
    terminal.answer(b"Password: ", PASSWORD)
    terminal.answer(b"Password again: ", PASSWORD)
    assert terminal.end()[0] == 0 and PASSWORD not in terminal.seen
    data = put(tmp_path / "data", DATA)
    with open(data, "rb") as file:
        terminal = Terminal(tbk, "tbk-sign", "sign", "--any", "--key", private, stdin=file)
        terminal.answer(b"Password: ", PASSWORD)
        status, signature, _ = terminal.end()
    assert status == 0 and PASSWORD not in terminal.seen
    verify(tbk, signature, DATA, "--key", public)


def test_two_different_answers_make_no_key(tbk, tmp_path):
    top = tmp_path / "keys"
    top.mkdir()
    terminal = Terminal(tbk, "tbk-sign", "keygen", "--private", top / "a", "--public", top / "b")
    for _ in range(3):
        terminal.answer(b"Password: ", PASSWORD)
        terminal.answer(b"Password again: ", b"another")
    status, out, _ = terminal.end()
    assert status == 64 and out == b"" and os.listdir(top) == []


@pytest.fixture
def sealed(tbk, tmp_path):
    """A key encrypted under PASSWORD by openssl, quick to open."""
    keys = Keys(tmp_path / "sealed.pem", tmp_path / "sealed.pub")
    clear = openssl("genpkey", "-algorithm", "ED25519").stdout
    openssl("pkcs8", "-topk8", "-out", keys.private, "-passout", f"file:{tbk.password_file}", input=clear)
    put(keys.public, openssl("pkey", "-pubout", input=clear).stdout)
    return keys


def test_the_password_comes_from_every_place(tbk, sealed):
    wanted = sign(tbk, sealed.private, DATA, "--password-file", tbk.password_file)
    verify(tbk, wanted, DATA, "--key", sealed.public)
    reading, writing = os.pipe()
    os.write(writing, PASSWORD + b"\n")
    os.close(writing)
    assert sign(tbk, sealed.private, DATA, "--password-fd", str(reading), pass_fds=[reading]) == wanted
    os.close(reading)
    command = f"cat '{tbk.password_file}'"
    assert sign(tbk, sealed.private, DATA, "--password-command", command) == wanted
    for name, value in (("FILE", str(tbk.password_file)), ("COMMAND", command)):
        assert sign(tbk, sealed.private, DATA, env={f"TERMBACKUP_PASSWORD_{name}": value}) == wanted
    assert sign(tbk, sealed.private, DATA, env={"TERMBACKUP_PASSWORD": PASSWORD.decode()}) == wanted
    assert tbk.leftovers() == []


def test_a_password_command_does_not_see_other_passwords(tbk, sealed):
    command = f"sh -c 'test -z \"$TERMBACKUP_PASSWORD\" && cat \"{tbk.password_file}\"'"
    sign(tbk, sealed.private, DATA, "--password-command", command, env={"TERMBACKUP_PASSWORD": "another"})


@pytest.mark.parametrize("verb", ["sign", "public"])
def test_a_wrong_password_is_refused(verb, tbk, sealed):
    for wrong in ("x", PASSWORD.decode() + " ", PASSWORD.decode().upper()):
        result = tbk.run("tbk-sign", verb, "--key", sealed.private, input=DATA, env={"TERMBACKUP_PASSWORD": wrong}, status=77)
        assert result.out == b"" and wrong.encode() not in result.err.replace(b"password", b"")
    result = tbk.run("tbk-sign", "sign", "--key", sealed.private, "--password-command", "cat /dev/null", input=DATA, status=64)
    assert result.out == b""
    assert tbk.leftovers() == []


def test_without_a_password_nobody_is_asked_where_nobody_is(tbk, sealed):
    for arguments in ([], ["--no-input"]):
        result = tbk.run("tbk-sign", "sign", "--key", sealed.private, *arguments, input=DATA, status=64)
        assert result.out == b"" and b"no password" in result.err
    assert Terminal(tbk, "tbk-sign", "public", "--key", sealed.private, "--no-input").end()[0] == 64


def test_the_password_is_not_taken_from_what_is_signed(tbk, sealed):
    for arguments in (["--password-fd", "0"], ["--password-file", "-"]):
        assert sign(tbk, sealed.private, PASSWORD + b"\n", *arguments, status=64) == b""
        assert tbk.run("tbk-sign", "public", "--key", sealed.private, *arguments, input=PASSWORD).out


def test_a_key_in_clear_needs_no_password(tbk, plain):
    verify(tbk, sign(tbk, plain.private, DATA, "--no-input"), DATA, "--key", plain.public)


# Other programs


@pytest.mark.parametrize("form", ENCRYPTIONS)
def test_keys_of_openssl_are_read(form, tbk, tmp_path):
    clear = openssl("genpkey", "-algorithm", "ED25519").stdout
    private = tmp_path / "k.pem"
    openssl("pkcs8", "-topk8", "-out", private, "-passout", f"file:{tbk.password_file}", *ENCRYPTIONS[form].split(),
            input=clear)
    public = put(tmp_path / "k.pub", openssl("pkey", "-pubout", input=clear).stdout)
    given = ["--password-file", tbk.password_file]
    with open(public, "rb") as file:
        assert tbk.run("tbk-sign", "public", "--key", private, *given).out == file.read()
    signature = sign(tbk, private, DATA, *given)
    assert len(signature) == 64 and openssl_verify(public, signature, DATA, tmp_path)
    tbk.run("tbk-sign", "public", "--key", private, env={"TERMBACKUP_PASSWORD": "wrong"}, status=77)


@pytest.mark.parametrize("options", [[], ["-aes256"], ["-aes128"]])
def test_openssl_and_tbk_sign_make_the_same_signatures(options, tbk, tmp_path):
    private, public, made = tmp_path / "k.pem", tmp_path / "k.pub", tmp_path / "sig"
    phrase = ["-passin", f"file:{tbk.password_file}"]
    openssl("genpkey", "-algorithm", "ED25519", *options, *(["-pass", phrase[1]] if options else []), "-out", private)
    openssl("pkey", "-in", private, *phrase, "-pubout", "-out", public)
    data = put(tmp_path / "data", DATA)
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", private, *phrase, "-in", data, "-out", made)
    assert sign(tbk, private, DATA, "--password-file", tbk.password_file) == made.read_bytes()
    verify(tbk, made.read_bytes(), DATA, "--key", public)
    verify(tbk, made.read_bytes(), DATA + b"x", "--key", public, status=1)


def test_our_key_signs_in_openssl(tbk, password, tmp_path):
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    tbk.run("tbk-sign", "keygen", "--private", private, "--public", public, *password)
    data, made = put(tmp_path / "data", DATA), tmp_path / "sig"
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", private, "-passin", f"file:{tbk.password_file}", "-in", data, "-out", made)
    verify(tbk, made.read_bytes(), DATA, "--key", public)
    signature = sign(tbk, private, DATA, *password)
    assert signature == made.read_bytes() and openssl_verify(public, signature, DATA, tmp_path)
    assert not openssl_verify(public, signature, DATA[1:], tmp_path)


@pytest.mark.parametrize("size", [0, 1, 64, 262143, 262144, 262145, 8 << 20, (8 << 20) + 1])
def test_every_size_is_signed_as_openssl_does(size, tbk, plain, tmp_path):
    data = hashlib.shake_128(b"%d" % size).digest(size)
    signature = sign(tbk, plain.private, data)
    verify(tbk, signature, data, "--key", plain.public)
    key = serialization.load_pem_private_key(plain.private.read_bytes(), None)
    assert key.sign(data) == signature
    verify(tbk, signature, data + b"\0", "--key", plain.public, status=1)
    if data:
        verify(tbk, signature, data[:-1], "--key", plain.public, status=1)


@pytest.mark.parametrize("encrypted", [True, False])
def test_keys_of_termbackup6_are_read_and_it_reads_ours(encrypted, tbk, tmp_path):
    """TermBackup 6 used this package, with BestAvailableEncryption and SubjectPublicKeyInfo."""
    key = Ed25519PrivateKey.generate()
    hidden = serialization.BestAvailableEncryption(PASSWORD) if encrypted else serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    private = put(tmp_path / "k.pem", key.private_bytes(*form, hidden))
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public = put(tmp_path / "k.pub", pem)
    given = ["--password-file", tbk.password_file]
    assert tbk.run("tbk-sign", "public", "--key", private, *given).out == pem
    assert sign(tbk, private, DATA, *given) == key.sign(DATA)
    verify(tbk, key.sign(DATA), DATA, "--key", public)

    ours, public = tmp_path / "ours.pem", tmp_path / "ours.pub"
    tbk.run("tbk-sign", "keygen", "--private", ours, "--public", public, *(given if encrypted else ["--no-password"]))
    read = serialization.load_pem_private_key(ours.read_bytes(), PASSWORD if encrypted else None)
    signature = read.sign(DATA)
    verify(tbk, signature, DATA, "--key", public)
    serialization.load_pem_public_key(public.read_bytes()).verify(sign(tbk, ours, DATA, *given), DATA)


def test_a_key_may_stand_among_other_text(tbk, plain):
    for pem in (openssl("pkey", "-in", plain.private, "-text").stdout,
                b"Bag Attributes\n    friendlyName: mine\n" + plain.private.read_bytes(),
                plain.private.read_bytes().replace(b"\n", b"\r\n"), plain.private.read_bytes().rstrip()):
        key = put(tbk.scratch / "around.pem", pem)
        assert tbk.run("tbk-sign", "public", "--key", key).out == plain.public.read_bytes()


# Keys that are refused


def refused(tbk, key, *needles, verbs=("sign", "public", "verify", "fingerprint"), status=65):
    signature = put(tbk.scratch / "some.sig", b"\0" * 64)
    for verb in verbs:
        operands = [signature] if verb == "verify" else []
        result = tbk.run("tbk-sign", verb, "--key", key, *operands, input=DATA, env={"TERMBACKUP_PASSWORD": "x"},
                         status=status)
        assert result.out == b""
        for needle in needles:
            assert needle.encode() in result.err, result.err


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_keys_of_another_kind_are_refused_by_name(kind, tbk, tmp_path):
    private = tmp_path / "k.pem"
    openssl("genpkey", *OTHER_KINDS[kind], "-out", private)
    public = put(tmp_path / "k.pub", openssl("pkey", "-in", private, "-pubout").stdout)
    refused(tbk, private, kind, verbs=("sign", "public"))
    refused(tbk, public, kind, verbs=("verify", "fingerprint"))
    openssl("pkcs8", "-topk8", "-in", private, "-out", tmp_path / "sealed.pem", "-passout", "pass:x")
    refused(tbk, tmp_path / "sealed.pem", kind, verbs=("sign", "public"))


def test_keys_in_older_forms_are_refused_by_name(tbk, tmp_path):
    for name, arguments in (("RSA PRIVATE KEY", ["rsa", "-traditional"]), ("EC PRIVATE KEY", ["ec"]),
                            ("RSA PRIVATE KEY", ["rsa", "-traditional", "-aes128", "-passout", "pass:x"])):
        kind = name.split()[0]
        pem = openssl(*arguments, input=openssl("genpkey", *OTHER_KINDS[kind]).stdout).stdout
        refused(tbk, put(tmp_path / "k.pem", pem), name)
    for encryption in (["-v1", "PBE-SHA1-3DES"], ["-v2", "des3"]):
        clear = openssl("genpkey", "-algorithm", "ED25519").stdout
        pem = openssl("pkcs8", "-topk8", *encryption, "-passout", "pass:x", input=clear).stdout
        refused(tbk, put(tmp_path / "k.pem", pem), "openssl pkcs8", verbs=("sign", "public"))


def test_the_wrong_half_is_named(tbk, plain, sealed):
    refused(tbk, plain.public, "public key", verbs=("sign", "public"))
    for private in (plain.private, sealed.private):
        refused(tbk, private, "private key", verbs=("verify", "fingerprint"))


def test_truncated_keys_are_refused(tbk, plain, sealed):
    for path, verbs in ((plain.private, ("public",)), (sealed.private, ("public",)), (plain.public, ("fingerprint",))):
        pem = path.read_bytes()
        # Up to the last newline, which may be missing.
        for length in list(range(0, len(pem) - 1, 9)) + [len(pem) - 2]:
            refused(tbk, put(tbk.scratch / "short.pem", pem[:length]), verbs=verbs)


@pytest.mark.parametrize("content", [
    b"", b"\0" * 32, bytes(range(200, 244)), b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
    b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"x" * 70_000, b"\n" * 1_000_000])
def test_what_is_no_key_is_refused(content, tbk):
    refused(tbk, put(tbk.scratch / "no.pem", content))


def test_two_keys_in_a_file_are_one_too_many(tbk, plain):
    for path, verb in ((plain.private, "public"), (plain.public, "fingerprint")):
        refused(tbk, put(tbk.scratch / "two.pem", path.read_bytes() * 2), "more than one", verbs=(verb,))


def test_keys_that_are_not_there_are_missing_input(tbk, tmp_path):
    refused(tbk, tmp_path / "no.pem", status=66)
    refused(tbk, tmp_path, status=66)


def test_a_key_that_anybody_can_sign_for_is_refused(tbk, tmp_path):
    """A point of order 4: one signature is valid for many messages."""
    der = bytes.fromhex("302a300506032b6570032100") + bytes(32)
    pem = openssl("pkey", "-pubin", "-inform", "DER", input=der).stdout
    refused(tbk, put(tmp_path / "weak.pub", pem), "anyone", verbs=("verify", "fingerprint"))


def der(tag, *content):
    content = b"".join(content)
    length = len(content).to_bytes(4, "big").lstrip(b"\0")
    return bytes([tag]) + (bytes([len(content)]) if len(content) < 128 else bytes([0x80 + len(length)]) + length) + content


def number(value):
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


@pytest.mark.parametrize("function, costs", [
    ("2a864886f70d01050c", [10_000_001]), ("2a864886f70d01050c", [2**31 - 1]), ("2a864886f70d01050c", [2**64]),
    ("2b06010401da47040b", [2**30, 8, 1]), ("2b06010401da47040b", [2**14, 8, 2**20]), ("2b06010401da47040b", [2, 2**40, 1])])
def test_costs_that_nobody_chooses_are_refused_before_they_are_paid(function, costs, tbk, tmp_path):
    scheme = der(0x30, der(0x30, der(6, bytes.fromhex(function)), der(0x30, der(4, b"saltsalt"), *map(number, costs))),
                 der(0x30, der(6, bytes.fromhex("60864801650304012a")), der(4, bytes(16))))
    whole = der(0x30, der(0x30, der(6, bytes.fromhex("2a864886f70d01050d")), scheme), der(4, bytes(64)))
    pem = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + base64.encodebytes(whole) + b"-----END ENCRYPTED PRIVATE KEY-----\n"
    # It is also refused before the password is asked for.
    result = tbk.run("tbk-sign", "public", "--key", put(tmp_path / "k.pem", pem), status=65)
    assert result.out == b"" and (b"limit" in result.err or b"out of range" in result.err)


# Signatures


def test_a_signature_is_taken_in_both_forms(tbk, plain):
    signature = sign(tbk, plain.private)
    line = sign(tbk, plain.private, DATA, "--hex")
    assert line == signature.hex().encode() + b"\n"
    for form in (signature, line, line[:-1], line.upper()):
        assert verify(tbk, form, DATA, "--key", plain.public).out.startswith(b"ok ")


@pytest.mark.parametrize("bad", [
    b"", b"\0" * 63, b"\0" * 65, b"0" * 127, b"0" * 129, b"0" * 128 + b"\n\n", b"0" * 127 + b"g", b" " + b"0" * 128,
    b"\0" * 5000])
def test_what_is_no_signature_is_malformed(bad, tbk, plain):
    assert verify(tbk, bad, DATA, "--key", plain.public, status=65).out == b""


def test_every_flipped_bit_is_noticed(tbk, plain):
    data = b"small"
    signature = sign(tbk, plain.private, data)
    for bit in range(0, 512, 5):
        altered = bytearray(signature)
        altered[bit // 8] ^= 1 << bit % 8
        result = verify(tbk, bytes(altered), data, "--key", plain.public, status=1)
        assert result.out == b"" and b"is not valid" in result.err
    for bit in range(len(data) * 8):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        verify(tbk, signature, bytes(altered), "--key", plain.public, status=1)


def test_a_number_above_the_order_is_no_other_spelling(tbk, plain):
    signature = sign(tbk, plain.private)
    order = 2**252 + 27742317777372353535851937790883648493
    other = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    verify(tbk, other, DATA, "--key", plain.public, status=1)


def test_one_of_several_keys_has_to_fit_and_is_named(tbk, plain, sealed):
    signature = sign(tbk, plain.private)
    wanted = tbk.run("tbk-sign", "fingerprint", "--key", plain.public).lines[0]
    for keys in ([plain.public, sealed.public], [sealed.public, plain.public]):
        given = [word for key in keys for word in ("--key", key)]
        assert verify(tbk, signature, DATA, *given).lines == [f"ok {wanted} {plain.public}"]
        found = json.loads(verify(tbk, signature, DATA, "--json", *given).out)
        assert found == {"ok": True, "fingerprint": wanted, "key": str(plain.public)}
    assert verify(tbk, signature, DATA, "--key", sealed.public, "--key", sealed.public, status=1).out == b""
    result = verify(tbk, signature, DATA, "--json", "--key", sealed.public, status=1)
    assert json.loads(result.out) == {"ok": False, "fingerprint": None, "key": None} and result.err == b""
    # Every key is read first: an invalid key fails even if another one matches.
    verify(tbk, signature, DATA, "--key", plain.public, "--key", plain.private, status=65)


def test_names_are_bytes(tbk, plain):
    public = put(os.fsencode(tbk.scratch) + b"/new\nline \xff", plain.public.read_bytes())
    result = verify(tbk, sign(tbk, plain.private), DATA, "--key", public)
    assert len(result.lines) == 1 and result.out.rstrip().endswith(b'/new\\nline \\377"')


def test_standard_input_is_one_thing(tbk, plain):
    signature = put(tbk.scratch / "sig", sign(tbk, plain.private))
    for arguments in (["sign", "--key", "-"], ["verify", "--key", "-", signature], ["verify", "--key", plain.public, "-"]):
        assert tbk.run("tbk-sign", *arguments, input=plain.private.read_bytes(), status=64).out == b""
    assert tbk.run("tbk-sign", "public", "--key", "-", input=plain.private.read_bytes()).out == plain.public.read_bytes()
    assert tbk.run("tbk-sign", "fingerprint", "--key", "-", input=plain.public.read_bytes()).lines == \
        tbk.run("tbk-sign", "fingerprint", "--key", plain.public).lines


def test_terminals_are_no_archives(tbk, plain):
    with open(put(tbk.scratch / "data", DATA), "rb") as file:
        terminal = Terminal(tbk, "tbk-sign", "sign", "--key", plain.private, stdin=file, stdout="terminal")
        status, _, err = terminal.end()
    assert status == 64 and b"--hex" in err and terminal.seen == b""
    with open(tbk.scratch / "data", "rb") as file:
        terminal = Terminal(tbk, "tbk-sign", "sign", "--any", "--hex", "--key", plain.private, stdin=file, stdout="terminal")
        assert terminal.end()[0] == 0 and len(terminal.seen.strip()) == 128
    status, out, _ = Terminal(tbk, "tbk-sign", "sign", "--key", plain.private, stdin="terminal").end()
    assert (status, out) == (64, b"")


# What is signed


def archives(tbk):
    """One archive of each kind."""
    tree = tbk.scratch / "tree"
    put(tree / "file", b"content")
    sealed = tbk.seal(tree)
    return {"TBK2": sealed, "TBK1": crypto.seal_tbk1(b"payload", PASSWORD, iterations=1)}


@pytest.mark.parametrize("kind", ["TBK2", "TBK1"])
def test_archives_are_signed_without_being_told(kind, tbk, plain):
    data = archives(tbk)[kind]
    signature = tbk.run("tbk-sign", "sign", "--key", plain.private, input=data).out
    verify(tbk, signature, data, "--key", plain.public)
    assert signature == sign(tbk, plain.private, data)


@pytest.mark.parametrize("what", ["nothing", "text", "cut", "longer", "ledger"])
def test_what_is_no_whole_archive_is_signed_only_if_that_is_said(what, tbk, plain):
    archive = archives(tbk)["TBK2"]
    data = {"nothing": b"", "text": b"I owe you\n", "cut": archive[:-1], "longer": archive + b"\n",
            "ledger": b'{"backups": []}\n'}[what]
    result = tbk.run("tbk-sign", "sign", "--key", plain.private, input=data, status=65)
    assert result.out == b"" and b"is not an archive" in result.err and b"--any" in result.err
    verify(tbk, sign(tbk, plain.private, data), data, "--key", plain.public)


@pytest.mark.parametrize("message", [
    b"termbackup-ledger-v1\n" + b'{"backups":[]}', b"termbackup-ledger-v1\n", b"termbackup-ledger-v2\n{}",
    b"termbackup-ledger-", b"termbackup-ledger-v1"])
def test_what_could_be_a_ledger_is_signed_as_no_file_and_verified_as_none(message, tbk, plain):
    for more in ([], ["--any"]):
        result = tbk.run("tbk-sign", "sign", *more, "--key", plain.private, input=message, status=65)
        assert result.out == b"" and b"ledger" in result.err and b"--any" not in result.err
    # Even if another program signed it.
    signature = serialization.load_pem_private_key(plain.private.read_bytes(), None).sign(message)
    result = verify(tbk, signature, message, "--key", plain.public, status=65)
    assert result.out == b"" and b"ledger" in result.err
    verify(tbk, sign(tbk, plain.private, b" " + message), b" " + message, "--key", plain.public)


def test_a_file_that_changes_while_it_is_read_is_not_signed(tbk, plain):
    """Or, if it was read before the change, the signature is for what was read."""
    path = put(tbk.scratch / "large", b"")
    size = 256 << 20
    missed = 0
    while missed < 20:
        os.truncate(path, 0)
        os.truncate(path, size)
        with open(path, "r+b") as file:
            process = tbk.start("tbk-sign", "sign", "--any", "--key", plain.private, stdin=file)
            # The file position is shared with the command.
            while (at := os.lseek(file.fileno(), 0, os.SEEK_CUR)) == 0 and process.poll() is None:
                pass
            os.pwrite(file.fileno(), b"changed", 0)
            os.pwrite(file.fileno(), b"changed", size - 7)
            out, err = process.communicate(timeout=PATIENCE)
        if at < size:
            assert (process.returncode, out) == (65, b"") and b"changed while it was read" in err
            return
        missed += 1
    pytest.skip("the file was always read too soon")


def test_a_file_that_changes_after_it_was_read_is_signed_as_it_was(tbk, plain):
    path = put(tbk.scratch / "large", b"")
    size = 64 << 20
    os.truncate(path, size)
    with open(path, "r+b") as file:
        process = tbk.start("tbk-sign", "sign", "--any", "--key", plain.private, stdin=file)
        while os.lseek(file.fileno(), 0, os.SEEK_CUR) < size and process.poll() is None:
            pass
        os.pwrite(file.fileno(), b"changed", size // 2)
        os.ftruncate(file.fileno(), size - 1)
        out, _ = process.communicate(timeout=PATIENCE)
    if process.returncode == 65:
        assert out == b""
        return
    assert process.returncode == 0
    serialization.load_pem_public_key(plain.public.read_bytes()).verify(out, bytes(size))


def test_memory_does_not_grow_with_what_is_signed(tbk, plain):
    path, most = put(tbk.scratch / "large", b""), {}
    signature = tbk.scratch / "large.sig"
    for size in (0, 512 << 20):
        os.truncate(path, size)
        for verb in ("sign", "verify"):
            operands = ["--any", "--key", plain.private] if verb == "sign" else ["--key", plain.public, signature]
            with open(path, "rb") as file, open(signature if verb == "sign" else os.devnull, "wb") as output:
                process = tbk.start("tbk-sign", verb, *operands, stdin=file, stdout=output)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                process.stderr.close()
            assert process.returncode == 0
            most[verb, size] = usage.ru_maxrss * 1024
    for verb in ("sign", "verify"):
        assert most[verb, 512 << 20] - most[verb, 0] < 64 << 20
    assert tbk.leftovers() == []


def test_an_interrupted_signature_is_none_and_ends_at_once(tbk, plain):
    """The library cannot be interrupted within 256 MiB; the command can."""
    path, spent = put(tbk.scratch / "large", b""), {}
    size = 256 << 20
    os.truncate(path, size)
    for interrupted in (False, True):
        with open(path, "rb") as file:
            process = tbk.start("tbk-sign", "sign", "--any", "--key", plain.private, stdin=file)
            # The file position is shared with the command.
            while interrupted and os.lseek(file.fileno(), 0, os.SEEK_CUR) < size and process.poll() is None:
                pass
            if interrupted:
                os.kill(process.pid, signal.SIGINT)
            out = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            process.stdout.close()
            process.stderr.close()
        assert (process.returncode, len(out)) == ((130, 0) if interrupted else (0, 64))
        spent[interrupted] = usage.ru_utime
    assert spent[True] < spent[False] / 2
    assert tbk.leftovers() == []


def test_a_signature_that_cannot_be_written_is_an_error(tbk, plain):
    with open("/dev/full", "wb") as full:
        tbk.run("tbk-sign", "sign", "--any", "--key", plain.private, input=DATA, stdout=full, status=74)
    result = tbk.run("tbk-sign", "sign", "--key", plain.private, input=DATA, env={"TMPDIR": "/no/such/place"}, status=73)
    assert result.out == b""


def test_errors_as_json(tbk, plain):
    error = json.loads(tbk.run("tbk-sign", "fingerprint", "--json", "--key", plain.private, status=65).err)["error"]
    assert error["status"] == 65 and error["message"] and error["hint"]
