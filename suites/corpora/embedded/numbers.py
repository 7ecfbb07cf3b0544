"""Numbers in words."""

_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_TENS = "- ten twenty thirty forty fifty sixty seventy eighty ninety"
ONES = tuple(_ONES.split())
TENS = tuple(_TENS.split())


def in_words(number: int) -> str:
    """0 to 9,999 in words, such as `two hundred and six`; ValueError outside."""
    if not 0 <= number <= 9999:
        raise ValueError(f"{number} is not between 0 and 9,999")
    if number < 20:
        return ONES[number]
    if number < 100:
        ten, one = divmod(number, 10)
        return TENS[ten] + (f"-{ONES[one]}" if one else "")
    unit, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    head, rest = divmod(number, unit)
    if not rest:
        return f"{in_words(head)} {name}"
    return f"{in_words(head)} {name} {'and ' if rest < 100 else ''}{in_words(rest)}"
