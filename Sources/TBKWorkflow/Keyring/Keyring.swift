import Glibc
import TBKCore

/// The user's keyring, which stores the token and passwords: accessed with secret-tool, or security on macOS.
struct Keyring {
  enum Program: String { case secretTool = "secret-tool", security }

  let program: Program
  private let tool: StockTool
  private let home: RawPath
  /// Seconds to wait for a response.
  private let patience: Int

  /// More than the longest password, in bytes.
  private static let limit = (64 << 10) + 2

  /// Throws `.missing` if this machine has no keyring.
  ///
  /// - Parameter isAlone: whether no user is present to unlock it.
  init(of home: RawPath, isAlone: Bool) throws(KeyringTrouble) {
    self.home = home
    do throws(Failure) {
      if let security = try StockTool("security"), try Self.isDarwin() {
        (program, tool) = (.security, security)
      } else if let secretTool = try StockTool("secret-tool") {
        (program, tool) = (.secretTool, secretTool)
      } else {
        throw Failure(.unavailable, "the command 'secret-tool' is not installed")
      }
    } catch {
      throw error.isOfProcess ? .ended(error) : .missing(error.message)
    }
    if program == .secretTool, !Self.hasBus { throw .missing(KeyringTrouble.noBus) }
    let hasScreen = environment("DISPLAY") != nil || environment("WAYLAND_DISPLAY") != nil
    patience = Self.patience(program, isAlone: isAlone, hasScreen: hasScreen)
  }

  /// Whether this is macOS, where security is the keychain tool and not another program of that name.
  static func isDarwin() throws(Failure) -> Bool {
    try StockTool("uname")?.run(["-s"]).output.starts(with: "Darwin\n".utf8) ?? false
  }

  private static var hasBus: Bool {
    if environment("DBUS_SESSION_BUS_ADDRESS") != nil { return true }
    guard let folder = environment("XDG_RUNTIME_DIR"),
      let facts = try? Descriptor.workingDirectory.statusIfPresent(of: RawPath(folder).appending("bus"))
    else { return false }
    return facts.st_mode & S_IFMT == S_IFSOCK
  }

  /// Seconds to wait: long enough for a user at a screen to unlock it, or else for a busy machine to start the service
  /// over D-Bus; longest when no one is waiting. TERMBACKUP_KEYRING_TIMEOUT overrides these.
  static func patience(
    _ program: Program, isAlone: Bool, hasScreen: Bool,
    asked: [UInt8]? = environment("TERMBACKUP_KEYRING_TIMEOUT")
  ) -> Int {
    if let asked, let seconds = Int(String(decoding: asked, as: UTF8.self)), (1...86_400).contains(seconds) {
      return seconds
    }
    if isAlone { return 120 }
    return program == .secretTool && !hasScreen ? 30 : 60
  }

  // MARK: Items

  /// The item of this home, else that of an earlier version for all homes; nil if there is neither.
  func find(_ item: KeyringItem) throws(KeyringTrouble) -> Secret? {
    if let found = try lookup(item, .own) { return found }
    if let found = try lookup(item, .shared) { return found }
    try refuseLocked(item)
    return nil
  }

  /// Stores the item for this home, and reads it back. Throws the failure that `KeyringItem` makes of a trouble.
  func store(_ secret: borrowing Secret, as item: KeyringItem) throws(Failure) {
    try item.check(secret, for: program)
    do throws(KeyringTrouble) {
      try put(secret, as: item)
      if let found = try find(item), same(found, secret) { return }
    } catch {
      throw item.refusal(error)
    }
    throw item.notReturned
  }

  /// Removes an item; false if there was none. An item for all homes is removed too if this home has none of its own,
  /// or has the same secret.
  func forget(_ item: KeyringItem) throws(KeyringTrouble) -> Bool {
    var forgotten = false
    let own = try lookup(item, .own)
    if own != nil {
      try clear(item, .own)
      forgotten = true
    }
    if let shared = try lookup(item, .shared) {
      let isOurs = if let own { same(own, shared) } else { true }
      if isOurs {
        try clear(item, .shared)
        forgotten = true
      }
    }
    if !forgotten { try refuseLocked(item) }
    return forgotten
  }

  /// Copies an item's secret to another item; false if there is none.
  func copy(_ item: KeyringItem, to other: KeyringItem) throws(KeyringTrouble) -> Bool {
    guard let secret = try find(item) else { return false }
    do throws(Failure) { try store(secret, as: other) } catch { throw .ended(error) }
    return true
  }

  private func lookup(_ item: KeyringItem, _ form: KeyringItem.Form) throws(KeyringTrouble) -> Secret? {
    let arguments =
      switch program {
      case .security:
        ["find-generic-password", "-s", "termbackup", "-a"].map { Array($0.utf8) }
          + [item.account(form, home), Array("-w".utf8)]
      case .secretTool: [Array("lookup".utf8)] + item.attributes(form, home)
      }
    var outcome = try call(arguments)
    defer { wipe(&outcome.output) }
    var length = outcome.output.count
    if outcome.output.last == 0x0a { length -= 1 }
    if length > 0 {
      do throws(Failure) {
        return try Secret(copying: outcome.output.span.extracting(..<length))
      } catch { throw .ended(error) }
    }
    switch (program, outcome.status) {
    case (_, 0?), (.security, 44?): return nil
    case (.secretTool, 1?) where outcome.errors.isEmpty: return nil
    default: throw trouble(outcome)
    }
  }

  /// Throws if there is an item after all: secret-tool reports the same for a missing item and for one that it could
  /// not unlock, but a search finds only the latter.
  private func refuseLocked(_ item: KeyringItem) throws(KeyringTrouble) {
    guard program == .secretTool else { return }
    for form in [KeyringItem.Form.own, .shared] {
      var outcome = try call([Array("search".utf8)] + item.attributes(form, home))
      defer { wipe(&outcome.output) }
      if outcome.status == nil { throw trouble(outcome) }
      if !outcome.output.isEmpty { throw .failed("it is locked") }
    }
  }

  private func put(_ secret: borrowing Secret, as item: KeyringItem) throws(KeyringTrouble) {
    let outcome: StockTool.Outcome
    switch program {
    case .secretTool:
      outcome = try call(
        [Array("store".utf8), Array("--label=".utf8) + item.label(home)] + item.attributes(.own, home), secret)
    case .security:
      let account = item.account(.own, home)
      if account.contains(where: { [UInt8(ascii: "\""), UInt8(ascii: "\\"), 0x0a].contains($0) }) {
        throw .ended(
          Failure(
            .usage, "macOS's security does not take the name of this home",
            hint: KeyringItem.password(profile: "").hint))
      }
      let before =
        Array("add-generic-password -U -s termbackup -a \"".utf8) + account + Array("\" -l \"".utf8)
        + item.label(home) + Array("\" -w \"".utf8)
      do throws(Failure) {
        let line = try Secret(count: before.count + secret.count + 2)
        secret.withBytes { bytes in
          line.withMutableBytes { line in
            for index in before.indices { line[index] = before[index] }
            for index in bytes.indices { line[before.count + index] = bytes[index] }
            line[before.count + bytes.count] = UInt8(ascii: "\"")
            line[before.count + bytes.count + 1] = 0x0a
          }
        }
        outcome = try tool.run([Array("-i".utf8)], secret: line, limit: Self.limit, seconds: patience)
      } catch { throw .ended(error) }
    }
    if outcome.status != 0 { throw trouble(outcome) }
  }

  private func clear(_ item: KeyringItem, _ form: KeyringItem.Form) throws(KeyringTrouble) {
    let arguments =
      switch program {
      case .security:
        ["delete-generic-password", "-s", "termbackup", "-a"].map { Array($0.utf8) }
          + [item.account(form, home)]
      case .secretTool: [Array("clear".utf8)] + item.attributes(form, home)
      }
    let outcome = try call(arguments)
    if outcome.status != 0 { throw trouble(outcome) }
  }

  // MARK: Calls

  private func call(_ arguments: [[UInt8]]) throws(KeyringTrouble) -> StockTool.Outcome {
    do throws(Failure) {
      return try tool.run(arguments, input: [UInt8]().span, limit: Self.limit, seconds: patience)
    } catch { throw .ended(error) }
  }

  private func call(
    _ arguments: [[UInt8]], _ secret: borrowing Secret
  ) throws(KeyringTrouble) -> StockTool.Outcome {
    do throws(Failure) {
      return try tool.run(arguments, secret: secret, limit: Self.limit, seconds: patience)
    } catch { throw .ended(error) }
  }

  private func trouble(_ outcome: StockTool.Outcome) -> KeyringTrouble {
    KeyringTrouble(program, status: outcome.status, complaint: outcome.complaint, patience: patience)
  }
}

/// Whether two secrets have the same bytes.
func same(_ one: borrowing Secret, _ other: borrowing Secret) -> Bool {
  one.withBytes { first in
    other.withBytes { second in
      first.count == second.count && first.indices.allSatisfy { first[$0] == second[$0] }
    }
  }
}

extension StockTool {
  /// Runs it with a secret as its input.
  fileprivate func run(
    _ arguments: [[UInt8]], secret: borrowing Secret, limit: Int, seconds: Int
  ) throws(Failure) -> Outcome {
    try secret.withBytes { (bytes) throws(Failure) in
      try run(arguments, input: bytes, limit: limit, seconds: seconds)
    }
  }
}
