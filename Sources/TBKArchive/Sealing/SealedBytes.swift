import TBKCore
import TBKCrypto

/// Local state of this machine, sealed like an archive but without a tar.
extension StreamSealing {
  /// Seals `bytes` into `sink`, and finishes it.
  package func seal(_ bytes: [UInt8], into sink: any ByteSink) throws(Failure) {
    let payload = try begin(into: sink)
    try MemorySource(bytes).copy(to: payload)
    try payload.finish()
  }
}

extension ArchiveOpener {
  /// The bytes that `StreamSealing.seal` wrote to a file. Throws `.authentication` if the password is wrong,
  /// `.malformed` if there are more than `limit` bytes.
  package func sealedBytes(_ file: Descriptor, limit: Int) throws(Failure) -> [UInt8] {
    let memory = MemorySink(limit: limit)
    try open(file: file, start: 0).replay(into: memory)
    return memory.bytes
  }
}
