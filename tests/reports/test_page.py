"""The page as a document: small, self-contained, and foreign content only as text."""

import base64
import hashlib
import json
import random
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.analysis.compared_runs import compare_with_base
from evalkit.cli.shared.pages import comparison_page as whole_page
from evalkit.views.samples import Piece, comparison_views
from reports.comparison_report import comparison_report
from reports.page import Page, RunSamples, render_page
from reports.plain_text import visible
from reports.run_charts import comparison_charts
from tests.evalkit.run_factory import RunSpec, changed, make_run
from tests.reports.hostile_text import VISIBLE_TEXTS
from tests.reports.page_factory import comparison_page, run_page, spoiled
from tests.reports.parsed import Tags

SCRIPTS = re.compile(r"<script>(.*?)</script>", re.DOTALL)
DATA = re.compile(r'<script type="text/plain" id="data">(.*?)</script>', re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return comparison_page(tmp_path_factory.mktemp("runs"))


def data_of(document: str) -> Any:
    found = DATA.search(document)
    assert found is not None
    return json.loads(zlib.decompress(base64.b64decode(found[1], validate=True)))


def test_a_page_is_one_file_that_loads_nothing(page: Page, tmp_path: Path) -> None:
    for document in (render_page(page), render_page(run_page(tmp_path))):
        outside_scripts = SCRIPTS.sub("", document)
        assert not re.search(r'\s(src|action|href="(?!#))', outside_scripts)
        assert "http" not in re.sub(r'http-equiv="|xmlns="http://www.w3.org/2000/svg"', "", outside_scripts)
        assert document.count("<script>") == 2


def policy_of(document: str) -> list[str]:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', document)
    assert policy is not None
    return policy[1].split("; ")


def test_only_the_packages_scripts_may_run(page: Page) -> None:
    for hostile, count in ((spoiled(page, "<script>alert(1)</script>", rows=1), 1), (spoiled(page, "</script>"), 2)):
        document = render_page(hostile)
        scripts = SCRIPTS.findall(document)
        assert len(scripts) == count
        digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
        parts = policy_of(document)
        assert "script-src " + " ".join(f"'sha256-{digest}'" for digest in digests) in parts
        assert {"default-src 'none'", "form-action 'none'", "base-uri 'none'"} < set(parts)
        assert all("eval" not in script and "innerHTML" not in script for script in scripts)


def test_a_page_without_samples_only_sorts_its_tables(page: Page) -> None:
    document = render_page(Page(page.report, page.charts))
    assert document.count("<script") == 1
    assert "aria-sort" in SCRIPTS.findall(document)[0]
    assert document.count("<svg") == len(page.charts)
    nothing_to_sort = render_page(Page(spoiled(page, "text", rows=1).report))
    assert "<script" not in nothing_to_sort
    assert "script-src 'none'" in policy_of(nothing_to_sort)


def test_the_data_block_holds_the_samples(page: Page) -> None:
    samples = data_of(render_page(page))
    assert [sample["change"] for sample in samples] == [
        *["worse"] * 60,
        *[""] * 60,
        *["better"] * 60,
        *[""] * 60,
    ]
    assert [sample["failed"] for sample in samples] == [True] * 120 + [False] * 120
    name = samples[7]["id"]
    assert samples[7]["names"] == ["base", "new"]
    assert samples[7]["pieces"] == [{"label": "prompt", "start": 0, "parts": ["prompt of ", name, ""]}]


@pytest.mark.parametrize(("samples", "lengths", "limit"), [(5, 3, 400_000), (10, 5, 600_000)])
def test_a_page_stays_small(tmp_path: Path, samples: int, lengths: int, limit: int) -> None:
    """RULER with 13 tasks and answers as long as their budgets: a tenth of 6,500 samples in a tenth of 6 MB."""
    cells = [(f"niah_multikey_{task}", 4096 << length) for task in range(13) for length in range(lengths)]
    spec = RunSpec({cell: [1.0] * samples for cell in cells})
    worse = changed(spec, {cell: [0.5, *[1.0] * (samples - 1)] for cell in cells})
    compared = compare_with_base(make_run(tmp_path / "base", spec), [make_run(tmp_path / "new", worse)])
    write = Writer()
    views = [
        replace(
            view,
            answers=tuple(replace(answer, prediction=write(60)) for answer in view.answers if answer is not None),
            pieces=_pieces(view.id, write),
        )
        for view in comparison_views(compared.pairings)
    ]
    assert len(views) == 13 * lengths * samples
    report = comparison_report(*compared.comparisons)
    document = render_page(Page(report, comparison_charts(compared), [RunSamples("new", views, ("base", "new"))]))
    assert len(document.encode()) < limit


def _pieces(needle: str, write: "Writer") -> tuple[Piece, ...]:
    """Excerpts as in RULER's prompts: a tenth of the text is the task's, the rest the sample's."""
    return (
        Piece("start of the prompt", 0, ("Some of what all samples of a task have in common. " * 2 + write(20),)),
        Piece("40% into the prompt", 4000, (write(16), needle, write(16))),
        Piece("end of the prompt", 9000, (write(60) + "The question that all samples of a task end with?",)),
    )


class Writer:
    """Writes words of one to twelve letters with a natural distribution: the n-th word has weight 1/n."""

    def __init__(self) -> None:
        self._rng = random.Random(0)
        self._words = ["".join(self._rng.choices("etaoinshrdlu", k=self._rng.randint(1, 12))) for _ in range(5000)]
        self._weights = [1 / n for n in range(1, 5001)]

    def __call__(self, words: int) -> str:
        return " ".join(self._rng.choices(self._words, self._weights, k=words))


@pytest.mark.parametrize("text", VISIBLE_TEXTS)
def test_hostile_text_adds_no_element(page: Page, text: str) -> None:
    document = Tags(SCRIPTS.sub("", render_page(spoiled(page, text))))
    harmless = Tags(SCRIPTS.sub("", render_page(spoiled(page, "harmless"))))
    # The width of labels determines a chart's layout, so positions and line breaks differ.
    assert kinds(document) == kinds(harmless)
    assert all(value.startswith("#") for _, attributes in document.tags for name, value in attributes if name == "href")


def kinds(document: Tags) -> set[tuple[str, ...]]:
    """The elements of a page, with the names of their attributes."""
    return {(tag, *(name for name, _ in attributes)) for tag, attributes in document.tags}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["</script>", "<!--", "]]>", "\u2028", "\u2029", "&lt;", "<b>", "\x00"]), st.text(max_size=5))
def test_text_comes_back_from_the_data_as_text(page: Page, text: str, around: str) -> None:
    hostile = around + text
    (run,) = spoiled(page, hostile).samples
    data = data_of(render_page(Page(page.report, (), [replace(run, views=run.views[:1])])))
    sample = data[0]
    assert (
        sample["answers"][0]["prediction"]
        == sample["targets"][0]
        == sample["pieces"][0]["parts"][1]
        == visible(hostile)
    )


def test_suites_with_samples_of_one_id_are_filtered_apart(page: Page) -> None:
    views = page.samples[0].views[:1]
    both = [RunSamples("a", views, suite="ruler"), RunSamples("b", views, suite="extend")]
    document = render_page(Page(page.report, (), both))
    assert [(sample["suite"], sample["id"]) for sample in data_of(document)] == [
        ("ruler", views[0].id),
        ("extend", views[0].id),
    ]
    assert '<select id="suite"><option value="">all</option><option value="ruler">ruler</option>' in document
    assert '<select id="suite">' not in render_page(Page(page.report, (), both[:1]))


def test_a_comparison_of_two_suites_links_within_each(tmp_path: Path) -> None:
    compared = []
    for suite in ("ruler", "extend"):
        spec = RunSpec({("vt", 4096): [1.0] * 6, ("cwe", 4096): [1.0] * 6}, suite=suite)
        worse = changed(spec, {cell: [0.0] * 6 for cell in spec.scores})
        base, new = make_run(tmp_path / suite / "base", spec), make_run(tmp_path / suite / "new", worse)
        compared.append(compare_with_base(base, [new]))
    document = whole_page(compared, flips=0)
    assert {sample["suite"] for sample in data_of(document)} == {"ruler", "extend"}
    for suite in ("ruler", "extend"):
        assert f'href="#suite={suite}&amp;task=vt&amp;length=4096"' in document
    assert "#suite=" not in whole_page(compared[:1], flips=0)


def test_each_sample_has_the_command_of_its_run(page: Page) -> None:
    views = page.samples[0].views
    runs = [RunSamples("runs/HYBRID", views[:1]), RunSamples("my runs", [replace(views[0], id="x; rm -rf ~/1")])]
    commands = [sample["command"] for sample in data_of(render_page(Page(page.report, (), runs)))]
    assert commands == [
        f"evalkit show runs/HYBRID --sample {views[0].id} --format json",
        "evalkit show 'my runs' --sample 'x; rm -rf ~/1' --format json",
    ]
