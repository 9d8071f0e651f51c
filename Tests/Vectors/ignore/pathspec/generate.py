#!/usr/bin/env python3
"""Writes the tables in this folder: the paths that the Python package pathspec 0.12.1 matches.

Needs that package. The format is that of the folder above: "rules" is the patterns, one per line;
then one path per line, "+" for excluded and "-" for not, with a slash at the end if it is a directory. "invalid"
instead of paths: pathspec refuses one of the patterns.
"""
import os
import random
import re

import pathspec
from pathspec.patterns.gitwildmatch import GitWildMatchPattern

HERE = os.path.dirname(os.path.abspath(__file__))


def encode(data):
    return "".join(chr(b) if 0x21 <= b <= 0x7e and b != 0x25 else "%%%02x" % b for b in data)


class WithoutSlash(GitWildMatchPattern):
    """A set in brackets never matches a slash: the only intended difference."""

    @staticmethod
    def _translate_segment_glob(pattern):
        text = GitWildMatchPattern._translate_segment_glob(pattern)
        result, at = "", 0
        while at < len(text):
            if text[at] == "\\":
                result, at = result + text[at:at + 2], at + 2
            elif text.startswith("[^/]", at):  # A star or a question mark.
                result, at = result + text[at:at + 4], at + 4
            elif text[at] == "[":
                end = at + 1
                end += text[end] == "^"
                end += text[end] == "]"
                while text[end] != "]":
                    end += 2 if text[end] == "\\" else 1
                result, at = result + "(?!/)" + text[at:end + 1], end + 1
            else:
                result, at = result + text[at], at + 1
        return result


def table(name, cases):
    with open(os.path.join(HERE, name), "w") as out:
        for rules, paths in cases:
            out.write("rules %s\n" % encode(rules))
            lines = rules.decode("utf-8", "surrogateescape").split("\n")
            try:
                spec = pathspec.PathSpec.from_lines(WithoutSlash, lines)
            except (ValueError, re.error):
                out.write("invalid\n")
                continue
            for path in paths:
                matched = spec.match_file(path.decode("utf-8", "surrogateescape"), separators=())
                out.write("%s %s\n" % ("+" if matched else "-", encode(path)))


# Every pattern of a group is tried on every path of the group.
GROUPS = [
    ([b"foo", b"foo/", b"/foo", b"/foo/", b"a/foo", b"/a/foo", b"a/foo/", b"**/foo", b"**/foo/", b"foo/**", b"foo/**/bar",
      b"a/**/foo", b"foo/*", b"*/foo", b"*/foo/", b"**/foo/**", b"/*", b"/*/", b"*/", b"**", b"**/", b"/**", b"/**/",
      b"**/a/**/foo", b"a/**/**/foo", b"a/***/foo", b"a/**foo", b"a/f**", b"a/f**o", b"/f**", b"f**", b"f**/bar", b"*",
      b"a**/foo", b"//foo", b"foo//", b"a//foo", b"foo/.", b"./foo", b"/", b"//", b"!", b"!/", b"**\\/foo", b"foo\\/",
      b"f\\oo", b"a/*/foo", b"a/*", b"*/*", b"*/*/*", b"foo/bar", b"**foo", b"a/**", b"?oo", b"a?foo", b"a/?oo", b"fo?",
      b"***", b"***/foo", b"****/foo/", b"**/**", b"**/*", b"*/**", b"**/**/foo", b"**/f*/bar", b"/**/foo", b"/**foo",
      b"**/**/", b"a/**/", b"a/**/b/**/foo", b"**/**/**", b"/**/**", b"*/**/"],
     [b"foo", b"bar/foo", b"a/foo/bar", b"a/b/foo", b"a/b/c/foo/", b"b/foo/bar", b"b/foo/c/bar", b"afoo", b"foobar/bar",
      b"fbar/x", b"a/fx/y", b"x/a/y/foo", b"a/foox/bar", b"c/fo", b"d/a/foo/", b"f/bar", b"foo/", b"a/", b"a/foo"]),
    ([b"*.o", b"*.tar.gz", b"*.", b".*", b"*.*", b"lib*.so", b"*~", b"\\#a", b"#a", b"\\!a", b"a\\", b"\\\\", b"a\\\\", b"*\\",
      b"\\*", b"\\?", b"*.[oa]", b"*.[!o]", b"*.[^o]", b"b.?", b"*o", b"*.O", b"*a*", b"?*", b"*?", b"??", b"l*b*.*o"],
     [b"a.o", b"b.o", b"b.a", b"x.tar.gz", b"a.", b".hidden", b"d/a.o", b"libx.so", b"b~", b"#a", b"!a", b"a", b"\\", b"a\\",
      b"*", b"?", b"*.o/", b"b.O", b"x*", b"libb.so.o"]),
    ([b"[abc]", b"[a-c]", b"[!a-c]", b"[^a-c]", b"[]]", b"[]a]", b"[!]]", b"[^]a]", b"[a", b"[", b"[]", b"[!]", b"[^]", b"[a-]",
      b"[-a]", b"[a-b-c]", b"[c-a]", b"[\\]]", b"[\\a]", b"[\\\\]", b"[a\\-c]", b"[a-\\c]", b"[\\a-c]", b"[[]", b"[[]]", b"[]-a]",
      b"[!-]", b"[--0]", b"[[:alpha:]]", b"[[:digit:]]", b"[:alpha:]", b"x[a", b"[a]x", b"*[a]", b"[a]*", b"[*]", b"[?]",
      b"[a-c][a-c]", b"[a\\", b"[a-", b"\\[a]", b"\\[a\\]", b"[a]\\", b"[/]", b"x[/]y", b"a[b/c]d", b"x[!a]y", b"[!!]", b"[!^]",
      b"[a!]", "[é]".encode(), "[à-ü]".encode(), "[!é]".encode(), "é".encode(), b"?", b"??", b"???", "*?é".encode(), b"*??", b"[\xe9]"],
     [bytes([c]) for c in b"abcdzAZ059]-[!^\\:?*,='%~\x01\xe9\xff"] + [
         b"aa", b"a]", b"[a]", b"xa", b"ax", b"x/y", b"xby", b"[a", b"ab", "é".encode(), "ü".encode(), "aé".encode(), "éé".encode(),
         "€".encode(), "€é".encode(), "𝄞".encode(), b"\xe2\x82", b"a[b/c]d"]),
    ([b"a ", b"a  ", b"a\\ ", b"a\\  ", b"a \\ ", b"a\t", b" a", b"\t a", b"a b", b"a b ", b"\\ ", b" ", b"", b"a/ ", b"! a", b" #a",
      b" !a", b"a\r"],
     [b"a", b"a ", b"a  ", b" a", b"a b", b"a\t", b"a\\", b" ", b"a/x", b"#a", b"!a", b"a\r"]),
    ([b"a*b", b"a*a*b", b"*a*b", b"*ab*", b"a**b", b"x/a*b", b"x/*a*b", b"**/a*b", b"**/a*/b", b"x/*/a*b*", b"**/b/*a",
      b"**/a/**/b", b"**/*a/b", b"x/**/a?b", b"**/a/b/**", b"**/?/**/b", b"**/*/b*", b"*/a/**/*b"],
     [b"ab", b"aab", b"abab", b"abb/", b"x/ab", b"x/abab/b", b"x/a/b", b"x/y/a/z/b", b"x/y/aab", b"y/aa/b", b"z/a/b/c/b",
      b"z/b/aba", b"x/y/z/acb", b"b/a/a/b", b"b/b/b/a"]),
]

FILES = [
    (b"build/\n!build/keep", [b"build/", b"build/keep", b"build/x", b"a/build/keep", b"build"]),
    (b"*\n!*.py", [b"a", b"a.py", b"d/", b"d/a.py", b"d/e/a", b"d/e/a.py"]),
    (b"*\n!keep/", [b"a", b"keep/", b"keep/x", b"d/keep/y", b"d/z", b"keep"]),
    (b"*\n!/keep", [b"a", b"keep/", b"keep/x", b"d/keep/y", b"keep"]),
    (b"d/*\n!d/keep", [b"d/keep", b"d/x", b"e/d/keep", b"d/"]),
    (b"!a\na", [b"a", b"d/a"]),
    (b"a\n!a\na/", [b"a", b"d/a/", b"a/x"]),
    (b"*.log\n!important.log\nlogs/", [b"x.log", b"important.log", b"logs/important.log", b"d/logs"]),
    (b"logs/\n*.log\n!important.log", [b"x.log", b"important.log", b"logs/important.log", b"logs/x", b"d/logs/"]),
    (b"node_modules/\n!node_modules/keep/\n*.py[co]\n/build\n**/target/",
     [b"node_modules/keep/x", b"a.pyc", b"b/a.pyo", b"a.py", b"build/x", b"b/build", b"c/target/x", b"target"]),
    (b"a/b/**\n!a/b/c", [b"a/b/c", b"a/b/d/c", b"a/b/", b"a/b/c/d"]),
    (b"**/*\n!*/\n!*.txt", [b"a.txt", b"a.bin", b"d/e/a.txt", b"d/e/a.bin", b"d/"]),
    (b"a\n\n#b\n/\nc", [b"a", b"#b", b"b", b"c"]),
    (b".git/\n.idea/\n__pycache__/\n.DS_Store",
     [b"a/.idea/x", b".idea", b"b/__pycache__/c.pyc", b".DS_Store", b"c/.DS_Store/", b"__pycache__x", b".git/", b".gitignore"]),
]


def randomly():
    """Random patterns over a small alphabet, to find cases that no one thinks of."""
    source = random.Random(20240607)
    pieces = [b"a", b"b", b"/", b"*", b"**", b"?", b"[ab]", b"[!a]", b"**/", b"/**", b"\\a", b"a*", b"[a"]
    weights = [8, 8, 6, 5, 3, 3, 2, 2, 3, 3, 1, 3, 0.2]
    for _ in range(700):
        rules = []
        for _ in range(source.choice([1, 1, 2, 2, 3])):
            text = b"".join(source.choices(pieces, weights, k=source.randint(1, 6)))
            rules.append((b"!" if source.random() < 0.3 else b"") + text)
        paths = set()
        for _ in range(8):
            parts = [bytes(source.choices(b"abc", [5, 4, 1], k=source.randint(1, 3))) for _ in range(source.randint(1, 4))]
            paths.add(b"/".join(parts) + (b"/" if source.random() < 0.3 else b""))
        yield b"\n".join(rules), sorted(paths)


table("patterns.txt", ((p, paths) for patterns, paths in GROUPS for p in patterns))
table("files.txt", FILES)
table("random.txt", randomly())
