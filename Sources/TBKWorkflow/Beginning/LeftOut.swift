import Glibc
import TBKCore

/// Patterns that exclude directories below the source from the backup.
struct LeftOut {
  /// The source directory, with links resolved.
  private let source: RawPath

  /// - Parameter source: a directory, in any spelling; if it is not mounted, its path is used as it is.
  init(below source: RawPath) {
    self.source = LeftOut.real(source)
  }

  /// `/PATH/`, which matches only this directory below the source; nil for a directory elsewhere.
  func pattern(for directory: RawPath) -> [UInt8]? {
    LeftOut.pattern(for: LeftOut.real(directory), below: source).map { $0 + [UInt8(ascii: "/")] }
  }

  /// The same without the final slash, for two paths without links.
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
