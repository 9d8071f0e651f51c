import CSystem
import Glibc
import TBKCore
import TBKFormat
import TBKSettings

/// Checks of the home: its permissions and the contents of its files.
struct HomeChecks {
  let home: Home

  private func place(_ name: String) -> RawPath { home.path.appending(name) }

  /// Quoted for a message.
  private func shown(_ name: String) -> String { place(name).quoted }

  func access() -> [Finding] {
    var names = ["profiles", "state", "config.json", "signing_key.pem", "audit.log"].map { place($0) }
    if let folder = try? Descriptor.workingDirectory.openIfPresent(place("profiles"), O_RDONLY | O_DIRECTORY) {
      names += ((try? folder.names()) ?? []).map(\.name).filter { $0.text.hasSuffix(".json") }
        .sorted().map { place("profiles").appending($0) }
    }
    let open = ([home.path] + names).filter { path in
      ((try? Descriptor.workingDirectory.openIfPresent(path, tbk_o_path))??.mode ?? 0) & 0o077 != 0
    }
    var found: [Finding] = []
    if open.isEmpty {
      found.append(Finding(result: .ok, check: "home", message: "\(home.path.quoted), closed to others"))
    } else {
      found.append(
        Finding(
          result: .warn, check: "home",
          message: "other users can access " + open.map(\.display).joined(separator: " "),
          hint: "run 'chmod go=' on these names"))
    }
    let isWritable = (try? unsafe home.path.withCString { unsafe Glibc.access($0, W_OK) == 0 }) ?? false
    if !isWritable {
      found.append(
        Finding(
          result: .fail, check: "home", message: "cannot write to \(home.path.display)",
          hint: "is its disk mounted read-only?"))
    }
    return found
  }

  func configuration() -> [Finding] {
    let file = shown("config.json")
    do throws(Failure) {
      let stored = try home.storedConfiguration()
      guard stored != nil else {
        return [
          Finding(
            result: .warn, check: "configuration", message: "there is no '\(file)'",
            hint: "make it with 'termbackup init'")
        ]
      }
      if home.concerns.isEmpty { return [Finding(result: .ok, check: "configuration", message: file)] }
      return home.concerns.map { Finding(result: .warn, check: "configuration", message: $0) }
    } catch {
      return [
        Finding(
          result: .fail, check: "configuration", message: error.message, hint: error.hint ?? "fix it: '\(file)'")
      ]
    }
  }

  /// The profiles that can be read, and findings about the others.
  ///
  /// - Parameter only: the profile to check; nil for all.
  func profiles(only: String?) throws(Failure) -> (valid: [Profile], findings: [Finding]) {
    let before = home.concerns.count
    let names = if let only { [only] } else { try home.profileNames() }
    var found: [Finding] = []
    for concern in home.concerns.dropFirst(before) {
      found.append(
        Finding(result: .warn, check: "profiles", message: concern, hint: "rename it, or move it away"))
    }
    var valid: [Profile] = []
    for name in names {
      let before = home.concerns.count
      do throws(Failure) {
        valid.append(try home.profile(name))
        found += home.concerns.dropFirst(before).map { Finding(result: .warn, check: "profiles", message: $0) }
      } catch {
        if error.isOfProcess { throw error }
        found.append(
          Finding(
            result: .fail, check: "profiles", message: error.message,
            hint: error.hint ?? "fix it with 'termbackup profile edit \(name) --editor'"))
      }
    }
    for profile in valid {
      found += profile.ineffectivePatterns.map {
        Finding(
          result: .warn, check: "profiles",
          message: "\(profile.name): the pattern \(RawPath($0).display) has no effect below a directory that an "
            + "earlier one excludes",
          hint: "exclude what is in the directory instead, as in 'directory/*', or take the pattern out")
      }
      do throws(Failure) {
        _ = try profile.excludes()
      } catch {
        if error.isOfProcess { throw error }
        found.append(
          Finding(
            result: .fail, check: "profiles", message: "\(profile.name): \(error.message)", hint: error.hint ?? ""))
      }
    }
    if !valid.isEmpty {
      let list = valid.map(\.name).joined(separator: " ")
      found.append(Finding(result: .ok, check: "profiles", message: "valid: \(list)"))
    } else if names.isEmpty {
      found.append(
        Finding(
          result: .warn, check: "profiles", message: "there are none",
          hint: "make one with 'termbackup profile create NAME --source DIR'"))
    }
    return (valid, found)
  }

  static func source(of profile: Profile) -> Finding {
    func finding(_ result: Finding.Result, _ message: String, _ hint: String = "") -> Finding {
      Finding(result: result, check: "sources", message: "\(profile.name): \(message)", hint: hint)
    }
    let source = profile.source
    let edit = "'termbackup profile edit \(profile.name) --source DIR'"
    if source.isEmpty { return finding(.fail, "the source directory is not set", edit) }
    let isThere = (try? Descriptor.workingDirectory.openIfPresent(source, tbk_o_path | O_DIRECTORY)) ?? nil
    if isThere == nil {
      return finding(.fail, "the directory \(source.display) does not exist", "mount it, or \(edit)")
    }
    let isReadable = (try? unsafe source.withCString { unsafe Glibc.access($0, R_OK | X_OK) == 0 }) ?? false
    if !isReadable {
      return finding(
        .fail, "\(source.display) cannot be read", "run backups as its owner, or let this user read it")
    }
    return finding(.ok, source.quoted)
  }

  /// Whether any profile is backed up to recipients, without a password.
  private var isBlind: Bool {
    ((try? home.profileNames()) ?? []).contains { (try? home.profile($0))?["recipients"]?.elements?.isEmpty == false }
  }

  func signing() -> [Finding] {
    func finding(_ result: Finding.Result, _ message: String, _ hint: String = "") -> Finding {
      Finding(result: result, check: "signing", message: message, hint: hint)
    }
    let isOn = (try? home.configuration()["signing_enabled"]?.boolean) == true
    let key = shown("signing_key.pem")
    let pem = try? readFile(place("signing_key.pem"), limit: 1 << 20)
    guard isOn else {
      return [
        pem != nil
          ? finding(
            .note, "there is a key, and signing is off", "'tbk-config set signing_enabled true' signs with it")
          : finding(.note, "off", "'termbackup generate-key --enable' makes a key and signs with it")
      ]
    }
    guard let pem else {
      return [
        finding(
          .fail, "signing is on, and the key '\(key)' does not exist",
          "make it with 'termbackup generate-key', or 'tbk-config set signing_enabled false'")
      ]
    }
    let lines = pem.split(separator: 0x0a)
    let isEncrypted = lines.contains { $0.starts(with: "-----BEGIN ENCRYPTED PRIVATE KEY-----".utf8) }
    guard isEncrypted || lines.contains(where: { $0.starts(with: "-----BEGIN PRIVATE KEY-----".utf8) }) else {
      return [finding(.fail, "'\(key)' is not a private key", "make another with 'termbackup generate-key --force'")]
    }
    let isPublic = (try? Descriptor.workingDirectory.openIfPresent(place("signing_key.pub"), tbk_o_path)) ?? nil
    guard isPublic != nil else {
      return [
        finding(
          .warn,
          "'\(shown("signing_key.pub"))' does not exist: signatures of this machine are not trusted here",
          "'tbk-sign public --key \(key)' prints it")
      ]
    }
    let folder = (try? Descriptor.workingDirectory.openIfPresent(place("trusted_keys"), O_RDONLY | O_DIRECTORY)) ?? nil
    let others = ((try? folder?.names()) ?? [])?.count { !$0.name.text.hasPrefix(".") } ?? 0
    var found = [
      finding(.ok, "\(key); other trusted keys: \(others)"),
      finding(
        .note,
        "'\(key)' is the only known copy: without it nothing can be added to the ledgers that it signed",
        "keep one where this machine cannot lose it"),
    ]
    if !isEncrypted {
      found.append(
        finding(
          .note, "'\(key)' has no password: anyone who reads it can sign",
          isBlind
            ? "backups that nobody enters a password for need it so: keep others from reading it"
            : "'termbackup generate-key --force' makes one that has"))
    }
    return found
  }

  func auditLog() -> [Finding] {
    func finding(_ result: Finding.Result, _ message: String, _ hint: String = "") -> Finding {
      Finding(result: result, check: "audit-log", message: message, hint: hint)
    }
    var found: [Finding] = []
    if let configuration = try? home.configuration(), !configuration.isAuditLogEnabled {
      found.append(finding(.note, "off", "'tbk-config set audit_log_enabled true' turns it on"))
    }
    do throws(Failure) {
      guard let facts = try Descriptor.workingDirectory.statusIfPresent(of: place("audit.log")) else {
        return found + [finding(.note, "nothing has been written yet")]
      }
      let result = try AuditFile(place("audit.log")).verify()
      if let problem = result.problems.first {
        found.append(finding(.fail, problem.message, "'termbackup audit-log --verify' has all of it"))
      } else {
        let size = humanSize(UInt64(clamping: facts.st_size))
        found.append(finding(.ok, "\(result.lines) lines, \(size), as they were written"))
      }
    } catch {
      found.append(finding(.fail, error.message, error.hint ?? "look at '\(shown("audit.log"))'"))
    }
    return found
  }
}

extension Descriptor {
  /// The bits of the file's mode; nil if they cannot be read.
  fileprivate var mode: UInt32? { (try? status())?.st_mode }
}
