import ArgumentParser

/// Validates the value of `--expect-id`.
func validateExpectedID(_ id: String?) throws {
  guard let id else { return }
  let isHex = id.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
  guard isHex, (8...64).contains(id.utf8.count) else {
    throw ValidationError("--expect-id takes 8 to 64 lower-case hexadecimal digits")
  }
}
