"""Errors that a user can cause or act on; each message is one line with the value, the limit and the remedy."""


class EvalkitError(Exception):
    """A condition the user can act on; shown as one line on stderr, never as a traceback.

    `exit_code` is what the command line exits with.
    """

    exit_code = 2


class UsageError(EvalkitError):
    """The request cannot be carried out as it was made: bad value, missing file, unknown name."""


class IncompatibleRunError(EvalkitError):
    """Two things that must agree (a run directory and its new settings) do not."""


class SampleDoesNotFitError(EvalkitError):
    """A sample has no prompt that can be sent, mostly because it would exceed its context length; it is unscored."""


class RequestFailedError(EvalkitError):
    """One request failed in the model (out of memory, NaN logits, prompt too long)."""
