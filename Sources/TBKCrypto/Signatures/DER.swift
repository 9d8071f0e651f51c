import TBKCore

/// Reads the part of DER (X.690) that keys use: one-byte tags and definite lengths in their shortest form. A reader
/// moves from element to element within a range of the text.
///
/// The text is passed to every call, because it may be lent by a `Secret`. Failures are `.malformed`.
struct DERReader {
  private var position: Int
  private let end: Int

  /// A reader of the elements in `range`.
  init(_ range: Range<Int>) {
    position = range.lowerBound
    end = range.upperBound
  }

  var isAtEnd: Bool { position == end }

  /// Whether the next element has this tag.
  func isNext(_ tag: DER.Tag, in text: Span<UInt8>) -> Bool {
    position < end && text[position] == tag.rawValue
  }

  /// The content of the next element, which must have this tag.
  mutating func read(_ tag: DER.Tag, from text: Span<UInt8>) throws(Failure) -> Range<Int> {
    guard isNext(tag, in: text) else { throw DER.failure }
    position += 1
    let length = try readLength(text)
    guard length <= end - position else { throw DER.failure }
    defer { position += length }
    return position..<position + length
  }

  /// A reader for the content of the next element, a SEQUENCE.
  mutating func sequence(in text: Span<UInt8>) throws(Failure) -> DERReader {
    DERReader(try read(.sequence, from: text))
  }

  /// A non-negative INTEGER.
  mutating func integer(in text: Span<UInt8>) throws(Failure) -> UInt64 {
    let content = text.extracting(try read(.integer, from: text))
    guard !content.isEmpty, content[0] < 0x80,
      content.count == 1 || content[0] != 0 || content[1] >= 0x80
    else { throw DER.failure }
    var value: UInt64 = 0
    for index in content.indices {
      guard value >> 56 == 0 else {
        throw Failure(.malformed, "a number of the key is out of range")
      }
      value = value << 8 | UInt64(content[index])
    }
    return value
  }

  /// An OBJECT IDENTIFIER, as its content bytes.
  mutating func identifier(in text: Span<UInt8>) throws(Failure) -> [UInt8] {
    Array(text.extracting(try read(.objectIdentifier, from: text)))
  }

  /// Throws if anything is left.
  func finish() throws(Failure) {
    if !isAtEnd { throw DER.failure }
  }

  private mutating func readLength(_ text: Span<UInt8>) throws(Failure) -> Int {
    guard position < end else { throw DER.failure }
    let first = text[position]
    position += 1
    if first < 0x80 { return Int(first) }
    let count = Int(first & 0x7f)
    guard (1...4).contains(count), count <= end - position, text[position] != 0 else {
      throw DER.failure
    }
    var length = 0
    for _ in 0..<count {
      length = length << 8 | Int(text[position])
      position += 1
    }
    guard length >= 0x80 else { throw DER.failure }
    return length
  }
}

enum DER {
  enum Tag: UInt8 {
    case integer = 0x02
    case bitString = 0x03
    case octetString = 0x04
    case null = 0x05
    case objectIdentifier = 0x06
    case sequence = 0x30
  }

  static let failure = Failure(.malformed, "the PEM block is not the DER of a key")

  // MARK: Writing

  /// Encodes one element.
  static func write(_ tag: Tag, _ content: [UInt8]) -> [UInt8] {
    var output: [UInt8] = [tag.rawValue]
    if content.count < 0x80 {
      output.append(UInt8(content.count))
    } else {
      var length: [UInt8] = []
      length.append(bigEndian: UInt64(content.count), width: 8)
      length = Array(length.drop { $0 == 0 })
      output.append(0x80 | UInt8(length.count))
      output += length
    }
    return output + content
  }

  static func write(integer value: UInt64) -> [UInt8] {
    var content: [UInt8] = [0]
    content.append(bigEndian: value, width: 8)
    while content.count > 1, content[0] == 0, content[1] < 0x80 { content.removeFirst() }
    return write(.integer, content)
  }

  static func write(sequence elements: [UInt8]...) -> [UInt8] {
    write(.sequence, Array(elements.joined()))
  }
}
