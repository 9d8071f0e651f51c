import TBKCore

/// What a ledger says about a backup. The archive contains the same, authenticated, and takes precedence.
package struct BackupClaims: Equatable, Sendable {
  /// The backup's id, 64 hexadecimal digits.
  package let id: String
  /// The rest of the ledger's entry; nil if it has no entry with that id.
  package let facts: Facts?
  /// The state of the archive, according to the store that sends it.
  package let archive: BackupPresenceWord?
  /// Likewise for its sealed manifest; nil if it has none.
  package let manifest: BackupPresenceWord?
  /// How many later backups in the same stream use its content; nil if unknown.
  package let dependents: UInt64?
  /// Whether the backup itself was asked for, rather than only needed by others.
  package let isWanted: Bool
  /// The state of the archive's signature, in the sender's word.
  package let signature: String?
  /// Whether the archive must have this id even without `facts`.
  private var isExact = false

  /// The facts that are compared with the archive.
  package struct Facts: Equatable, Sendable {
    package let createdAt: String
    package let fileCount: UInt64
    /// Nil in an entry of TermBackup 6.
    package let mode: String?
    package let group: GroupID?
    package let dependsOn: Set<String>
    /// Whether the archive was stored without a receipt, so that the ledger knows only its hash.
    package let isWithoutReceipt: Bool
    /// What it says about the archive's format; nil if unknown.
    package let format: Format?
  }

  /// What a ledger says about the format of an archive.
  package struct Format: Equatable, Sendable {
    /// Without a directory. Only archives of age end in ".age".
    package let filename: String
    /// `archive_version`; nil if not given.
    package let version: UInt64?
    /// `suite`, likewise.
    package let suite: String?
  }

  /// Whether a store holds an object, in the words of `tbk-pull --list --present`.
  package enum BackupPresenceWord: String, Sendable { case whole, missing, damaged }

  /// Parses an entry as `tbk-pull --list --json` prints it, or only its id. Throws `.malformed`.
  package init(parsing bytes: [UInt8]) throws(Failure) {
    let json = try JSON.parse(bytes, what: "an entry of the ledger")
    guard let text = json["id"]?.text, let digest = Digest(hex: text) else {
      throw Failure(.malformed, "an entry of the ledger has no id")
    }
    id = digest.hex
    if json["filename"] == nil {
      facts = nil
    } else {
      do throws(Failure) { facts = Facts(try LedgerEntry(json), json) } catch {
        throw Failure(.malformed, "an entry of the ledger: \(error.message)")
      }
    }
    let presence = json["presence"]
    archive = presence?["archive"]?.text.flatMap { BackupPresenceWord(rawValue: $0) }
    manifest = presence?["manifest"]?.text.flatMap { BackupPresenceWord(rawValue: $0) }
    let sending = json["sending"]
    dependents = sending?["dependents"]?.integer()
    isWanted = sending?["wanted"]?.boolean ?? true
    signature = sending?["signature"]?.text
  }

  /// Parses a line of `tbk-pull --list`, without the line feed. Throws `.malformed`.
  package init(row: [UInt8]) throws(Failure) {
    let fields = row.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false).map {
      String(decoding: $0, as: UTF8.self)
    }
    guard fields.count >= 10, let digest = Digest(hex: fields[0]),
      Timestamp(iso8601: fields[1]) != nil, let count = UInt64(fields[3])
    else {
      throw Failure(
        .malformed, "not a line of 'tbk-pull --list' or 'tbk-pull --list --json'")
    }
    id = digest.hex
    facts = Facts(
      createdAt: fields[1], fileCount: count, mode: fields[4] == "-" ? nil : fields[4],
      group: fields[5] == "-" ? nil : GroupID(fields[5]),
      dependsOn: fields[8] == "-" ? [] : Set(fields[8].split(separator: ",").map(String.init)),
      isWithoutReceipt: fields[9] == fields[0],
      format: Format(filename: fields[7], version: nil, suite: nil))
    (archive, manifest, dependents, signature) = (nil, nil, nil, nil)
    isWanted = true
  }

  /// The claims for a backup that was asked for only by its id.
  ///
  /// - Parameter isWithoutReceipt: whether the id is the SHA-256 of its archive, which has been verified.
  package init(asked id: Digest, isWithoutReceipt: Bool) {
    self.id = id.hex
    facts =
      isWithoutReceipt
      ? Facts(
        createdAt: "", fileCount: 0, mode: nil, group: nil, dependsOn: [], isWithoutReceipt: true,
        format: nil) : nil
    (archive, manifest, dependents, signature) = (nil, nil, nil, nil)
    isWanted = true
    isExact = !isWithoutReceipt
  }

  /// Compares with the kind of the opened archive, which neither an id nor a tag authenticates: anyone who has a
  /// recipient can make an age file.
  ///
  /// Throws `.integrity`, naming the first difference.
  ///
  /// - Parameter isManifest: whether a sealed manifest was opened, whose suite may differ from its archive's.
  package func check(_ kind: ArchiveKind, isManifest: Bool = false) throws(Failure) {
    guard let format = facts?.format else { return }
    func differs(_ name: String, _ said: String, _ is: String) -> Failure {
      Failure(
        .integrity,
        "the ledger's \"\(name)\" of backup \(id.prefix(12)) is \(RawPath(said).display), and its "
          + "\(isManifest ? "sealed manifest" : "archive") is \(`is`)",
        hint: "the store has altered the ledger or exchanged the archive")
    }
    guard format.filename.hasSuffix(".age") == (kind == .age) else {
      throw differs("filename", format.filename, kind == .age ? "an age file" : "not an age file")
    }
    if isManifest { return }
    if let version = format.version, version != kind.version {
      throw differs("archive_version", String(version), "of version \(kind.version)")
    }
    if let suite = format.suite, suite != kind.suite {
      throw differs("suite", suite, kind.suite.map { "of suite \($0)" } ?? "of none")
    }
  }

  /// Compares with the authenticated manifest of an archive, or a sealed manifest.
  ///
  /// Throws `.integrity`, naming the first difference.
  ///
  /// - Parameter found: the id of the backup that was opened.
  package func check(_ manifest: Manifest, id found: String) throws(Failure) {
    guard isExact || facts.map({ !$0.isWithoutReceipt }) ?? false else { return }
    guard id == found else {
      throw Failure(
        .integrity, "the archive is backup \(found), not \(id)\(isExact ? "" : " as in the ledger")",
        hint: "the store exchanged one backup for another")
    }
    guard let facts else { return }
    let (said, inside) = (Timestamp(iso8601: facts.createdAt), Timestamp(iso8601: manifest.createdAt))
    guard said == inside, said != nil || facts.createdAt == manifest.createdAt else {
      throw facts.differ("created_at", facts.createdAt, RawPath(manifest.createdAt).display, id: found)
    }
    if let mode = facts.mode, mode != manifest.mode {
      throw facts.differ("mode", mode, RawPath(manifest.mode).display, id: found)
    }
    if let group = facts.group, let own = manifest.group, group.description != own {
      throw facts.differ("group", group.description, RawPath(own).display, id: found)
    }
    try manifest.tree.check(manifest, against: facts, id: found)
  }
}

extension BackupClaims.Facts {
  /// The failure if an archive differs.
  ///
  /// - Parameter id: of the backup.
  func differ(_ name: String, _ said: String, _ is: String, id: String) -> Failure {
    Failure(
      .integrity,
      "the ledger's \"\(name)\" of backup \(id.prefix(12)) is \(said), and that of the archive is \(`is`)",
      hint: "the ledger has been altered; the archive is authenticated")
  }

  /// - Parameter json: of the entry.
  fileprivate init(_ entry: LedgerEntry, _ json: JSON) {
    createdAt = entry.createdAt
    fileCount = entry.fileCount
    mode = entry.mode
    group = entry.group
    dependsOn = Set(entry.dependsOn.map(\.hex))
    isWithoutReceipt = entry.id == entry.sha256
    let suite = json["suite"]
    format = BackupClaims.Format(
      filename: entry.filename.description, version: json["archive_version"]?.integer(),
      suite: suite?.text ?? suite?.integer(UInt64.self).map { String($0) })
  }
}
