import ArgumentParser

/// Options of every command.
package struct CommonOptions: ParsableArguments {
  @Flag(name: [.short, .long], help: "Print only warnings and errors.")
  package var quiet = false

  package init() {}

  /// Call first in `execute()`.
  package func apply() {
    Messages.quiet = quiet
  }
}

/// Options of commands that may prompt.
package struct InputOptions: ParsableArguments {
  @Flag(name: .long, help: "Never ask; fail instead.")
  package var noInput = false

  package init() {}
}

/// Options of commands that show progress.
package struct ProgressOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Show progress: auto, always or never.", valueName: "when"))
  package var progress = ProgressMode.auto

  package init() {}
}
