import TBKCore
import TBKFormat

/// The notice to print when the token from `configuredToken` is used.
package let configuredTokenNotice =
  "the token comes from config.json; 'termbackup migrate' moves it to the keyring"

/// `github_token` in the config.json of this process's home: see `Home.configuredToken`. Nil if no home is known.
package func configuredToken(warn: (String) -> Void = { _ in }) throws(Failure) -> Secret? {
  guard let home = try? Home.ofProcess() else { return nil }
  return try home.configuredToken(warn: warn)
}

extension Home {
  /// `github_token` of config.json, unchanged; nil without the directory, the file or a token. It is the last source to
  /// be checked, and nothing is created.
  ///
  /// Throws `.configuration` if the file is not a configuration or the token is not text; other invalid keys are
  /// ignored.
  ///
  /// - Parameter warn: called if others can read or change the file and it contains a token.
  package func configuredToken(warn: (String) -> Void = { _ in }) throws(Failure) -> Secret? {
    guard try Descriptor.workingDirectory.statusIfPresent(of: path) != nil,
      let configuration = try storedConfiguration(checking: false),
      let value = configuration["github_token"], !value.isNull
    else { return nil }
    for concern in concerns { warn(concern) }
    guard let bytes = value.bytes, !bytes.isEmpty else {
      throw Failure(
        .configuration, "\(configurationPlace): \"github_token\" must be a string, or null",
        hint: "remove it with 'tbk-config unset github_token'")
    }
    return try Secret(copying: bytes.span)
  }
}
