// The verbs of tbk-sign for keys.

import ArgumentParser
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

extension SignCommand {
  struct Keygen: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a key: two files, of which both are written or neither.")

    @Option(name: .customLong("private"), help: ArgumentHelp("Write the private key to <file>.", valueName: "file"))
    var privateFile: RawPath

    @Option(name: .customLong("public"), help: ArgumentHelp("Write the public key to <file>.", valueName: "file"))
    var publicFile: RawPath

    @Flag(name: .long, help: "Replace the files if they exist.")
    var force = false

    @Flag(name: .long, help: "Write the private key without encrypting it.")
    var noPassword = false

    @Flag(name: .long, help: "Print an object.")
    var json = false

    @OptionGroup var passwords: PasswordOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if noPassword, passwords.isGiven {
        throw ValidationError("--no-password is given together with a password")
      }
    }

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      for path in [privateFile, publicFile] {
        if path.isStandardStream {
          throw Failure(.usage, "a key is written to a file, not to standard output")
        }
        if !force, try Descriptor.workingDirectory.statusIfPresent(of: path) != nil {
          throw Failure(
            .cannotCreate, "\(path.display) exists", hint: "--force replaces the key for good")
        }
      }
      // In a home, files made by root belong to the owner of the home.
      let isHome = privateFile.parent == termbackupHome()
      let half = try AtomicFile(privateFile, inherits: isHome)
      let other = try AtomicFile(publicFile, mode: 0o644, inherits: isHome)
      let key = try SigningKey.generate()
      let text: Secret
      if noPassword {
        text = try key.plainPEM()
      } else {
        let password = try passwords.password(confirming: true, inputIsData: false)
        text = try key.pem(password: password)
      }
      try text.withBytes { (bytes) throws(Failure) in try half.descriptor.write(bytes) }
      let publicText = try key.verifyingKey.pem
      try other.descriptor.write(publicText.span)
      try AtomicFile.commit(half, other, replacing: force)
      if noPassword {
        Messages.warning(
          "\(privateFile.display) is not encrypted: anyone who can read it can sign with it")
      }
      let fingerprint = try key.verifyingKey.fingerprint.hex
      if json {
        let report = JSON.object([
          "fingerprint": .string(fingerprint), "private": .string(privateFile.bytes),
          "public": .string(publicFile.bytes),
        ])
        try StandardOutput.write(report.line() + [UInt8(ascii: "\n")])
      } else {
        try StandardOutput.write(fingerprint + "\n")
      }
      return ExitStatus.success
    }
  }

  struct Public: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the public key of a private one.")

    @Option(name: .long, help: ArgumentHelp("The private key.", valueName: "file"))
    var key: RawPath

    @OptionGroup var passwords: PasswordOptions
    @OptionGroup var common: CommonOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let signing = try SigningKey(file: key) { (failed) throws(Failure) in
        try passwords.password(
          confirming: false, inputIsData: key.isStandardStream, after: failed)
      }
      try StandardOutput.write(try signing.verifyingKey.pem)
      return ExitStatus.success
    }
  }

  struct Fingerprint: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the fingerprint of a public key.")

    @Option(name: .long, help: ArgumentHelp("The public key.", valueName: "file"))
    var key: RawPath

    @Flag(name: .long, help: "Print an object.")
    var json = false

    @OptionGroup var common: CommonOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let fingerprint = try VerifyingKey(file: key).fingerprint.hex
      if json {
        let report = JSON.object([
          "fingerprint": .string(fingerprint), "key": .string(key.bytes),
        ])
        try StandardOutput.write(report.line() + [UInt8(ascii: "\n")])
      } else {
        try StandardOutput.write(fingerprint + "\n")
      }
      return ExitStatus.success
    }
  }
}
