import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto

extension OpeningKeys {
  /// - Parameters:
  ///   - identities: the identity files that were named, read when needed.
  ///   - refusing: whether prompts are forbidden.
  convenience init(
    _ identities: IdentityOptions, refusing: Bool,
    password: @escaping (_ inputIsData: Bool) throws(Failure) -> Secret
  ) {
    let memoryLimit = OpenLimits().argon2.memory
    let read: (Bool) throws(Failure) -> [AgeIdentity] = { (inputIsData) throws(Failure) in
      try identities.read(
        refusing: refusing, inputIsData: inputIsData, memoryLimit: UInt64(memoryLimit))
    }
    self.init(
      memoryLimit: memoryLimit, password: password,
      identities: identities.identity.isEmpty ? nil : read)
  }
}

extension OpenCommand {
  var openingKeys: OpeningKeys {
    let (passwords, identities, memoryLimit) = (passwords, identities, maxMemory)
    let read: (Bool) throws(Failure) -> [AgeIdentity] = { (inputIsData) throws(Failure) in
      // The file is the user's own, so the limit for archives must not reject it.
      try identities.read(
        refusing: passwords.input.noInput, inputIsData: inputIsData,
        memoryLimit: UInt64(max(memoryLimit, OpenLimits().argon2.memory)))
    }
    let keys = OpeningKeys(
      memoryLimit: memoryLimit,
      password: { (inputIsData) throws(Failure) in
        try passwords.password(confirming: false, inputIsData: inputIsData)
      }, identities: identities.identity.isEmpty ? nil : read)
    keys.refusesAge = noAge
    return keys
  }
}
