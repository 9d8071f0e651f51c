import ArgumentParser
import CSystem
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

extension ConfigCommand {
  struct Version: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the versions of the suite and of the libraries it runs with.")
    @OptionGroup var common: CommonOptions
    @Flag(name: .long, help: "Print JSON.")
    var json = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      var versions: [JSON.Member] = [JSON.Member("termbackup", .string(suiteVersion))]
      for (name, text) in libraryVersions() { versions.append(JSON.Member(name, .string(text))) }
      if json {
        try StandardOutput.write(JSON.object(versions).line() + [0x0a])
      } else {
        for version in versions {
          try StandardOutput.write("\(version.key) \(version.value.text ?? "")\n")
        }
      }
      return ExitStatus.success
    }
  }
}

/// The versions that the libraries in this process report.
func libraryVersions() -> [(String, String)] {
  [
    ("openssl", CryptoVersions.openssl), ("argon2", CryptoVersions.argon2), ("zlib", zlibVersion),
    ("glibc", unsafe String(cString: tbk_libc_version())),
  ]
}
