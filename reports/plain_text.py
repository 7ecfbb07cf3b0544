"""Text from outside (model output, names, paths), made safe to show on one line anywhere."""

import re
import unicodedata

# Besides these, category Cf has marks that letters need, such as the joiners of Arabic and of emoji.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str) -> str:
    """`text` on one line, its control characters spelled out as `\\x1b` or `\\u202e`.

    What could move a cursor, start an escape sequence, reverse the reading order or fail to encode is spelled out;
    runs of white space become one space.
    """
    return "".join(_shown(character) for character in re.sub(r"\s+", " ", text).strip())


def visible(text: str) -> str:
    """`text` with its lines and tabs, and otherwise with nothing in it that could hide, move or reorder text."""
    return "".join(character if character in "\n\t" else _shown(character) for character in text)


def _shown(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cs") and character not in _REORDERING:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
