import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

/// tbk-sign: Ed25519 keys, and signatures of archives.
struct SignCommand: ParsableCommand, SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-sign", abstract: "Sign archives, and verify signatures.",
    version: "tbk-sign \(suiteVersion)",
    subcommands: [Keygen.self, Sign.self, Verify.self, Public.self, Fingerprint.self])

  mutating func execute() throws(Failure) -> Int32 {
    throw Failure(
      .usage, "no verb is given", hint: "one of keygen, sign, verify, public, fingerprint")
  }
}

extension SignCommand {
  struct Sign: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the signature of standard input.",
      usage: "tbk-sign sign --key <file> [<options>] < archive > signature")

    @Option(name: .long, help: ArgumentHelp("The private key.", valueName: "file"))
    var key: RawPath

    @Flag(name: .long, help: "Print a line of hexadecimal digits, not 64 bytes.")
    var hex = false

    @Flag(name: .long, help: "Sign what is not an archive, too; never a ledger.")
    var any = false

    @Flag(
      name: .long,
      help: "Print nothing for an archive that only a signed ledger vouches for: in suite 3 or age, or over 1 GiB.")
    var ifNeeded = false

    @OptionGroup var passwords: PasswordOptions
    @OptionGroup var progress: ProgressOptions
    @OptionGroup var common: CommonOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      try refuseInput(key, as: "the key")
      if !hex {
        try StandardOutput.refuseTerminal("a signature", hint: "use --hex, > file or a pipe")
      }
      let signing = try SigningKey(file: key) { (failed) throws(Failure) in
        try passwords.password(confirming: false, inputIsData: true, after: failed)
      }
      let copy = try copyInput(progress)
      let (any, ifNeeded) = (any, ifNeeded)
      let signature = try copy.withBytes(meanwhile: endIfInterrupted) { (bytes) throws(Failure) in
        if ifNeeded, SignedContent.isLeftToLedger(bytes) { return [UInt8]() }
        try refuse(SignedContent(of: bytes), any: any)
        return try signing.sign(bytes)
      }
      if signature.isEmpty { return ExitStatus.success }
      try StandardOutput.write(hex ? Array((signature.hex + "\n").utf8) : signature)
      return ExitStatus.success
    }
  }

  struct Verify: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Verify a signature of standard input.",
      usage: "tbk-sign verify --key <file> ... [--chain] [<options>] <signature> < archive")

    @Option(
      name: .long, parsing: .singleValue,
      help: ArgumentHelp("A public key; if repeated, one of them must match.", valueName: "file"))
    var key: [RawPath]

    @Argument(help: "The signature: 64 bytes, or as many in hexadecimal.")
    var signature: RawPath

    @Flag(name: .long, help: "Verify the first archive of several, as tbk-pull --chain sends them.")
    var chain = false

    @Flag(name: .long, help: "Print an object.")
    var json = false

    @OptionGroup var progress: ProgressOptions
    @OptionGroup var common: CommonOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      try refuseInput(signature, as: "the signature")
      var keys: [(path: RawPath, key: VerifyingKey)] = []
      for path in key {
        try refuseInput(path, as: "the key")
        keys.append((path, try VerifyingKey(file: path)))
      }
      let given = try readSignature(signature)
      let copy = try chain ? copyFirst() : copyInput(progress)
      for (path, key) in keys {
        let holds = try copy.withBytes(meanwhile: endIfInterrupted) { (bytes) throws(Failure) in
          try refuseLedger(SignedContent(of: bytes))
          return try key.verify(given, of: bytes)
        }
        if holds { return try report(path, try key.fingerprint.hex) }
      }
      return try reportNone()
    }

    private func report(_ path: RawPath, _ fingerprint: String) throws(Failure) -> Int32 {
      if json {
        let report = JSON.object([
          "ok": .bool(true), "fingerprint": .string(fingerprint), "key": .string(path.bytes),
        ])
        try StandardOutput.write(report.line() + [UInt8(ascii: "\n")])
      } else {
        try StandardOutput.write("ok \(fingerprint) \(path.quoted)\n")
      }
      return ExitStatus.success
    }

    private func reportNone() throws(Failure) -> Int32 {
      if json {
        let report = JSON.object(["ok": .bool(false), "fingerprint": .null, "key": .null])
        try StandardOutput.write(report.line() + [UInt8(ascii: "\n")])
      } else {
        let keys = key.count == 1 ? key[0].display : "any of the \(key.count) keys"
        Messages.report(
          Failure(
            .authentication,
            "the signature is not valid: this is not what the owner of \(keys) signed"))
      }
      return ExitStatus.no
    }
  }
}

/// Throws if the content is not an archive, unless `any`; always throws for a ledger's signed bytes.
private func refuse(_ content: SignedContent, any: Bool) throws(Failure) {
  try refuseLedger(content)
  guard case .other(let problem) = content, !any else { return }
  throw Failure(
    problem.code, "standard input is not an archive: \(problem.message)",
    hint: "--any signs any other file")
}

/// Keeps signatures of ledgers and of files separate: neither can be used as the other.
private func refuseLedger(_ content: SignedContent) throws(Failure) {
  guard content == .ledger else { return }
  throw Failure(
    .malformed, "standard input is the signed form of a ledger, not an archive",
    hint: "tbk-push --sign-key signs ledgers, and tbk-pull --verify-key checks their signatures")
}

/// 64 bytes, or 128 hexadecimal digits and a newline.
private func readSignature(_ path: RawPath) throws(Failure) -> [UInt8] {
  var bytes = try readFile(path, limit: 4096)
  if bytes.count == signatureLength { return bytes }
  if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
  guard let text = String(validating: bytes, as: UTF8.self), let decoded = [UInt8](hex: text),
    decoded.count == signatureLength
  else {
    throw Failure(
      .malformed, "\(path.display) is not a signature: it has neither 64 bytes nor 128 digits")
  }
  return decoded
}

/// Throws if the path is standard input, which is the content to sign.
private func refuseInput(_ path: RawPath, as what: String) throws(Failure) {
  if path.isStandardStream {
    throw Failure(.usage, "standard input is what is signed, so \(what) cannot come from it")
  }
}

/// The first archive of a chain on standard input; the rest is read and discarded.
private func copyFirst() throws(Failure) -> PrivateCopy {
  if Descriptor.standardInput.isTerminal {
    throw Failure(.usage, "standard input is a terminal", hint: "give the archives with < file")
  }
  let reader = ChainReader(DescriptorSource(.standardInput))
  guard let archive = try reader.next()?.archive else {
    throw Failure(.truncated, "the chain has no archive at its beginning")
  }
  let copy = try PrivateCopy(of: archive)
  while try reader.next() != nil {}
  return copy
}

/// A copy of standard input, which cannot change any more.
private func copyInput(_ progress: ProgressOptions) throws(Failure) -> PrivateCopy {
  if Descriptor.standardInput.isTerminal {
    throw Failure(.usage, "standard input is a terminal", hint: "give the archive with < file")
  }
  let size = (try? Descriptor.standardInput.status()).map { UInt64(clamping: $0.st_size) }
  let meter = ProgressMeter("reading", mode: progress.progress, total: size == 0 ? nil : size)
  let copy = try PrivateCopy(of: .standardInput) { meter.advance($0) }
  meter.finish()
  return copy
}

/// Exits if interrupted: the code that reads the copy cannot be interrupted, and ending here leaves no files behind.
@Sendable private func endIfInterrupted() {
  if Interruption.signal != nil { Program.end(Failure(.interrupted, "interrupted")) }
}
