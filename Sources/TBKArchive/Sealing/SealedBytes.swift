import TBKCore
import TBKCrypto

/// What this machine keeps for itself, sealed as archives are, without a tar in it.
extension StreamSealing {
  /// Writes `bytes` to `sink`, which is ended.
  package func seal(_ bytes: [UInt8], into sink: any ByteSink) throws(Failure) {
    let payload = try begin(into: sink)
    try MemorySource(bytes).copy(to: payload)
    try payload.finish()
  }
}

extension ArchiveOpener {
  /// The bytes that `StreamSealing.seal` wrote into a file. Throws `.authentication` if they are under another
  /// password, `.malformed` past `limit`.
  package func sealedBytes(_ file: Descriptor, limit: Int) throws(Failure) -> [UInt8] {
    let memory = MemorySink(limit: limit)
    try open(file: file, start: 0).replay(into: memory)
    return memory.bytes
  }
}
