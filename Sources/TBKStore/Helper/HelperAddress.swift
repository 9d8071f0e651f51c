import Glibc
import TBKCore

/// A store that is accessed through a helper program: `NAME:…` runs `tbk-store-NAME`.
package struct HelperAddress: Hashable, Sendable {
  /// The address as it was given, the program's only argument.
  package let bytes: [UInt8]
  /// What precedes the first colon: `[a-z0-9-]+`.
  package let name: String

  init(_ bytes: [UInt8], name: String) {
    self.bytes = bytes
    self.name = name
  }

  package var display: String { RawPath(bytes).display }

  /// The program's name for messages.
  var program: String { "tbk-store-\(name)" }

  /// The program's file: the first one in PATH; only absolute entries count.
  ///
  /// Throws `.unavailable` if there is none.
  func find() throws(Failure) -> RawPath {
    if let found = try findProgram(program) { return found }
    throw Failure(
      .unavailable, "the store \(display) needs the program \(program), which is not in PATH",
      hint: "install it, or, if it is a directory, write ./\(RawPath(bytes).text)")
  }
}
