import CSystem
import Glibc
import TBKCore

/// Checks of the machine: space, libraries, other programs.
enum MachineChecks {
  // MARK: Space

  /// Free space, in MiB: below the first is a warning, below the second a failure.
  private static let scarce: Int64 = 500
  private static let none: Int64 = 10

  /// Checks the free space at a directory; no finding if it does not exist.
  static func space(_ what: String, at path: RawPath) -> [Finding] {
    guard let place = (try? Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_DIRECTORY)) ?? nil else {
      return []
    }
    return [space(what, at: path, free: tbk_free_bytes(place.number))]
  }

  /// - Parameter free: in bytes; negative if unknown.
  static func space(_ what: String, at path: RawPath, free: Int64) -> Finding {
    func finding(_ result: Finding.Result, _ message: String, _ hint: String = "") -> Finding {
      Finding(result: result, check: "space", message: "\(what): \(message)", hint: hint)
    }
    let mebibytes = free >> 20
    switch mebibytes {
    case ..<0: return finding(.note, "\(path.display) does not report its free space")
    case ..<none: return finding(.fail, "\(mebibytes) MiB free in \(path.display)", "make room")
    case ..<scarce:
      return finding(
        .warn, "\(mebibytes) MiB free in \(path.display)", "make room, or set TMPDIR to where there is some")
    default: return finding(.ok, "\(humanSize(UInt64(mebibytes << 20))) free in \(path.quoted)")
    }
  }

  /// The directory for temporary files.
  static var temporary: RawPath { RawPath(environment("TMPDIR") ?? Array("/var/tmp".utf8)) }

  // MARK: Libraries

  /// - Parameters:
  ///   - libraries: names and versions.
  ///   - network: the version that tbk-token reports, or what it lacks.
  static func dependencies(_ libraries: [(name: String, version: String)], network: String) -> [Finding] {
    func finding(_ result: Finding.Result, _ message: String, _ hint: String = "") -> Finding {
      Finding(result: result, check: "dependencies", message: message, hint: hint)
    }
    var found = libraries.map { name, version in
      let number = version.hasPrefix("OpenSSL ") ? version.dropFirst(8) : version[...]
      if name == "openssl", ["0.", "1.", "2."].contains(where: number.hasPrefix) {
        return finding(.fail, "\(name) \(version) is too old", "OpenSSL 3 is needed")
      }
      return finding(.ok, ["openssl", "argon2"].contains(name) ? version : "\(name) \(version)")
    }
    let lines = network.split(separator: "\n")
    guard let curl = lines.first(where: { $0.hasPrefix("libcurl ") })?.dropFirst(8) else {
      let why = lines.first.map(String.init) ?? "it failed without a message"
      return found + [finding(.fail, "libcurl: \(why)", "install libcurl 4")]
    }
    if curl.contains("SSL") || curl.contains("TLS") {
      found.append(finding(.ok, "libcurl \(curl)"))
    } else {
      found.append(finding(.fail, "libcurl \(curl) has no TLS", "install one that has"))
    }
    if !curl.contains("HTTP/2") {
      found.append(
        finding(.warn, "this libcurl has no HTTP/2: GitHub is slower than it could be", "install one that has"))
    }
    if !curl.contains("async DNS") {
      found.append(
        finding(
          .warn, "this libcurl looks names up one at a time, and cannot give up in time",
          "install one with async DNS"))
    }
    return found
  }

  // MARK: Programs

  static func programs() throws(Failure) -> [Finding] {
    func finding(_ result: Finding.Result, _ message: String, _ hint: String = "") -> Finding {
      Finding(result: result, check: "programs", message: message, hint: hint)
    }
    var helpers =
      try Keyring.isDarwin()
      ? [("security", "keeps the GitHub token in the keychain")]
      : [("secret-tool", "keeps the GitHub token in the keyring"), ("systemctl", "runs backups by a timetable")]
    helpers += [
      ("crontab", "runs backups by a timetable"), ("git", "clones a store on GitHub, to read it without this suite"),
      ("rclone", "reaches stores at rclone:REMOTE:PATH"),
    ]
    var found: [Finding] = []
    for (name, purpose) in helpers {
      found.append(
        try findProgram(name) != nil
          ? finding(.ok, "\(name): \(purpose)")
          : finding(.note, "\(name) is not installed: \(purpose)", "install it if you want that"))
    }
    let editor = String(decoding: environment("VISUAL") ?? environment("EDITOR") ?? [], as: UTF8.self)
    let program = String(editor.split(separator: " ").first ?? "")
    if program.isEmpty {
      found.append(
        try findProgram("vi") != nil
          ? finding(.ok, "vi: edits profiles, as no other editor is set")
          : finding(.note, "no editor is set: 'termbackup profile edit --editor' needs one", "set EDITOR"))
    } else if try program.hasPrefix("/") ? unsafe access(program, X_OK) == 0 : findProgram(program) != nil {
      found.append(finding(.ok, "\(program): edits profiles"))
    } else {
      found.append(finding(.warn, "the editor '\(editor)' is not installed", "set EDITOR to one that is"))
    }
    return found
  }
}
