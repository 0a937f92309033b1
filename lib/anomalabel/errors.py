"""Errors that a user can act on: each says what is wrong and what to do about it."""


class AnomaLabelError(Exception):
    """Base of every error caused by input, settings or environment (never by a fault of our own).

    The command line ends with exit code 2 and the server answers 422 on any of them.

    Args:
        cause: one sentence, what was expected and what came, naming the file, key or argument.
        remedy: one sentence, what the user can do.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause} {remedy}")
        self.cause = cause
        self.remedy = remedy


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
