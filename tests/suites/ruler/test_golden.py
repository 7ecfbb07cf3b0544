"""Prompts over the embedded corpora stay what they were, so that runs of different days can be compared."""

import json

from tests.suites.ruler import golden


def test_pinned_prompts_are_unchanged() -> None:
    """If this fails, read tests/suites/ruler/golden.py before regenerating the file."""
    expected = json.loads(golden.EMBEDDED.read_text(encoding="utf-8"))
    assert golden.pinned() == expected
