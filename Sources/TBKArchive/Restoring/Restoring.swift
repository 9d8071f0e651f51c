import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// What to restore, and how.
package struct RestoreOptions {
  package var policy = OverwritePolicy.never
  package var metadata = MetadataOptions()
  /// The name of the destination in messages.
  package var destinationName = RawPath(".")
  /// Restores entries that match, and everything below them; all entries if empty.
  package var include = IgnoreRules()
  package var exclude = IgnoreRules()
  /// The patterns of `include`, separately: a restore fails if none of them matches anything, and warns about each that
  /// does not.
  package var includePatterns: [[UInt8]] = []
  /// Patterns that were made from given paths, with these paths.
  package var named: [[UInt8]: [UInt8]] = [:]
  /// Called with what `.ifChanged` would do, instead of failing, if files already exist and `policy` is `.never`. The
  /// arguments are a word and a path, as in `preview`.
  package var propose: ((String, [UInt8]) throws(Failure) -> Void)?
  /// The id that the backup must have, or a prefix of it.
  package var expectedID: String?
  /// A manifest from another source that the backup must match.
  package var against: Manifest?

  /// Restores only this sample of the matching files, with their parent directories.
  package var sample: RandomSample?

  package init() {}

  var selects: Bool { !include.isEmpty || !exclude.isEmpty || sample != nil }
}

/// What was done.
package struct RestoreSummary {
  package let backup: VerifiedManifest
  package var files = 0
  package var bytes: UInt64 = 0
  /// Existing entries that were replaced.
  package var replaced = 0
  /// Whether all metadata could be set.
  package var isExact = true
  /// The first path that did not get its privileges from the backup; see `MetadataOptions.setID`.
  package var withheld: RawPath?
  /// Whether the destination existed and keeps a mode or owner other than the backup's root.
  package var keepsRoot = false
  /// Whether nothing was restored, and `RestoreOptions.propose` was called instead.
  package var isProposal = false
}

extension BackupReader {
  /// Reports what a restore would do to each entry, as pairs of a word and a path. Reads the archives and throws as a
  /// restore does.
  ///
  /// - Parameter destination: nil if it does not exist yet.
  package func preview(
    to destination: Descriptor?, _ options: RestoreOptions,
    _ show: (String, [UInt8]) throws(Failure) -> Void
  ) throws(Failure) -> VerifiedManifest {
    let known = try manifest()
    let needed = Selection(known.manifest, options)
    let verified = try gather(
      staging: nil, known: known, options, wanted: { _, index in needed.staged(index) })
    try refuseUnmatched(verified.manifest, options)
    try compare(verified, with: options.against)
    let selection = Selection(verified.manifest, options)
    guard let destination else {
      let missing = Set(verified.missing)
      for index in verified.manifest.files.indices where selection.wants(index) {
        let path = verified.manifest.files.path(index)
        if missing.isEmpty || !missing.contains(path) { try show("create", path) }
      }
      return verified
    }
    let placement = placement(
      verified, selection, options, Loosening(root: destination),
      Placement.Destination(directory: destination, name: options.destinationName, isNew: false))
    try placement.plan(looksOnly: true)
    for index in verified.manifest.files.indices {
      let word: String? =
        switch placement.actions[index] {
        case .skip: nil
        case .create, .within: "create"
        case .replace: "replace"
        case .keep, .adjust, .merge: "keep"
        case .conflict: "conflict"
        }
      if let word { try show(word, verified.manifest.files.path(index)) }
    }
    return verified
  }

  /// Restores the backup into `destination`.
  ///
  /// - Parameter destinationIsNew: whether it was created for this, closed to others: then it gets the metadata of the
  ///   backup's root at the end.
  package func restore(
    to destination: Descriptor, destinationIsNew: Bool, _ options: RestoreOptions
  ) throws(Failure) -> RestoreSummary {
    // With a selection, the manifest must be known before the content passes; without one, everything is staged as it
    // comes, and verified before it is put in place.
    if options.selects { try newest.keep() }
    let known = options.selects ? try manifest() : nil
    // The newest manifest may list only the latest changes.
    let grows = known?.manifest.isOverlay ?? false
    if let known {
      try refuseAlone(known)
      if !grows { try refuseUnmatched(known.manifest, options) }
    }
    let loosening = Loosening(root: destination)
    defer { loosening.putBack() }
    let (staging, wasEmpty) = try stage(in: destination, loosening, options)
    defer { staging.discard() }
    let selection = known.map { Selection($0.manifest, options) }
    let verified = try gather(
      staging: staging, known: known, options,
      wanted: { manifest, index in selection?.staged(index) ?? true })
    try compare(verified, with: options.against)
    if grows { try refuseUnmatched(verified.manifest, options) }
    let usable = verified.manifest.tree.listsWholeTree ? selection : nil
    let chosen = usable ?? Selection(verified.manifest, options)
    let placement = placement(
      verified, chosen, options, loosening,
      Placement.Destination(
        directory: destination, name: options.destinationName, isNew: destinationIsNew),
      wasEmpty: wasEmpty, isClosed: staging.isClosed)
    try placement.plan()
    if placement.refusal != nil, options.policy == .never, let propose = options.propose {
      var other = options
      other.policy = .ifChanged
      let proposal = self.placement(
        verified, chosen, other, loosening, placement.destination, wasEmpty: wasEmpty, isClosed: staging.isClosed)
      try proposal.plan()
      if let refusal = proposal.refusal { throw refusal }
      for index in verified.manifest.files.indices {
        let path = verified.manifest.files.path(index)
        switch proposal.actions[index] {
        case .create, .within: try propose("create", path)
        case .replace: try propose("replace", path)
        case .adjust: try propose("adjust", path)
        case .skip, .keep, .merge, .conflict: break
        }
      }
      var summary = RestoreSummary(backup: verified)
      summary.isProposal = true
      return summary
    }
    if let refusal = placement.refusal { throw refusal }
    if options.selects { try dropUnwanted(verified, chosen, staging) }
    try placement.place(from: staging)
    staging.discard()
    try placement.finish()
    var summary = RestoreSummary(backup: verified)
    summary.replaced = placement.actions.count { $0 == .replace }
    let missing = Set(verified.missing)
    for index in verified.manifest.files.indices where chosen.wants(index) {
      guard verified.manifest.files.type(index) == .file else { continue }
      if !missing.isEmpty, missing.contains(verified.manifest.files.path(index)) { continue }
      summary.files += 1
      if !verified.manifest.files.isHardLink(index) {
        summary.bytes += verified.manifest.files.size(index)
      }
    }
    summary.isExact = placement.setter.isExact
    summary.withheld = placement.setter.withheld
    summary.keepsRoot = try placement.keepsRoot
    return summary
  }

  /// Creates a staging directory in the destination, loosening the destination's mode if necessary. Returns it, and
  /// whether the destination was empty.
  private func stage(
    in destination: Descriptor, _ loosening: Loosening, _ options: RestoreOptions
  ) throws(Failure) -> (Staging, wasEmpty: Bool) {
    do throws(Failure) {
      _ = try loosening.loosen(destination, [])
      // Remove what a killed restore has left here.
      _ = try? RestoreLeftovers.collect(in: destination)
      let wasEmpty = (try? destination.names().isEmpty) ?? false
      return (try Staging(in: destination), wasEmpty)
    } catch {
      guard error.code == .denied else { throw error }
      throw Failure(
        .cannotCreate,
        "cannot write to the directory \(options.destinationName.display): \(error.reason)")
    }
  }

  /// Throws `.inputMissing` if no included pattern or path matches, and warns about each that does not.
  private func refuseUnmatched(_ manifest: Manifest, _ options: RestoreOptions) throws(Failure) {
    let unmatched = Selection.unmatched(options.includePatterns, manifest)
    if !unmatched.isEmpty, unmatched.count == options.includePatterns.count {
      if let path = options.named[unmatched[0]] {
        throw Failure(.inputMissing, "\(RawPath(path).display) is not in this backup", hint: "nothing was changed")
      }
      throw Failure(
        .inputMissing, "nothing in the backup matches \(RawPath(unmatched[0]).display)",
        hint: "patterns are those of gitignore(5), from the top of the backup; nothing was changed")
    }
    for pattern in unmatched {
      if let path = options.named[pattern] {
        lacksNamed = true
        warn("\(RawPath(path).display) is not in this backup")
        continue
      }
      warn("\(RawPath(pattern).display): nothing in the backup matches")
    }
  }

  /// Removes first names of hard links that were staged only as link targets: they would move along with their
  /// directories.
  private func dropUnwanted(
    _ verified: VerifiedManifest, _ selection: Selection, _ staging: Staging
  ) throws(Failure) {
    let manifest = verified.manifest
    let missing = Set(verified.missing)
    for index in manifest.files.indices
    where selection.staged(index) && !selection.wants(index)
      && !missing.contains(manifest.files.path(index))
    {
      let name = manifest.files[index].tarName
      try staging.remove(name)
      // Also remove directories that were created only for them.
      var above = name[...]
      while let slash = above.lastIndex(of: UInt8(ascii: "/")) {
        above = above[..<slash]
        guard let found = manifest.files.find(Array(above)), !selection.wants(found),
          staging.removeIfEmpty(Array(above))
        else { break }
      }
    }
  }

  /// - Parameter isClosed: whether no one else can reach the staged files; otherwise they get no privileges.
  private func placement(
    _ verified: VerifiedManifest, _ selection: Selection, _ options: RestoreOptions,
    _ loosening: Loosening, _ destination: Placement.Destination, wasEmpty: Bool = false,
    isClosed: Bool = true
  ) -> Placement {
    let missing = Set(verified.missing)
    var metadata = options.metadata
    if !isClosed { metadata.setID = false }
    return Placement(
      verified.manifest,
      wanted: { index in
        selection.wants(index)
          && (missing.isEmpty || !missing.contains(verified.manifest.files.path(index)))
      },
      destination: destination, policy: options.policy,
      setsRoot: options.policy != .never && options.include.isEmpty,
      setsRootTime: wasEmpty && options.include.isEmpty,
      setter: MetadataSetter(
        metadata, tree: verified.manifest.tree, warn: warn),
      loosening: loosening)
  }

  private func compare(_ verified: VerifiedManifest, with other: Manifest?) throws(Failure) {
    guard let other else { return }
    let id = try other.computeID().id.hex
    guard !verified.manifest.hasUnprovenID, id == verified.id else {
      throw Failure(.integrity, "the archive is not the backup that the manifest describes")
    }
  }
}
