#!/usr/bin/env python3
"""Writes the tables in this folder: the results of `git check-ignore --no-index`.

Needs git. A table is a sequence of cases. "rules" is the content of an ignore file; then one path per
line, "+" for excluded and "-" for not, with a slash at the end if it is a directory. Bytes
outside printable ASCII, and "%", are percent-encoded.
"""
import os
import random
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def encode(data):
    return "".join(chr(b) if 0x21 <= b <= 0x7e and b != 0x25 else "%%%02x" % b for b in data)


def ask(root, rules, paths):
    """The paths that git excludes; the paths are created first, those with a slash as directories."""
    for name in os.listdir(root):
        if name != b".git":
            path = os.path.join(root, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    with open(os.path.join(root, b".git/info/exclude"), "wb") as out:
        out.write(rules)
    made = []
    for path in paths:
        full = os.path.join(root, path)
        try:
            if path.endswith(b"/"):
                os.makedirs(full, exist_ok=True)
            else:
                os.makedirs(os.path.dirname(full), exist_ok=True)
                open(full, "xb").close()
            made.append(path)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            pass  # a file and a directory of the same name: the first one stays
    # With "./": a leading ":" is pathspec magic.
    asked = [b"./" + p.rstrip(b"/") for p in made]
    result = subprocess.run(
        ["git", "-c", "core.excludesFile=/dev/null", "-c", "core.ignoreCase=false",
         "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=root, input=b"".join(p + b"\0" for p in asked), stdout=subprocess.PIPE)
    assert result.returncode in (0, 1), rules
    excluded = set(result.stdout.split(b"\0"))
    return [(p, b"./" + p.rstrip(b"/") in excluded) for p in made]


def table(name, cases):
    with tempfile.TemporaryDirectory() as folder:
        root = os.fsencode(folder)
        subprocess.run(["git", "init", "-q", root], check=True)
        with open(os.path.join(HERE, name), "w") as out:
            for rules, paths in cases:
                out.write("rules %s\n" % encode(rules))
                for path, excluded in ask(root, rules, paths):
                    out.write("%s %s\n" % ("+" if excluded else "-", encode(path)))


# Every pattern of a group is tried on every path of the group.
GROUPS = [
    ([b"foo", b"foo/", b"/foo", b"/foo/", b"a/foo", b"/a/foo", b"a/foo/", b"**/foo", b"**/foo/",
      b"foo/**", b"foo/**/bar", b"a/**/foo", b"foo/*", b"*/foo", b"*/foo/", b"**/foo/**", b"/*",
      b"/*/", b"*/", b"**", b"**/", b"/**", b"/**/", b"**/a/**/foo", b"a/**/**/foo", b"a/***/foo",
      b"a/**foo", b"a/f**", b"a/f**o", b"/f**", b"f**", b"f**/bar", b"/f**/bar", b"a/foo**",
      b"a/**o/bar", b"*", b"a**/foo", b"//foo", b"foo//", b"a//foo", b"foo/.", b"./foo", b"a/../foo",
      b"/", b"//", b"!", b"!/", b"**\\/foo", b"a/**\\/foo", b"foo\\/", b"\\/foo", b"f\\oo", b"a/*/foo",
      b"a/*", b"*/*", b"*/*/*", b"foo/bar", b"**foo", b"a/**", b"?oo", b"a?foo", b"a/?oo", b"fo?",
      b"***", b"***/foo", b"****/foo/", b"**/**", b"**/*", b"*/**", b"**/**/foo", b"**/f*/bar",
      b"/**/foo", b"/**foo"],
     [b"foo", b"bar/foo", b"a/foo/bar", b"a/b/foo", b"a/b/c/foo/", b"b/foo/bar", b"b/foo/c/bar",
      b"afoo", b"foobar/bar", b"fbar/x", b"a/fx/y", b"x/a/y/foo", b"a/foox/bar", b"c/fo", b"d/a/foo/",
      b"f/bar"]),
    ([b"foo", b"/foo", b"foo/bar", b"foo/", b"f*", b"foo**", b"/foo**", b"foo*/bar"],
     [b"foo/bar", b"foo/x/bar", b"foobar/bar", b"x/foo/bar", b"y/foo"]),
    ([b"*.o", b"*.tar.gz", b"*.", b".*", b"*.*", b"lib*.so", b"*~", b"#*#", b"\\#*#", b"\\#a", b"#a",
      b"\\!a", b"!a", b"\\a", b"a\\", b"\\\\", b"a\\\\", b"*\\", b"\\*", b"\\?", b"*\\*", b"*.[oa]",
      b"*.[!o]", b"*.[^o]", b"b.?", b"*.?", b"*o", b"*.O", b"a.*", b"*a*", b"*.tar.*", b"?*", b"*?",
      b"??", b"*.o*", b"b.o", b"b\\.o", b"b.o\\", b"*\\.o", b"*[.]o", b"-*", b"l*b*.*o"],
     [b"a.o", b"b.o", b"b.a", b"x.tar.gz", b"a.", b".hidden", b"d/a.o", b"libx.so", b"b~", b"#a#",
      b"#a", b"!a", b"a", b"\\", b"a\\", b"*", b"?", b"*.o/", b"b.O", b"-", b"x*", b"libb.so.o"]),
    ([b"[abc]", b"[a-c]", b"[!a-c]", b"[^a-c]", b"[]]", b"[]a]", b"[!]]", b"[^]a]", b"[a", b"[", b"[]",
      b"[!]", b"[^]", b"[a-]", b"[-a]", b"[a-b-c]", b"[c-a]", b"[\\]]", b"[\\a]", b"[\\\\]", b"[a\\-c]",
      b"[a-\\c]", b"[\\a-c]", b"[[]", b"[[]]", b"[]-a]", b"[!-]", b"[--0]", b"[[:alpha:]]",
      b"[[:digit:]]", b"[![:digit:]]", b"[[:digit:]a-c]", b"[[:upper:][:lower:]]", b"[[:foo:]]",
      b"[[:alpha:]", b"[[:alpha]", b"[[:]", b"[[::]]", b"[[:]]", b"[:alpha:]", b"[[:alpha:]-z]",
      b"[a-[:digit:]]", b"x[a", b"[a]x", b"*[a]", b"[a]*", b"[*]", b"[?]", b"[a-c][a-c]", b"[a\\", b"[\\",
      b"[a-", b"[a-\\", b"\\[a]", b"\\[a\\]", b"[a]\\", b"[/]", b"x[/]y", b"a[b/c]d", b"[!/]", b"[[a]]",
      b"[+--]", b"[,-.]", b"[a-a]", b"[!!]", b"[^^]", b"[!^]", b"[a!]", b"[[.a.]]", b"[[=a=]]",
      b"[[:digit:]-a]", b"*[", b"*[]", b"**/[", b"a/[", b"[\xe9]", b"[\xe0-\xff]", b"[!\xe9]", b"\xe9",
      b"?", b"??", b"[%-'0]"],
     [bytes([c]) for c in b"abcdzABZ0159]-[!^\\:?*,+ '=%~\x01\t\x7f\x80\xc3\xe9\xff"] + [
         b"aa", b"a]", b"[a]", b"xa", b"ax", b"x/y", b"[[:alpha:]", b"[a", b"[", b"ab", b"\xc3\xa9",
         b"a[b/c]d"]),
    ([b"[[:%s:]]" % name for name in (
        b"alnum", b"alpha", b"blank", b"cntrl", b"digit", b"graph", b"lower", b"print", b"punct",
        b"space", b"upper", b"xdigit", b"word", b"ALPHA")] + [b"[![:space:][:cntrl:]]"],
     [bytes([c]) for c in range(1, 256) if c not in b"/."]),
    ([b"a ", b"a  ", b"a\\ ", b"a\\  ", b"a \\ ", b"a\\ \\ ", b"a\t", b" a", b"a b", b"a b ", b"a\\\\ ",
      b"\\ ", b" ", b"  ", b"a\\ b  ", b"a/ ", b"a \\", b"a\r", b"a \r", b"a\\\r", b"\r", b"!a \r"],
     [b"a", b"a ", b"a  ", b" a", b"a b", b"a\t", b"a\\", b" ", b"a\r", b"a \\", b"b/a /", b"\r"]),
    ([b"a*b", b"a*a*b", b"*a*b", b"*ab*", b"a**b", b"*a", b"x/a*b", b"x/*a*b", b"**/a*b", b"**/a*/b",
      b"x/*/a*b*", b"**/b/*a", b"**/a/**/b", b"**/*a/b", b"x/**/a?b", b"**/a/b/**", b"**/?/**/b",
      b"**/*/b*", b"*/a/**/*b"],
     [b"ab", b"aab", b"abab", b"abb/", b"x/ab", b"x/abab/b", b"x/a/b", b"x/y/a/z/b", b"x/y/aab",
      b"y/aa/b", b"z/a/b/c/b", b"z/b/aba", b"x/y/z/acb", b"b/a/a/b", b"b/b/b/a"]),
]

FILES = [
    (b"*\n!keep\n", [b"a", b"keep", b"d/keep", b"keep/", b"d/x"]),
    (b"/*\n!/foo\n/foo/*\n!/foo/bar\n", [b"a", b"foo/bar/x", b"foo/y", b"b/foo"]),
    (b"d/\n!d/keep\n", [b"d/keep", b"d/x", b"e/d/keep"]),
    (b"d/*\n!d/keep\n", [b"d/keep", b"d/x", b"e/d/keep"]),
    (b"!a\na\n", [b"a", b"d/a"]),
    (b"a\n!a\n", [b"a", b"d/a", b"a2"]),
    (b"a\n!a\na/\n", [b"a", b"d/a/"]),
    (b"*.log\n!important.log\nlogs/\n", [b"x.log", b"important.log", b"logs/important.log", b"d/logs"]),
    (b"\xef\xbb\xbfa\n", [b"a", b"\xef\xbb\xbfa"]),
    (b"b\n\xef\xbb\xbfa\n", [b"a", b"\xef\xbb\xbfa", b"b"]),
    (b"\xef\xbb\xbf#a\nb", [b"a", b"#a", b"b"]),
    (b"a\r\nb\r\n", [b"a", b"b", b"a\r", b"b\r"]),
    (b"a\r\r\nb\r", [b"a", b"b", b"a\r", b"b\r", b"a\r\r"]),
    (b"a\nb", [b"a", b"b"]),
    (b"\n\n\r\n#c\n \na", [b"a", b"#c", b" ", b"c"]),
    (b"a \r\nb\t\r\n", [b"a", b"a ", b"b", b"b\t"]),
    (b"a\0b\nc\n", [b"a", b"c", b"b"]),
    (b"\0a\nc\n", [b"a", b"c"]),
    (b"", [b"a"]),
    (b"# only\n", [b"a", b"# only"]),
    (b".git2/\n.idea/\n__pycache__/\n.DS_Store\n",
     [b"a/.idea/x", b".idea", b"b/__pycache__/c.pyc", b".DS_Store", b"c/.DS_Store/", b"__pycache__x"]),
    (b"node_modules/\n!node_modules/keep/\n*.py[co]\n/build\n**/target/\n",
     [b"node_modules/keep/x", b"a.pyc", b"b/a.pyo", b"a.py", b"build/x", b"b/build", b"c/target/x",
      b"target"]),
    (b"a/b/**\n!a/b/c\n", [b"a/b/c", b"a/b/d/c", b"a/b/"]),
    (b"**/*\n!*/\n!*.txt\n", [b"a.txt", b"a.bin", b"d/e/a.txt", b"d/e/a.bin"]),
]


def randomly():
    """Random patterns over a small alphabet, to find cases that no one thinks of."""
    source = random.Random(20240229)
    pieces = [b"a", b"b", b"/", b"*", b"**", b"?", b"[ab]", b"[!a]", b"**/", b"/**", b"\\a", b"a*", b"[a"]
    weights = [8, 8, 6, 5, 3, 3, 2, 2, 3, 3, 1, 3, 0.2]
    for _ in range(700):
        rules = []
        for _ in range(source.choice([1, 1, 1, 2, 3])):
            text = b"".join(source.choices(pieces, weights, k=source.randint(1, 6)))
            rules.append((b"!" if source.random() < 0.2 else b"") + text)
        paths = set()
        for _ in range(8):
            parts = [bytes(source.choices(b"abc", [5, 4, 1], k=source.randint(1, 3)))
                     for _ in range(source.randint(1, 4))]
            paths.add(b"/".join(parts) + (b"/" if source.random() < 0.3 else b""))
        yield b"\n".join(rules) + b"\n", sorted(paths)


table("patterns.txt", ((p + b"\n", paths) for patterns, paths in GROUPS[:3] + GROUPS[5:]
                       for p in patterns))
table("brackets.txt", ((p + b"\n", paths) for patterns, paths in GROUPS[3:5] for p in patterns))
table("files.txt", FILES)
table("random.txt", randomly())
