"""Results of lm-eval and of RULER's own scorer, as those tools write them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.foreign_results import ForeignResult, is_foreign, read_foreign
from evalkit.errors import UsageError

LM_EVAL: dict[str, Any] = {
    "results": {
        "mmlu": {"alias": "mmlu", "acc,none": 0.5178, "acc_stderr,none": 0.0041},
        "gsm8k": {
            "alias": "gsm8k",
            "exact_match,strict-match": 0.25,
            "exact_match_stderr,strict-match": 0.01,
            "exact_match,flexible-extract": 0.3,
            "exact_match_stderr,flexible-extract": "N/A",
        },
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 12.5, "word_perplexity_stderr,none": "N/A"},
        "niah_single_1": {"alias": "niah_single_1", "4096,none": 0.98, "4096_stderr,none": "N/A", "8192,none": -1},
    },
    "n-samples": {"mmlu": {"original": 14042, "effective": 570}},
    "config": {"model": "hf", "model_args": "pretrained=./checkpoint,dtype=bfloat16"},
    "lm_eval_version": "0.4.13",
}


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
    ],
)
def test_the_model_is_named_where_lm_eval_says_it(tmp_path: Path, changes: dict[str, Any], model: str) -> None:
    assert read_lm_eval(tmp_path, {**LM_EVAL, **changes}).model == model


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
