import CSystem
import Glibc

/// Becomes a command: this process continues as it, under its number, with the standard streams alone open and no
/// signal ignored.
///
/// - Parameters:
///   - arguments: the command, looked up in PATH if it has no slash, and its arguments; nothing is expanded.
///   - environment: all of it, as `NAME=VALUE`.
///   - input: what becomes its standard input. Standard output becomes what standard error is.
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
