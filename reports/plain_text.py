"""Text from outside (model output, names, paths), made safe to show."""

import re

# Control characters except tab and line feed, surrogates, and marks that reorder text. The other format characters of
# Unicode stay, as letters need some of them, such as the joiners of Arabic and of emoji.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """`text` on one line, its control characters spelled out as `\\x1b` or `\\u202e`.

    What could move a cursor, start an escape sequence, reverse the reading order or fail to encode is spelled out;
    runs of white space become one space.
    """
    return visible(re.sub(r"\s+", " ", text).strip())


def visible(text: str) -> str:
    """`text` with its lines and tabs, and without anything else that could hide, move or reorder text."""
    return _UNSAFE.sub(_spelled_out, text)


def _spelled_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
