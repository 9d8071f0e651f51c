import Glibc

/// The path of a program: its first match in PATH, ignoring relative entries, or nil.
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
