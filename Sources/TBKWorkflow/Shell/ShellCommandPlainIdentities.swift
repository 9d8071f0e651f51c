import ArgumentParser
import TBKCommand
import TBKCore
import TBKCrypto

extension ShellCommand {
  /// Reads identities that can be read only once, for a verb that passes them to several commands.
  struct PlainIdentities: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "plain-identities", abstract: "Print the identities in files, unencrypted.")
    @Option(
      name: .shortAndLong, parsing: .singleValue, help: ArgumentHelp("Read those in <file>.", valueName: "file"))
    var identity: [RawPath]
    @Flag(name: .long, help: "Never ask for a password.")
    var noInput = false
    @OptionGroup var passwords: TBKCommand.IdentityPasswordOptions
    @OptionGroup var common: CommonOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      var password: Secret?
      for path in identity {
        let file = try Descriptor.openForReading(path)
        let text = try Secret(reading: file, limit: AgeIdentityFile.maximumLength, name: path)
        let plain = try openEncrypted(path) { (failed) throws(Failure) in
          if password == nil || failed != nil {
            password = try passwords.password(refusing: noInput, inputIsData: true, after: failed)
          }
          return try password!.copy()
        } _: { (password) throws(Failure) in
          guard try AgeIdentityFile.isEncrypted(text) else { return try text.copy() }
          return try AgeIdentityFile.decrypt(
            text, memoryLimit: UInt64(Argon2Limits().memory), passphrase: password)
        }
        do throws(Failure) {
          _ = try plain.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
        } catch {
          throw error.within(path.display)
        }
        try plain.withBytes { (text) throws(Failure) in try Descriptor.standardOutput.write(text) }
        try Descriptor.standardOutput.write([UInt8(ascii: "\n")].span)
      }
      return ExitStatus.success
    }
  }
}
