import ArgumentParser
import TBKCommand

/// tbk-seal: packs and encrypts a tree, or the input of one of its subcommands.
struct SealCommand: ParsableCommand, FormerOptions {
  static let configuration = CommandConfiguration(
    commandName: "tbk-seal",
    abstract: "Pack and encrypt a backup.",
    usage: """
      tbk-seal [<options>] < manifest > archive
      tbk-seal [<options>] <dir> > archive
      tbk-seal stream [<options>] <name> > archive
      tbk-seal tar [<options>] < tar > archive
      tbk-seal reseal [<options>] < archive > archive
      tbk-seal consolidate [<options>] < archives > archive
      tbk-seal manifest [<options>] < archive > sealed-manifest
      """,
    version: "tbk-seal \(suiteVersion)",
    subcommands: [
      SealTree.self, SealStream.self, SealTar.self, SealReseal.self, SealConsolidate.self,
      SealManifest.self,
    ],
    defaultSubcommand: SealTree.self)

  static let formerOptions = [
    "--stdin-name": "to seal a stream: tbk-seal stream NAME",
    "--from-command": "to seal what a command prints: tbk-seal stream NAME -- COMMAND",
    "--from-tar": "to seal what a tar holds: tbk-seal tar",
    "--reseal": "to seal an archive under another password: tbk-seal reseal",
    "--consolidate": "to make one archive of a chain: tbk-seal consolidate",
    "--manifest-only": "to seal only the manifest of an archive: tbk-seal manifest",
  ]
}
