import TBKCore

/// The message format of a service.
package enum WebhookFormat: String, CaseIterable, Sendable {
  /// Block Kit, for an incoming Slack webhook.
  case slack
  /// An embed, for a Discord webhook.
  case discord
  /// One JSON object with all fields.
  case generic
}

extension BackupReport {
  /// The body of the request.
  package func payload(_ format: WebhookFormat) -> JSON {
    switch format {
    case .slack: slack
    case .discord: discord
    case .generic: generic
    }
  }

  /// Text for a service that keeps a log: the headline, then one fact per line. At most 10,000 bytes, which such
  /// services accept.
  package var log: [UInt8] {
    var lines = [headline]
    if let trouble { lines.append(trouble) }
    lines += facts.map { "\($0.name): \($0.value)" }
    return Array(lines.map(printable).joined(separator: "\n").limited(to: 3000).utf8)
  }

  // MARK: Generic

  private var generic: JSON {
    func optional(_ text: String?) -> JSON { text.map { .string($0) } ?? .null }
    func optional(_ number: UInt64?) -> JSON { number.map { .number($0) } ?? .null }
    var error = JSON.null
    if errorType != nil || errorMessage != nil {
      error = .object(["type": optional(errorType), "message": optional(errorMessage)])
    }
    return .object([
      "event": "backup", "summary": .string(headline), "status": .string(status.rawValue),
      "profile": optional(profile), "backup_id": optional(id), "mode": optional(mode),
      "file_count": optional(fileCount), "archive_size": optional(size),
      "archive_size_human": optional(size.map(humanSize)), "duration_seconds": optional(seconds),
      "timestamp": .string(time.iso8601(microseconds: false)), "warning": optional(warning),
      "error": error,
    ])
  }

  // MARK: Slack

  /// https://docs.slack.dev/reference/block-kit/blocks: a header of 150 characters, sections with a text of 3000
  /// characters and 10 fields of 2000. External text is always plain text, without markup, mentions or, with `emoji`
  /// false, emoji.
  private var slack: JSON {
    var blocks: [JSON] = [
      .object(["type": "header", "text": SlackText.plain(headline, 150)])
    ]
    if let trouble {
      blocks.append(.object(["type": "section", "text": SlackText.plain(trouble, 3000)]))
    }
    var fields: [JSON] = []
    for (name, value) in facts {
      fields += [SlackText.bold(name), SlackText.plain(value, 2000)]
    }
    for start in stride(from: 0, to: fields.count, by: 10) {
      let part = Array(fields[start..<min(start + 10, fields.count)])
      blocks.append(.object(["type": "section", "fields": .array(part)]))
    }
    // Shown in notifications; may contain markup.
    let text = SlackText.escape(headline, 300)
    return .object(["text": .string(text), "blocks": .array(blocks)])
  }

  // MARK: Discord

  /// https://docs.discord.com/developers/resources/message#embed-object: title 256 characters, description 4096, 25
  /// fields with names of 256 and values of 1024, 6000 in total. No one is pinged.
  private var discord: JSON {
    let green = 0x2e_cc71
    let amber = 0xf1_c40f
    let red = 0xe7_4c3c
    let color =
      switch status {
      case .success, .unchanged: warning == nil ? green : amber
      case .partial: amber
      case .failure: red
      }
    let title = DiscordText.escape(headline, 256)
    var rest = 6000 - title.utf16.count
    var fields: [JSON] = []
    for (name, value) in facts {
      let shown = DiscordText.escape(value, 1024)
      let cost = name.utf16.count + shown.utf16.count
      // Keep room for the description of what went wrong, which matters more than the last facts.
      guard fields.count < 25, rest - cost >= 2048 else { break }
      rest -= cost
      fields.append(
        .object(["name": .string(name), "value": .string(shown), "inline": .bool(true)]))
    }
    var embed = JSON.object([
      "title": .string(title), "color": .number(color),
      "timestamp": .string(time.iso8601(microseconds: false)), "fields": .array(fields),
    ])
    if let trouble {
      embed["description"] = .string(DiscordText.escape(trouble, min(4096, rest)))
    }
    return .object([
      "embeds": .array([embed]), "allowed_mentions": .object(["parse": .array([])]),
    ])
  }
}

extension JSON: ExpressibleByStringLiteral {
  package init(stringLiteral value: String) { self = .string(value) }
}

/// Slack's rules for text (https://docs.slack.dev/messaging/formatting-message-text).
enum SlackText {
  /// A plain text object, with Slack's three markup characters escaped.
  static func plain(_ text: String, _ limit: Int) -> JSON {
    .object([
      "type": "plain_text", "text": .string(escape(text, limit)), "emoji": .bool(false),
    ])
  }

  /// - Parameter constant: our own words, never external text.
  static func bold(_ constant: String) -> JSON {
    .object([
      "type": "mrkdwn", "text": .string("*\(escape(constant, 200))*"), "verbatim": .bool(true),
    ])
  }

  static func escape(_ text: String, _ limit: Int) -> String {
    printable(text).limited(to: limit) { character in
      switch character {
      case "&": "&amp;"
      case "<": "&lt;"
      case ">": "&gt;"
      default: String(character)
      }
    }
  }
}

/// Discord's Markdown.
enum DiscordText {
  /// Escapes every ASCII punctuation character with a backslash.
  static func escape(_ text: String, _ limit: Int) -> String {
    printable(text).limited(to: limit) { character in
      guard let byte = character.asciiValue else { return String(character) }
      switch byte {
      case 0x21...0x2f, 0x3a...0x40, 0x5b...0x60, 0x7b...0x7e: return "\\\(character)"
      default: return String(character)
      }
    }
  }
}

/// Replaces control characters except line feeds with spaces and removes characters that change the text direction. A
/// blank text becomes a dash, because services reject empty ones.
private func printable(_ text: String) -> String {
  var output = String.UnicodeScalarView()
  for scalar in text.unicodeScalars {
    switch scalar.value {
    case 0x0a: output.append(scalar)
    case 0..<0x20, 0x7f..<0xa0, 0x2028, 0x2029: output.append(" ")
    case 0x200e, 0x200f, 0x202a...0x202e, 0x2066...0x2069: continue
    default: output.append(scalar)
    }
  }
  let isBlank = output.allSatisfy { $0.value == 0x20 || $0.value == 0x0a }
  return isBlank ? "-" : String(output)
}

extension String {
  /// The text with each character replaced; if it would be longer than `limit` UTF-16 units, which services count at
  /// most, cut between characters, with an ellipsis at the end.
  func limited(to limit: Int, _ replacing: (Character) -> String = { String($0) }) -> String {
    var output = ""
    var count = 0
    /// The last end that leaves room for the ellipsis, and the length up to it.
    var safe = (end: output.endIndex, count: 0)
    for character in self {
      let next = replacing(character)
      count += next.utf16.count
      guard count <= limit else { return output[..<safe.end] + "…" }
      output += next
      if count <= limit - 1 { safe = (output.endIndex, count) }
    }
    return output
  }
}
