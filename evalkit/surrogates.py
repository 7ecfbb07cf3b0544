"""Lone surrogates, halves of a character that neither UTF-8 nor a tokenizer can represent."""


def half_surrogate(text: str) -> int | None:
    """Position of the first half of a surrogate pair without its other half; None if `text` can be UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None
