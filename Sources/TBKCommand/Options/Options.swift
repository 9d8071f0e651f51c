import ArgumentParser

/// What every command takes.
package struct CommonOptions: ParsableArguments {
  @Flag(name: [.short, .long], help: "Print only warnings and errors.")
  package var quiet = false

  package init() {}

  /// To be called first in `execute()`.
  package func apply() {
    Messages.quiet = quiet
  }
}

/// What commands take that may ask for something.
package struct InputOptions: ParsableArguments {
  @Flag(name: .long, help: "Never ask; fail instead.")
  package var noInput = false

  package init() {}
}

/// What long work takes.
package struct ProgressOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Show progress: auto, always or never.", valueName: "when"))
  package var progress = ProgressMode.auto

  package init() {}
}
