import Glibc

/// The variables of the environment that hold a secret, or say where one is.
package enum SecretVariables {
  /// Ours; `_FILE` and `_COMMAND` follow each for the place of a secret.
  package static let own = [
    "TERMBACKUP_PASSWORD", "TERMBACKUP_OLD_PASSWORD", "TERMBACKUP_NEW_PASSWORD",
    "TERMBACKUP_KEY_PASSWORD", "TERMBACKUP_IDENTITY_PASSWORD", "TERMBACKUP_TOKEN",
    "TERMBACKUP_WEBHOOK_URL",
  ]
  /// Everybody's: gh(1) has them too.
  package static let shared = [
    "GITHUB_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN",
  ]

  /// The variables as they are spelt in an environment.
  package static let names = Set(shared + own.flatMap { [$0, $0 + "_FILE", $0 + "_COMMAND"] })

  /// The environment for a child that needs no secret of ours.
  ///
  /// - Parameter kept: names that it may see anyway.
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
