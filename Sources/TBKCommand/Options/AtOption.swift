import ArgumentParser

/// A backup named by a time.
package struct AtOption: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "The last backup that was made by <time>: 2026-11-01, '2026-11-01 10:30', or 36h, 30d, 4w ago.",
      valueName: "time"))
  package var at: String?

  package init() {}
}
