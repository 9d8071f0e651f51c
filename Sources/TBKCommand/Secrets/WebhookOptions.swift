import ArgumentParser
import TBKCore

extension SecretSource.Kind {
  /// Anyone who has the URL of a webhook can post to its channel.
  static let webhook = SecretSource.Kind(
    noun: "webhook URL", option: "url", variable: "TERMBACKUP_WEBHOOK_URL", limit: 8192,
    code: .usage)
}

/// Sources of the URL of a webhook: options, environment; never a prompt.
package struct WebhookOptions: SecretOptions {
  @Option(name: .long, help: ArgumentHelp("Read the URL from descriptor <n>.", valueName: "n"))
  package var urlFd: Int32?

  @Option(name: .long, help: ArgumentHelp("Read the URL from <file>.", valueName: "file"))
  package var urlFile: RawPath?

  @Option(
    name: .long, help: ArgumentHelp("Use the output of <command> as the URL.", valueName: "command"))
  package var urlCommand: RawPath?

  package init() {}

  package var source: SecretSource {
    SecretSource(kind: .webhook, descriptor: urlFd, file: urlFile, command: urlCommand)
  }

  /// The URL from the first of: the options, TERMBACKUP_WEBHOOK_URL_FILE, TERMBACKUP_WEBHOOK_URL_COMMAND,
  /// TERMBACKUP_WEBHOOK_URL, or nil. Afterwards no child process sees the variables of this or any other
  /// secret.
  ///
  /// - Parameter inputIsData: whether standard input is used for data.
  package func url(inputIsData: Bool) throws(Failure) -> Secret? {
    SecretSource.Kind.webhook.withdrawOthers()
    return try source.secret(inputIsData: inputIsData)
  }
}
