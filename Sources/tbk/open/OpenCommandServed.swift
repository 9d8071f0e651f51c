import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore

extension OpenCommand {
  func validateServed() throws {
    guard let from else { return try validateFind() }
    guard Digest(hex: from) != nil else {
      throw ValidationError("--from takes an id of 64 lower-case hexadecimal digits")
    }
    if archives.isEmpty {
      throw ValidationError("--from needs a command that serves archives, as in -- tbk-pull --serve STORE")
    }
    if chain || each || raw || header || mbuConfig != nil || expectId != nil {
      throw ValidationError(
        "--from cannot be used with --chain, --each, --raw, --header, --expect-id or --mbu-config")
    }
  }

  /// The archives that `--from` reads; nil without it.
  func servedSources() -> ServedSources? {
    guard let from, let id = Digest(hex: from) else { return nil }
    ServedSources.withhold(passwords, identities)
    return ServedSources(
      id, archives, keys: openingKeys, limits: limits, wantsManifest: list || manifest,
      rereads: cat != nil, isPartial: partial, warn: { Messages.warning($0) })
  }
}

extension ServedSources {
  /// The command inherits the caller's descriptors, except those of secrets.
  static func withhold(_ passwords: PasswordOptions, _ identities: IdentityOptions) {
    var numbers = [passwords.passwordFd, identities.passwords.identityPasswordFd].compactMap { $0 }
    let files = [passwords.passwordFile, identities.passwords.identityPasswordFile].compactMap { $0 }
    for path in identities.identity + files {
      for folder in ["/dev/fd/", "/proc/self/fd/"] where path.bytes.starts(with: folder.utf8) {
        let digits = String(decoding: path.bytes.dropFirst(folder.utf8.count), as: UTF8.self)
        if let number = Int32(digits) { numbers.append(number) }
      }
    }
    for number in numbers where number > 2 { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
  }
}
