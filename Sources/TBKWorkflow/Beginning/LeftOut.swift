import Glibc
import TBKCore

/// Patterns for directories that are not part of what is backed up, although they lie below it.
struct LeftOut {
  /// The directory that is backed up, its links resolved.
  private let source: RawPath

  /// - Parameter source: a directory, however it is spelled; for one that is not mounted only its name is known.
  init(below source: RawPath) {
    self.source = LeftOut.real(source)
  }

  /// `/PATH/` for a directory below the source, for it and nothing else; nil for any other.
  func pattern(for directory: RawPath) -> [UInt8]? {
    LeftOut.pattern(for: LeftOut.real(directory), below: source).map { $0 + [UInt8(ascii: "/")] }
  }

  /// Likewise without the slash at its end, of two paths without links.
  static func pattern(for path: RawPath, below source: RawPath) -> [UInt8]? {
    let slash = UInt8(ascii: "/")
    let start = source.bytes.last == slash ? source.bytes : source.bytes + [slash]
    guard !source.isEmpty, path.bytes.starts(with: start), path.bytes.count > start.count else { return nil }
    var pattern = [slash]
    for byte in path.bytes.dropFirst(start.count) {
      if "[]\\*?".utf8.contains(byte) { pattern.append(UInt8(ascii: "\\")) }
      pattern.append(byte)
    }
    return pattern
  }

  static func real(_ path: RawPath) -> RawPath {
    let found: RawPath?? = try? unsafe path.withCString { (text) throws(Failure) in
      guard let resolved = unsafe realpath(text, nil) else { return nil }
      defer { unsafe free(resolved) }
      return unsafe RawPath(Array(UnsafeRawBufferPointer(start: resolved, count: strlen(resolved))))
    }
    return (found ?? nil) ?? path
  }
}
