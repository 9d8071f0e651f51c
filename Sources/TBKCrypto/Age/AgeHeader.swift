import TBKCore

/// One recipient's share of an age file's key (age-encryption.org/v1, "Recipient stanza").
package struct AgeStanza: Equatable, Sendable {
  package let type: [UInt8]
  package let arguments: [[UInt8]]
  package let body: [UInt8]

  package init(type: String, arguments: [[UInt8]], body: [UInt8]) {
    self.init(type: Array(type.utf8), arguments: arguments, body: body)
  }

  fileprivate init(type: [UInt8], arguments: [[UInt8]], body: [UInt8]) {
    self.type = type
    self.arguments = arguments
    self.body = body
  }

  func isOf(_ name: String) -> Bool { type == Array(name.utf8) }

  fileprivate func append(to text: inout [UInt8]) {
    text += Array("->".utf8)
    for argument in [type] + arguments { text += [UInt8(ascii: " ")] + argument }
    text.append(UInt8(ascii: "\n"))
    let encoded = [UInt8].unpaddedBase64(body)
    var start = 0
    // A body whose last line is full is followed by an empty line.
    while true {
      let end = min(start + AgeHeader.columns, encoded.count)
      text += encoded[start..<end] + [UInt8(ascii: "\n")]
      if end - start < AgeHeader.columns { break }
      start = end
    }
  }
}

/// The header of an age file (age-encryption.org/v1, "Header"): stanzas, and a MAC with the file key. Each header has
/// exactly one encoding.
package struct AgeHeader: Equatable, Sendable {
  package let stanzas: [AgeStanza]
  /// HMAC-SHA-256 of everything before it, with a key derived from the file key; 32 bytes.
  package let mac: [UInt8]

  package static let firstLine = Array("age-encryption.org/v1".utf8)
  static let columns = 64
  /// In bytes: room for thousands of recipients.
  package static let maximumLength = 1 << 20

  init(stanzas: [AgeStanza], mac: [UInt8]) {
    self.stanzas = stanzas
    self.mac = mac
  }

  /// The text that the MAC authenticates.
  var authenticated: [UInt8] { AgeHeader.authenticated(stanzas) }

  static func authenticated(_ stanzas: [AgeStanza]) -> [UInt8] {
    var text = firstLine + [UInt8(ascii: "\n")]
    for stanza in stanzas { stanza.append(to: &text) }
    return text + Array("---".utf8)
  }

  /// The type of each stanza, as text.
  package var stanzaTypes: [String] { stanzas.map { String(decoding: $0.type, as: UTF8.self) } }

  package var bytes: [UInt8] {
    authenticated + [UInt8(ascii: " ")] + [UInt8].unpaddedBase64(mac) + [UInt8(ascii: "\n")]
  }

  // MARK: Parsing

  /// Whether `bytes` begin like an age file of any version.
  package static func isBegun(by bytes: [UInt8]) -> Bool {
    bytes.starts(with: Array("age-encryption.org/".utf8))
  }

  /// Parses a header that fills `bytes`.
  package init(parsing bytes: [UInt8]) throws(Failure) {
    let source = PeekingSource(MemorySource(bytes))
    try self.init(reading: source)
    if try !source.peek(1).isEmpty { throw Failure(.malformed, "something follows the age header") }
  }

  /// Reads a header from the front of `source`, and nothing after it.
  package init(reading source: PeekingSource) throws(Failure) {
    var left = AgeHeader.maximumLength
    func line() throws(Failure) -> [UInt8] {
      guard let line = try source.line(limit: left) else {
        throw Failure(.truncated, "the age header ends early")
      }
      left -= min(left, line.count + 1)
      if left == 0 {
        throw Failure(.malformed, "the age header is longer than \(AgeHeader.maximumLength) bytes")
      }
      return line
    }
    let first = try line()
    guard first == AgeHeader.firstLine else {
      throw AgeHeader.isBegun(by: first)
        ? Failure(
          .malformed, "the file is of a version of age that is not known: \(RawPath(first).display)",
          hint: "version 1 is known")
        : Failure(.malformed, "this is not an age file")
    }
    var stanzas: [AgeStanza] = []
    while true {
      let opening = try line()
      if opening.starts(with: Array("---".utf8)) {
        guard opening.starts(with: Array("--- ".utf8)),
          let mac = [UInt8](unpaddedBase64: Array(opening.dropFirst(4))), mac.count == 32
        else { throw Failure(.malformed, "the age header's last line is wrong") }
        guard !stanzas.isEmpty else {
          throw Failure(.malformed, "the age header has no recipients")
        }
        self.init(stanzas: stanzas, mac: mac)
        return
      }
      let words = try AgeHeader.words(of: opening)
      var body: [UInt8] = []
      while true {
        let text = try line()
        guard text.count <= AgeHeader.columns, let piece = [UInt8](unpaddedBase64: text) else {
          throw Failure(.malformed, "the body of an age stanza is not base64 in lines of 64")
        }
        body += piece
        if text.count < AgeHeader.columns { break }
      }
      stanzas.append(AgeStanza(type: words[0], arguments: Array(words.dropFirst()), body: body))
    }
  }

  /// The words after "->": one or more, of visible ASCII.
  private static func words(of line: [UInt8]) throws(Failure) -> [[UInt8]] {
    let wrong = Failure(.malformed, "an age stanza does not begin as it should")
    guard line.starts(with: Array("-> ".utf8)) else { throw wrong }
    let words = line.dropFirst(3).split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    for word in words {
      guard !word.isEmpty, word.allSatisfy({ (33...126).contains($0) }) else { throw wrong }
    }
    return words.map { Array($0) }
  }
}
