"""Another user who has access to the target directory of a restore."""

import os
import struct
import subprocess

from needs import absent, require

NOBODY = 65534

# What the owner of a directory may do as soon as another user creates a directory in it.
THIEF = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int mkdirat(int directory, const char *path, mode_t mode) {
  int (*real)(int, const char *, mode_t) = (int (*)(int, const char *, mode_t))dlsym(RTLD_NEXT, "mkdirat");
  int result = real(directory, path, mode);
  const char *how = getenv("THIEF");
  if (result != 0 || how == NULL || strncmp(path, ".tbk-restore-", 13) != 0) return result;
  if (renameat(directory, path, directory, "taken") != 0) return -1;
  if (strcmp(how, "link") == 0) {
    if (symlinkat("taken", directory, path) != 0) return -1;
  } else if (strcmp(how, "nothing") != 0) {
    mode_t bits = strcmp(how, "private") == 0 ? 0700 : 0777;
    uid_t owner = strcmp(how, "ours") == 0 ? 0 : 65534;
    if (real(directory, path, bits) != 0 || fchmodat(directory, path, bits, 0) != 0 ||
        fchownat(directory, path, owner, owner, 0) != 0)
      return -1;
  }
  return result;
}
"""


def thief_library(folder):
    """A library to preload, which takes a new directory away from the process that creates it."""
    require("cc")
    source, library = folder / "thief.c", folder / "thief.so"
    source.write_text(THIEF)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return str(library)


def access_list(*entries, default=False):
    """The extended attribute of an access list: (tag, bits) or (tag, bits, id) for each entry."""
    tags = {"user": 1, "named user": 2, "group": 4, "named group": 8, "mask": 16, "other": 32}
    data = struct.pack("<I", 2)
    for tag, bits, *who in entries:
        data += struct.pack("<HHI", tags[tag], bits, who[0] if who else 0xFFFFFFFF)
    return f"system.posix_acl_{'default' if default else 'access'}", data


def give_access(path, user, bits=7, default=False):
    """Gives another user access. Skips if the file system has no access lists."""
    mode = os.stat(path).st_mode
    name, data = access_list(("user", mode >> 6 & 7), ("named user", bits, user), ("group", mode >> 3 & 7), ("mask", 7),
                             ("other", mode & 7), default=default)
    try:
        os.setxattr(path, name, data)
    except OSError:
        absent("a file system with access lists")
    return data


def attributes(path, *ours):
    """The names of its attributes, except those that the system set."""
    return {name for name in os.listxattr(path, follow_symlinks=False) if name != "security.selinux"}


def need_root():
    if os.geteuid() != 0:
        absent("the superuser")


def give_away(path):
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files]:
            os.lchown(os.path.join(folder, name), NOBODY, NOBODY)
    os.chown(path, NOBODY, NOBODY)
