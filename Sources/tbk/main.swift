import TBKCommand

Program.run("tbk", [:])
