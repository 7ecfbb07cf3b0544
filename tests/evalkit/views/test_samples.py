"""What a reader browses: wrong answers have their prompts first, and nothing is shown that was not asked."""

from pathlib import Path

from evalkit.analysis.pairing import pair_runs
from evalkit.errors import UsageError
from evalkit.records import Sample, SampleRecord
from evalkit.views.samples import LONGEST_ANSWER, PromptSource, comparison_views, run_views, tasks_and_lengths
from tests.evalkit.run_factory import ERRORED, UNSCORED, RunSpec, changed, make_run, make_samples
from tests.evalkit.sample_records import remake

SPEC = RunSpec({("vt", 4096): [1.0, 0.0, ERRORED, UNSCORED, 1.0], ("cwe", 65536): [0.5]})


def test_wrong_answers_have_their_prompts_first() -> None:
    source = PromptSource(remake, 3)
    views = {view.id: view for view in run_views(make_samples(SPEC), source)}
    shown = [name for name, view in views.items() if view.pieces]
    assert shown == ["vt/4096/1/42", "vt/4096/2/42", "cwe/65536/0/42"]
    assert views["vt/4096/1/42"].pieces[0].text == "prompt of vt/4096/1/42"
    assert [view.failed for view in views.values()] == [False, True, True, True, False, True]
    assert views["vt/4096/3/42"].new.problem == "it does not fit"
    assert (source.made, source.reason) == (3, None)
    assert tasks_and_lengths(list(views.values())) == (["vt", "cwe"], [4096, 65536])


def test_samples_that_got_worse_come_first_in_a_comparison(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0, 1.0, 0.0, 1.0]})
    new = changed(base, {("vt", 4096): [1.0, 0.0, 1.0, 0.5]}, prediction="x" * (LONGEST_ANSWER + 1))
    pairing = pair_runs(make_run(tmp_path / "base", base), make_run(tmp_path / "new", new))
    views = comparison_views(pairing, PromptSource(remake, 2))
    assert [bool(view.pieces) for view in views] == [False, True, False, True]
    assert [view.flipped for view in views] == [False, True, True, True]
    assert views[0].base is not None
    assert len(views[0].new.prediction) == LONGEST_ANSWER


def test_what_stands_in_the_way_of_prompts_is_said_once() -> None:
    asked = []

    def refuse(stored: SampleRecord) -> Sample:
        asked.append(stored.id)
        raise UsageError("other corpora")

    source = PromptSource(refuse, 10)
    assert not any(view.pieces for view in run_views(make_samples(SPEC), source))
    assert (source.reason, len(asked)) == ("other corpora", 1)
    assert not any(view.pieces for view in run_views(make_samples(SPEC), PromptSource(None, 5, "no model")))
