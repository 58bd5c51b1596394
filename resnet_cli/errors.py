"""The errors a user meets: each is one line that names the file, the field or the next step."""


class BadInputError(Exception):
    """The user's input cannot be used: an option, a file, a folder, a device. Exit code 2."""


class RunLockedError(Exception):
    """Another process is training this run. Exit code 4."""
