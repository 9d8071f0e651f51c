import Glibc
import TBKArchive
import TBKCore
import TBKCrypto
import TBKFormat

/// A tree and archives of it, in a directory that is removed when the test ends.
final class TestStore {
  let path: RawPath
  let tree: RawPath
  private(set) var manifests: [Manifest] = []
  let identity: AgeIdentity

  enum Kind: CaseIterable { case suite1, suite3, age, armored }

  init() throws(Failure) {
    path = RawPath("/tmp").appending("termbackup-test-\(uniqueSuffix())")
    tree = path.appending("tree")
    identity = try AgeIdentity.generate()
    for folder in [path, tree] { try Descriptor.workingDirectory.makeDirectory(folder) }
  }

  deinit { TestStore.clear(path) }

  private static func clear(_ path: RawPath) {
    guard let directory = try? Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY) else { return }
    for (name, type) in (try? directory.names()) ?? [] {
      if type == UInt8(DT_DIR) { clear(path.appending(name)) } else { _ = try? directory.unlink(name) }
    }
    _ = try? Descriptor.workingDirectory.unlink(path, directory: true)
  }

  func write(_ name: String, _ content: [UInt8], in folder: RawPath? = nil) throws(Failure) {
    let place = (folder ?? tree).appending(name)
    let file = try Descriptor.workingDirectory.open(place, O_WRONLY | O_CREAT | O_TRUNC)
    try file.write(content.span)
  }

  func read(_ name: String) throws(Failure) -> [UInt8] {
    let file = try Descriptor.openForReading(path.appending(name))
    return try DescriptorSource(file).readAll(limit: 1 << 28, what: name)
  }

  /// Seals the current tree to a file, based on the last archive if `isIncremental`; returns its path.
  func seal(_ name: String, _ kind: Kind, isIncremental: Bool = false) throws(Failure) -> String {
    var creation = ManifestCreation()
    creation.previous = isIncremental ? manifests.last : nil
    creation.incremental = isIncremental
    let list = try creation.manifest(of: tree)
    let root = try Descriptor.workingDirectory.open(tree, O_RDONLY | O_DIRECTORY)
    let out = try Descriptor.workingDirectory.open(path.appending(name), O_RDWR | O_CREAT | O_EXCL)
    if kind == .suite1 {
      let backup = try Sealing.tree(
        list, root: root, key: try sealingKey(), compression: Compression(), output: try ArchiveOutput(to: out),
        begin: { _ in }, progress: { _ in }, report: { _ in })
      manifests.append(backup.manifest)
      try backup.commit()
    } else {
      let encryption: StreamSealing.Encryption =
        kind == .suite3
        ? .password(try sealingKey()) : .recipients([identity.recipient], armored: kind == .armored)
      let backup = try Sealing.tree(
        list, root: root, sealing: StreamSealing(encryption, level: 1, threads: 1), sealedManifest: nil,
        into: DescriptorSink(out), begin: { _ in }, progress: { _ in }, report: { _ in })
      manifests.append(backup.manifest)
    }
    return path.appending(name).text
  }

  private func sealingKey() throws(Failure) -> SealingKey {
    try SealingKey(
      password: try Secret(copying: Array("correct horse".utf8).span),
      cost: Argon2Cost(memory: 64, passes: 1, lanes: 1))
  }

  /// The text of an identity file with `identity`.
  func identityFile() throws(Failure) -> [UInt8] {
    try AgeIdentityFile.text(of: identity, created: "2026-01-01T00:00:00Z").withBytes { Array($0) }
  }
}
