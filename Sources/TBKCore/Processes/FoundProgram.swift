import Glibc

/// A program's file: the first in PATH, of whose entries only absolute ones count; nil if PATH has no such program.
package func findProgram(_ name: String) throws(Failure) -> RawPath? {
  let path = environment("PATH") ?? Array("/usr/bin:/bin".utf8)
  for entry in path.split(separator: UInt8(ascii: ":")) where entry.first == UInt8(ascii: "/") {
    let candidate = RawPath(Array(entry)).appending(name)
    let isProgram = try unsafe candidate.withCString { (text) throws(Failure) in
      var facts = stat()
      return unsafe stat(text, &facts) == 0 && facts.st_mode & S_IFMT == S_IFREG
        && access(text, X_OK) == 0
    }
    if isProgram { return candidate }
  }
  return nil
}
