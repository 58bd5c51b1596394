"""Errors shown to the user, and the exit codes of the command line."""

EXIT_UNEXPECTED = 1
EXIT_BAD_INPUT = 2
EXIT_SOME_FAILED = 3
EXIT_LOCKED = 4
EXIT_STOPPED = 75  # resumable: sysexits.h calls it a temporary failure
EXIT_CTRL_C = 130
EXIT_READER_GONE = 141  # as a process that SIGPIPE ends


class BadInputError(Exception):
    """The user's input cannot be used: an option, a file, a folder, a device.

    Its message is one line that names the file, the field or the next step.
    """


def one_line(error: BaseException) -> str:
    """The whole message of a foreign error, on one line; its type if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of a foreign error's message; its type if it has no message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
