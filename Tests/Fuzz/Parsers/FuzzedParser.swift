import TBKArchive
import TBKCore
import TBKCrypto
import TBKFormat
import TBKStore

/// The parsers of bytes from outside: a store, an archive, the network, another user's file.
///
/// The raw value names the folder of seeds, and is the PARSER of `make fuzz PARSER=…`.
package enum FuzzedParser: String, CaseIterable, Sendable {
  case address, ageArmor, ageHeader, ageKeys, archiveHeader, auditLine, auditState, backupReport, chain, chunkedArchive,
    claims, configuration, gzip, json,
    ledger, manifest, mbuSettings, members, patterns, privateKey, profile, publicKey, receipt, tar,
    timestamp, url, seekTable, zstdPayload

  /// Parses `bytes`, and checks that the result can be written and read again without a change.
  ///
  /// A failure is fine, except `.library`: it means that our checks let an invalid input through. Returns a description
  /// of the fault, or nil if there is none.
  package func fault(in bytes: [UInt8]) -> String? {
    do throws(Failure) {
      return try read(bytes)
    } catch {
      return error.code == .library ? error.message : nil
    }
  }

  private func read(_ bytes: [UInt8]) throws(Failure) -> String? {
    switch self {
    case .address: _ = try StoreAddress(RawPath(bytes))
    case .ageArmor:
      let decoded = try AgeArmorReader(PeekingSource(MemorySource(bytes))).readAll(limit: 1 << 20, what: "armor")
      let text = MemorySink()
      let armor = AgeArmorWriter(into: text)
      try armor.write(decoded)
      try armor.finish()
      let again = try AgeArmorReader(PeekingSource(MemorySource(text.bytes))).readAll(limit: 1 << 20, what: "armor")
      guard again == decoded else { return changed }
    case .ageHeader:
      let header = try AgeHeader(parsing: bytes)
      guard header.bytes == bytes else { return changed }
      try header.checkStanzas()
      if header.hasPassphrase { try header.checkPassphraseCost(memoryLimit: 1) }
      _ = try header.unwrap([])
    case .ageKeys:
      // It may be a file of either kind, but not both.
      if let recipients = try? AgeRecipientsFile.parse(bytes.span) {
        for recipient in recipients where try AgeRecipient(parsing: Array(recipient.text().utf8)) != recipient {
          return changed
        }
      }
      for identity in try AgeIdentityFile.parse(bytes.span) {
        let text = try identity.text()
        let again = try text.withBytes { (text) throws(Failure) in try AgeIdentity(parsing: text) }
        guard again.recipient == identity.recipient else { return changed }
      }
    case .archiveHeader:
      let content = SignedContent(of: bytes.span)
      let header = try ArchiveHeader(parsing: bytes.span)
      let isWhole = header.totalLength == UInt64(bytes.count)
      guard (content == .archive) == isWhole else { return "what is signed is no whole archive" }
    case .auditLine: _ = try AuditLine(bytes, place: "log")
    case .auditState: _ = try AuditState(bytes, place: "state")
    case .backupReport:
      let report = try BackupReport(bytes, place: "report", now: Timestamp(nanoseconds: 0))
      for format in WebhookFormat.allCases {
        _ = try JSON.parse(report.payload(format).line(), what: "payload")
      }
    case .chain:
      let reader = ChainReader(MemorySource(bytes))
      while let link = try reader.next(manifest: { (_, source) throws(Failure) in
        _ = try source.read(upTo: 5)
      }) {
        guard let archive = link.archive else { continue }
        // Without a frame, the end of an archive is unknown.
        if !link.isFramed { return nil }
        if try archive.read(upTo: 7).isEmpty {
          _ = try reader.next()
          return "a chain that ends inside an archive is taken for a whole one"
        }
      }
    case .claims:
      if let row = try? BackupClaims(row: bytes), row.facts == nil { return "a row says nothing" }
      _ = try BackupClaims(parsing: bytes)
    case .chunkedArchive:
      let (front, _) = try ArchiveFront.read(PeekingSource(MemorySource(bytes)), limits: OpenLimits())
      guard case .chunked(let header) = front else { return nil }
      guard bytes.starts(with: header.bytes), ChunkedHeader.isBegun(by: bytes.span) == true else { return changed }
      let end = bytes.count - ChunkedTrailer.length
      guard end >= header.length else { return nil }
      let trailer = try ChunkedTrailer(
        parsing: bytes.span.extracting(end...), messageLength: UInt64(end - header.length))
      guard bytes.suffix(ChunkedTrailer.length) == trailer.bytes[...] else { return changed }
    case .configuration:
      let once = try Configuration(bytes, place: "file").bytes
      guard try Configuration(once, place: "file").bytes == once else { return changed }
    case .gzip:
      let gzip = try GzipDecompressor(into: MemorySink(limit: 16 << 20))
      try inTwo(bytes, gzip)
      try gzip.finish()
    case .json:
      let json = try JSON.parse(bytes, what: "text")
      for text in [json.line(), json.pretty(), json.canonical()]
      where try JSON.parse(text, what: "text").canonical() != json.canonical() {
        return changed
      }
    case .ledger:
      let ledger = try Ledger(parsing: bytes)
      guard try Ledger(parsing: ledger.serialized()).canonical() == ledger.canonical() else {
        return changed
      }
    case .manifest: return try manifest(bytes)
    case .members:
      let verifier = try TarVerifier(termBackup6: .all)
      let parser = TarParser(handler: verifier, limits: TarLimits(maximumSize: 1 << 40))
      try inTwo(bytes, parser)
      try parser.finish()
      _ = try verifier.verdict()
    case .mbuSettings: _ = try MbuSettings(bytes, place: "file")
    case .patterns:
      // The first line is a path, the other lines are patterns.
      let lines = bytes.split(separator: 10, maxSplits: 1, omittingEmptySubsequences: false)
      let path = Array(lines[0])
      for meaning in IgnoreRules.Meaning.allCases {
        var rules = IgnoreRules(meaning)
        rules.add(file: lines.count > 1 ? Array(lines[1]) : [])
        _ = (rules.excludes(path.span, isDirectory: true), rules.excludes(path.span, isDirectory: false))
        _ = rules.ineffective(below: path.span)
        // If a directory is not read, nothing below it may be included.
        let below = path + Array("/a.py".utf8)
        if !path.isEmpty, meaning == .pathspec, rules.excludesAllBelow(path.span),
          !rules.excludes(below.span, isDirectory: false)
        {
          return "a path below a directory that is excluded with all of it is not"
        }
      }
    case .privateKey:
      _ = try SigningKey(parsing: bytes.span) { () throws(Failure) in
        try Secret(copying: Array("password".utf8).span)
      }
    case .profile:
      let once = try Profile(bytes, place: "file").bytes
      guard try Profile(once, place: "file").bytes == once else { return changed }
    case .publicKey: _ = try VerifyingKey(parsing: bytes.span)
    case .receipt: _ = try Receipt(parsing: bytes)
    case .seekTable:
      let table = try SeekTable(parsing: bytes.span)
      guard table.hasChecksums || table.bytes == bytes else { return changed }
      for index in 0..<min(table.count, 100) where table.frame(index).length > 0 {
        guard table.index(ofOffset: table.frame(index).offset) == index else { return changed }
      }
    case .tar:
      let parser = TarParser(handler: Deaf(), limits: TarLimits(maximumSize: 1 << 40))
      try inTwo(bytes, parser)
      try parser.finish()
    case .zstdPayload:
      let zstd = try ZstdDecompressor(threads: 1, into: MemorySink(limit: 16 << 20))
      try inTwo(bytes, zstd)
      try zstd.finish()
    case .timestamp:
      guard let time = Timestamp(iso8601: String(decoding: bytes, as: UTF8.self)) else { return nil }
      _ = (time.earlier(months: 1), time.earlier(seconds: 1), time.seconds(since: .now()))
      guard let again = Timestamp(iso8601: time.iso8601()), again.iso8601() == time.iso8601() else {
        return changed
      }
    case .url:
      let base = HTTPURL("https://api.github.com/repos/ada/store?page=2")!
      let text = String(decoding: bytes, as: UTF8.self)
      for url in [HTTPURL(text), base.resolving(text), base.appending(text)] {
        guard let url else { continue }
        _ = (base.mayRedirect(to: url), url.hasSameOrigin(as: base))
      }
    }
    return nil
  }

  private func manifest(_ bytes: [UInt8]) throws(Failure) -> String? {
    func parse(_ bytes: [UInt8]) throws(Failure) -> Manifest {
      let parser = ManifestParser()
      try inTwo(bytes, parser)
      try parser.finish()
      let manifest = try parser.manifest()
      try manifest.validate()
      return manifest
    }
    func written(_ manifest: Manifest) throws(Failure) -> [UInt8] {
      let sink = MemorySink()
      try ManifestWriter.write(manifest, backupID: manifest.backupID, to: sink)
      return sink.bytes
    }
    let once = try written(parse(bytes))
    return try written(parse(once)) == once ? nil : changed
  }
}

private let changed = "what is written is not what was read"

/// Cut in the middle, so that the parser has to keep its state.
private func inTwo(_ bytes: [UInt8], _ sink: some ByteSink) throws(Failure) {
  try sink.write(bytes.span.extracting(..<(bytes.count / 2)))
  try sink.write(bytes.span.extracting((bytes.count / 2)...))
}

/// Checks each name, as the programs do, and discards the rest.
private final class Deaf: TarHandler {
  func begin(_ member: TarMember) throws(Failure) { try? EntryName.check(member.name.span) }
  func body(_ bytes: Span<UInt8>) {}
  func end() {}
}
