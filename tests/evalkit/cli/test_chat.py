"""--chat as it is typed: what is refused, what is stored, and runs of both engines."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from tests.chat_templates import CHATML, LLAMA
from tests.evalkit.scripts import asked, write_script
from tests.model_adapters.small_models import byte_tokenizer, small_model
from tests.suites.lm_eval_tasks.own_tasks import write_tasks
from tests.suites.mmlu.small_data import write_mmlu
from tests.support import Evalkit

NEEDLES = "ruler --tasks niah_single_1 --ctx 1024 --samples 2"
SAMPLE = "--sample niah_single_1/1024/0/42 --format json"


def record_of(folder: str) -> Any:
    return json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A scripted model with a chat template, which logs the ids of its requests."""
    return write_script(tmp_path / "chat.jsonl", {"text": "no idea"}, chat_template=CHATML, log="asked.txt")


def test_the_convention_is_stored_and_kept_apart(evalkit: Evalkit, model: str, tmp_path: Path) -> None:
    for mode in ("off", "prefill", "user"):
        evalkit(f"{NEEDLES} --model {model} --chat {mode} --out {mode}")
    records = {mode: record_of(mode) for mode in ("off", "prefill", "user")}
    assert [record["dialect"] for record in records.values()] == ["nvidia", "nvidia+chat-prefill", "nvidia+chat-user"]
    assert [record["config"]["chat"] for record in records.values()] == ["off", "prefill", "user"]
    templates = [record["model"]["chat_template"] for record in records.values()]
    assert templates[0] is None
    assert templates[1] == templates[2]
    assert json.loads(Path("user/manifest.json").read_text(encoding="utf-8"))["chat_template"] == templates[1]
    assert "dialect" in evalkit.refuses("compare off prefill")
    assert "nvidia+chat-prefill -> nvidia+chat-user" in evalkit.refuses(
        f"{NEEDLES} --model {model} --chat user --out prefill --resume"
    )
    prompt = evalkit(f"show prefill {SAMPLE}").json()["prompt"]
    assert prompt.startswith("<|im_start|>user\n")
    assert "<|im_start|>assistant\n" in prompt


def test_another_template_is_not_resumed(evalkit: Evalkit, tmp_path: Path) -> None:
    checkpoint = tiny_chat_model(tmp_path / "checkpoint", CHATML)
    command = f"{NEEDLES} --model {checkpoint} --skip-preflight --chat prefill --out run"
    evalkit(command)
    record = record_of("run")
    assert record["counts"]["errors"] == 0
    assert record["dialect"] == "nvidia+chat-prefill"
    evalkit(f"{command} --resume")
    (checkpoint / "chat_template.jinja").write_text(LLAMA, encoding="utf-8")
    assert "chat_template: sha256:" in evalkit.refuses(f"{command} --resume")
    assert "different chat template now" in evalkit(f"show run {SAMPLE}").json()["prompt_missing"]


@pytest.mark.parametrize("command", ["ruler --ctx 1024 --tasks niah_single_1", "run plan.yaml"])
def test_a_tokenizer_without_template_is_refused(evalkit: Evalkit, tmp_path: Path, command: str) -> None:
    model = write_script(tmp_path / "raw.jsonl", {"text": "no"}, log="asked.txt")
    plan = f"models: ['{model}']\nsuites:\n  ruler: {{ctx: 1024, tasks: niah_single_1, samples: 1, chat: user}}\n"
    Path("plan.yaml").write_text(plan, encoding="utf-8")
    if command.startswith("ruler"):
        line = evalkit.refuses(f"{command} --model {model} --chat user --out run")
        assert line.startswith(f"--chat user: the tokenizer of {model} has no chat template; use --chat off")
    else:
        assert "has no chat template" in evalkit(command, code=2).err
    assert asked(tmp_path / "asked.txt") == []


def test_a_suite_without_a_convention_names_those_that_have_one(evalkit: Evalkit, model: str) -> None:
    assert evalkit.refuses(f"loss --ctx 1024 --model {model} --chat user") == (
        "--chat user: loss has no chat form; leave --chat out, or run a suite that has one: ruler, mmlu, track, "
        "extend, lm-eval"
    )


def test_worked_examples_are_turns_or_not(evalkit: Evalkit, model: str, tmp_path: Path) -> None:
    command = f"mmlu --data {write_mmlu(tmp_path / 'mmlu', ['virology'], test=2)} --subjects virology --model {model}"
    dialects = {"--chat user": "5-shot mc+chat-user", "--chat prefill": "5-shot mc+chat-prefill"}
    dialects["--chat user --no-fewshot-as-multiturn"] = "5-shot mc+chat-user-single-turn"
    for number, (options, dialect) in enumerate(dialects.items()):
        evalkit(f"{command} {options} --out run{number}")
        record = record_of(f"run{number}")
        assert record["dialect"] == dialect
        assert record["model"]["chat_template"].startswith("sha256:")
        prompt = evalkit(f"show run{number} --sample virology/0/1/0 --format json").json()["prompt"]
        assert prompt.count("<|im_start|>user") == (1 if "single" in dialect else 6)
    assert record_of("run2")["config"]["fewshot_as_multiturn"] is False
    assert "dialect" in evalkit.refuses("compare run0 run2")
    assert "dialect: 5-shot mc+chat-user -> 5-shot mc+chat-user-single-turn" in evalkit.refuses(
        f"{command} --chat user --no-fewshot-as-multiturn --out run0 --resume"
    )
    for options in ("--fewshot-as-multiturn", "--no-fewshot-as-multiturn"):
        assert evalkit.refuses(f"{command} {options}") == (
            "fewshot_as_multiturn has a meaning only in a chat; add --chat user, or leave it out"
        )


def test_lm_evals_tasks_take_the_template_in_both_commands(evalkit: Evalkit, model: str, tmp_path: Path) -> None:
    given = f"--model {model} --include-path {write_tasks(tmp_path / 'tasks')} --chat user"
    evalkit(f"lm-eval {given} --tasks colours,sums --no-fewshot-as-multiturn --out results.json")
    evalkit(f"run {given} --suite lm-eval:colours,sums --set fewshot_as_multiturn=false --out run")
    results, record = json.loads(Path("results.json").read_text(encoding="utf-8")), record_of("run")
    assert results["chat_template"] == CHATML
    assert f"sha256:{results['chat_template_sha']}" == record["model"]["chat_template"]
    assert results["fewshot_as_multiturn"] is record["config"]["fewshot_as_multiturn"] is False
    assert record["dialect"] == "each task's own shots+chat-user-single-turn"
    prompt = evalkit("show run --sample colours/0/0/1234 --format json").json()["prompt"]
    assert prompt.startswith("<|im_start|>system\nColours of things.\n\n<|im_end|>\n<|im_start|>user\nWhat is")
    # Refused before the model is loaded.
    assert "task prose scores whole texts" in evalkit.refuses(f"lm-eval {given} --tasks prose")
    assert "task prose scores whole texts" in evalkit.refuses(f"run {given} --suite lm-eval:prose")


@pytest.mark.parametrize("mode", ["off", "user"])
def test_a_template_that_is_not_used_is_noted_once(evalkit: Evalkit, model: str, tmp_path: Path, mode: str) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    noted = (
        "note: the tokenizer has a chat template, and --chat off does not use it; see --chat prefill and --chat user"
    )
    for command in (NEEDLES, f"lm-eval --tasks sums --include-path {tasks}"):
        lines = evalkit(f"{command} --model {model} --chat {mode}").err.splitlines()
        assert lines.count(noted) == (mode == "off")
    assert noted not in evalkit(f"loss --ctx 256 --samples 1 --model {model}").err
    raw = write_script(tmp_path / "raw.jsonl", {"text": "no"})
    assert noted not in evalkit(f"{NEEDLES} --model {raw}").err


def test_unknown_values(evalkit: Evalkit, model: str) -> None:
    assert "'users' is not one of 'off', 'prefill', 'user'" in evalkit(f"{NEEDLES} --chat users", code=2).err
    Path("plan.yaml").write_text(
        f"models: ['{model}']\nsuites: {{ruler: {{ctx: 1024, chat: users}}}}\n", encoding="utf-8"
    )
    assert "suites.ruler.chat: 'users' is unknown; did you mean 'user'" in evalkit.refuses("run plan.yaml --dry-run")


def test_a_plan_says_off_as_yaml_reads_it(evalkit: Evalkit, model: str) -> None:
    text = f"models: ['{model}']\nsuites:\n  ruler: {{ctx: 1024, tasks: niah_single_1, samples: 1, chat: off}}\n"
    Path("plan.yaml").write_text(text, encoding="utf-8")
    evalkit("run plan.yaml --out plan")
    (run,) = Path("plan").rglob("run.json")
    assert json.loads(run.read_text(encoding="utf-8"))["dialect"] == "nvidia"


def test_samples_for_other_tools_are_raw(evalkit: Evalkit, model: str) -> None:
    assert "--prepare-only writes raw text" in evalkit.refuses(f"{NEEDLES} --model {model} --chat user --prepare-only")


def tiny_chat_model(folder: Path, template: str) -> Path:
    """A small random checkpoint on disk, whose tokenizer has a chat template."""
    small_model("olmo_hybrid").save_pretrained(folder)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def test_answers_are_those_of_transformers(evalkit: Evalkit, tmp_path: Path) -> None:
    checkpoint = tiny_chat_model(tmp_path / "checkpoint", LLAMA)
    evalkit(f"{NEEDLES} --model {checkpoint} --device cpu --chat prefill --out run")
    lines = map(json.loads, Path("run/samples.jsonl").read_text(encoding="utf-8").splitlines())
    stored = {line["id"]: line for line in lines}
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = small_model("olmo_hybrid")
    for name, line in stored.items():
        prompt = evalkit(f"show run --sample {name} --format json").json()["prompt"]
        head, _, rest = prompt.partition("user<|end_header_id|>\n\n")
        question, _, rest = rest.partition("<|eot_id|>")
        assert head == "<bos><|start_header_id|>"
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": rest.partition("assistant<|end_header_id|>\n\n")[2]},
        ]
        ids = tokenizer.apply_chat_template(
            messages, return_tensors="pt", return_dict=False, continue_final_message=True
        )
        assert ids.shape[1] == line["prompt_tokens"]
        answer = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=128, do_sample=False)
        assert line["prediction"] == tokenizer.decode(answer[0, ids.shape[1] :], skip_special_tokens=True)
