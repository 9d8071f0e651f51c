import CSystem
import Glibc
import TBKArchive
import TBKCore
import TBKCrypto
import TBKFormat

/// A directory that is removed with its content when the test ends.
final class TestTree {
  let path: RawPath
  let root: Descriptor

  init() throws(Failure) {
    let base = environment("TMPDIR").map { RawPath($0) } ?? RawPath("/tmp")
    path = base.appending("tbk-test-\(uniqueSuffix())")
    try Descriptor.workingDirectory.makeDirectory(path)
    root = try Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY)
  }

  deinit {
    clear(root)
    _ = try? Descriptor.workingDirectory.unlink(path, directory: true)
  }

  private func clear(_ directory: Descriptor) {
    for (name, type) in (try? directory.names()) ?? [] {
      if type == UInt8(DT_DIR) {
        if let below = try? directory.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) {
          clear(below)
        }
        _ = try? directory.unlink(name, directory: true)
      } else {
        _ = try? directory.unlink(name)
      }
    }
  }

  /// Writes a file.
  @discardableResult
  func file(_ name: String, _ text: String = "") throws(Failure) -> RawPath {
    try file(RawPath(name), Array(text.utf8))
  }

  @discardableResult
  func file(_ name: RawPath, _ bytes: [UInt8]) throws(Failure) -> RawPath {
    let file = try root.open(name, O_WRONLY | O_CREAT | O_TRUNC)
    try file.write(bytes.span)
    return name
  }

  func directory(_ name: String) throws(Failure) { try root.makeDirectory(RawPath(name)) }

  func symlink(_ name: String, _ target: String) throws(Failure) {
    let result = try unsafe RawPath(target).withCString { (target) throws(Failure) in
      try unsafe RawPath(name).withCString { (name) throws(Failure) in
        unsafe symlinkat(target, root.number, name)
      }
    }
    if result != 0 { throw .system("symlink") }
  }

  func link(_ name: String, to first: String) throws(Failure) {
    let result = try unsafe RawPath(first).withCString { (first) throws(Failure) in
      try unsafe RawPath(name).withCString { (name) throws(Failure) in
        unsafe linkat(root.number, first, root.number, name, 0)
      }
    }
    if result != 0 { throw .system("link") }
  }

  func time(_ name: String, seconds: Int, nanoseconds: Int = 0) throws(Failure) {
    let times = [
      timespec(tv_sec: seconds, tv_nsec: nanoseconds),
      timespec(tv_sec: seconds, tv_nsec: nanoseconds),
    ]
    let result = try unsafe RawPath(name).withCString { (name) throws(Failure) in
      unsafe utimensat(root.number, name, times, AT_SYMLINK_NOFOLLOW)
    }
    if result != 0 { throw .system("utimensat") }
  }

  func mode(_ name: String, _ mode: UInt32) throws(Failure) {
    let result = try unsafe RawPath(name).withCString { (name) throws(Failure) in
      unsafe fchmodat(root.number, name, mode, 0)
    }
    if result != 0 { throw .system("chmod") }
  }

  func remove(_ name: String) throws(Failure) { try root.unlink(RawPath(name)) }

  func content(_ name: String) throws(Failure) -> String {
    String(decoding: try readFile(RawPath(name), in: root, limit: 1 << 26), as: UTF8.self)
  }

  func facts(_ name: String) throws(Failure) -> stat? {
    try root.statusIfPresent(of: RawPath(name))
  }

  func inode(_ name: String) throws(Failure) -> UInt64? {
    try facts(name).map { UInt64($0.st_ino) }
  }

  /// The names at the top, sorted.
  var names: [String] {
    get throws(Failure) { try root.names().map(\.name.text).sorted() }
  }

  func manifest(_ change: (inout ManifestCreation) -> Void = { _ in }) throws(Failure) -> Manifest {
    var creation = ManifestCreation()
    change(&creation)
    return try creation.manifest(of: path)
  }
}

/// The paths of a manifest, in its order.
func paths(_ manifest: Manifest) -> [String] {
  manifest.files.indices.map { RawPath(manifest.files.path($0)).quoted }
}

func entry(_ manifest: Manifest, _ path: String) -> ManifestEntry? {
  manifest.files.indices.map { manifest.files[$0] }.first { $0.path == Array(path.utf8) }
}

/// Costs that are too low for use, but fast enough for tests.
let cheapCost = Argon2Cost(memory: 64, passes: 1, lanes: 1)

func password(_ text: String = "correct horse") throws(Failure) -> Secret {
  try Secret(copying: Array(text.utf8).span)
}

/// An archive in memory, and the messages while it was made.
struct TestArchive {
  let bytes: [UInt8]
  let manifest: Manifest
  let mishaps: [String]
  let isComplete: Bool
}

private final class Notes {
  var mishaps: [String] = []
}

/// Seals a tree. `meanwhile` is called once, when the packing starts.
func seal(
  _ tree: TestTree, _ manifest: Manifest? = nil, meanwhile: () throws(Failure) -> Void = {},
  progress: @escaping (Int) -> Void = { _ in }
) throws(Failure) -> TestArchive {
  let list: Manifest
  if let manifest { list = manifest } else { list = try tree.manifest() }
  let file = try TemporaryFile.anonymous()
  let notes = Notes()
  try meanwhile()
  let backup = try Sealing.tree(
    list, root: tree.root, key: try SealingKey(password: try password(), cost: cheapCost),
    compression: Compression(), output: try ArchiveOutput(to: file), begin: { _ in },
    progress: progress,
    report: { notes.mishaps.append("\(RawPath($0.path).quoted): \($0.reason)") })
  let (sealed, complete) = (backup.manifest, backup.isComplete)
  try backup.commit()
  try file.seek(to: 0)
  let bytes = try DescriptorSource(file).readAll(limit: 1 << 28, what: "archive")
  return TestArchive(
    bytes: bytes, manifest: sealed, mishaps: notes.mishaps, isComplete: complete)
}

/// Authenticates an archive in memory.
func authenticate(
  _ bytes: [UInt8], password text: [UInt8] = Array("correct horse".utf8)
) throws(Failure) -> AuthenticatedArchive {
  let source = MemorySource(bytes)
  let header = try AuthenticatedArchive.header(of: source, limits: OpenLimits())
  return try AuthenticatedArchive.verify(
    stream: source, header: header, keys: KeyRing(try Secret(copying: text.span)), alone: true)
}

/// A reader for archives, newest first.
func reader(
  _ archives: [[UInt8]], expectedID: String? = nil, isPartial: Bool = false,
  password text: [UInt8] = Array("correct horse".utf8), warn: @escaping (String) -> Void = { _ in }
) throws(Failure) -> BackupReader {
  var left = archives[...]
  return try BackupReader(
    expectedID: expectedID, isPartial: isPartial, progress: { _ in }, warn: warn
  ) {
    (_) throws(Failure) in
    guard let next = left.popFirst() else { return nil }
    return try authenticate(next, password: text)
  }
}

/// Restores archives, newest first, to a new directory.
@discardableResult
func restore(
  _ archives: [[UInt8]], to destination: TestTree, isNew: Bool = true,
  password text: [UInt8] = Array("correct horse".utf8), isPartial: Bool = false,
  _ change: (inout RestoreOptions) -> Void = { _ in }
) throws(Failure) -> RestoreSummary {
  var options = RestoreOptions()
  change(&options)
  return try reader(archives, isPartial: isPartial, password: text)
    .restore(to: destination.root, destinationIsNew: isNew, options)
}

/// The differences between a tree and a manifest, as "problem path".
func problems(_ manifest: Manifest, _ tree: TestTree) throws(Failure) -> [String] {
  var found: [String] = []
  _ = try ManifestCheck().run(manifest, against: tree.path) { problem, path in
    found.append("\(problem.rawValue) \(RawPath(path).quoted)")
  }
  return found
}
