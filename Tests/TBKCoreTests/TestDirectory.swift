import Glibc
import TBKCore

/// An empty directory that is removed with its content when the test ends.
final class TestDirectory {
  let path: RawPath
  let descriptor: Descriptor

  init() throws(Failure) {
    let base = environment("TMPDIR").map { RawPath($0) } ?? RawPath("/tmp")
    path = base.appending("tbk-test-\(uniqueSuffix())")
    try Descriptor.workingDirectory.makeDirectory(path)
    descriptor = try Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY)
  }

  deinit {
    clear(descriptor)
    _ = try? Descriptor.workingDirectory.unlink(path, directory: true)
  }

  private func clear(_ directory: Descriptor) {
    for (name, type) in (try? directory.names()) ?? [] {
      if type == UInt8(DT_DIR), let below = try? directory.open(name, O_RDONLY | O_DIRECTORY) {
        clear(below)
        _ = try? directory.unlink(name, directory: true)
      } else {
        _ = try? directory.unlink(name)
      }
    }
  }

  /// The names in it, sorted.
  var names: [String] {
    get throws(Failure) { try descriptor.names().map(\.name.text).sorted() }
  }

  func put(_ name: String, _ bytes: [UInt8]) throws(Failure) {
    let file = try descriptor.open(RawPath(name), O_WRONLY | O_CREAT | O_TRUNC)
    try file.write(bytes.span)
  }

  func content(_ name: String) throws(Failure) -> [UInt8] {
    try readFile(RawPath(name), in: descriptor, limit: 1 << 24)
  }
}
