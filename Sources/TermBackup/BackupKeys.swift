internal import TBKArchive
internal import TBKCore
internal import TBKCrypto

/// The keys that open archives: a password, or age identities.
///
/// The secret is copied into locked memory, which is wiped when the last `Backup` that uses it is released. The caller
/// wipes its own copy. Derived keys are kept as long, so use one `BackupKeys` for backups under one password.
public final class BackupKeys {
  /// The most Argon2id memory, in KiB, to spend on an archive before the password is authenticated.
  public static let defaultMemoryLimit: UInt32 = OpenLimits().argon2.memory

  let opening: OpeningKeys
  let limits: OpenLimits

  /// - Parameters:
  ///   - password: the bytes given to `tbk-seal`; not empty.
  ///   - memoryLimit: in KiB. An archive that requires more is rejected as `.damaged` before memory is allocated.
  public init(
    password: Span<UInt8>, memoryLimit: UInt32 = BackupKeys.defaultMemoryLimit
  ) throws(ReadingError) {
    limits = BackupKeys.limits(memoryLimit)
    do throws(Failure) {
      if password.isEmpty { throw Failure(.usage, "the password is empty") }
      let held = HeldSecret(try Secret(copying: password))
      opening = OpeningKeys(
        memoryLimit: memoryLimit, password: { (_) throws(Failure) in try held.copy() }, identities: nil)
    } catch {
      throw ReadingError(error)
    }
  }

  /// - Parameters:
  ///   - identities: the contents of an identity file as `age-keygen` writes it.
  ///   - memoryLimit: in KiB, as for a password.
  public init(
    identities: Span<UInt8>, memoryLimit: UInt32 = BackupKeys.defaultMemoryLimit
  ) throws(ReadingError) {
    limits = BackupKeys.limits(memoryLimit)
    do throws(Failure) {
      let parsed = try AgeIdentityFile.parse(identities)
      opening = BackupKeys.opening(parsed, memoryLimit)
    } catch {
      throw ReadingError(error)
    }
  }

  /// - Parameters:
  ///   - identities: the contents of an identity file that age encrypted with a passphrase.
  ///   - passphrase: the bytes of the passphrase.
  ///   - memoryLimit: in KiB, as for a password; it also applies to the passphrase.
  public init(
    identities: Span<UInt8>, passphrase: Span<UInt8>, memoryLimit: UInt32 = BackupKeys.defaultMemoryLimit
  ) throws(ReadingError) {
    limits = BackupKeys.limits(memoryLimit)
    do throws(Failure) {
      let given = HeldSecret(try Secret(copying: passphrase))
      let plain = try AgeIdentityFile.decrypt(
        try Secret(copying: identities), memoryLimit: UInt64(memoryLimit),
        passphrase: { () throws(Failure) in try given.copy() })
      let parsed = try plain.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
      opening = BackupKeys.opening(parsed, memoryLimit)
    } catch {
      throw ReadingError(error)
    }
  }

  private static func opening(_ identities: [AgeIdentity], _ memoryLimit: UInt32) -> OpeningKeys {
    OpeningKeys(
      memoryLimit: memoryLimit,
      password: { (_) throws(Failure) in
        throw Failure(
          .usage, "the archive is under a password: identities do not open it",
          hint: "make the keys of a password")
      },
      identities: { (_) throws(Failure) in identities })
  }

  private static func limits(_ memory: UInt32) -> OpenLimits {
    var limits = OpenLimits()
    limits.argon2.memory = memory
    return limits
  }
}
