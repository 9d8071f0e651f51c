import TBKCore

/// Where a verb's secrets come from: its options, else the environment. If a variable contains the secret itself, only
/// its name is known here.
struct GivenSecrets {
  /// A kind of secret that verbs use.
  private struct Kind {
    let name: String
    let noun: String
    /// The prefix of the `tbk-sh` options that read it.
    let option: String
    /// The prefix of its environment variables; nil if it has none.
    let variable: String?
    /// Further options for the command that reads it.
    var more: [String] { name == "new_password" ? ["--new"] : [] }

    init(_ name: String, _ noun: String, option: String = "--password", variable: String? = nil) {
      (self.name, self.noun, self.option, self.variable) = (name, noun, option, variable)
    }
  }

  private static let kinds = [
    Kind("token", "the token", option: "--token", variable: "TERMBACKUP_TOKEN"),
    Kind("key_password", "the password of the key", option: "--key-password", variable: "TERMBACKUP_KEY_PASSWORD"),
    Kind("password", "the password", variable: "TERMBACKUP_PASSWORD"),
    Kind("new_password", "the new password", variable: "TERMBACKUP_NEW_PASSWORD"),
    Kind("mbu_password", "mbu's password"),
    Kind("identity_password", "the password of the identity file"),
  ]

  /// `tb_give_NAME` for each: the shell code that puts the secret into `tb_NAME`, or the name of a file that any
  /// command can read again into `tb_NAME_file`; empty if the secret is not given.
  private(set) var script: [UInt8] = []
  /// Calls for secrets that must be read before the shell uses their descriptor otherwise.
  private(set) var callsAtOnce: [UInt8] = []
  private var descriptors: [[UInt8]: String] = [:]

  /// Throws `.usage` if one descriptor is to supply two secrets, or options supply one secret in several ways.
  ///
  /// - Parameters:
  ///   - values: the verb's options.
  ///   - held: the names of the secrets that environment variables contain.
  init(_ values: OptionValues, held: [String]) throws(Failure) {
    for kind in GivenSecrets.kinds {
      let give = try optional(kind, values) ?? GivenSecrets.isInEnvironment(kind, held)
      script += ShellScript.assignment(to: "tb_give_\(kind.name)", give?.text ?? [])
      // Do not prompt for the password of an identity file later, in the middle of a pipeline.
      if let give, give.isAtOnce || kind.name == "identity_password" {
        callsAtOnce +=
          kind.name == "password"
          ? ShellScript.call("tb_get_password", []) : ShellScript.call("tb_given", [kind.name])
      }
    }
  }

  private struct Give {
    var text: [UInt8]
    var isAtOnce = false
  }

  private mutating func optional(_ kind: Kind, _ values: OptionValues) throws(Failure) -> Give? {
    guard ["fd", "file", "command"].count(where: { values["\(kind.name)_\($0)"] != nil }) <= 1 else {
      let option = "--" + kind.name.replacing("_", with: "-")
      throw Failure(.usage, "only one of \(option)-fd, \(option)-file and \(option)-command")
    }
    if let number = values["\(kind.name)_fd"] {
      if let other = descriptors[number] {
        throw Failure(
          .usage, "descriptor \(String(decoding: number, as: UTF8.self)) cannot give both \(other) and \(kind.noun)")
      }
      descriptors[number] = kind.noun
      return Give(text: GivenSecrets.read(kind, "fd", number, from: "options"), isAtOnce: true)
    }
    if let file = values["\(kind.name)_file"] {
      let isAtOnce = !RawPath(file).isStandardStream && !SecretFiles.lasts(RawPath(file))
      return Give(text: GivenSecrets.take(kind, RawPath(file), from: "options"), isAtOnce: isAtOnce)
    }
    if let command = values["\(kind.name)_command"] {
      return Give(text: GivenSecrets.read(kind, "command", command, from: "options"))
    }
    return nil
  }

  private static func isInEnvironment(_ kind: Kind, _ held: [String]) -> Give? {
    guard let variable = kind.variable else { return nil }
    if let file = environment("\(variable)_FILE") {
      return Give(
        text: take(kind, RawPath(file), from: "\(variable)_FILE"), isAtOnce: isDescriptorOfShell(file))
    }
    if let command = environment("\(variable)_COMMAND") {
      return Give(text: read(kind, "command", command, from: "\(variable)_COMMAND"))
    }
    guard held.contains(kind.name) else { return nil }
    return Give(text: source(kind, variable) + ShellScript.call("tb_take_held", [kind.name, variable] + kind.more))
  }

  /// Whether it is one of the descriptors that the shell itself uses.
  private static func isDescriptorOfShell(_ file: [UInt8]) -> Bool {
    ["/dev/fd/", "/proc/self/fd/"].contains { prefix in
      file.starts(with: prefix.utf8) && file.count == prefix.utf8.count + 1 && (0x33...0x39).contains(file.last!)
    }
  }

  private static func take(_ kind: Kind, _ file: RawPath, from place: String) -> [UInt8] {
    if file.isStandardStream { return read(kind, "fd", Array("0".utf8), from: place) }
    if kind.name == "token" { return read(kind, "file", file.bytes, from: place) }
    let needed = Array("tb_need_file ".utf8) + ShellScript.quote(file.bytes) + [0x0a]
    guard SecretFiles.lasts(file) else { return needed + read(kind, "file", file.bytes, from: place) }
    return needed + ShellScript.assignment(to: "tb_\(kind.name)_file", file.bytes)
  }

  private static func read(_ kind: Kind, _ way: String, _ value: [UInt8], from place: String) -> [UInt8] {
    let words = ["tb_read_secret", kind.name] + kind.more + ["--no-input", "\(kind.option)-\(way)", ""]
    return source(kind, place) + Array(words.joined(separator: " ").utf8)
      + ShellScript.quote(value) + [0x0a]
  }

  /// The source is reported only for the token.
  private static func source(_ kind: Kind, _ place: String) -> [UInt8] {
    kind.name == "token" ? ShellScript.assignment(to: "tb_token_source", place) : []
  }
}
