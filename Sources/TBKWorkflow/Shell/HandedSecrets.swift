import CSystem
import Glibc
import TBKCore

/// A secret that can be read only once, passed to several programs.
final class HandedSecret {
  /// The prefix of its options, `--password`.
  let option: String
  /// The option as given on the command line.
  let given: String
  /// Whether the option names a file.
  private let isPath: Bool
  private var bytes: [UInt8]

  /// Reads it. Nil if each program can read it by itself, or if it was not given.
  ///
  /// - Parameters:
  ///   - descriptor: the descriptor to read it from.
  ///   - file: the file to read it from.
  init?(_ option: String, _ descriptor: Int32?, _ file: String?) throws(Failure) {
    let source: Descriptor
    let place: String
    if let descriptor {
      guard fcntl(descriptor, F_GETFD) >= 0 else {
        throw Failure(.usage, "\(option)-fd \(descriptor): the descriptor is not open")
      }
      source = descriptor < 3 ? Descriptor(borrowing: descriptor) : Descriptor(owning: descriptor)
      (given, place) = ("\(option)-fd", "descriptor \(descriptor)")
    } else if let file {
      let path = RawPath(file.shellWord)
      if path.isStandardStream {
        source = .standardInput
      } else {
        // If it does not exist, the program that needs it reports that.
        guard let opened = try Descriptor.workingDirectory.openIfPresent(path, O_RDONLY),
          try opened.status().st_mode & S_IFMT != S_IFREG || HandedSecret.isDescriptor(path)
        else { return nil }
        source = opened
      }
      (given, place) = ("\(option)-file", path.display)
    } else {
      return nil
    }
    (self.option, isPath) = (option, false)
    bytes = try DescriptorSource(source).readAll(limit: 32 << 10, what: place)
  }

  /// The same for the content of a file, passed as a file option of this name.
  init(_ option: String, contentOf path: RawPath) throws(Failure) {
    (self.option, given, isPath) = (option, "", true)
    bytes = try DescriptorSource(try Descriptor.openForReading(path)).readAll(limit: 32 << 10, what: path.display)
  }

  /// The option to pass to a program instead.
  fileprivate func argument(_ number: Int) -> [UInt8] {
    Array((isPath ? "\(option)=/dev/fd/\(number)" : "\(option)-fd=\(number)").utf8)
  }

  deinit { wipe(&bytes) }

  private static func isDescriptor(_ path: RawPath) -> Bool {
    path.bytes.starts(with: "/dev/".utf8) || path.bytes.starts(with: "/proc/".utf8)
  }

  /// A pipe that contains the secret, to be read from.
  func pipe() throws(Failure) -> Descriptor {
    var ends: [Int32] = [0, 0]
    guard unsafe tbk_pipe(&ends) == 0 else { throw .system("cannot create a pipe") }
    let (reading, writing) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    // It fits: a pipe's capacity is 64 KiB.
    var copy = bytes
    defer { wipe(&copy) }
    try writing.write(copy.span)
    // Above the descriptor numbers that it gets in the program.
    let moved = fcntl(reading.number, F_DUPFD_CLOEXEC, 16)
    guard moved >= 0 else { throw .system("cannot create a pipe") }
    return Descriptor(owning: moved)
  }
}

/// Secrets that are passed to one program after another.
struct HandedSecrets {
  private let secrets: [HandedSecret]

  init(_ secrets: [HandedSecret?]) { self.secrets = secrets.compactMap(\.self) }

  /// The options that were read, which are not passed to programs.
  var options: Set<String> { Set(secrets.map(\.given)) }

  /// The options to pass to programs instead.
  var arguments: [[UInt8]] {
    secrets.enumerated().map { $1.argument(3 + $0) }
  }

  /// Runs a program with our standard streams and these secrets, and returns its status. A signal to this process ends
  /// it.
  ///
  /// - Parameter input: the program's standard input, if not ours.
  func run(_ command: [[UInt8]], input: RawPath? = nil) throws(Failure) -> Int32 {
    var handed: [(Descriptor, as: Int32)] = []
    for (index, secret) in secrets.enumerated() { handed.append((try secret.pipe(), as: Int32(3 + index))) }
    if let input { handed.append((try Descriptor.workingDirectory.open(input, O_RDONLY), as: 0)) }
    let child = try spawnProcess(
      command, environment: processEnvironment(), descriptors: handed, defaults: [SIGPIPE, SIGXFSZ, SIGALRM],
      failing: "cannot run \(RawPath(command[0]).display)")
    handed.removeAll()
    var status: Int32 = 0
    var isAsked = false
    while unsafe waitpid(child, &status, 0) < 0 {
      guard errno == EINTR else { throw .system("cannot wait for a command") }
      if let signal = Interruption.signal, !isAsked {
        isAsked = true
        kill(child, signal)
      }
    }
    return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f)
  }
}
