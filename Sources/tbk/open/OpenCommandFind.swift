import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

/// --find: finds the backups with paths that match a pattern.
extension OpenCommand {
  /// The size limit for an index, in bytes.
  private static let indexLimit = 1 << 30

  func validateFind() throws {
    guard let find else {
      if index != nil { throw ValidationError("--index can only be used with --find") }
      return
    }
    if find.bytes.isEmpty || find.bytes.first == UInt8(ascii: "!") {
      throw ValidationError("--find takes a pattern that matches something")
    }
    if expect == nil { throw ValidationError("--find needs the list of the backups: --expect") }
    if archives.isEmpty {
      throw ValidationError("--find needs a command that serves archives, as in -- tbk-pull --serve STORE")
    }
    if chain || each || partial || expectId != nil || mbuConfig != nil {
      throw ValidationError("--find cannot be used with --chain, --each, --partial, --expect-id or --mbu-config")
    }
  }

  func findVersions() throws(Failure) -> Int32 {
    guard let find, let expect else { return ExitStatus.success }
    ServedSources.withhold(passwords, identities)
    let keys = openingKeys
    let listed = try readClaims(expect)
    var known = try readIndex(keys)
    let before = known.backups
    known.keep(Set(listed.map(\.id)))
    let isWhole = try read(listed, into: &known, keys)
    if known.backups != before { try write(known, keys) }
    let places = Dictionary(
      listed.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { first, _ in first })
    var isFound = false
    for version in known.matching(find.bytes) {
      isFound = true
      let backups = known.backups(of: version).sorted { places[$0] ?? 0 < places[$1] ?? 0 }
      try print(version, backups)
    }
    if !isFound { Messages.notice("nothing in \(listed.count) backups matches \(find.display)") }
    return isWhole ? ExitStatus.success : ExitStatus.incomplete
  }

  /// Reads the manifests of backups that are not in the index yet; false if one cannot be read.
  private func read(
    _ listed: [BackupClaims], into known: inout VersionIndex, _ keys: OpeningKeys
  ) throws(Failure) -> Bool {
    let there = Set(known.backups)
    let missing = listed.filter { !there.contains($0.id) }
    if missing.isEmpty { return true }
    let served = try ServedArchives(archives.map(\.bytes))
    defer { served.end() }
    let meter = ProgressMeter("reading manifests", mode: progress.progress)
    defer { meter.finish() }
    var isWhole = true
    var running: [(claims: BackupClaims, reading: ManifestReading)] = []
    func settle() throws(Failure) {
      let (claims, reading) = running.removeFirst()
      var manifest: Manifest?
      do throws(Failure) { manifest = try reading.get() } catch {
        guard !error.isOfProcess else { throw error }
      }
      if manifest == nil { manifest = try readAlone(claims, served, keys, isFirst: known.backups.isEmpty) }
      if let manifest { known.add(manifest, id: claims.id) } else { isWhole = false }
    }
    for claims in missing {
      try Interruption.check()
      guard let reading = try start(claims, served, keys, meter) else {
        while !running.isEmpty { try settle() }
        let manifest = try readAlone(claims, served, keys, isFirst: known.backups.isEmpty)
        if let manifest { known.add(manifest, id: claims.id) } else { isWhole = false }
        continue
      }
      running.append((claims, reading))
      if running.count >= min(processorCount(), 8) { try settle() }
    }
    while !running.isEmpty { try settle() }
    return isWhole
  }

  /// Starts to read a sealed manifest in parallel; nil if there is none that opens: `readAlone` then reports why.
  private func start(
    _ claims: BackupClaims, _ served: ServedArchives, _ keys: OpeningKeys, _ meter: ProgressMeter
  ) throws(Failure) -> ManifestReading? {
    guard let id = Digest(hex: claims.id) else { return nil }
    let archive: any OpenedArchive
    do throws(Failure) {
      guard let source = try served.manifest(of: id) else { return nil }
      let bytes = try source.readAll(limit: Ledger.byteLimit, what: "a sealed manifest")
      meter.advance(bytes.count)
      archive = try ArchiveOpener(keys, limits: limits).open(
        stream: PeekingSource(MemorySource(bytes)), isFramed: true)
      archive.isSealedManifest = true
    } catch {
      guard [.malformed, .truncated, .integrity, .authentication].contains(error.code), error != keys.failure
      else { throw error }
      return nil
    }
    return try ManifestReading(archive, claims)
  }

  /// The manifest of one backup, from any source; nil, with a warning, if it cannot be read.
  private func readAlone(
    _ claims: BackupClaims, _ served: ServedArchives, _ keys: OpeningKeys, isFirst: Bool
  ) throws(Failure) -> Manifest? {
    guard let id = Digest(hex: claims.id) else { return nil }
    do throws(Failure) {
      let sources = ServedSources(
        id, archives, keys: keys, limits: limits, wantsManifest: true, rereads: false, served: served,
        warn: { Messages.warning($0) })
      let reader = try BackupReader(
        expectedID: claims.id, expected: [claims.id: claims], isChain: true, progress: { _ in },
        warn: { Messages.warning($0) }, archives: { (wanted) throws(Failure) in try sources.next(wanted) })
      // An incremental backup of TermBackup 6 is merged with its bases.
      return try reader.wholeManifest().manifest
    } catch {
      switch error.code {
      case .malformed, .truncated, .integrity, .inputMissing: break
      // The first archive opened shows whether the password is right.
      case .authentication where error != keys.failure && !isFirst: break
      default: throw error
      }
      Messages.warning("backup \(claims.id): \(error.message): skipped")
      return nil
    }
  }

  // MARK: The index

  /// The index of the last search; empty if it cannot be read or opened, as after a password change.
  private func readIndex(_ keys: OpeningKeys) throws(Failure) -> VersionIndex {
    guard let index else { return VersionIndex() }
    do throws(Failure) {
      guard let file = try Descriptor.workingDirectory.openIfPresent(index, O_RDONLY | O_NOFOLLOW | O_NONBLOCK),
        try file.status().st_mode & S_IFMT == S_IFREG
      else { return VersionIndex() }
      let opener = ArchiveOpener(keys, limits: limits)
      return try VersionIndex(parsing: try opener.sealedBytes(file, limit: OpenCommand.indexLimit))
    } catch {
      guard error != keys.failure, !error.isOfProcess else { throw error }
      return VersionIndex()
    }
  }

  /// Sealed to the identities that opened the backups, or else with the password.
  private func write(_ known: VersionIndex, _ keys: OpeningKeys) throws(Failure) {
    guard let index else { return }
    let file: AtomicFile
    do throws(Failure) { file = try AtomicFile(index, inherits: true) } catch {
      // Without it the next search is slower, nothing more.
      guard error.code == .cannotCreate || error.code == .denied else { throw error }
      return Messages.warning("the index is not kept: \(error.message)")
    }
    let sink = DescriptorSink(file.descriptor, name: index)
    try StreamSealing(try keys.encryption(), threads: 1).seal(known.bytes, into: sink)
    try file.commit()
  }

  // MARK: Printing

  private func print(_ version: VersionIndex.Version, _ backups: [String]) throws(Failure) {
    guard !json else {
      let report = JSON.object([
        "relative_path": .string(version.path), "type": .string(version.type.rawValue),
        "size": .number(version.size), "sha256": version.sha256.map { .string($0.hex) } ?? .null,
        "link_target": version.type == .symlink ? .string(version.target) : .null,
        "modified_at": .number(version.modifiedAt), "backups": .array(backups.map { .string($0) }),
      ])
      return try StandardOutput.write(report.line() + [UInt8(ascii: "\n")])
    }
    let row =
      "\(backups.last ?? "-")\t\(backups.count)\t\(version.type.rawValue)\t\(version.size)\t\(version.modifiedAt)"
    try Listing(nul: nul).print(row, version.path)
  }
}
