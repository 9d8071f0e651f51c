import CSystem
import Glibc

/// Replaces this process with a command, which keeps the process ID, has only the standard streams open and ignores no
/// signal.
///
/// - Parameters:
///   - arguments: the command, looked up in PATH if it has no slash, and its arguments; no expansion.
///   - environment: the whole environment, as `NAME=VALUE`.
///   - input: becomes its standard input. Its standard output is our standard error.
package func replaceProcess(
  with arguments: [[UInt8]], environment: [[UInt8]], input: Descriptor
) throws(Failure) -> Never {
  guard let command = arguments.first, !command.isEmpty else {
    throw Failure(.usage, "no command is given")
  }
  if (arguments + environment).contains(where: { $0.contains(0) }) {
    throw Failure(.usage, "a command holds a NUL byte")
  }
  guard dup2(input.number, 0) >= 0, dup2(2, 1) >= 0 else {
    throw .system("cannot hand on standard input and output")
  }
  let vector = unsafe argumentVector(arguments)
  let variables = unsafe argumentVector(environment)
  let number = unsafe tbk_become(vector, variables)
  throw .starting("cannot run \(RawPath(command).display)", errno: number)
}
