"""A suite from another package, found by its entry point: run, resumed, compared, gated and shown."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit import suite_spec
from evalkit.analysis.finished_run import load_run
from evalkit.errors import UsageError
from evalkit.suite_spec import find_suite, suite_names
from tests.evalkit.run_factory import RunSpec, write_run
from tests.evalkit.scripts import sums, write_script
from tests.support import Evalkit

PACKAGE = '''\
"""A team's own suite, as CONTRIBUTING describes one."""

from dataclasses import dataclass

from evalkit.records import SuiteSummary
from evalkit.statistics.rows import cells_of, result_row, score_figure, scores_of
from evalkit.suite_spec import SuiteSpec
from tests.evalkit.tiny_suite import TinySuite


def summarize(settings, samples):
    rows = tuple(result_row(task, ctx, here) for (task, ctx), here in cells_of(samples).items())
    return SuiteSummary(rows, figures=(score_figure("carried", [scores_of(samples)], part="tens", ctx=512),))


def report(record):
    from reports.report import SuiteReport, Table

    tens = record.figure("carried", "tens")
    return SuiteReport((Table("The team's additions", ("part", "right"), (("tens", f"{tens.value:.0f}"),)),))


def charts(record, samples):
    from reports.charts import Bars

    return [Bars("team", "The team's chart", "samples", ("asked",), (("all", (float(len(samples)),)),))]


class Additions(TinySuite):
    name = "additions"

    def summarize(self, records):
        return summarize(None, records)


@dataclass(frozen=True, slots=True)
class Settings:
    samples: int

    @staticmethod
    def of(*, samples: int = 3) -> "Settings":
        return Settings(samples)

    def headline(self) -> str:
        return f"additions: {self.samples} prompts"

    def contexts(self) -> tuple[int, ...]:
        return (512,)


SPEC = SuiteSpec(
    name="additions",
    settings=Settings,
    build=lambda settings, reader: Additions(samples=settings.samples, tokenizer=reader.tokenizer),
    summarize=summarize,
    report="team_suites:report",
    charts="team_suites:charts",
    tasks=("sum",),
)
OTHER = SuiteSpec(name="something-else", settings=Settings, build=SPEC.build)
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Mimic a package installed with `pip install`: a module and its entry points."""
    site = tmp_path / "site"
    info = site / "team_suites-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "team_suites.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: team-suites\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[evalkit.suites]\nadditions = team_suites:SPEC\nmisnamed = team_suites:OTHER\ngone = no_such_module:SPEC\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "team_suites", raising=False)
    importlib.invalidate_caches()
    suite_spec._entry_points.cache_clear()
    yield
    suite_spec._entry_points.cache_clear()


@pytest.mark.usefixtures("installed")
def test_it_is_run_resumed_compared_gated_and_shown(evalkit: Evalkit) -> None:
    strong, weak = write_script(Path("strong"), *sums()), write_script(Path("weak"), *sums(wrong=range(8)))
    evalkit("run --suite additions --set samples=6 --out base --model", strong)
    evalkit("run --suite additions --set samples=10 --out base --resume --model", strong)
    evalkit("run --suite additions --set samples=10 --out new --model", weak)
    run = load_run(Path("base"))
    assert (run.record.suite, run.record.counts.n, run.record.config["samples"]) == ("additions", 10, 10)
    assert [sample.session for sample in run.samples.values()] == [1] * 6 + [2] * 4
    (comparison,) = evalkit("compare base new --format json").json()["comparisons"]
    assert (comparison["suite"], comparison["rows"][0]["difference"]) == ("additions", -80)
    Path("gate.yaml").write_text("rules: {additions/sum@512: {max_drop: 5}}")
    evalkit("gate base new --policy gate.yaml", code=1)
    evalkit("gate base base --policy gate.yaml")
    assert "What is 0 + 42?" in evalkit("show new --sample sum/512/0/42").out
    evalkit("leaderboard base new --format csv")


@pytest.mark.usefixtures("installed")
def test_its_own_tables_charts_and_summary_are_used(evalkit: Evalkit) -> None:
    model = write_script(Path("weak"), *sums(wrong=range(5)))
    shown = evalkit("run --suite additions --set samples=10 --out run --model", model).out
    assert "The team's additions" in shown
    assert "Score (0-100)" not in shown
    evalkit("show run --figures figures")
    assert [path.name for path in sorted(Path("figures").iterdir())] == ["team.png", "team.svg"]
    Path("gate.yaml").write_text("rules: {additions/carried/tens@512: {min: 60}, additions/sum@512: {max_drop: 1}}")
    (failed, _) = evalkit("gate run run --policy gate.yaml --format json", code=1).json()["verdicts"]
    assert (failed["target"], failed["value"]) == ("additions/carried/tens@512", 50)
    Path("drops.yaml").write_text("rules: {additions: {max_drop: 1}}")
    assert evalkit("gate --explain drops.yaml --samples 20 --format json").json()["checks"][0]["pairs"] == 20
    record = (Path("run") / "run.json").read_text()
    evalkit("resummarize run")
    assert (Path("run") / "run.json").read_text() == record
    (Path("run") / "run.json").unlink()
    assert "The team's additions" in evalkit("show run").out


@pytest.mark.usefixtures("installed")
def test_a_report_that_cannot_be_imported_is_one_line(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    evalkit("run --suite additions --set samples=2 --out run --model", write_script(Path("strong"), *sums()))
    spec = replace(find_suite("additions"), report="team_suites:gone")
    monkeypatch.setattr(sys.modules["team_suites"], "SPEC", spec)
    assert "suite additions: team_suites:gone cannot be imported" in evalkit.refuses("show run")


def test_a_run_of_a_suite_that_is_not_installed_here_is_shown(evalkit: Evalkit) -> None:
    write_run(Path("run"), RunSpec({("sum", 512): [1.0, 0.0]}, suite="additions"))
    assert "Score (0-100)" in evalkit("show run").out


@pytest.mark.usefixtures("installed")
def test_a_plan_names_it(evalkit: Evalkit) -> None:
    model = write_script(Path("strong"), *sums())
    Path("plan.yaml").write_text(f"models: [{model}]\nsuites: {{additions: {{samples: 2}}}}\n")
    evalkit("run plan.yaml")
    (record,) = [load_run(path.parent).record for path in Path("runs").rglob("run.json")]
    assert (record.suite, record.counts.n) == ("additions", 2)


@pytest.mark.usefixtures("installed")
def test_what_cannot_be_used_is_one_line() -> None:
    assert suite_names()[-3:] == ("additions", "gone", "misnamed")
    with pytest.raises(UsageError, match=r"suite gone: no_such_module:SPEC cannot be imported"):
        find_suite("gone")
    with pytest.raises(UsageError, match="suite misnamed: team_suites:OTHER is not a SuiteSpec of that name"):
        find_suite("misnamed")
    with pytest.raises(UsageError, match="'aditions'; did you mean 'additions'"):
        find_suite("aditions")


def test_quick_defaults_do_not_cut_a_users_own_questions(tmp_path: Path) -> None:
    ruler = find_suite("ruler")
    assert ruler.read({"ctx": "4096"}, ["reference:hybrid"]).samples == 1
    assert ruler.read({"ctx": "4096", "data": str(tmp_path)}, ["reference:hybrid"]).samples is None
    assert ruler.read({"ctx": "4096"}, ["./checkpoint"]).samples == 100
