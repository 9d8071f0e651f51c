"""An independent implementation of TermBackup's formats, to hold the suite against.

It is written from the format description alone and shares no code with the suite.
Clarity comes before speed: whole archives are held in memory.
"""


class Failure(Exception):
    """What a reader refuses, with the exit status the suite has for it."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def corrupt(message):
    return Failure(65, message)


def missing(message):
    return Failure(66, message)


def denied(message):
    return Failure(77, message)
