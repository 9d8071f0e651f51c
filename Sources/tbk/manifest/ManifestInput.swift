import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKFormat

/// Reads a manifest from a file, or from standard input for nil or "-".
func readManifest(_ path: RawPath?, allowsDeferred: Bool) throws(Failure) -> Manifest {
  let source: DescriptorSource
  if let path, !path.isStandardStream {
    source = DescriptorSource(try Descriptor.openForReading(path), name: path)
  } else {
    source = DescriptorSource(.standardInput)
  }
  let parser = ManifestParser(allowsDeferred: allowsDeferred)
  try source.copy(to: parser)
  try parser.finish()
  let manifest = try parser.manifest()
  try manifest.validate()
  return manifest
}

/// Reports the remarks of a walk to the user.
enum WalkReport {
  static func report(_ remark: TreeWalker.Remark) {
    switch remark {
    case .unreadable(let entry):
      Messages.warning("\(RawPath(entry.path).display): \(entry.reason)")
    case .skipped(let path, let what):
      Messages.notice("\(RawPath(path).display): left out, because it is \(what)")
    case .ineffective(let pattern, let directory):
      Messages.warning(
        "the pattern \(RawPath(pattern).display) has no effect below \(RawPath(directory).display),"
          + " which an earlier pattern excludes")
    }
  }
}
