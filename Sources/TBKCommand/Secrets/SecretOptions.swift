import ArgumentParser

/// Options that name the source of one kind of secret: a descriptor, a file or a command.
package protocol SecretOptions: ParsableArguments {
  var source: SecretSource { get }
}

extension SecretOptions {
  package func validate() throws {
    if let complaint = source.complaint { throw ValidationError(complaint) }
  }

  /// Whether one of the options is given.
  package var isGiven: Bool { source.isGiven }
}
