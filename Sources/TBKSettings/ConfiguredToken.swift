import TBKCore
import TBKFormat

/// What to say when the token that `configuredToken` returns is used.
package let configuredTokenNotice =
  "the token comes from config.json; 'termbackup migrate' moves it to the keyring"

/// `github_token` in the config.json of this process's home: see `Home.configuredToken`. Nil if
/// nothing says where that home is.
package func configuredToken(warn: (String) -> Void = { _ in }) throws(Failure) -> Secret? {
  guard let home = try? Home.ofProcess() else { return nil }
  return try home.configuredToken(warn: warn)
}

extension Home {
  /// `github_token` of config.json, as it is there; nil without the directory, the file or a
  /// token. It is the last place where a token is looked for, and nothing is made on the way.
  ///
  /// Throws `.configuration` for a file that is not a configuration or a token that is not text; other
  /// keys that are wrong are not its business.
  ///
  /// - Parameter warn: told who else can read or change the file, if there is a token in it.
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
