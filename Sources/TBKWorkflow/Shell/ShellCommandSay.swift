import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKFormat

/// Messages of a verb to the user, under its own name.
extension ShellCommand {
  struct Say: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print a note or a warning on standard error, on one line.")

    @Flag(name: .long, help: "It is a warning.")
    var warning = false
    @Option(
      name: .long,
      help: ArgumentHelp("Append the reason why the stage failed whose end is in this file.", valueName: "file"))
    var because: RawPath?
    @Argument(help: ArgumentHelp("The text of the message.", valueName: "text"))
    var text: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      var said = onOneLine(text.bytes)
      if let because { said += ": " + (StageEnd(of: because).message ?? "it ended too early") }
      if warning { Messages.warning(said) } else { Messages.relay(said) }
      return ExitStatus.success
    }
  }

  /// Prints assignments: `tb_reason` is for the audit log, `tb_failed_status` the verb's exit status.
  struct Failed: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Report why a verb fails, and print its reason and exit status, as assignments for a shell.",
      discussion: """
        With --message the verb itself has found out what is wrong. Otherwise one of its stages has reported it; \
        that report is printed if it was held back, or if JSON is wanted.
        """)

    @Option(name: .long, help: ArgumentHelp("How it ends.", valueName: "n"))
    var status: Int32
    @Option(name: .long, help: ArgumentHelp("What is wrong.", valueName: "text"))
    var message: RawPath?
    @Option(name: .long, help: ArgumentHelp("What may be done.", valueName: "text"))
    var hint: RawPath?
    @Option(name: .long, help: ArgumentHelp("The kind of a wrong configuration.", valueName: "type"))
    var type: String?
    @Option(name: .long, help: ArgumentHelp("The name of the operation in the audit log.", valueName: "word"))
    var operation: String?
    @Option(name: .long, help: ArgumentHelp("The reason, if more is known about it.", valueName: "text"))
    var cause: RawPath?
    @Option(name: .long, help: ArgumentHelp("Write the error there, as JSON after the status.", valueName: "file"))
    var into: RawPath?
    @Option(name: .long, help: ArgumentHelp("The directory in which the stages' ends are recorded.", valueName: "dir"))
    var work: RawPath?
    @Flag(name: .long, help: "The verb prints JSON, so that an error that no stage has noted is reported too.")
    var json = false
    @Flag(name: .long, help: "Report nothing.")
    var reason = false
    @Argument(help: ArgumentHelp("The stages that may be at fault.", valueName: "stage"))
    var stages: [String] = []

    mutating func execute() throws(Failure) -> Int32 {
      var found = FailureReason(status: status, operation: operation)
      if let message {
        try report(status, onOneLine(message.bytes), hint.map { onOneLine($0.bytes) })
      } else if !reason {
        found = try reportStages()
      }
      let reason = cause.map { onOneLine($0.bytes) } ?? found.text
      try StandardOutput.write(
        ShellScript.assignment(to: "tb_failed_status", "\(status)") + ShellScript.assignment(to: "tb_reason", reason))
      return ExitStatus.success
    }

    private mutating func reportStages() throws(Failure) -> FailureReason {
      if into == nil, !Messages.json {
        for stage in stages {
          let said = (try? readFile((work ?? RawPath(".")).appending(RawPath("\(stage).err")), limit: 1 << 24)) ?? []
          write(said)
        }
      }
      let ends = stages.map { (name: $0, end: StageEnd(of: (work ?? RawPath(".")).appending(RawPath("\($0).status")))) }
      if status == 70, ends.contains(where: { $0.end.isEmpty }) {
        status = 74
        try report(
          74, "cannot write to \((work ?? RawPath(".")).display)",
          "make room for it, or move the home with TERMBACKUP_HOME")
      } else if status == 70, let killed = ends.first(where: { $0.end.isRunning }) {
        try report(70, "the command for '\(killed.name)' was killed", "is there enough memory?")
        return FailureReason(status: status, operation: operation, wasKilled: true)
      } else if let noted = ends.lazy.compactMap(\.end.report).first {
        if let into {
          try write(noted, to: into)
        } else if Messages.json {
          write(noted)
        }
      } else if json, status != 141 {
        try report(status, FailureReason(status: status, operation: operation).text, nil)
      }
      let guilty = ends.first { $0.end.status == status }
      if into == nil, !Messages.json, guilty?.end.message == Failure.emptyArchive.message {
        try report(status, Failure.emptyArchive.message, nil)
      }
      return FailureReason(
        status: status, operation: operation, stage: guilty?.name ?? "", type: guilty?.end.type ?? "")
    }

    private func report(_ status: Int32, _ message: String, _ hint: String?) throws(Failure) {
      let object = Messages.jsonReport(failureType(status, type), message, hint, status)
      if let into {
        try write(Array((object + "\n").utf8), to: into)
      } else if Messages.json {
        write(Array((object + "\n").utf8))
      } else {
        Messages.error(message, hint: hint)
      }
    }

    private func write(_ line: [UInt8]) { Descriptor.standardError.writeMessage(line.span) }

    private func write(_ line: [UInt8], to file: RawPath) throws(Failure) {
      let output = try Descriptor.workingDirectory.open(
        file, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600, missing: .cannotCreate)
      let text = Array("\(status)\n".utf8) + line
      try output.write(text.span)
    }
  }

  struct Trust: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Report whether the signature of a ledger can be relied on.")

    @Argument(help: ArgumentHelp("What tbk-pull found.", valueName: "word"))
    var word: String
    @Argument(help: ArgumentHelp("Whose signature it is.", valueName: "key"))
    var key: String?

    mutating func execute() throws(Failure) -> Int32 {
      let key = (key ?? "-").prefix(12)
      switch word {
      case "verified": Messages.notice("the ledger is signed by the trusted key \(key)")
      case "unchecked":
        Messages.notice(
          "the ledger is signed by the key \(key), which was not checked: its public key is not in trusted_keys")
      default: Messages.notice("the ledger is not signed")
      }
      return ExitStatus.success
    }
  }

  /// Exits with status 1 for no.
  struct Ask: SuiteCommand {
    static let configuration = CommandConfiguration(abstract: "Ask for confirmation at the terminal.")

    @Option(name: .long, help: ArgumentHelp("Show this file if the answer is l.", valueName: "file"))
    var list: RawPath?
    @Argument(help: ArgumentHelp("The question.", valueName: "text"))
    var question: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      guard let terminal = try? Descriptor.workingDirectory.open(RawPath("/dev/tty"), O_RDWR) else {
        return ExitStatus.no
      }
      let prompt = Array("\(onOneLine(question.bytes)) \(list == nil ? "[y/N]" : "[y/N/l: list them]") ".utf8)
      while true {
        try terminal.write(prompt.span)
        switch String(decoding: try line(of: terminal), as: UTF8.self).lowercased() {
        case "y", "yes": return ExitStatus.success
        case "l":
          guard let list else { return ExitStatus.no }
          let shown = try readFile(list, limit: 1 << 30)
          try terminal.write(shown.span)
        default: return ExitStatus.no
        }
      }
    }

    private func line(of terminal: Descriptor) throws(Failure) -> [UInt8] {
      var line: [UInt8] = []
      var one: [UInt8] = [0]
      while try terminal.read(into: &one) == 1, one[0] != 0x0a {
        try Interruption.check()
        if line.count < 16 { line.append(one[0]) }
      }
      return line
    }
  }
}

/// Text made safe for a terminal: control characters are escaped, as names in it are untrusted.
func onOneLine(_ bytes: [UInt8]) -> String {
  var output = ""
  for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
    switch scalar.value {
    case 0x09: output += "\\t"
    case 0x0a: output += "\\n"
    case 0..<0x20, 0x7f..<0xa0:
      for byte in String(scalar).utf8 {
        let digits = String(byte, radix: 8)
        output += "\\" + String(repeating: "0", count: 3 - digits.count) + digits
      }
    default: output.unicodeScalars.append(scalar)
    }
  }
  return output
}

/// The file in which a stage records its process, and then how and why it ended.
struct StageEnd {
  private let lines: [[UInt8]]

  /// An unreadable file stands for a stage that has not started.
  init(of file: RawPath) {
    let bytes = try? readFile(file, limit: 1 << 20)
    isEmpty = bytes?.isEmpty ?? false
    lines = (bytes ?? []).split(separator: 0x0a).map { Array($0) }
  }

  /// Not even its process could be recorded: the disk is full.
  let isEmpty: Bool
  /// It ended before it could record its status.
  var isRunning: Bool { lines.first?.starts(with: "pid ".utf8) ?? false }
  var status: Int32? { lines.first.flatMap { Int32(String(decoding: $0, as: UTF8.self)) } }

  /// The error as JSON, with a newline.
  var report: [UInt8]? { lines.count > 1 && !isRunning ? lines[1] + [0x0a] : nil }

  /// The kind of the error, as `Failure.typeName`.
  var type: String? { report.flatMap { (try? JSON.parse($0, what: "the error"))?["error"]?["type"]?.text } }

  /// The message of the error.
  var message: String? {
    guard let report else { return status == 143 ? "interrupted" : nil }
    return (try? JSON.parse(report, what: "the error"))?["error"]?["message"]?.text
  }
}

/// The type of error that a verb's status stands for.
func failureType(_ status: Int32, _ configuration: String? = nil) -> String {
  switch status {
  case 64: "UsageError"
  case 65: "ArchiveError"
  case 66, 74: "BackupError"
  case 69, 75: "StoreError"
  case 73: "RestoreError"
  case 77: "CryptoError"
  case 78: configuration ?? "ConfigError"
  default: "TermBackupError"
  }
}

/// Why a verb failed, in words for the audit log and for notifications: no paths or names, and nothing that is not
/// certain. What the status does not show is left out.
struct FailureReason {
  var status: Int32
  /// The name of the operation in the audit log.
  var operation: String?
  /// The stage that failed; empty if the verb itself found the error.
  var stage = ""
  /// The type of error that the stage recorded, as `Failure.typeName`; empty if none.
  var type = ""
  var wasKilled = false

  private var isAtStore: Bool {
    ["push", "pull", "prune", "token"].contains { stage.hasPrefix($0) }
      || ["preview", "list", "check", "others"].contains(stage)
  }

  var text: String {
    switch status {
    case 64: "wrong usage"
    case 65 where type == "ArchiveError": "corrupt or incomplete data"
    case 65 where type == "IntegrityError": "data that is not what it should be"
    case 65: "data is corrupt, incomplete or not signed as it should be"
    case 66 where operation == "backup" && stage == "manifest": "source missing"
    case 66: "input missing"
    case 69 where isAtStore || stage.isEmpty && operation == "prune": "store unavailable"
    case 69: "not in the store, or the store is unavailable"
    case 73: "output cannot be created"
    case 74: "input or output error"
    case 75 where type == "TermBackupError": "out of memory or processes"
    case 75: "busy"
    case 77 where operation == "prune": "refused by the store or by the rules"
    case 77 where type == "CryptoError": "incorrect password or altered data"
    case 77 where isAtStore: "access denied by the store"
    case 77 where type == "AccessError": "access denied"
    case 77: "refused, or the password is wrong"
    case 78: "wrong configuration"
    case 129, 130, 131, 141, 143: "interrupted"
    default: wasKilled ? "a command was killed" : "internal fault"
    }
  }
}
