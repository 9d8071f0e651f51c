import TBKCore

/// The trailer and key settings of an mbu package (tbk(5), "mbu packages"): no header, and an IV and a tag after the
/// ciphertext. Such packages are only read.
package struct MbuPackage: Equatable, Sendable {
  package static let ivLength = 16
  package static let tagLength = 16
  /// Length of IV and tag after the ciphertext, in bytes.
  package static let trailerLength = ivLength + tagLength

  package let settings: MbuSettings
  package let iv: [UInt8]
  /// Length of the ciphertext in bytes.
  package let payloadLength: UInt64

  /// - Parameters:
  ///   - trailer: the last bytes of the package; its tag is not checked here.
  ///   - length: of the whole package, in bytes.
  package init(settings: MbuSettings, trailer: [UInt8], length: UInt64) throws(Failure) {
    guard trailer.count == MbuPackage.trailerLength, length > UInt64(MbuPackage.trailerLength)
    else {
      throw Failure(
        .truncated, "it has \(length) bytes, and an mbu package more than \(MbuPackage.trailerLength)")
    }
    self.settings = settings
    iv = Array(trailer[..<MbuPackage.ivLength])
    payloadLength = length - UInt64(MbuPackage.trailerLength)
  }
}

/// The settings of an mbu `config.toml` that are used here.
package struct MbuSettings: Equatable, Sendable {
  /// The PBKDF2 iterations that a reader accepts from an untrusted file.
  package static let iterations = 1...10_000_000

  package let salt: [UInt8]
  package let iterations: UInt32
  /// Unchanged: relative to the directory that mbu is started in.
  package let packageDirectory: [UInt8]?
  package let restoreDirectory: [UInt8]?
  /// The keys that are not used here, with their tables, in file order.
  package let others: [String]

  /// The spellings of each directory key, the one that mbu writes first.
  private static let packageKeys = [
    "package_directory", "package_dir", "packaging_directory", "packaging_dir",
  ]
  private static let restoreKeys = ["restore_directory", "restore_dir"]

  /// Parses the file. Throws `.configuration`; messages never quote a value.
  ///
  /// - Parameters:
  ///   - place: the name of the file in failures.
  ///   - needsKey: whether salt and iterations must exist, as for opening a package.
  package init(_ bytes: [UInt8], place: String, needsKey: Bool = true) throws(Failure) {
    do throws(Failure) {
      try self.init(members: try TOML.parse(bytes), needsKey: needsKey)
    } catch {
      throw Failure(
        .configuration, "\(place): \(error.message)",
        hint: error.hint ?? "give the config.toml of the mbu that made the package")
    }
  }

  private init(members: [TOML.Member], needsKey: Bool) throws(Failure) {
    var salt: [UInt8]?
    var iterations: UInt32?
    var directories: [String: [UInt8]] = [:]
    var others: [String] = []
    for member in members {
      let key = member.path[member.path.count - 1]
      switch key {
      case "salt" where member.path.count == 1: salt = try MbuSettings.salt(member.value)
      case "hash_iterations" where member.path.count == 1:
        iterations = try MbuSettings.iterations(member.value)
      case _ where MbuSettings.packageKeys.contains(key) || MbuSettings.restoreKeys.contains(key):
        let path = member.path.joined(separator: ".")
        let isKnown = path.utf8.elementsEqual(key.utf8) || path.utf8.elementsEqual("packer.\(key)".utf8)
        guard isKnown else {
          others.append(path)
          continue
        }
        directories[key] = try MbuSettings.directory(member.value, key)
      default: others.append(member.path.joined(separator: "."))
      }
    }
    if needsKey {
      guard salt != nil else { throw Failure(.malformed, "\"salt\" is missing") }
      guard iterations != nil else { throw Failure(.malformed, "\"hash_iterations\" is missing") }
      if salt == [] {
        throw Failure(
          .malformed, "\"salt\" is empty",
          hint: "mbu sets it with its first package: give the file that it used")
      }
    }
    self.salt = salt ?? []
    self.iterations = iterations ?? 1
    packageDirectory = MbuSettings.packageKeys.compactMap { directories[$0] }.first
    restoreDirectory = MbuSettings.restoreKeys.compactMap { directories[$0] }.first
    self.others = others
  }

  private static func salt(_ value: JSON) throws(Failure) -> [UInt8] {
    guard let text = value.bytes, let salt = [UInt8](base64: text) else {
      throw Failure(.malformed, "\"salt\" is not base64")
    }
    guard salt.count <= 1024 else { throw Failure(.malformed, "\"salt\" is over 1024 bytes") }
    return salt
  }

  private static func iterations(_ value: JSON) throws(Failure) -> UInt32 {
    guard let number = value.integer(Int.self), iterations.contains(number) else {
      throw Failure(
        .malformed,
        "\"hash_iterations\" must be \(iterations.lowerBound) to \(iterations.upperBound)")
    }
    return UInt32(number)
  }

  private static func directory(_ value: JSON, _ key: String) throws(Failure) -> [UInt8] {
    guard let bytes = value.bytes else { throw Failure(.malformed, "\"\(key)\" is not a string") }
    guard !bytes.isEmpty, !bytes.contains(where: { $0 < 0x20 || $0 == 0x7f }) else {
      throw Failure(.malformed, "\"\(key)\" is empty or holds a control character")
    }
    return bytes
  }
}
