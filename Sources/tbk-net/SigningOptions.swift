// Options for signing a store's ledger, and for checking its signature.

import ArgumentParser
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat
import TBKStore

/// Options of every command that reads a ledger.
struct TrustOptions: ParsableArguments {
  @Option(
    name: .long, parsing: .singleValue,
    help: ArgumentHelp(
      "Trust this public key, and require that a trusted one has signed the ledger.",
      valueName: "file"))
  var verifyKey: [RawPath] = []

  @Flag(name: .long, help: "Require that a trusted key has signed the ledger.")
  var requireSignature = false

  var isRequired: Bool { requireSignature || !verifyKey.isEmpty }

  /// The keys of `TERMBACKUP_HOME` and of the options.
  func keys(signer: Signer? = nil, lost: Digest? = nil) throws(Failure) -> LedgerKeys {
    var trusted = try LedgerKeys.trusted(in: termbackupHome())
    for path in verifyKey {
      guard !path.isStandardStream else {
        throw Failure(.usage, "--verify-key takes a file, not standard input")
      }
      trusted.append(try VerifyingKey(file: path))
    }
    return try LedgerKeys(
      trusted: trusted, signer: signer, isRequired: isRequired, lost: lost,
      own: try LedgerKeys.own(in: termbackupHome()))
  }
}

extension TrustOptions {
  /// Throws `.integrity` for a store without a ledger if a signature is required.
  func requireLedger(_ snapshot: LedgerSession.Snapshot, of store: RawPath) throws(Failure) {
    guard snapshot.ledger == nil, isRequired else { return }
    throw Failure(
      .integrity, "the store \(store.display) has no ledger, and one that is signed is required")
  }
}

/// Options of every command that changes a ledger.
struct SigningOptions: ParsableArguments {
  @Option(
    name: .long, help: ArgumentHelp("Sign the ledger with this private key.", valueName: "file"))
  var signKey: RawPath?

  @OptionGroup var trust: TrustOptions
  @OptionGroup var passwords: KeyPasswordOptions
  @OptionGroup var input: InputOptions

  func validate() throws {
    if signKey == nil, passwords.isGiven {
      throw ValidationError("the password of a key is given without --sign-key")
    }
  }

  /// For commands that change the ledger: throws if a signature is required but there is no key to sign with.
  func requireKey() throws {
    if signKey == nil, trust.isRequired {
      throw ValidationError(
        "--require-signature and --verify-key need --sign-key where the ledger is changed")
    }
  }

  /// The keys of `TERMBACKUP_HOME` and of the options. The signing key is opened here, so that a wrong password is
  /// reported before anything is done.
  ///
  /// - Parameters:
  ///   - inputIsData: whether standard input is used for data.
  ///   - lost: a key whose ledger is to be taken over.
  func keys(inputIsData: Bool, lost: Digest? = nil) throws(Failure) -> LedgerKeys {
    guard let signKey else { return try trust.keys() }
    guard !signKey.isStandardStream else {
      throw Failure(.usage, "--sign-key takes a file, not standard input")
    }
    let key = try SigningKey(file: signKey) { (failed) throws(Failure) in
      try passwords.password(refusing: input.noInput, inputIsData: inputIsData, after: failed)
    }
    return try trust.keys(signer: try Signer(key), lost: lost)
  }
}

extension LedgerTrust {
  /// For scripts: a word and, if there is one, the fingerprint of the key.
  var line: String {
    switch self {
    case .verified(let key): "verified\t\(key.hex)\n"
    case .unchecked(let key): "unchecked\t\(key.hex)\n"
    case .unsigned: "unsigned\n"
    }
  }

  /// Notes that a signature was not checked.
  func report() {
    guard case .unchecked(let key) = self else { return }
    Messages.notice(
      "the signature of the ledger was not checked: there is no public key here; it was made by the key "
        + key.hex)
  }
}
