import TBKCore
import TBKCrypto
import Testing

/// Byte n is n modulo 251, as in the vectors.
func pattern(_ length: Int) -> [UInt8] { (0..<length).map { UInt8($0 % 251) } }

/// Writes `bytes` in pieces.
func feed(_ bytes: [UInt8], to sink: any ByteSink, piece: Int) throws(Failure) {
  var start = 0
  while start < bytes.count {
    let end = min(start + piece, bytes.count)
    try sink.write(bytes.span.extracting(start..<end))
    start = end
  }
}

@Suite struct ChunkTests {
  private let key = [UInt8](0..<32)

  private func stream(encrypting: Bool) throws(Failure) -> ChunkCipher {
    try ChunkCipher(
      .stream, key: try secret(key), baseNonce: [UInt8](repeating: 0, count: 12),
      encrypting: encrypting)
  }

  private func seal(_ message: [UInt8], _ scheme: ChunkScheme, piece: Int = 100_000) throws(Failure) -> [UInt8] {
    let sink = MemorySink()
    let encryptor: ChunkEncryptor
    if scheme == .stream {
      encryptor = ChunkEncryptor(try stream(encrypting: true), into: sink)
    } else {
      encryptor = try ChunkedEncryptionFront.begin(key: try secret(key), context: [1], into: sink)
    }
    try feed(message, to: encryptor, piece: piece)
    try encryptor.finish()
    return sink.bytes
  }

  private func cipher(_ sealed: [UInt8], _ scheme: ChunkScheme) throws(Failure) -> ChunkCipher {
    if scheme == .stream { return try stream(encrypting: false) }
    let front = try ChunkedEncryptionFront(parsing: sealed.span)
    return try front.cipher(key: try secret(key), context: [1])
  }

  private func front(_ scheme: ChunkScheme) -> Int {
    scheme == .stream ? 0 : ChunkedEncryptionFront.length
  }

  /// The output, and the failure that ends it.
  private func open(_ sealed: [UInt8], _ scheme: ChunkScheme, piece: Int = 100_000) -> (
    bytes: [UInt8], failure: Failure?
  ) {
    let sink = MemorySink()
    do throws(Failure) {
      let decryptor = ChunkDecryptor(try cipher(sealed, scheme), into: sink)
      try feed(Array(sealed.dropFirst(front(scheme))), to: decryptor, piece: piece)
      try decryptor.finish()
      return (sink.bytes, nil)
    } catch {
      return (sink.bytes, error)
    }
  }

  private func edges(_ scheme: ChunkScheme) -> [Int] {
    [0, 1, 100] + [1, 2].flatMap { n in [-1, 0, 1].map { n * scheme.chunkSize + $0 } }
  }

  private func seal(
    _ message: [UInt8], key: [UInt8], context: [UInt8], salt: [UInt8]
  ) throws(Failure) -> [UInt8] {
    let sink = MemorySink()
    let encryptor = try ChunkedEncryptionFront.begin(key: try secret(key), context: context, salt: salt, into: sink)
    try feed(message, to: encryptor, piece: 300_000)
    try encryptor.finish()
    return sink.bytes
  }

  private func open(_ sealed: [UInt8], key: [UInt8], context: [UInt8]) throws(Failure) -> [UInt8] {
    let front = try ChunkedEncryptionFront(parsing: sealed.span)
    let sink = MemorySink()
    let decryptor = ChunkDecryptor(try front.cipher(key: try secret(key), context: context), into: sink)
    try feed(Array(sealed.dropFirst(56)), to: decryptor, piece: 300_000)
    try decryptor.finish()
    return sink.bytes
  }

  private func sealStream(_ message: [UInt8], key: [UInt8]) throws(Failure) -> [UInt8] {
    let sink = MemorySink()
    let cipher = try ChunkCipher(
      .stream, key: try secret(key), baseNonce: [UInt8](repeating: 0, count: 12), encrypting: true)
    let encryptor = ChunkEncryptor(cipher, into: sink)
    try feed(message, to: encryptor, piece: 300_000)
    try encryptor.finish()
    return sink.bytes
  }

  @Test func vectorsOfAnotherImplementation() throws {
    let files = try cryptoVectors()
    for block in try #require(files["chunked-encryption.txt"]) {
      let message = pattern(Int(try block.number("length")))
      let (key, context, front) = (try block.bytes("key"), try block.bytes("context"), try block.bytes("front"))
      let sealed = try seal(message, key: key, context: context, salt: Array(front.prefix(24)))
      #expect(sealed.starts(with: front))
      #expect(try SHA256.hash(Array(sealed.dropFirst(56))).bytes == block.bytes("sha256"))
      #expect(try open(sealed, key: key, context: context) == message)
    }
    for block in try #require(files["age-stream.txt"]) {
      let message = pattern(Int(try block.number("length")))
      let sealed = try sealStream(message, key: try block.bytes("key"))
      #expect(try SHA256.hash(sealed).bytes == block.bytes("sha256"))
    }
  }

  @Test(arguments: [ChunkScheme.chunkedEncryption, .stream])
  func whatWasSealedOpensWhateverThePieces(_ scheme: ChunkScheme) throws {
    for size in edges(scheme) {
      let message = pattern(size)
      let sealed = try seal(message, scheme, piece: 1000)
      let chunks = size / scheme.chunkSize + (scheme == .stream && size > 0 && size % scheme.chunkSize == 0 ? 0 : 1)
      #expect(sealed.count == front(scheme) + size + 16 * chunks)
      for piece in [1, 16, scheme.sealedSize - 1, scheme.sealedSize, scheme.sealedSize + 1, .max] {
        if piece == 1, size > 20_000 { continue }
        let opened = open(sealed, scheme, piece: piece)
        #expect(opened.failure == nil)
        #expect(opened.bytes == message)
      }
    }
  }

  @Test(arguments: [ChunkScheme.chunkedEncryption, .stream])
  func aCutIsAnErrorAndWhatCameBeforeItIsWhole(_ scheme: ChunkScheme) throws {
    let message = pattern(2 * scheme.chunkSize + 100)
    let sealed = try seal(message, scheme)
    let start = front(scheme)
    for cut in [
      0, 1, 15, 16, 17, scheme.sealedSize - 1, scheme.sealedSize, scheme.sealedSize + 1,
      scheme.sealedSize + 15, 2 * scheme.sealedSize, sealed.count - start - 1,
    ] {
      let opened = open(Array(sealed[..<(start + cut)]), scheme)
      let failure = try #require(opened.failure)
      if cut % scheme.sealedSize < 16 { #expect(failure.code == .truncated) }
      #expect(opened.bytes == Array(message[..<(cut / scheme.sealedSize * scheme.chunkSize)]))
    }
  }

  @Test(arguments: [ChunkScheme.chunkedEncryption, .stream])
  func chunksAreBoundToTheirPlaces(_ scheme: ChunkScheme) throws {
    let message = pattern(2 * scheme.chunkSize + 100)
    let sealed = try seal(message, scheme)
    let (start, size) = (front(scheme), scheme.sealedSize)
    let head = Array(sealed[..<start])
    let (one, two) = (Array(sealed[start..<start + size]), Array(sealed[start + size..<start + 2 * size]))
    let three = Array(sealed[(start + 2 * size)...])
    for other in [
      two + one + three, one + one + three, one + three, two + three, one + two + three + three,
      one + two + two + three, three, one + two + three + [0],
    ] {
      let opened = open(head + other, scheme)
      #expect(opened.failure != nil)
      #expect(message.starts(with: opened.bytes))
    }
    // One bit in several parts of each chunk.
    for place in [0, size / 2, size - 17, size - 1, size, 2 * size - 1, 2 * size, 2 * size + 115] {
      var flipped = sealed
      flipped[start + place] ^= 0x10
      let opened = open(flipped, scheme)
      #expect(opened.failure?.code == .authentication)
      #expect(opened.bytes == Array(message[..<(place / size * scheme.chunkSize)]))
    }
  }

  @Test(arguments: [ChunkScheme.chunkedEncryption, .stream])
  func anyPartCanBeRead(_ scheme: ChunkScheme) throws {
    for size in edges(scheme) {
      let message = pattern(size)
      let sealed = try seal(message, scheme)
      let whole = try ChunkedMessage(
        try cipher(sealed, scheme), in: MemoryRegion(sealed), from: UInt64(front(scheme)), to: UInt64(sealed.count))
      #expect(whole.length == UInt64(size))
      for (from, to) in [(0, size), (0, min(1, size)), (size / 2, size), (size, size), (size / 3, size / 2)] {
        let part = try whole.read(UInt64(from)..<UInt64(to))
        #expect(part == Array(message[from..<to]))
      }
    }
  }

  @Test(arguments: [ChunkScheme.chunkedEncryption, .stream])
  func aLengthIsNotBelievedBeforeTheLastChunkIs(_ scheme: ChunkScheme) throws {
    let sealed = try seal(pattern(2 * scheme.chunkSize + 100), scheme)
    for cut in 1..<64 {
      let short = Array(sealed[..<(sealed.count - cut * (scheme.sealedSize / 32))])
      let attempt = Result { () throws(Failure) in
        try ChunkedMessage(
          try cipher(sealed, scheme), in: MemoryRegion(short), from: UInt64(front(scheme)), to: UInt64(short.count)
        ).length
      }
      #expect(throws: Failure.self) { try attempt.get() }
    }
    // The last chunk is valid and one before it is not: valid chunks can be read.
    var flipped = sealed
    flipped[front(scheme) + scheme.sealedSize] ^= 1
    let whole = try ChunkedMessage(
      try cipher(sealed, scheme), in: MemoryRegion(flipped), from: UInt64(front(scheme)), to: UInt64(sealed.count))
    #expect(try whole.read(0..<10).count == 10)
    let middle = UInt64(scheme.chunkSize)..<UInt64(scheme.chunkSize + 1)
    #expect(throws: Failure.self) { try whole.read(middle) }
    let last = UInt64(2 * scheme.chunkSize)..<whole.length
    #expect(try whole.read(last).count == 100)
  }

  private func tryFront(_ front: ChunkedEncryptionFront, _ key: [UInt8], _ context: [UInt8]) throws(Failure) {
    _ = try front.cipher(key: try secret(key), context: context)
  }

  @Test func theFrontCommitsToKeyAndContext() throws {
    let sealed = try seal([1, 2, 3], .chunkedEncryption)
    for place in [0, 23, 24, 55] {
      var flipped = sealed
      flipped[place] ^= 1
      #expect(open(flipped, .chunkedEncryption).failure?.code == .authentication)
    }
    let given = try ChunkedEncryptionFront(parsing: sealed.span)
    var other = key
    other[0] ^= 1
    for (key, context) in [(other, [UInt8](arrayLiteral: 1)), (key, []), (key, [1, 0]), (Array(key.dropLast()), [1])] {
      #expect(throws: Failure.self) { try tryFront(given, key, context) }
    }
    for count in [0, 23, 24, 55] {
      let short = Array(sealed[..<count])
      let attempt = Result { () throws(Failure) in try ChunkedEncryptionFront(parsing: short.span) }
      #expect(throws: Failure.self) { try attempt.get() }
    }
  }

  @Test func anEmptyChunkEndsAStreamOnlyIfItIsTheWhole() throws {
    let size = UInt64(ChunkScheme.stream.sealedSize)
    #expect(try ChunkScheme.stream.lastChunk(ofSealedLength: 16).index == 0)
    #expect(try ChunkScheme.stream.lastChunk(ofSealedLength: size).index == 0)
    #expect(throws: Failure.self) { try ChunkScheme.stream.lastChunk(ofSealedLength: size + 16) }
    #expect(try ChunkScheme.stream.lastChunk(ofSealedLength: size + 17).index == 1)
    for length in [0, 15, size + 15] {
      #expect(throws: Failure.self) { try ChunkScheme.stream.lastChunk(ofSealedLength: length) }
    }
    #expect(throws: Failure.self) { try ChunkScheme.stream.lastChunk(ofSealedLength: .max) }
    let short = UInt64(ChunkScheme.chunkedEncryption.sealedSize)
    for length in [0, 15, short, short + 15, .max] {
      #expect(throws: Failure.self) { try ChunkScheme.chunkedEncryption.lastChunk(ofSealedLength: length) }
    }
    #expect(try ChunkScheme.chunkedEncryption.lastChunk(ofSealedLength: short + 16).index == 1)
  }
}
