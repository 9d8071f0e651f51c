import Glibc
import TBKCore

/// A store that a program on this machine knows how to reach: `NAME:…` runs `tbk-store-NAME`.
package struct HelperAddress: Hashable, Sendable {
  /// The address as it was given, which the program gets as its only argument.
  package let bytes: [UInt8]
  /// What precedes the first colon: `[a-z0-9-]+`.
  package let name: String

  init(_ bytes: [UInt8], name: String) {
    self.bytes = bytes
    self.name = name
  }

  package var display: String { RawPath(bytes).display }

  /// As messages call the program.
  var program: String { "tbk-store-\(name)" }

  /// The program's file: the first one in PATH, of whose entries only absolute ones count.
  ///
  /// Throws `.unavailable` if there is none.
  func find() throws(Failure) -> RawPath {
    if let found = try findProgram(program) { return found }
    throw Failure(
      .unavailable, "the store \(display) needs the program \(program), which is not in PATH",
      hint: "install it, or, if it is a directory, write ./\(RawPath(bytes).text)")
  }
}
