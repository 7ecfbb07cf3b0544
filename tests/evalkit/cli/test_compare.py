"""`evalkit compare` and `evalkit show --sample` as they are typed."""

from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.records.codec import to_json
from evalkit.running.store import read_samples
from evalkit.suite_spec import SUITES
from tests.evalkit.run_factory import RunSpec, changed, write_run
from tests.evalkit.scripts import sums, write_script
from tests.evalkit.tiny_suite import REGISTERED
from tests.support import Evalkit

SPEC = RunSpec({("vt", 4096): [1.0] * 30 + [0.0] * 10, ("cwe", 4096): [0.5] * 40})


@pytest.fixture
def runs(tmp_path: Path) -> None:
    write_run(tmp_path / "base", SPEC)
    scores = {**SPEC.scores, ("vt", 4096): [0.0] * 12 + [1.0] * 18 + [0.0] * 10}
    write_run(tmp_path / "new", changed(SPEC, scores))
    write_run(tmp_path / "olmes", changed(SPEC, scores, dialect="olmes"))


@pytest.fixture
def tiny_run(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose first answer is right; its second one is wrong, and the prompt of that has changed since."""
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)
    model = write_script(Path("script"), *sums(wrong=[1]))
    evalkit("run --suite tiny --samples 2 --out run --model", model)
    first, second = read_samples(Path("run"))
    lines = [first, replace(second, prompt_sha256=first.prompt_sha256)]
    Path("run/samples.jsonl").write_text("".join(to_json(sample) + "\n" for sample in lines))


@pytest.mark.usefixtures("runs")
class TestCompare:
    def test_two_runs_on_the_terminal(self, evalkit: Evalkit) -> None:
        shown = evalkit("compare base new --flips 2").out
        assert shown.splitlines()[1] == "new loses 15.0 points at 4,096 [5.5, 24.7]; worse on vt at 4,096."
        assert "Samples that changed: new is worse on 12, better on 0; 10 more with --flips 12" in shown
        assert "evalkit show new --sample ID" in shown

    def test_several_runs_are_compared_with_one(self, evalkit: Evalkit) -> None:
        write_run(Path("third"), changed(SPEC, SPEC.scores, model="./third", weights="third"))
        both = evalkit("compare base new third --format json").json()["comparisons"]
        assert [one["new"]["run_id"] for one in both] == ["new", "third"]
        (alone,) = evalkit("compare base new --format json").json()["comparisons"]
        # vt alone is tested in 3 rows; beside another run that is the same as BASE, in 6.
        assert both[0]["rows"][0]["p_holm"] == 2 * alone["rows"][0]["p_holm"]
        shown = evalkit("compare base new third").out.splitlines()
        assert shown[1:3] == [
            "new loses 15.0 points at 4,096 [5.5, 24.7]; worse on vt at 4,096.",
            "third shows no significant difference at 4,096 [-4.5, +4.5].",
        ]
        assert (
            "<summary>third, tasks at 4,096: no significant difference"
            in evalkit("compare base new third --format markdown").out
        )
        page = evalkit("compare base new third --format html").out
        assert "ruler: third - base by task" in page

    def test_json_and_markdown(self, evalkit: Evalkit) -> None:
        data = evalkit("compare base new --format json").json()
        assert data["schema"] == "evalkit.comparisons/1"
        assert data["comparisons"][0]["rows"][0]["difference"] == -30.0
        assert evalkit("compare base new --format markdown").out.startswith("# ruler · ./base → ./new\n")

    def test_failed_samples_are_listed_with_their_answers(self, evalkit: Evalkit) -> None:
        lines = evalkit("show new --failed").out.splitlines()
        # 22 of vt and 40 of cwe, the lowest score first.
        assert len([line for line in lines if line.startswith("│")]) == 62
        assert [cell.strip() for cell in lines[3].strip("│").split("│")] == [
            "vt/4096/0/42",
            "0.00",
            "wrong needle",
            "the answer",
        ]

    def test_a_run_without_failed_samples_says_so(self, evalkit: Evalkit) -> None:
        write_run(Path("right"), RunSpec({("vt", 4096): [1.0, 1.0]}))
        shown = evalkit("show right --failed")
        assert (shown.out, shown.err) == ("", "right: none of its 2 samples failed\n")

    def test_the_beginning_of_an_answer_without_spaces_is_listed(self, evalkit: Evalkit) -> None:
        write_run(Path("long"), RunSpec({("vt", 4096): [0.0]}, prediction="答案" * 100))
        (line,) = (line for line in evalkit("show long --failed").out.splitlines() if line.startswith("│"))
        assert line.strip("│").split("│")[-1].strip() == "答案" * 29 + "答…"

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ("--failed --html x.html", "--html does nothing with --failed"),
            ("--failed --format json", "--format json does nothing with --failed"),
            ("--sample vt/4096/0/42 --figures x", "--figures does nothing with --sample"),
            ("--sample vt/4096/0/42 --failed", "--sample and --failed print different things"),
        ],
    )
    def test_show_refuses_what_it_would_ignore(self, options: str, said: str, evalkit: Evalkit) -> None:
        assert f"{said}; leave one of them out" in evalkit.refuses(f"show new {options}")

    def test_rows_of_one_run_alone_are_left_out_by_number(self, evalkit: Evalkit) -> None:
        write_run(Path("more"), changed(SPEC, {**SPEC.scores, ("qa_1", 4096): [1.0] * 40}))
        shown = evalkit("compare base more").out
        assert "1 row without a sample that both runs scored: left out." in shown
        assert "qa_1 " not in shown

    def test_unlike_runs_are_refused_unless_asked(self, evalkit: Evalkit) -> None:
        assert evalkit.refuses("compare base olmes") == (
            "base and olmes have different questions (dialect: nvidia in BASE, olmes in NEW); "
            "run both with the same settings, or use compare --unpaired for a less sensitive comparison"
        )
        assert "NOT PAIRED" in evalkit("compare base olmes --unpaired").out

    @pytest.mark.parametrize("name", ["absent", "empty", "broken"])
    def test_what_is_no_run_is_one_line(self, evalkit: Evalkit, name: str) -> None:
        Path("empty").mkdir()
        Path("broken").mkdir()
        Path("broken/run.json").write_text("{")
        assert name in evalkit.refuses("compare base", name)

    def test_pictures_of_a_run_a_comparison_and_a_leaderboard(self, evalkit: Evalkit) -> None:
        notes = evalkit("compare base new --figures pictures/compare").err
        assert "wrote pictures/compare/differences.png" in notes
        evalkit("show new --figures pictures/show")
        evalkit("leaderboard base new --figures pictures/board")
        assert {path.name for path in Path("pictures/compare").iterdir()} >= {"differences.svg", "task_differences.png"}
        assert {path.name for path in Path("pictures/show").iterdir()} >= {"tasks.png", "failures.svg"}
        assert not Path("pictures/board").exists(), "one length makes no line"

    def test_pages_of_a_run_and_a_comparison(self, evalkit: Evalkit) -> None:
        evalkit("show new --html page.html")
        assert Path("page.html").read_text().startswith("<!doctype html>")
        page = evalkit("compare base new --format html").out
        assert page.startswith("<!doctype html>")
        assert "worse than BASE" in page
        assert "without excerpts" not in page + Path("page.html").read_text()
        assert "absent/page.html cannot be written" in evalkit("show new --html absent/page.html", code=2).err


def test_a_page_of_a_run_without_excerpts_says_how_to_see_a_prompt(evalkit: Evalkit) -> None:
    write_run(Path("old"), replace(SPEC, excerpts=False))
    evalkit("show old --html page.html")
    for page in (Path("page.html").read_text(), evalkit("compare old old --format html").out):
        assert page.count("Some samples were stored without excerpts of their prompts; show a whole prompt with: ") == 1


def test_folders_of_runs_are_compared_suite_by_suite(evalkit: Evalkit) -> None:
    track = RunSpec({("parity:4", 0): [1.0, 0.0]}, suite="track")
    for side in ("left", "right"):
        write_run(Path(side, "ruler"), SPEC)
        write_run(Path(side, "track"), track)
    write_run(Path("other/loss"), replace(track, suite="loss"))
    compared = evalkit("compare left right --format json").json()["comparisons"]
    assert [comparison["suite"] for comparison in compared] == ["ruler", "track"]
    assert "BASE has ruler, track and NEW has loss: no suite in common" in evalkit.refuses("compare left other")


class TestSamples:
    @pytest.mark.usefixtures("runs")
    def test_a_sample_whose_model_is_gone_shows_what_is_stored(self, evalkit: Evalkit) -> None:
        shown = evalkit("show new --sample vt/4096/0/42").out
        assert "prompt of vt/4096/0/42" in shown
        assert "wrong needle" in shown
        whole = evalkit("show new --sample vt/4096/0/42 --format json").json()
        assert (whole["prompt"], whole["excerpts"][0]["text"]) == (None, "prompt of vt/4096/0/42")
        assert "./new" in whole["prompt_missing"]
        refusal = evalkit.refuses("show new --sample vt/4096/99/42")
        assert "has no sample 'vt/4096/99/42'; did you mean 'vt/4096/9/42'?" in refusal

    def test_a_sample_without_excerpts_is_built_again(self, evalkit: Evalkit, tiny_run: None) -> None:
        lines = [replace(line, excerpts=()) for line in read_samples(Path("run"))]
        Path("run/samples.jsonl").write_text("".join(to_json(line) + "\n" for line in lines))
        assert "What is 0 + 42?" in evalkit("show run --sample sum/512/0/42").out
        assert "The prompt is not shown: sample sum/512/1/42" in evalkit("show run --sample sum/512/1/42").out

    @pytest.mark.usefixtures("tiny_run")
    def test_a_whole_prompt_is_built_again_and_checked(self, evalkit: Evalkit) -> None:
        assert evalkit("show run --sample sum/512/0/42 --format json").json()["prompt"] == "What is 0 + 42?"
        other = evalkit("show run --sample sum/512/1/42 --format json").json()
        assert other["prompt"] is None
        assert "sample sum/512/1/42 would have a different prompt now" in other["prompt_missing"]
