import CMemory
import TBKCommand

tbk_prepare_memory()
Program.run(
  "tbk-net",
  [
    "tbk-push": Push.self, "tbk-pull": Pull.self, "tbk-store": StoreCommand.self, "tbk-prune": Prune.self,
    "tbk-token": Token.self, "tbk-notify": Notify.self,
  ])
