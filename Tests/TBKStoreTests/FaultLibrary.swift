import Glibc
import TBKCore

@testable import TBKStore

/// A library to preload in a child: at a chosen call that changes the file system, it kills the child or makes the call
/// fail.
enum FaultLibrary {
  private static let source = #"""
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <signal.h>
    #include <stdarg.h>
    #include <stdlib.h>
    #include <sys/types.h>
    #include <unistd.h>

    static int number(const char *name) {
      const char *text = getenv(name);
      return text == NULL ? 0 : atoi(text);
    }

    /* Whether this call is to fail, with errno set. */
    static int fails(void) {
      static int calls;
      calls++;
      if (number("FAULT_KILL") == calls) kill(getpid(), SIGKILL);
      if (number("FAULT_ONCE") == calls || (number("FAULT_FROM") && calls >= number("FAULT_FROM"))) {
        errno = number("FAULT_ERRNO");
        return 1;
      }
      return 0;
    }

    #define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

    int openat(int directory, const char *path, int flags, ...) {
      va_list list;
      va_start(list, flags);
      mode_t mode = va_arg(list, mode_t);
      va_end(list);
      if ((flags & O_CREAT) && fails()) return -1;
      return REAL(openat)(directory, path, flags, mode);
    }
    ssize_t write(int file, const void *bytes, size_t count) {
      if (file > 2 && fails()) return -1;
      return REAL(write)(file, bytes, count);
    }
    int fsync(int file) { return fails() ? -1 : REAL(fsync)(file); }
    int mkdirat(int directory, const char *path, mode_t mode) {
      return fails() ? -1 : REAL(mkdirat)(directory, path, mode);
    }
    int renameat(int from, const char *old, int to, const char *new) {
      return fails() ? -1 : REAL(renameat)(from, old, to, new);
    }
    int renameat2(int from, const char *old, int to, const char *new, unsigned int flags) {
      return fails() ? -1 : REAL(renameat2)(from, old, to, new, flags);
    }
    int unlinkat(int directory, const char *path, int flags) {
      /* Room can always be made on a full disk. */
      if (number("FAULT_ERRNO") == ENOSPC) return REAL(unlinkat)(directory, path, flags);
      return fails() ? -1 : REAL(unlinkat)(directory, path, flags);
    }
    """#

  /// Compiles it; nil if there is no C compiler.
  static func build(in scratch: Scratch) throws -> RawPath? {
    try AtomicFile.write(Array(source.utf8), to: scratch["fault.c"])
    let output = scratch["fault.so"]
    for compiler in ["cc", "clang", "gcc"] {
      let command =
        "\(compiler) -shared -fPIC -o \(output.text) \(scratch["fault.c"].text) -ldl 2>/dev/null"
      if shell(command) == 0 { return output }
    }
    return nil
  }
}

/// Runs a command; returns its status, or 128 and the signal that killed it.
@discardableResult
func shell(_ command: String) -> Int32 {
  // Threads of the tests block signals; a shell that inherited this would wait for ever.
  var none = sigset_t()
  var before = sigset_t()
  unsafe sigemptyset(&none)
  unsafe pthread_sigmask(SIG_SETMASK, &none, &before)
  defer { unsafe _ = pthread_sigmask(SIG_SETMASK, &before, nil) }
  let status = unsafe system(command)
  return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
}

/// The program in the build tree that these tests run; nil if it has not been built.
let program: RawPath? = {
  guard let test = try? Descriptor.workingDirectory.readLink(RawPath("/proc/self/exe")) else {
    return nil
  }
  let path = test.parent.appending("tbk-net")
  return (try? Descriptor.workingDirectory.statusIfPresent(of: path)) == nil ? nil : path
}()
