"""The process of a served run: small, without torch, and it loses nothing."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.chat_templates import CHATML
from tests.model_adapters.served.fake_server import serve
from tests.model_adapters.small_models import byte_tokenizer
from tests.support import run_python

MEGABYTES = 300
# A run from the command line through a chat template, then many requests in the same process.
PROCESS = """
import json, sys
from pathlib import Path
from evalkit import cli
from evalkit.records import Request
from evalkit.running.model_options import ModelOptions
from model_adapters.opening import open_model
from model_adapters.served import client

client._FIRST_DELAY_SECONDS = 0.001
url, tokenizer = sys.argv[1:]
line = f"track --tasks parity --updates 4 --samples 2 --shots 1 --chat user --model served --server {url} --out run"
sys.argv = ["evalkit", *line.split(), "--tokenizer", tokenizer]
try:
    cli.main()
except SystemExit as stop:
    assert stop.code == 0, stop.code
opened = open_model(ModelOptions("served", server=url, tokenizer=tokenizer, batch_sequences=64))
requests = (Request(str(index), (5, 6, index), 8) for index in range(1000))
found = {each.request_id: each.error or each.text for each in opened.make_adapter().generate(requests)}
print(json.dumps({
    "answers": [found[str(index)] for index in range(1000)],
    "torch": "torch" in sys.modules,
    # getrusage would count the memory of the process that started this one.
    "status": Path("/proc/self/status").read_text(),
}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
def test_a_thousand_requests_of_which_one_in_ten_fails(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    with serve() as fake:
        fake.fault = lambda body, before: (
            (503, {}) if before == 0 and len(body["prompt"]) == 3 and body["prompt"][2] % 10 == 0 else None
        )
        done = run_python("-c", PROCESS, fake.url, str(tmp_path / "tokenizer"), folder=tmp_path)
        assert done.returncode == 0, done.stderr
        asked = [body["prompt"] for body in fake.bodies if body["prompt"][:2] == [5, 6]]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["answers"] == [f"answer to {11 + index}" for index in range(1000)]
    assert (len(asked), len({prompt[2] for prompt in asked})) == (1100, 1000)
    assert 2 <= fake.most_at_once <= 64
    assert found["torch"] is False
    peak = re.search(r"VmHWM:\s+(\d+) kB", found["status"])
    assert peak is not None
    assert int(peak[1]) < 1024 * MEGABYTES
