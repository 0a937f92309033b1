"""Errors that a user can act on: each says what is wrong and what to do about it."""


class AnomaLabelError(Exception):
    """Base of every error caused by input, settings or environment (never by a fault of our own).

    The command line ends with exit code 2 and the server answers 422 on any of them.

    Args:
        cause: one sentence, what was expected and what came, naming the file, key or argument.
        remedy: one sentence, what the user can do; in both, what is no UTF-8 is shown with backslashes.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause, self.remedy = writable(cause), writable(remedy)
        super().__init__(f"{self.cause} {self.remedy}")


class ImageReadError(AnomaLabelError):
    """An image is missing, damaged, of an unknown format or of a shape that is no image or volume."""


class ConfigError(AnomaLabelError):
    """A config file, a setting or a request value is unknown or out of range."""


class PromptError(AnomaLabelError):
    """A prompt is empty, too long for the text tower, or names a placeholder that does not exist."""


class ModelError(AnomaLabelError):
    """A model is unknown, its folder incomplete, or its network not of a supported kind."""


class OutputError(AnomaLabelError):
    """A result cannot be written."""


class Cancelled(AnomaLabelError):
    """The user stopped the work; nothing half-written is left."""

    def __init__(self) -> None:
        super().__init__("The work was cancelled.", "Start it again when you are ready.")


def writable(text: str) -> str:
    """Text for terminals and JSON: a file name that is no UTF-8 reaches Python as lone surrogates, shown as \\udcxx."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
