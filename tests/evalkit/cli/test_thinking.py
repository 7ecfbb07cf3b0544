"""--thinking as it is typed: what is refused, what is stored, what is kept apart, and what is shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chat_templates import CHATML, OPENS
from tests.evalkit.scripts import write_script
from tests.support import Evalkit

NEEDLES = "ruler --tasks niah_single_1 --ctx 1024 --samples 4"
SAMPLE = "niah_single_1/1024/0/42"
THOUGHT = "Which number was it? <b>I</b> look again. "


def record_of(folder: str) -> Any:
    return json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))


def samples_of(folder: str) -> dict[str, Any]:
    lines = (Path(folder) / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["id"]: line for line in map(json.loads, lines)}


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A scripted model that thinks shortly, for long, without an end and not at all, and is always wrong."""
    thoughts = [{"thought": THOUGHT}, {"thought": THOUGHT * 9}, {"thought": THOUGHT, "closes": False}, {}]
    rules = [
        {"match": f"niah_single_1/1024/{index}/42", "text": "no 7777777", **thought}
        for index, thought in enumerate(thoughts)
    ]
    return write_script(tmp_path / "chat.jsonl", *rules, {"text": "no"}, chat_template=OPENS)


def test_thoughts_are_bounded_counted_and_stored_apart(evalkit: Evalkit, model: str) -> None:
    evalkit(f"{NEEDLES} --model {model} --chat user --thinking 64 --out run")
    record, samples = record_of("run"), list(samples_of("run").values())
    assert record["dialect"] == "nvidia+chat-user+think-64"
    assert record["model"]["thinking"] == {
        "budget_tokens": 64,
        "switches": {"enable_thinking": True},
        "open": "<think>",
        "close": "</think>",
        "forced": "\n</think>\n\n",
    }
    manifest = json.loads(Path("run/manifest.json").read_text(encoding="utf-8"))
    assert manifest["thinking"] == "at most 64 tokens, enable_thinking=true, <think> … </think>"
    assert [one["thought_end"] for one in samples] == ["closed", "forced", "unclosed", "closed"]
    assert [one["failure"] for one in samples] == ["other", "cut_while_thinking", "unclosed_thought", "other"]
    assert [one["prediction"] for one in samples] == ["no 7777777", "no 7777777", "", "no 7777777"]
    assert samples[0]["thought"] == THOUGHT.strip()
    assert samples[1]["thought"].startswith(THOUGHT)
    assert THOUGHT * 2 not in samples[0]["thought"]
    for one in samples:
        assert one["thought_tokens"] <= one["completion_tokens"]
        assert one["prompt_tokens"] + one["generation_tokens"] <= 1024
        assert one["prompt_tokens"] + one["completion_tokens"] <= 1024
    assert record["failures"] == {"cut_while_thinking": 1, "other": 2, "unclosed_thought": 1}


def test_off_is_recorded_and_budgets_are_kept_apart(evalkit: Evalkit, model: str) -> None:
    for folder, options in (("off", ""), ("small", "--thinking 32"), ("large", "--thinking 64")):
        evalkit(f"{NEEDLES} --model {model} --chat user {options} --out {folder}")
    off = record_of("off")
    assert off["dialect"] == "nvidia+chat-user"
    assert off["model"]["thinking"]["switches"] == {"enable_thinking": False}
    assert off["config"]["thinking"] == 0
    assert all(one["thought"] is None for one in samples_of("off").values())
    assert "dialect" in evalkit.refuses("compare small large")
    assert "dialect" in evalkit.refuses("compare off large")
    line = evalkit.refuses(f"{NEEDLES} --model {model} --chat user --thinking 64 --out small --resume")
    assert "nvidia+chat-user+think-32 -> nvidia+chat-user+think-64" in line
    board = evalkit("leaderboard off small large").out
    assert all(f"nvidia+chat-user{budget}" in board for budget in ("+think-32", "+think-64"))


def test_thoughts_are_shown_in_every_form(evalkit: Evalkit, model: str) -> None:
    asked = f"{NEEDLES} --model {model} --chat user --thinking 64"
    shown = evalkit(f"{asked} --out run").out
    assert "Thoughts before answers by context length" in shown
    assert "cut while thinking" in shown
    figures = {figure["name"]: figure["value"] for figure in record_of("run")["figures"] if figure["ctx"] == 1024}
    ends = [one["thought_end"] for one in samples_of("run").values()]
    assert figures["thoughts_forced"] == 100 * ends.count("forced") / 4
    assert figures["thoughts_unclosed"] == 100 * ends.count("unclosed") / 4
    tokens = [one["thought_tokens"] for one in samples_of("run").values()]
    assert figures["thought_tokens"] == sum(tokens) / 4
    assert "closed by force" in Path("run/report.md").read_text(encoding="utf-8")
    one = evalkit(f"show run --sample {SAMPLE.replace('/0/', '/1/')}").out
    assert "64 tokens" not in one  # the closing tag counts too
    assert "tokens, closed by force) Which number was it? <b>I</b> look again." in " ".join(one.split())
    evalkit(f"{asked} --out again")
    assert "thoughts forced/1024" in evalkit("compare run again").out
    evalkit("show run --html page.html")
    assert Path("page.html").stat().st_size > 0
    before = record_of("run")["figures"]
    evalkit("resummarize run")
    assert record_of("run")["figures"] == before


def test_the_prompt_of_a_stored_sample_is_built_again(evalkit: Evalkit, model: str) -> None:
    evalkit(f"{NEEDLES} --model {model} --chat prefill --thinking 64 --out run")
    shown = evalkit(f"show run --sample {SAMPLE} --format json").json()
    assert shown["prompt"].endswith("<|im_start|>assistant\n<think>\n")
    assert shown["thought"] == THOUGHT.strip()


def test_tags_are_given_and_plans_take_the_options(evalkit: Evalkit, tmp_path: Path) -> None:
    model = write_script(tmp_path / "plain.jsonl", {"text": "no", "thought": "hm"}, chat_template=CHATML)
    evalkit(f"{NEEDLES} --model {model} --chat user --thinking 1K --think-tags [[ ]] --ctx 2048 --out run")
    thinking = record_of("run")["model"]["thinking"]
    assert (thinking["budget_tokens"], thinking["open"], thinking["close"]) == (1024, "[[", "]]")
    plan = (
        f"models: ['{model}']\nsuites:\n  ruler: {{ctx: 1024, tasks: niah_single_1, samples: 1, chat: user, "
        "thinking: %s, think_tags: ['[[', ']]']}\n"
    )
    for value, dialect in (("off", "nvidia+chat-user"), ("64", "nvidia+chat-user+think-64")):
        Path("plan.yaml").write_text(plan % value, encoding="utf-8")
        evalkit(f"run plan.yaml --out {value}")
        (run,) = Path(value).rglob("run.json")
        assert json.loads(run.read_text(encoding="utf-8"))["dialect"] == dialect
    Path("plan.yaml").write_text(plan % "some", encoding="utf-8")
    assert "suites.ruler.thinking: 'some' is not a number of tokens" in evalkit.refuses("run plan.yaml --dry-run")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--chat user --thinking 2000", "niah_single_1 does not fit --ctx 1,024: its smallest prompt has"),
        ("--thinking 64", "--thinking 64: raw text has no thoughts; add --chat user, or leave it out"),
        ("--chat user --thinking many", "--thinking: 'many' is not a number of tokens; write off, or a number"),
        ("--chat user --thinking -1", "--thinking: '-1' is not a number of tokens"),
    ],
)
def test_what_cannot_be_is_one_line(evalkit: Evalkit, model: str, options: str, complaint: str) -> None:
    assert complaint in evalkit.refuses(f"{NEEDLES} --model {model} {options} --out run")
    assert not Path("run/samples.jsonl").exists()


def test_track_and_the_needles_of_extend(evalkit: Evalkit, model: str) -> None:
    asked = f"--model {model} --chat user --thinking 64 --samples 2"
    evalkit(f"track {asked} --tasks parity --updates 4 --out track")
    assert record_of("track")["dialect"] == "3-shot+chat-user+think-64"
    Path("text.txt").write_text("Once upon a time there was a mill. " * 400, encoding="utf-8")
    evalkit(
        f"extend {asked} --ctx 1024 --trained 512 --text text.txt --windows 1 --depths 2 --tasks niah_single_1 "
        "--out extend",
        code=None,
    )
    ends = {one["task"]: one["thought_end"] for one in samples_of("extend").values()}
    assert ends.pop("niah_single_1") is not None
    assert set(ends.values()) == {None}


def test_suites_without_thoughts_say_which_take_them(evalkit: Evalkit, model: str) -> None:
    line = evalkit.refuses(f"mmlu --model {model} --chat user --thinking 64")
    assert line.startswith(
        "--thinking 64: mmlu takes no thoughts; use --thinking off, or run a suite that takes them: "
    )
    line = evalkit.refuses(f"lm-eval --tasks gsm8k --model {model} --chat user --thinking 64")
    assert line.startswith("--thinking 64: lm-eval's evaluator takes no thoughts; use --thinking off, or evalkit run")
