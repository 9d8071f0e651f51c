import ArgumentParser

/// Options that name a place where a secret of one kind is: a descriptor, a file or a command.
package protocol SecretOptions: ParsableArguments {
  var source: SecretSource { get }
}

extension SecretOptions {
  package func validate() throws {
    if let complaint = source.complaint { throw ValidationError(complaint) }
  }

  /// Whether one of the options names a place.
  package var isGiven: Bool { source.isGiven }
}
