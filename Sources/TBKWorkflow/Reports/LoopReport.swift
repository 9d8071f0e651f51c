import TBKCore
import TBKFormat

/// The summary of a daemon or a watch when it ends.
struct LoopReport: VerbReport {
  private let profile: String
  private let seconds: UInt64
  private let successes: UInt64
  private let failures: UInt64

  /// - Parameter facts: profile, started, successes, failures.
  init(_ facts: Facts) throws(Failure) {
    profile = facts.text("profile") ?? ""
    seconds = try facts.elapsed(since: "started")
    successes = try facts.number("successes") ?? 0
    failures = try facts.number("failures") ?? 0
  }

  var text: String {
    "Ended after \(humanDuration(seconds))\n  runs       \(successes + failures)\n  successes  \(successes)\n"
      + "  failures   \(failures)\n"
  }

  var json: JSON {
    .object([
      "profile": .string(profile), "seconds": .number(seconds), "run_count": .number(successes + failures),
      "success_count": .number(successes), "failure_count": .number(failures),
    ])
  }
}
