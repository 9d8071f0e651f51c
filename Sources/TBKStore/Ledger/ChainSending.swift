import TBKCore
import TBKFormat

/// One backup of a chain to be sent.
package struct ChainStep: Sendable {
  package let id: Digest
  /// Nil if another backup needs it, but the ledger does not list it.
  package let entry: LedgerEntry?
  /// How many of the requested backups that follow take bytes from it; nil if not counted.
  package var dependents: UInt64?
  /// False for a backup that is sent only because others need it.
  package var isWanted = true

  package init(_ entry: LedgerEntry) { (id, self.entry) = (entry.id, entry) }

  fileprivate init(unlisted id: Digest) { (self.id, entry) = (id, nil) }
}

extension LedgerSession.Snapshot {
  /// A backup and all that it depends on, newest first: the order that `tbk-open --chain` reads.
  ///
  /// Throws `.inputMissing` for a backup that the ledger does not list, unless `isPartial`.
  package func chain(
    of entry: LedgerEntry, isPartial: Bool = false, store: StoreAddress
  ) throws(Failure) -> [ChainStep] {
    if entry.dependsOn.isEmpty { return [ChainStep(entry)] }
    let places = indexes()
    var found: Set<Int> = []
    var unlisted: [Digest] = []
    for id in entry.dependsOn {
      if let index = places[id.hex] {
        found.insert(index)
      } else if isPartial {
        unlisted.append(id)
      } else {
        throw Failure(
          .inputMissing,
          "backup \(entry.id.hex) depends on \(id.hex), which the store \(store.display) "
            + "does not have", hint: "--partial sends the rest")
      }
      if found.count.isMultiple(of: 1024) { try Interruption.check() }
    }
    return [ChainStep(entry)] + found.sorted(by: >).map { ChainStep(entries[$0]) }
      + unlisted.map { ChainStep(unlisted: $0) }
  }

  /// Backups and all that they depend on, each once, and dependencies first, as far as the ledger's own order has them
  /// so.
  ///
  /// - Parameter unlisted: requested ids that the ledger does not have.
  package func series(
    of wanted: [LedgerEntry], unlisted: [Digest] = []
  ) throws(Failure) -> [ChainStep] {
    let places = indexes()
    var steps: [ChainStep] = []
    var positions: [Digest: Int] = [:]
    func add(_ step: ChainStep) {
      positions[step.id] = steps.count
      steps.append(step)
    }
    for entry in wanted {
      try Interruption.check()
      for id in entry.dependsOn {
        if positions[id] == nil {
          var base = places[id.hex].map { ChainStep(entries[$0]) } ?? ChainStep(unlisted: id)
          base.isWanted = false
          add(base)
        }
        if let position = positions[id] {
          steps[position].dependents = (steps[position].dependents ?? 0) + 1
        }
      }
      if let position = positions[entry.id] {
        steps[position].isWanted = true
      } else {
        add(ChainStep(entry))
      }
    }
    for id in unlisted where positions[id] == nil { add(ChainStep(unlisted: id)) }
    for index in steps.indices { steps[index].dependents = steps[index].dependents ?? 0 }
    return steps
  }
}

extension Retrieval {
  /// Sends backups in order, each after its frames (tbk(5), "Chains"), without ending the sink. Returns whether all
  /// were present.
  ///
  /// - Parameters:
  ///   - isStaging: whether the sink's data is discarded on failure.
  ///   - isPartial: whether lost or altered backups, except the first, are reported in the frames and left out.
  package func sendChain(
    _ steps: [ChainStep], to sink: any ByteSink, isStaging: Bool, isPartial: Bool
  ) throws(Failure) -> Bool {
    var isWhole = true
    for (index, step) in steps.enumerated() {
      guard let entry = step.entry else {
        warn("backup \(step.id.hex), which others depend on, is not in the ledger: it is left out")
        try sendGap(step, archive: "missing", to: sink)
        isWhole = false
        continue
      }
      let framed = FramedSink(sink) { (length) throws(Failure) in
        try sink.write(try step.frame(archive: "whole"))
        try sink.write(ChainFrame.archive(length: length).bytes)
      }
      framed.length = entry.size
      do throws(Failure) {
        try sendArchive(
          entry, to: framed, isStaging: isStaging && !isPartial, mayBeCut: true, checksFiles: isPartial)
      } catch {
        guard index > 0, isPartial || !framed.hasBegun, error.isLoss else { throw error }
        guard isPartial else {
          throw Failure(
            error.code, error.message,
            hint: [error.hint, "--partial sends the rest"].compactMap(\.self).joined(separator: "; "),
            httpStatus: error.httpStatus)
        }
        warn("\(error.message): it is left out")
        try sendLoss(error, of: step, framed, to: sink)
        isWhole = false
      }
    }
    return isWhole
  }

  /// Sends every backup of a series, with its sealed manifest. Lost or altered objects are left out, and the frames
  /// mark them. Returns whether all were present.
  ///
  /// - Parameter keys: the keys trusted for signatures of archives.
  package func sendSeries(
    _ steps: [ChainStep], to sink: any ByteSink, keys: LedgerKeys
  ) throws(Failure) -> Bool {
    var isWhole = true
    for step in steps {
      guard let entry = step.entry else {
        warn("backup \(step.id.hex) is not in the ledger")
        try sendGap(step, archive: "missing", to: sink)
        isWhole = false
        continue
      }
      var verdict = entry.signature == nil ? "none" : "unchecked"
      let framed = FramedSink(sink) { (length) throws(Failure) in
        try sink.write(try step.frame(archive: "whole", signature: verdict))
        if step.isWanted, try !self.sendManifestFrame(entry, to: sink) { isWhole = false }
        try sink.write(ChainFrame.archive(length: length).bytes)
      }
      framed.length = entry.size
      do throws(Failure) {
        if let signature = entry.signature, step.isWanted, !keys.isEmpty {
          try copy(of: entry).bytes.withBytes { (bytes) throws(Failure) in
            verdict = try keys.hold(signature, of: bytes) ? "holds" : "fails"
            var start = 0
            while start < bytes.count {
              let end = min(start + chunkSize, bytes.count)
              try framed.write(bytes.extracting(start..<end))
              start = end
            }
          }
        } else {
          try sendArchive(entry, to: framed, isStaging: false, mayBeCut: true, checksFiles: true)
        }
      } catch {
        guard error.isLoss else { throw error }
        warn(error.message)
        try sendLoss(error, of: step, framed, to: sink)
        isWhole = false
      }
    }
    return isWhole
  }

  /// Sends the sealed manifest, or a frame of length 0 if it is lost or altered.
  private func sendManifestFrame(
    _ entry: LedgerEntry, to sink: any ByteSink
  ) throws(Failure) -> Bool {
    guard let manifest = entry.manifest else { return true }
    let framed = FramedSink(sink) { (length) throws(Failure) in
      try sink.write(ChainFrame.manifest(length: length).bytes)
    }
    framed.length = manifest.size
    do throws(Failure) {
      try sendManifest(entry, to: framed, isStaging: false)
      return true
    } catch {
      guard !framed.hasBegun, error.isLoss else { throw error }
      warn(error.message)
      try sink.write(ChainFrame.manifest(length: 0).bytes)
      return false
    }
  }

  /// Reports that an archive is not what the ledger names: with a gap, or, if part of it was sent, with the mark at the
  /// end of its frame.
  private func sendLoss(
    _ failure: Failure, of step: ChainStep, _ framed: FramedSink, to sink: any ByteSink
  ) throws(Failure) {
    if framed.hasBegun {
      try framed.spoil()
    } else {
      try sendGap(step, archive: failure.code == .inputMissing ? "missing" : "damaged", to: sink)
    }
  }

  private func sendGap(
    _ step: ChainStep, archive: String, to sink: any ByteSink
  ) throws(Failure) {
    try sink.write(try step.frame(archive: archive))
    try sink.write(ChainFrame.archive(length: 0).bytes)
  }
}

extension ChainStep {
  /// The entry's frame.
  fileprivate func frame(archive: String, signature: String? = nil) throws(Failure) -> [UInt8] {
    var json = try entry?.json ?? .object(["id": .string(id.hex)])
    if archive != "whole" { json["presence"] = .object(["archive": .string(archive)]) }
    if let dependents {
      var sending: [(String, JSON)] = [
        ("dependents", .number(dependents)), ("wanted", .bool(isWanted)),
      ]
      if let signature { sending.append(("signature", .string(signature))) }
      json["sending"] = .object(sending.map { JSON.Member($0.0, $0.1) })
    }
    let line = json.line()
    return ChainFrame.entry(length: UInt64(line.count)).bytes + line
  }
}

/// Sends an archive's frame header only with its first byte, so that the header is never sent alone.
final class FramedSink: ByteSink {
  private let next: any ByteSink
  private let lead: (UInt64) throws(Failure) -> Void
  /// Bytes of the archive that will follow.
  var length: UInt64 = 0
  private(set) var hasBegun = false
  private var count: UInt64 = 0

  init(_ next: any ByteSink, lead: @escaping (UInt64) throws(Failure) -> Void) {
    self.next = next
    self.lead = lead
  }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    if !hasBegun {
      hasBegun = true
      try lead(length)
    }
    count += UInt64(bytes.count)
    try next.write(bytes)
  }

  func finish() throws(Failure) { try next.finish() }

  /// Fills the frame of an incomplete archive with zeros and the mark of a damaged one.
  func spoil() throws(Failure) {
    let mark = ChainFrame.damaged
    guard count <= length, length - count >= UInt64(mark.count) else {
      throw Failure(.library, "no room is left for the mark of a damaged archive")
    }
    var left = length - count - UInt64(mark.count)
    while left > 0 {
      let zeros = [UInt8](repeating: 0, count: Int(min(left, UInt64(chunkSize))))
      try next.write(zeros.span)
      left -= UInt64(zeros.count)
    }
    try next.write(mark.span)
    count = length
  }
}

extension Failure {
  /// Whether the store lacks an object that its ledger names, or has it altered.
  fileprivate var isLoss: Bool { code == .inputMissing || code == .integrity || code == .truncated }
}
