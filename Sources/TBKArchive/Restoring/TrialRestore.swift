import Glibc
import TBKCore
import TBKFormat

/// A test restore: some files of a backup are restored, compared and removed.
package struct TrialRestore {
  /// An empty directory of ours, closed to others.
  private let directory: Descriptor
  private let path: RawPath

  /// - Parameter path: the path of the directory.
  package init(in directory: Descriptor, _ path: RawPath) {
    self.directory = directory
    self.path = path
  }

  /// Restores the files that the options select, and compares them with the backup. Removes them again, even if it
  /// throws.
  ///
  /// - Parameter report: called with each entry that differs from the backup, and how it differs.
  /// - Returns: what was restored.
  package func run(
    _ reader: BackupReader, _ options: RestoreOptions,
    report: (ManifestCheck.Problem, [UInt8]) throws(Failure) -> Void
  ) throws(Failure) -> RestoreSummary {
    defer { contents(of: directory, removing: true) }
    let summary = try reader.restore(to: directory, destinationIsNew: true, options)
    let manifest = summary.backup.manifest
    let selection = Selection(manifest, options)
    var wanted: Set<[UInt8]> = []
    for index in manifest.files.indices where selection.wants(index) { wanted.insert(manifest.files.path(index)) }
    var check = ManifestCheck()
    check.comparesOwner = geteuid() == 0 && options.metadata.owner && options.metadata.numericOwner
    check.comparesPrivileges = options.metadata.setID
    _ = try check.run(manifest, against: path) { (problem, path) throws(Failure) in
      if wanted.contains(path) { try report(problem, path) }
    }
    return summary
  }
}
