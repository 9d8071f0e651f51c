import Glibc
import TBKArchive
import TBKCore

/// Text-like bytes: compressible, with repeats near and far, always the same.
func prose(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  let words = ["backup", "archive", "of", "the", "tree", "sealed", "manifest", "\n", "pipe", "tar"]
  var generator = TestGenerator(seed: seed)
  var bytes: [UInt8] = []
  while bytes.count < min(count, 200_000) {
    bytes += words[Int(generator.next() % 10)].utf8
    bytes.append(generator.next() % 5 == 0 ? UInt8(generator.next() & 0xff) : 32)
  }
  return repeated(bytes, count)
}

/// Incompressible bytes, always the same.
func noise(_ count: Int, seed: UInt64 = 2) -> [UInt8] {
  var generator = TestGenerator(seed: seed)
  var bytes: [UInt8] = []
  while bytes.count < min(count, 200_000) { bytes.append(bigEndian: generator.next(), width: 8) }
  return repeated(bytes, count)
}

/// `bytes` repeated, at a distance beyond deflate's window.
private func repeated(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
  var result: [UInt8] = []
  while result.count < count { result += bytes.prefix(count - result.count) }
  return result
}

/// splitmix64.
struct TestGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }
}

/// Writes `bytes` in pieces of `piece`, and ends the stream.
func feed(_ bytes: [UInt8], to sink: any ByteSink, piece: Int = .max) throws(Failure) {
  var done = 0
  while done < bytes.count {
    let count = min(piece, bytes.count - done)
    try sink.write(bytes.span.extracting(done..<done + count))
    done += count
  }
  try sink.finish()
}

func gzipped(
  _ bytes: [UInt8], level: Int = 6, threads: Int = 1, piece: Int = .max
) throws(Failure) -> [UInt8] {
  let sink = MemorySink()
  try feed(bytes, to: GzipCompressor(level: level, threads: threads, into: sink), piece: piece)
  return sink.bytes
}

func gunzipped(_ bytes: [UInt8], piece: Int = .max) throws(Failure) -> [UInt8] {
  let sink = MemorySink()
  try feed(bytes, to: GzipDecompressor(into: sink), piece: piece)
  return sink.bytes
}

/// Fails after more than `limit` bytes, or in `finish()` if `atEnd`.
final class FailingSink: ByteSink {
  static let failure = Failure(.io, "disk full")
  private var left: Int
  private let atEnd: Bool
  private(set) var callsAfterFailure = 0
  private var failed = false

  init(after limit: Int, atEnd: Bool = false) {
    left = limit
    self.atEnd = atEnd
  }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    if failed { callsAfterFailure += 1 }
    left -= bytes.count
    if left < 0 {
      failed = true
      throw FailingSink.failure
    }
  }

  func finish() throws(Failure) {
    if failed { callsAfterFailure += 1 }
    if atEnd { throw FailingSink.failure }
  }
}

/// The failure that `body` throws.
func failure(of body: () throws(Failure) -> Void) -> Failure? {
  do throws(Failure) {
    try body()
    return nil
  } catch {
    return error
  }
}

/// Runs a program with `input` as standard input, from an unnamed file; returns its exit status and standard output.
func run(_ arguments: [String], input: [UInt8]) throws -> (status: Int32, output: [UInt8]) {
  let files = try (0..<2).map { _ in try temporaryFile() }
  try files[0].write(input.span)
  try files[0].seek(to: 0)
  var actions = unsafe posix_spawn_file_actions_t()
  unsafe posix_spawn_file_actions_init(&actions)
  defer { unsafe _ = posix_spawn_file_actions_destroy(&actions) }
  for (number, file) in files.enumerated() {
    unsafe posix_spawn_file_actions_adddup2(&actions, file.number, Int32(number))
  }
  var argv: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) }
  unsafe argv.append(nil)
  defer { unsafe argv.forEach { unsafe free($0) } }
  var child: pid_t = 0
  let result = unsafe posix_spawnp(&child, arguments[0], &actions, nil, argv, environ)
  if result != 0 { throw Failure.system("cannot run \(arguments[0])", errno: result) }
  var status: Int32 = 0
  while unsafe waitpid(child, &status, 0) < 0, errno == EINTR {}
  try files[1].seek(to: 0)
  let output = try DescriptorSource(files[1]).readAll(limit: 1 << 28, what: "output")
  return (status & 0x7f == 0 ? status >> 8 & 0xff : -1, output)
}

private func temporaryFile() throws(Failure) -> Descriptor {
  let name = RawPath("/tmp/.tbk-test-\(uniqueSuffix())")
  let file = try Descriptor.workingDirectory.open(name, O_RDWR | O_CREAT | O_EXCL)
  try Descriptor.workingDirectory.unlink(name)
  return file
}
