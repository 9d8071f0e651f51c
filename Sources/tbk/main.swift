import TBKCommand

Program.run(
  "tbk",
  [
    "tbk-manifest": ManifestCommand.self,
    "tbk-open": OpenCommand.self,
    "tbk-seal": SealCommand.self,
  ])
