import TBKCommand

Program.run(
  "tbk",
  [
    "tbk-audit": AuditCommand.self,
    "tbk-config": ConfigCommand.self,
  ])
