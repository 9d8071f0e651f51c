import CMemory
import TBKCommand

tbk_prepare_memory()
Program.run(
  "tbk-net",
  [
    "tbk-push": PushCommand.self, "tbk-pull": PullCommand.self, "tbk-store": StoreCommand.self,
    "tbk-prune": PruneCommand.self,
    "tbk-token": TokenCommand.self, "tbk-notify": NotifyCommand.self,
  ])
