import ArgumentParser
import TBKCore

extension SecretSource.Kind {
  /// Anyone who has the URL of a webhook can write to the channel behind it.
  static let webhook = SecretSource.Kind(
    noun: "webhook URL", option: "url", variable: "TERMBACKUP_WEBHOOK_URL", limit: 8192,
    code: .usage)
}

/// Where the URL of a webhook comes from: options, environment. Nothing is asked for.
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

  /// The URL from the first of: the options, TERMBACKUP_WEBHOOK_URL_FILE,
  /// TERMBACKUP_WEBHOOK_URL_COMMAND, TERMBACKUP_WEBHOOK_URL; nil if none has one. No child sees the
  /// variables of this or of another secret afterwards.
  ///
  /// - Parameter inputIsData: whether standard input is used for something else.
  package func url(inputIsData: Bool) throws(Failure) -> Secret? {
    SecretSource.Kind.webhook.withdrawOthers()
    return try source.secret(inputIsData: inputIsData)
  }
}
