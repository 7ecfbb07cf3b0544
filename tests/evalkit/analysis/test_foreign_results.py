"""Results of lm-eval and of RULER's own scorer, as those tools write them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.foreign_results import ForeignResult, is_foreign, read_foreign, read_foreign_results
from evalkit.errors import UsageError
from tests.evalkit.lm_eval_results import LM_EVAL


def read_lm_eval(tmp_path: Path, data: Any) -> ForeignResult:
    path = tmp_path / "results_2026-07-01T12-00-00.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return read_foreign(path)


def test_lm_evals_figures(tmp_path: Path) -> None:
    result = read_lm_eval(tmp_path, LM_EVAL)
    assert (result.dialect, result.model) == ("lm-eval 0.4.13", "./checkpoint")
    rows = {(row.task, row.ctx, row.metric): row for row in result.rows}
    mmlu = rows["mmlu", None, "acc"]
    assert mmlu.value == pytest.approx(51.78)
    assert mmlu.ci95 == pytest.approx((51.78 - 0.8036, 51.78 + 0.8036), abs=1e-3)
    assert mmlu.n == 570
    assert rows["gsm8k", None, "exact_match (strict-match)"].value == 25.0
    assert rows["gsm8k", None, "exact_match (flexible-extract)"].ci95 is None
    assert rows["wikitext", None, "word_perplexity"].value == 12.5
    assert rows["niah_single_1", 4096, "score"].value == 98.0
    assert len(rows) == 5, "a length without samples, -1, is no figure"


@pytest.mark.parametrize(
    ("changes", "model"),
    [
        ({"model_name": "allenai/Olmo-3-7B"}, "allenai/Olmo-3-7B"),
        ({"config": {"model_args": {"pretrained": "dict/model"}}}, "dict/model"),
        ({"config": None}, "results_2026-07-01T12-00-00"),
        ({"config": None, "model": "reference:transformer"}, "reference:transformer"),
        ({"config": {"model": "hf", "model_args": "pretrained=lab/m,revision=step7"}}, "lab/m@step7"),
        ({"config": {"model": "hf", "model_args": "pretrained=lab/m,revision=main"}}, "lab/m"),
        ({"config": {"model": "hf", "model_args": {"pretrained": "lab/m", "revision": "step7"}}}, "lab/m@step7"),
        ({"config": {"model_args": "pretrained=lab/m,peft=lab/a"}, "model_name": "lab/a"}, "lab/m (peft=lab/a)"),
        ({"config": {"model_args": "pretrained=lab/m,delta=lab/d"}, "model_name": "lab/d"}, "lab/m (delta=lab/d)"),
        ({"config": {"model_args": "model=served,base_url=http://x"}}, "served"),
        ({"config": {"model": "lab/python-object", "model_args": None}}, "lab/python-object"),
    ],
)
def test_the_model_is_named_where_lm_eval_says_it(tmp_path: Path, changes: dict[str, Any], model: str) -> None:
    assert read_lm_eval(tmp_path, {**LM_EVAL, **changes}).model == model


def one_task(acc: float, **beside: Any) -> dict[str, Any]:
    return {"results": {"arc_easy": {"acc,none": acc, "acc_stderr,none": 0.01}}, "lm_eval_version": "0.4.9", **beside}


def args(text: str, **config: Any) -> dict[str, Any]:
    return {"config": {"model": "hf", "model_args": text, **config}}


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        (args("pretrained=m,revision=a"), args("pretrained=m,revision=b"), ("m@a", "m@b")),
        (args("pretrained=m"), args("pretrained=m,peft=x"), ("m", "m (peft=x)")),
        (
            args("pretrained=m") | {"n-shot": {"arc_easy": 0}},
            args("pretrained=m") | {"n-shot": {"arc_easy": 25}},
            ("m (num_fewshot=0)", "m (num_fewshot=25)"),
        ),
        (args("pretrained=m", limit=100.0), args("pretrained=m"), ("m (limit=100.0)", "m (limit=none)")),
        (args("pretrained=m,dtype=a"), args("pretrained=m,dtype=b"), ("m (dtype=a)", "m (dtype=b)")),
        (
            {"model": "m", "fingerprint": "a1"},
            {"model": "m", "fingerprint": "b2"},
            ("m (fingerprint=a1)", "m (fingerprint=b2)"),
        ),
        (args("pretrained=m"), args("pretrained=m"), ("m ({}/first.json)", "m ({}/second.json)")),
    ],
)
def test_results_of_one_figure_get_names_of_their_own(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], names: tuple[str, str]
) -> None:
    paths = [tmp_path / "first.json", tmp_path / "second.json"]
    for path, acc, beside in zip(paths, (0.31, 0.47), (first, second), strict=True):
        path.write_text(json.dumps(one_task(acc, **beside)))
    expected = {name.format(tmp_path): value for name, value in zip(names, (31, 47), strict=True)}
    for ordered in (paths, paths[::-1], [*paths, *paths]):
        found = read_foreign_results(ordered)
        assert {result.model: round(result.rows[0].value) for result in found} == expected


def test_files_that_share_no_figure_stay_one_model(tmp_path: Path) -> None:
    for ctx in (4096, 8192):
        write_summary(tmp_path, "0,1\nTasks,vt\nScore,6.6\n", f"llama/synthetic/{ctx}/pred")
    files = sorted(tmp_path.rglob("summary.csv"))
    assert [result.model for result in read_foreign_results(files)] == ["llama", "llama"]
    copy = write_summary(tmp_path, "0,1\nTasks,vt\nScore,9\n", "again/llama/synthetic/4096/pred")
    models = {result.model for result in read_foreign_results([*files, copy])}
    assert models == {f"llama ({path})" for path in (*files, copy)}


@pytest.mark.parametrize(
    ("metrics", "n", "interval"),
    [
        ({"acc,none": 0.98, "acc_stderr,none": 0.02}, 50, (86.87, 99.72)),
        ({"acc,none": 0.02, "acc_stderr,none": 0.02}, 50, (0.28, 13.13)),
        ({"acc,none": 0.0, "acc_stderr,none": 0.0}, 25, (0, 13.7)),
        ({"acc,none": 1.0, "acc_stderr,none": 0.0}, 40, (91.2, 100)),
        ({"acc,none": 1.0, "acc_stderr,none": 0.0}, None, None),
        ({"exact_match,none": 0.8567, "exact_match_stderr,none": 0.0}, 307, None),
        ({"acc,none": 0.5, "acc_stderr,none": -0.1}, 50, None),
        ({"acc,none": 0.5, "acc_stderr,none": float("nan")}, 50, None),
        ({"acc,none": 0.5, "acc_stderr,none": 1e9}, 50, (0, 100)),
        ({"acc": 0.21, "acc_stderr": 0.012}, None, (18.648, 23.352)),
        ({"f1,none": 45.3, "f1_stderr,none": 0.5}, None, (44.32, 46.28)),
        ({"word_perplexity,none": 20.1, "word_perplexity_stderr,none": 0.0}, None, None),
        ({"bleu,none": 120.0, "bleu_stderr,none": 1.0}, None, (118.04, 121.96)),
    ],
)
def test_intervals_stay_on_the_scale_and_have_a_width(
    tmp_path: Path, metrics: dict[str, float], n: int | None, interval: tuple[float, float] | None
) -> None:
    counts = {} if n is None else {"n-samples": {"task": {"original": n, "effective": n}}}
    (row,) = read_lm_eval(tmp_path, {"results": {"task": metrics}, "versions": {"task": 1}, **counts}).rows
    assert row.ci95 == (None if interval is None else pytest.approx(interval, abs=0.06))


def test_samples_of_all_lengths_together_are_not_those_of_one(tmp_path: Path) -> None:
    """lm-eval counts a task's documents of all lengths together; five right of five are not ten of ten."""
    metrics = {"4096,none": 1.0, "4096_stderr,none": 0.0, "8192,none": 0.5, "8192_stderr,none": 0.2}
    counts = {"n-samples": {"vt": {"original": 10, "effective": 10}}}
    two = read_lm_eval(tmp_path, json.dumps({"results": {"vt": metrics}, **counts})).rows
    assert [(row.ctx, row.n, row.ci95 is None) for row in two] == [(4096, None, True), (8192, None, False)]
    one = read_lm_eval(tmp_path, json.dumps({"results": {"vt": {**metrics, "8192,none": -1}}, **counts})).rows
    assert [(row.ctx, row.n, row.ci95) for row in one] == [(4096, 10, (pytest.approx(69.15, abs=0.01), 100))]


@pytest.mark.parametrize(
    ("task", "metric", "reported", "shown"),
    [
        ("squadv2", "f1", 45.3, 45.3),
        ("squadv2", "f1", 0.8, 0.8),
        ("squadv2", "exact", 41.2, 41.2),
        ("drop", "f1", 0.31, 31),
        ("scrolls_quality", "em", 66.7, 66.7),
        ("scrolls_quality", "acc", 0.667, 66.7),
        ("coqa", "em", 0.6, 60),
        ("humaneval", "pass@1", 0.25, 25),
        ("ifeval", "prompt_level_strict_acc", 0.5, 50),
        ("hellaswag", "acc_norm", 1, 100),
        ("own", "acc", 61.0, 61),
        ("own", "acc", -3.0, -3),
        ("niah_single_1", "4096", 0.98, 98),
    ],
)
def test_what_is_0_100_already_is_not_multiplied(
    tmp_path: Path, task: str, metric: str, reported: float, shown: float
) -> None:
    (row,) = read_lm_eval(tmp_path, {"results": {task: {f"{metric},none": reported}}, "n-shot": {task: 0}}).rows
    assert row.value == pytest.approx(shown)


def test_a_nan_leaves_out_one_figure_and_not_the_file(tmp_path: Path) -> None:
    text = json.dumps(
        {
            "results": {
                "lambada": {"perplexity,none": float("nan"), "perplexity_stderr,none": float("inf"), "acc,none": 0.5},
                "arc_easy": {"acc,none": 0.61, "acc_stderr,none": 0.01},
            },
            "lm_eval_version": "0.4.9",
        }
    )
    assert "NaN" in text
    rows = read_lm_eval(tmp_path, text).rows
    assert [(row.task, row.metric, row.value) for row in rows] == [("lambada", "acc", 50), ("arc_easy", "acc", 61)]
    summary = write_summary(tmp_path, "0,1,2\nTasks,vt,cwe\nScore,nan,6.6\nNulls,0/500,0/500\n")
    assert [(row.task, row.value) for row in read_foreign(summary).rows] == [("cwe", 6.6)]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(LM_EVAL), encoding="utf-8-sig")
    assert read_foreign(path).model == "./checkpoint"
    path = tmp_path / "summary.csv"
    path.write_text("Tasks,vt\nScore,6.6\n", encoding="utf-8-sig")
    assert read_foreign(path).rows[0].value == 6.6


@pytest.mark.parametrize(
    ("place", "model", "ctx"),
    [
        ("llama/synthetic/65536/pred", "llama", 65536),
        ("llama/65536/pred", "llama", 65536),
        ("llama/65536", "llama", 65536),
        ("llama/pred", "llama", None),
        ("llama", "llama", None),
    ],
)
def test_model_and_length_come_from_the_folders(tmp_path: Path, place: str, model: str, ctx: int | None) -> None:
    result = read_foreign(write_summary(tmp_path, "0,1\nTasks,vt\nScore,6.6\n", place))
    assert (result.model, result.rows[0].ctx) == (model, ctx)


OTHER_TOOLS: dict[str, tuple[Any, str]] = {
    "lighteval": (
        {"config_general": {}, "results": {"leaderboard|arc|25": {"acc": 0.5}}, "versions": {}},
        "it is a result of lighteval, which is not read",
    ),
    "no tool": (
        {"results": {"a": {"seconds": 3.2}}, "config": {"model": "x"}},
        "none of the fields that lm-eval writes",
    ),
    "deep": ('{"results": ' + "[" * 9999, "nested more than 200 levels deep"),
    "only text": ({"results": {"a": {"alias": "a"}}, "versions": {}}, "hold no number"),
}


@pytest.mark.parametrize("tool", OTHER_TOOLS)
def test_results_of_other_tools_are_not_taken_for_lm_evals(tmp_path: Path, tool: str) -> None:
    data, message = OTHER_TOOLS[tool]
    with pytest.raises(UsageError, match=message):
        read_lm_eval(tmp_path, data)


@pytest.mark.parametrize(
    "data", ["{", "[]", "null", {"results": []}, {"results": {"a": 1}}, {"results": {}}, "1" * 5000]
)
def test_what_is_no_result_of_lm_eval_is_named(tmp_path: Path, data: Any) -> None:
    with pytest.raises(UsageError, match=r"results_2026.*\.json is not a result of lm-eval"):
        read_lm_eval(tmp_path, data)


def write_summary(tmp_path: Path, text: str, place: str = "llama/synthetic/65536/pred") -> Path:
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.csv").write_text(text)
    return folder / "summary.csv"


def test_rulers_summary(tmp_path: Path) -> None:
    tasks = [f"task_{number}" for number in range(13)]
    numbers = ",".join(str(number) for number in range(14))
    scores = ",".join(str(float(50 + number)) for number in range(13))
    text = f"{numbers}\nTasks,{','.join(tasks)}\nScore,{scores}\nNulls,{','.join(['0/500'] * 13)}\n"
    result = read_foreign(write_summary(tmp_path, text))
    assert (result.model, result.dialect) == ("llama", "RULER's own scorer (summary.csv)")
    assert [(row.task, row.ctx, row.value, row.n) for row in result.rows[:1]] == [("task_0", 65536, 50.0, 500)]
    assert (result.rows[-1].task, result.rows[-1].value) == ("mean of 13", 56.0)
    elsewhere = read_foreign(write_summary(tmp_path, "0,1\nTasks,vt\nScore,6.6\nNulls,0/500\n", "copied"))
    assert (elsewhere.model, elsewhere.rows[0].ctx, len(elsewhere.rows)) == ("copied", None, 1)


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n", "Tasks,vt\n", "Tasks,vt,cwe\nScore,1\n", "Tasks,vt\nScore,x\n", "Tasks,vt\nScore,101\n", "\x00"],
)
def test_what_is_no_summary_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"summary\.csv is not a summary\.csv of RULER"):
        read_foreign(write_summary(tmp_path, text))


def test_files_are_told_by_their_name(tmp_path: Path) -> None:
    assert is_foreign(Path("results.json"))
    assert is_foreign(Path("a/summary.csv"))
    assert not is_foreign(Path("runs/a/run.json"))
    assert not is_foreign(Path("runs/a"))
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_foreign(tmp_path / "absent.csv")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(LM_EVAL, json_values)))
def test_any_json_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "results.json"
    path.write_text(json.dumps(data))
    try:
        result = read_foreign(path)
    except UsageError:
        return
    assert result.rows
