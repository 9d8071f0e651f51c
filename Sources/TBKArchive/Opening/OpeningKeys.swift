import TBKCore
import TBKCrypto

/// Asks for the password or identities once, when the first valid header needs them.
package final class OpeningKeys: ArchiveKeys {
  /// Whether standard input is an archive, so that no password can be read from it.
  package var inputIsData = false
  /// Whether to reject age files, even if they could be opened.
  package var refusesAge = false
  private let askPassword: (_ inputIsData: Bool) throws(Failure) -> Secret
  private let askIdentities: ((_ inputIsData: Bool) throws(Failure) -> [AgeIdentity])?
  /// The maximum memory for deriving a key from a passphrase, in KiB.
  private let memoryLimit: UInt64
  private var password: Secret?
  private var passwordRing: KeyRing?
  private var identities: [AgeIdentity]?
  /// Why there is no password or identity, which is not the archive's fault.
  package private(set) var failure: Failure?

  /// - Parameter identities: nil if there are none.
  package init(
    memoryLimit: UInt32, password: @escaping (_ inputIsData: Bool) throws(Failure) -> Secret,
    identities: ((_ inputIsData: Bool) throws(Failure) -> [AgeIdentity])?
  ) {
    self.memoryLimit = UInt64(memoryLimit)
    askPassword = password
    askIdentities = identities
  }

  /// A known password, and no identities.
  package convenience init(password: consuming Secret) {
    let held = HeldSecret(password)
    self.init(
      memoryLimit: OpenLimits().argon2.memory, password: { (_) throws(Failure) in try held.copy() },
      identities: nil)
  }

  package func ring() throws(Failure) -> KeyRing {
    if let passwordRing { return passwordRing }
    let ring = KeyRing(try givenPassword())
    passwordRing = ring
    return ring
  }

  /// The key of an age file: from its passphrase if it has one and no identities are given, else from the identities.
  package func key(of header: AgeHeader) throws(Failure) -> AgeFileKey {
    if refusesAge {
      throw Failure(
        .denied, "it is an age file, and no trusted key vouches for it: anyone who has a recipient can make one",
        hint: "a signed ledger vouches for what it lists; 'termbackup' takes --unsigned")
    }
    try header.checkStanzas()
    guard header.hasPassphrase, askIdentities == nil else {
      // A file without recipients needs no identity.
      return try header.unwrap(
        header.hasRecipients || header.hasPassphrase ? try givenIdentities() : [])
    }
    try header.checkPassphraseCost(memoryLimit: memoryLimit)
    return try header.unwrap(passphrase: try givenPassword(), memoryLimit: memoryLimit)
  }

  /// Encryption that the same keys can open: to the recipients of the identities, or else with the password.
  package func encryption() throws(Failure) -> StreamSealing.Encryption {
    guard askIdentities != nil, !refusesAge else {
      return .password(try SealingKey(password: try givenPassword(), cost: .standard))
    }
    var recipients: [AgeRecipient] = []
    for identity in try givenIdentities() { recipients.append(identity.recipient) }
    return .recipients(recipients, armored: false)
  }

  private func givenPassword() throws(Failure) -> Secret {
    do throws(Failure) {
      if password == nil { password = try askPassword(inputIsData) }
      return try password!.copy()
    } catch {
      failure = error
      throw error
    }
  }

  private func givenIdentities() throws(Failure) -> [AgeIdentity] {
    if let identities { return identities }
    do throws(Failure) {
      guard let askIdentities else {
        throw Failure(
          .usage, "the archive is sealed to recipients: an identity is required",
          shellHint: "give an identity file with -i",
          libraryHint: "make the keys of an identity file")
      }
      let given = try askIdentities(inputIsData)
      identities = given
      return given
    } catch {
      failure = error
      throw error
    }
  }
}

/// A secret that can be copied more than once.
package final class HeldSecret {
  private let secret: Secret
  package init(_ secret: consuming Secret) { self.secret = secret }
  package func copy() throws(Failure) -> Secret { try secret.copy() }
}
