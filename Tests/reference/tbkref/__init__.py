"""An independent implementation of TermBackup's formats, for comparison with the suite.

It is written from the format description alone and shares no code with the suite.
It prefers clarity to speed: whole archives are held in memory.
"""


class Failure(Exception):
    """A reader refuses its input; with the exit status that the suite uses for this."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def corrupt(message):
    return Failure(65, message)


def missing(message):
    return Failure(66, message)


def denied(message):
    return Failure(77, message)
