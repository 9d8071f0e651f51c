import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

struct NotifyCommand: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-notify",
    abstract: "Report the result of a backup to a webhook.",
    usage: """
      tbk-notify [--format <format>] [--dry-run] [<report>]
      tbk-notify --ping <kind> [--dry-run] [<report>]
      """,
    version: versionText)

  @Argument(
    help: ArgumentHelp(
      "The output of 'termbackup run --json'; '-', or none, is standard input.",
      valueName: "report"))
  var report: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp("slack, discord or generic; else the URL decides.", valueName: "format"))
  var format: WebhookFormat?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The URL is for pings to a service that notices when they stop: start, success or failure.",
      valueName: "kind"))
  var ping: Webhook.Ping?

  @Flag(name: [.customShort("n"), .long], help: "Print what would be sent, and send nothing.")
  var dryRun = false

  @Option(
    name: .long,
    help: ArgumentHelp("Give up after <seconds> (30).", valueName: "seconds"))
  var maxWait = 30

  @Flag(name: .long, help: "Print a report, and report errors, as JSON.")
  var json = false

  @OptionGroup var webhookOptions: WebhookOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (0...86_400).contains(maxWait) else {
      throw ValidationError("--max-wait is 0 to 86400 seconds")
    }
    if ping != nil, format != nil {
      throw ValidationError("--format cannot be used with --ping, which sends text")
    }
  }

  /// A start ping is sent before there is a report.
  private var readsReport: Bool { report != nil || ping != .start }
  private var inputIsData: Bool { readsReport && report?.isStandardStream != false }

  func execute() throws(Failure) -> Int32 {
    common.apply()
    var webhook: Webhook?
    if let secret = try webhookOptions.url(inputIsData: inputIsData) {
      webhook = try Webhook(secret)
    }
    let report = readsReport ? try readReport() : nil
    let body: [UInt8]
    if ping != nil {
      body = report?.log ?? []
    } else if let report, let format = format ?? webhook?.format {
      body = report.payload(format).line()
    } else {
      throw missing("no webhook URL is given, and no --format")
    }
    if dryRun {
      try StandardOutput.write(body + [UInt8(ascii: "\n")])
      return ExitStatus.success
    }
    guard let webhook else { throw missing("no webhook URL is given") }
    guard let target = ping.map({ webhook.target($0) }) ?? webhook.url else {
      throw Failure(.usage, "the webhook URL is too long")
    }
    let status = try Webhook.post(
      body, type: ping == nil ? "application/json" : "text/plain; charset=utf-8", to: target,
      userAgent: "termbackup/\(suiteVersion)", maximumWait: maxWait)
    if json {
      let told: JSON =
        if let ping { .string("ping-\(ping.rawValue)") } else {
          .string((format ?? webhook.format).rawValue)
        }
      let object = JSON.object([
        "host": .string(target.authority), "format": told, "http_status": .number(status),
      ])
      try StandardOutput.write(object.line() + [UInt8(ascii: "\n")])
    }
    return ExitStatus.success
  }

  private func missing(_ message: String) -> Failure {
    Failure(
      .usage, message,
      hint: "give --url-file, --url-fd, --url-command or TERMBACKUP_WEBHOOK_URL_FILE")
  }

  private func readReport() throws(Failure) -> BackupReport {
    var input = Descriptor.standardInput
    var place = "standard input"
    if let report, !report.isStandardStream {
      input = try Descriptor.openForReading(report)
      place = report.display
    }
    let bytes = try DescriptorSource(input).readAll(limit: 1 << 20, what: place)
    if bytes.isEmpty {
      throw Failure(
        .malformed, "\(place): there is no report",
        hint: "the command that should have written one failed; see its message above")
    }
    return try BackupReport(bytes, place: place, now: .now())
  }
}

extension WebhookFormat: ExpressibleByArgument {}
extension Webhook.Ping: ExpressibleByArgument {}
