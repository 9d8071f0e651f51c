import Glibc

/// Starts a program, looked up in PATH if its name has no slash, without expansion.
///
/// It inherits our standard streams, except those that `descriptors` replaces; our other descriptors are close-on-exec.
/// The caller waits for it.
///
/// - Parameters:
///   - arguments: the program and its arguments, none of them with a NUL byte.
///   - environment: the whole environment, as `NAME=VALUE`.
///   - descriptors: descriptors to pass on, and their numbers in the child.
///   - defaults: signals to reset to their default action, although we ignore or handle them.
///   - failing: how the error message begins, as in "cannot run 'x'".
///   - missing: the failure code if there is no such program.
/// - Returns: the process ID.
package func spawnProcess(
  _ arguments: [[UInt8]], environment: [[UInt8]], descriptors: [(Descriptor, as: Int32)] = [], defaults: [Int32],
  failing: String, missing: Failure.Code = .inputMissing
) throws(Failure) -> pid_t {
  var actions = unsafe posix_spawn_file_actions_t()
  unsafe posix_spawn_file_actions_init(&actions)
  defer { unsafe _ = posix_spawn_file_actions_destroy(&actions) }
  for (descriptor, number) in descriptors {
    unsafe posix_spawn_file_actions_adddup2(&actions, descriptor.number, number)
  }
  var attributes = posix_spawnattr_t()
  unsafe posix_spawnattr_init(&attributes)
  defer { unsafe _ = posix_spawnattr_destroy(&attributes) }
  var signals = sigset_t()
  unsafe sigemptyset(&signals)
  for number in defaults { unsafe _ = sigaddset(&signals, number) }
  unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
  unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))

  let vector = unsafe argumentVector(arguments)
  let variables = unsafe argumentVector(environment)
  defer {
    unsafe (vector + variables).forEach { unsafe free($0) }
  }
  guard let name = unsafe vector[0] else { throw Failure(.library, "no memory") }
  var child: pid_t = 0
  let number = unsafe posix_spawnp(&child, name, &actions, &attributes, vector, variables)
  guard number == 0 else { throw .starting(failing, errno: number, missing: missing) }
  return child
}
