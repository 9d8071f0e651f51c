import Glibc

/// The environment variables that hold a secret, or name the place of one.
package enum SecretVariables {
  /// Ours. Each also exists with the suffix `_FILE` or `_COMMAND`, which gives the place of the secret.
  package static let own = [
    "TERMBACKUP_PASSWORD", "TERMBACKUP_OLD_PASSWORD", "TERMBACKUP_NEW_PASSWORD",
    "TERMBACKUP_KEY_PASSWORD", "TERMBACKUP_IDENTITY_PASSWORD", "TERMBACKUP_TOKEN",
    "TERMBACKUP_WEBHOOK_URL",
  ]
  /// Shared with other programs, such as gh(1).
  package static let shared = [
    "GITHUB_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN",
  ]

  /// All of these names, with their suffixes.
  package static let names = Set(shared + own.flatMap { [$0, $0 + "_FILE", $0 + "_COMMAND"] })

  /// The environment for a child process, without our secrets.
  ///
  /// - Parameter kept: names to pass on anyway.
  package static func environmentWithout(keeping kept: [String] = []) -> [[UInt8]] {
    processEnvironment().filter { variable in
      let name = String(decoding: variable.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)
      return !names.contains(name) || kept.contains(name)
    }
  }
}

/// This process's environment, as `NAME=VALUE`.
package func processEnvironment() -> [[UInt8]] {
  var variables: [[UInt8]] = []
  while let variable = unsafe environ[variables.count] {
    variables.append(
      unsafe Array(UnsafeRawBufferPointer(start: variable, count: strlen(variable))))
  }
  return variables
}
