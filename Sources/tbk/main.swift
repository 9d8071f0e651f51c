import CMemory
import TBKCommand
import TBKWorkflow

tbk_prepare_memory()
Program.run(
  "tbk",
  [
    "tbk-audit": AuditCommand.self,
    "tbk-config": ConfigCommand.self,
    "tbk-keygen": KeygenCommand.self,
    "tbk-manifest": ManifestCommand.self,
    "tbk-open": OpenCommand.self,
    "tbk-seal": SealCommand.self,
    "tbk-sh": ShellCommand.self,
    "tbk-sign": SignCommand.self,
    "tbk-watch": WatchCommand.self,
  ])
