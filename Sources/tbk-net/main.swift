import TBKCommand

Program.run("tbk-net", [:])
