"""Figures of thoughts count what the samples say."""

import pytest

from evalkit.statistics.thoughts import is_of_thoughts, thought_figures
from tests.evalkit.sample_records import sample_record


def test_means_and_shares_by_length() -> None:
    ends = ["closed", "forced", "forced", "absent"]
    samples = [
        sample_record("vt", 4096, index, 1.0, thought="", thought_tokens=10 * index, thought_end=end)
        for index, end in enumerate(ends)
    ]
    samples += [
        sample_record("vt", 0, 0, 0.0, thought="", thought_tokens=7, thought_end="unclosed"),
        sample_record("long", 4096, 0, 1.0),
        sample_record("vt", 8192, 0, None),
    ]
    figures = thought_figures(samples)
    assert all(map(is_of_thoughts, figures))
    assert {figure.path: figure.value for figure in figures} == {
        "thought_tokens": 7.0,
        "thoughts_forced": 0.0,
        "thoughts_unclosed": 100.0,
        "thoughts_absent": 0.0,
        "thought_tokens/4096": pytest.approx(15.0),
        "thoughts_forced/4096": 50.0,
        "thoughts_unclosed/4096": 0.0,
        "thoughts_absent/4096": 25.0,
    }
    assert {figure.n for figure in figures} == {1, 4}
    assert thought_figures(samples[-2:]) == ()
