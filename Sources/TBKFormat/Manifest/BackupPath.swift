import TBKCore

/// A path inside a backup as a user gives it: `./a/b/` is `a/b`, and `.` the root.
package struct BackupPath {
  /// As in manifests; empty for the root.
  package let bytes: [UInt8]

  package init(_ given: [UInt8]) {
    let slash = UInt8(ascii: "/")
    bytes = Array(
      given.split(separator: slash).filter { !$0.elementsEqual(".".utf8) }.joined(separator: [slash]))
  }

  /// The gitignore(5) pattern that matches this path and nothing else.
  package var pattern: [UInt8] {
    if bytes.isEmpty { return Array("/**".utf8) }
    var pattern = [UInt8(ascii: "/")]
    for byte in bytes {
      if "[]\\*? ".utf8.contains(byte) { pattern.append(UInt8(ascii: "\\")) }
      pattern.append(byte)
    }
    return pattern
  }

  /// The entries directly in this directory, or all below it; only the entry itself if it is not a directory. Throws
  /// `.inputMissing` if it is not in the backup.
  package func entries(in manifest: Manifest, recursively: Bool) throws(Failure) -> [Int] {
    let files = manifest.files
    let front = bytes.isEmpty ? [] : bytes + [UInt8(ascii: "/")]
    var found: [Int] = []
    var itself: Int?
    for index in files.indices {
      let path = files.path(index)
      if path == bytes {
        itself = index
      } else if path.starts(with: front), recursively || !path[front.count...].contains(UInt8(ascii: "/")) {
        found.append(index)
      }
    }
    if let itself, files.type(itself) != .directory { return [itself] }
    guard itself != nil || bytes.isEmpty || !found.isEmpty else {
      throw Failure(.inputMissing, "\(RawPath(bytes).display) is not in this backup")
    }
    return found
  }
}
