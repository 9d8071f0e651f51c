import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// The limits on key derivation for an archive that is not yet authenticated.
package struct OpenLimits: Sendable {
  package var argon2 = Argon2Limits()
  /// PBKDF2 iterations of a TBK1 archive.
  package var pbkdf2: UInt32 = 10_000_000

  package init() {}
}

/// Derives the keys of archives from one password, and keeps the last ones by salt and cost.
package final class KeyRing {
  private struct Kind: Hashable {
    let salt: [UInt8]
    let costs: [UInt32]
  }

  private final class Key {
    let secret: Secret
    init(_ secret: consuming Secret) { self.secret = secret }
  }

  private let password: Secret
  private var keys: [Kind: Key] = [:]
  /// The kinds in `keys`, oldest first.
  private var order: [Kind] = []
  /// How many keys are kept, each in its own locked page.
  private static let limit = 32
  /// How many keys were derived.
  package private(set) var derivations = 0

  package init(_ password: consuming Secret) { self.password = password }

  /// The key of an archive of suite 3.
  func key(_ header: ChunkedHeader) throws(Failure) -> Secret {
    let kind = Kind(
      salt: header.salt, costs: [2, header.memory, UInt32(header.passes), UInt32(header.lanes)])
    return try known(kind) { () throws(Failure) in
      try KeyDerivation.argon2id(password, salt: header.salt, cost: header.cost)
    }
  }

  /// The key of an archive: 64 bytes for TBK1, 32 for the others.
  fileprivate func key(_ header: ArchiveHeader) throws(Failure) -> Secret {
    let kind = header.keyKind
    return try known(Kind(salt: kind.salt, costs: kind.costs)) { () throws(Failure) in
      try derive(header)
    }
  }

  private func known(
    _ kind: Kind, derive: () throws(Failure) -> Secret
  ) throws(Failure) -> Secret {
    if let key = keys[kind] { return try key.secret.copy() }
    let key = try derive()
    derivations += 1
    if order.count == KeyRing.limit { keys[order.removeFirst()] = nil }
    keys[kind] = Key(try key.copy())
    order.append(kind)
    return key
  }

  private func derive(_ header: ArchiveHeader) throws(Failure) -> Secret {
    switch header {
    case .tbk2(let fields):
      try KeyDerivation.argon2id(password, salt: fields.salt, cost: fields.cost)
    case .tbk1(let fields):
      try KeyDerivation.pbkdf2SHA256(
        password, salt: fields.salt, iterations: fields.iterations, length: 64)
    case .mbu(let fields):
      try KeyDerivation.pbkdf2(
        password, .blake2s256, salt: fields.settings.salt, iterations: fields.settings.iterations,
        length: 32)
    }
  }
}

extension ArchiveHeader {
  /// What a key depends on besides the password: the salt, the derivation and its costs.
  fileprivate var keyKind: (salt: [UInt8], costs: [UInt32]) {
    switch self {
    case .tbk2(let fields):
      (fields.salt, [2, fields.memory, UInt32(fields.passes), UInt32(fields.lanes)])
    case .tbk1(let fields): (fields.salt, [1, fields.iterations])
    case .mbu(let fields): (fields.settings.salt, [0, fields.settings.iterations])
    }
  }
}

extension ChunkedHeader {
  var cost: Argon2Cost {
    Argon2Cost(memory: memory, passes: UInt32(passes), lanes: UInt32(lanes))
  }
}

extension TBK2Header {
  fileprivate var cost: Argon2Cost {
    Argon2Cost(memory: memory, passes: UInt32(passes), lanes: UInt32(lanes))
  }
}

/// An archive whose tag has been verified; its payload can be read any number of times.
///
/// Its source remains untrusted: each block of a file, which others can write to, is compared with hashes from the
/// verification. An archive from a pipe is kept as ciphertext in an unnamed file.
package final class AuthenticatedArchive: OpenedArchive {
  private enum Storage {
    case memory([UInt8])
    case spool(Descriptor)
    case file(Descriptor, start: UInt64, blocks: [Digest])
  }

  package let header: ArchiveHeader
  /// What a ledger says about the backup, according to the sender.
  package var claims: BackupClaims?
  package var isSealedManifest = false
  private let storage: Storage
  private let key: Secret

  private init(_ header: ArchiveHeader, _ storage: Storage, _ key: consuming Secret) {
    self.header = header
    self.storage = storage
    self.key = key
  }

  /// Ciphertexts up to this many bytes are kept in memory.
  private static let memoryLimit: UInt64 = 8 << 20

  /// The maximum size of the decompressed payload in bytes: deflate compresses by at most 1032:1.
  package var maximumContentLength: UInt64 {
    let (product, overflow) = header.payloadLength.multipliedReportingOverflow(by: 1032)
    return overflow ? UInt64(Int64.max) : min(product + 4096, UInt64(Int64.max))
  }

  package var kind: ArchiveKind {
    switch header {
    case .tbk2: .whole
    case .tbk1: .tbk1
    case .mbu: .mbu
    }
  }

  /// Whether its tar has no manifest.
  package var hasNoManifest: Bool {
    if case .mbu = header { return true }
    return false
  }

  // MARK: Reading and verifying

  /// Reads the header at the start of a source, and checks its key derivation costs.
  package static func header(
    of source: any ByteSource, limits: OpenLimits
  ) throws(Failure) -> ArchiveHeader {
    // Byte by byte, so that nothing after the header is consumed.
    var bytes = try source.read(upTo: 4)
    while true {
      do throws(Failure) {
        let header = try ArchiveHeader(parsing: bytes.span)
        try check(header, limits)
        return header
      } catch {
        guard error.code == .truncated, bytes.count < ArchiveHeader.maximumLength else {
          throw error
        }
        let more = try source.read(upTo: 1)
        if more.isEmpty {
          throw bytes.isEmpty ? Failure.emptyArchive : error
        }
        bytes += more
      }
    }
  }

  private static func check(_ header: ArchiveHeader, _ limits: OpenLimits) throws(Failure) {
    switch header {
    case .tbk2(let fields): try limits.argon2.check(fields.cost)
    case .tbk1(let fields):
      guard fields.iterations <= limits.pbkdf2 else {
        throw Failure(
          .malformed, "the header asks for \(fields.iterations) PBKDF2 iterations, above the limit")
      }
    // The settings have already been checked.
    case .mbu: break
    }
  }

  /// Verifies the archive in a seekable file, from `start` to the file's end.
  package static func verify(
    file: Descriptor, header: ArchiveHeader, start: UInt64, keys: KeyRing
  ) throws(Failure) -> AuthenticatedArchive {
    let size = UInt64(clamping: try file.status().st_size)
    let end = try start.adding(header.totalLength, "the length of the archive")
    guard size >= end else {
      throw Failure(
        .truncated,
        "the archive has \(size - min(start, size)) bytes of \(header.totalLength)")
    }
    if size > end {
      throw Failure(.malformed, "\(size - end) bytes follow the archive")
    }
    let source = FileRegion(file, from: start + UInt64(header.headerLength), to: size)
    return try verify(header, source, keys: keys, alone: true) { (small) throws(Failure) in
      small.map { .memory($0) }
        ?? .file(file, start: start + UInt64(header.headerLength), blocks: [])
    }
  }

  /// Verifies the mbu package in a seekable file, from `start` to the file's end.
  package static func verify(
    package file: Descriptor, settings: MbuSettings, start: UInt64, keys: KeyRing
  ) throws(Failure) -> AuthenticatedArchive {
    let size = UInt64(clamping: try file.status().st_size)
    let length = size - min(start, size)
    let trailer = UInt64(MbuPackage.trailerLength)
    let end = try FileRegion(file, from: size - min(trailer, length), to: size).read(
      upTo: MbuPackage.trailerLength)
    let package = try MbuPackage(settings: settings, trailer: end, length: length)
    return try verify(
      .mbu(package), FileRegion(file, from: start, to: size), keys: keys, alone: true
    ) { (small) throws(Failure) in
      small.map { .memory($0) } ?? .file(file, start: start, blocks: [])
    }
  }

  /// Verifies the mbu package in a stream, which is first kept as ciphertext, because the nonce and tag come last.
  package static func verify(
    package stream: any ByteSource, settings: MbuSettings, keys: KeyRing
  ) throws(Failure) -> AuthenticatedArchive {
    let spool = try TemporaryFile.anonymous()
    let sink = DescriptorSink(spool, name: RawPath("temporary file"))
    try stream.copy(to: sink)
    try sink.finish()
    return try verify(package: spool, settings: settings, start: 0, keys: keys)
  }

  /// Verifies the archive that follows its header in a stream.
  ///
  /// - Parameter alone: whether nothing may follow it.
  package static func verify(
    stream: any ByteSource, header: ArchiveHeader, keys: KeyRing, alone: Bool
  ) throws(Failure) -> AuthenticatedArchive {
    try verify(header, stream, keys: keys, alone: alone) { (small) throws(Failure) in
      if let small { return .memory(small) }
      return .spool(try TemporaryFile.anonymous())
    }
  }

  /// Decrypts everything once to check the tag, and discards the plaintext.
  ///
  /// - Parameter keep: returns the storage; its argument is nil if the ciphertext is too large for memory.
  private static func verify(
    _ header: ArchiveHeader, _ source: any ByteSource, keys: KeyRing, alone: Bool,
    keep: ([UInt8]?) throws(Failure) -> Storage
  ) throws(Failure) -> AuthenticatedArchive {
    let length = header.ciphertextLength
    let isSmall = length <= memoryLimit
    var small: [UInt8] = []
    var storage = try keep(isSmall ? [] : nil)
    var spool: DescriptorSink?
    if case .spool(let file) = storage {
      spool = DescriptorSink(file, name: RawPath("temporary file"))
    }
    // Hash the blocks on another thread than the decryption.
    var hasher: BlockHasher?
    var hashing: PipelinedSink?
    if case .file = storage {
      let blocks = try BlockHasher()
      hasher = blocks
      hashing = PipelinedSink(into: blocks)
    }
    let key = try keys.key(header)
    var check = try TagCheck(header, key)
    var remaining = length
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    while remaining > 0 {
      if remaining < UInt64(buffer.count) { buffer.removeLast(buffer.count - Int(remaining)) }
      let count = try source.read(into: &buffer)
      if count == 0 { throw truncated(header, missing: remaining + UInt64(header.tagLength)) }
      let piece = buffer.span.extracting(0..<count)
      try check.update(piece)
      if isSmall { small.append(piece) }
      try spool?.write(piece)
      try hashing?.write(piece)
      remaining -= UInt64(count)
    }
    var tag = try source.read(upTo: header.tagLength)
    guard tag.count == header.tagLength else {
      throw truncated(header, missing: UInt64(header.tagLength - tag.count))
    }
    if case .mbu(let package) = header {
      guard tag.starts(with: package.iv) else {
        throw Failure(.integrity, "the archive changed while it was read")
      }
      tag.removeFirst(MbuPackage.ivLength)
    }
    // Before the tag: an archive of the wrong length is corrupt, whatever the password.
    if alone, try !source.read(upTo: 1).isEmpty {
      throw Failure(.malformed, "something follows the archive")
    }
    guard try check.verify(tag) else { throw header.doesNotOpen }
    try spool?.finish()
    try hashing?.finish()
    if isSmall { storage = .memory(small) }
    if let hasher, case .file(let file, let start, _) = storage {
      storage = .file(file, start: start, blocks: hasher.digests)
    }
    return AuthenticatedArchive(header, storage, key)
  }

  private static func truncated(_ header: ArchiveHeader, missing: UInt64) -> Failure {
    Failure(
      .truncated, "the archive ends early: \(missing) of \(header.totalLength) bytes are missing",
      hint: "the command that sends it failed, or the copy is incomplete")
  }

  // MARK: Using

  /// Decrypts the payload, a gzip stream, into `sink`, and finishes it.
  package func replay(into sink: any ByteSink) throws(Failure) {
    var cipher = try PayloadCipher(header, key)
    switch storage {
    case .memory(let bytes):
      try cipher.decrypt(bytes.span, into: sink)
    case .spool(let file):
      try file.seek(to: 0)
      var buffer = [UInt8](repeating: 0, count: chunkSize)
      while true {
        let count = try file.read(into: &buffer)
        if count == 0 { break }
        try cipher.decrypt(buffer.span.extracting(0..<count), into: sink)
      }
    case .file(let file, let start, let blocks):
      var offset = start
      var remaining = header.ciphertextLength
      for expected in blocks {
        let length = Int(min(UInt64(BlockHasher.blockSize), remaining))
        let block = try FileRegion(file, from: offset, to: offset + UInt64(length)).read(
          upTo: length)
        guard block.count == length, try SHA256.hash(block) == expected else {
          throw Failure(.integrity, "the archive changed while it was read")
        }
        try cipher.decrypt(block.span, into: sink)
        offset += UInt64(length)
        remaining -= UInt64(length)
      }
    }
    try cipher.finish(into: sink)
    try sink.finish()
  }

  /// Decompresses the payload, a tar, into `sink`, and finishes it.
  ///
  /// Unless the payload is small, decryption, decompression and `sink` run on separate threads.
  package func replayTar(into sink: any ByteSink) throws(Failure) {
    if header.payloadLength < 1 << 20 {
      try replay(into: try GzipDecompressor(into: sink))
    } else {
      try replay(into: PipelinedSink(into: try GzipDecompressor(into: PipelinedSink(into: sink))))
    }
  }
}

extension ArchiveHeader {
  /// Bytes that follow the ciphertext: the tag, and for mbu the nonce before it.
  fileprivate var tagLength: Int {
    switch self {
    case .tbk2: gcmTagLength
    case .tbk1: TBK1Header.tagLength
    case .mbu: MbuPackage.trailerLength
    }
  }

  fileprivate var ciphertextLength: UInt64 {
    switch self {
    case .tbk2(let fields): fields.payloadLength - UInt64(gcmTagLength)
    case .tbk1, .mbu: payloadLength
    }
  }

  fileprivate var doesNotOpen: Failure {
    let hint: String? =
      switch self {
      case .tbk2: "the format cannot show which: try the password again"
      case .tbk1: nil
      case .mbu: "it may also have been made by another mbu, which has its own config.toml"
      }
    return Failure(
      .authentication, "the archive does not open with this password, or it has been altered",
      hint: hint)
  }
}

/// Computes the tag of an archive over its ciphertext.
private struct TagCheck: ~Copyable {
  private static let openingLength = 10
  private var gcm: AESGCM?
  private var hmac: HMACSHA256?
  private var scratch: [UInt8] = []
  /// The first decrypted bytes; examined only once the tag is valid.
  private var opening: [UInt8] = []

  init(_ header: ArchiveHeader, _ key: borrowing Secret) throws(Failure) {
    switch header {
    case .tbk2(let fields):
      gcm = try AESGCM(key: key, nonce: fields.nonce, encrypting: false)
      hmac = nil
    case .tbk1(let fields):
      gcm = nil
      var running = try key.withBytes { (bytes) throws(Failure) in
        try HMACSHA256(key: bytes.extracting(32..<64))
      }
      try running.update(fields.iv.span)
      hmac = consume running
    case .mbu(let fields):
      gcm = try AESGCM(key: key, nonce: fields.iv, encrypting: false)
      hmac = nil
    }
  }

  mutating func update(_ bytes: Span<UInt8>) throws(Failure) {
    try gcm?.update(bytes, into: &scratch)
    if gcm != nil, opening.count < TagCheck.openingLength {
      opening += scratch[..<min(TagCheck.openingLength - opening.count, bytes.count)]
    }
    try hmac?.update(bytes)
  }

  /// Whether the tag is valid, and the plaintext a gzip stream.
  ///
  /// AES-GCM does not commit to its key: a message can be made valid under many keys. A plaintext that does not begin
  /// like a gzip stream (RFC 1952, 2.3.1: magic, deflate, no reserved flags) was not made with this key, and is treated
  /// as if the tag were invalid.
  mutating func verify(_ tag: [UInt8]) throws(Failure) -> Bool {
    if let gcm = gcm.take() {
      let holds = gcm.verify(tag: tag)
      return holds && opening.count == TagCheck.openingLength
        && opening.starts(with: [0x1f, 0x8b, 8]) && opening[3] & 0xe0 == 0
    }
    if let hmac = hmac.take() { return try hmac.verify(tag: tag) }
    return false
  }
}

/// Decrypts a payload that has been verified.
private struct PayloadCipher: ~Copyable {
  private var gcm: AESGCM?
  private var cbc: AESCBCDecryption?
  private var output: [UInt8] = []

  init(_ header: ArchiveHeader, _ key: borrowing Secret) throws(Failure) {
    switch header {
    case .tbk2(let fields):
      gcm = try AESGCM(key: key, nonce: fields.nonce, encrypting: false)
      cbc = nil
    case .tbk1(let fields):
      gcm = nil
      cbc = try key.withBytes { (bytes) throws(Failure) in
        try AESCBCDecryption(key: bytes.extracting(0..<32), iv: fields.iv)
      }
    case .mbu(let fields):
      gcm = try AESGCM(key: key, nonce: fields.iv, encrypting: false)
      cbc = nil
    }
  }

  mutating func decrypt(_ bytes: Span<UInt8>, into sink: any ByteSink) throws(Failure) {
    var count = bytes.count
    try gcm?.update(bytes, into: &output)
    if let produced = try cbc?.update(bytes, into: &output) { count = produced }
    if count > 0 { try sink.write(output.span.extracting(0..<count)) }
  }

  mutating func finish(into sink: any ByteSink) throws(Failure) {
    guard let cbc = cbc.take() else { return }
    let last = try cbc.finish()
    if !last.isEmpty { try sink.write(last) }
  }
}

/// Hashes a stream in blocks.
private final class BlockHasher: ByteSink {
  static let blockSize = chunkSize

  private(set) var digests: [Digest] = []
  private var running: SHA256
  private var filled = 0

  init() throws(Failure) { running = try SHA256() }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    var done = 0
    while done < bytes.count {
      let count = min(BlockHasher.blockSize - filled, bytes.count - done)
      try running.update(bytes.extracting(done..<done + count))
      done += count
      filled += count
      if filled == BlockHasher.blockSize {
        digests.append(try running.finish())
        filled = 0
      }
    }
  }

  func finish() throws(Failure) {
    if filled > 0 { digests.append(try running.finish()) }
    filled = 0
  }
}

/// A range of a seekable file, read without moving its position.
private final class FileRegion: ByteSource {
  private let file: Descriptor
  private var offset: UInt64
  private let end: UInt64

  init(_ file: Descriptor, from start: UInt64, to end: UInt64) {
    self.file = file
    offset = start
    self.end = end
  }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    if offset >= end { return 0 }
    let count = try file.read(into: &buffer, at: offset)
    let wanted = Int(min(UInt64(count), end - offset))
    offset += UInt64(wanted)
    return wanted
  }
}
