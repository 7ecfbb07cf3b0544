"""Runs import no part of PyTorch and transformers that they do not use, and such parts still work for who asks."""

import json
from pathlib import Path

from tests.model_adapters.small_models import save_small_checkpoint
from tests.support import run_python

UNUSED = (
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.tensor",
    "torch.distributed.checkpoint",
    "sympy",
    "torchvision",
    "torchaudio",
    "sklearn",
    "pandas",
    "datasets",
    "lm_eval",
    "matplotlib",
    "scipy",
    "ray",
)

OF_REPORTS = ("evalkit.analysis.comparison", "reports.markdown", "reports.run_report")


def test_a_run_imports_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path / "m", "olmo_hybrid")
    for name in ("torchvision", "torchaudio"):  # stand for packages that need not be installed
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text("")
        (tmp_path / "site" / f"{name}-1.0.dist-info").mkdir()
        (tmp_path / "site" / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
    code = (
        "import json, sys\n"
        f"sys.path.append({str(tmp_path / 'site')!r})\n"
        "from evalkit.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print(json.dumps([name for name in {UNUSED!r} if name in sys.modules]))"
    )
    command = ("ruler", "--ctx", "1024", "--tasks", "niah_single_1", "--samples", "1")
    done = run_python("-c", code, *command, "--model", str(tmp_path / "m"), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_what_only_reports_need_is_imported_after_the_answers(tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path / "m", "olmo_hybrid")
    code = (
        "import sys\n"
        "from evalkit.cli import main\n"
        "from evalkit.running.session_log import SessionLog\n"
        "def ended(log):\n"
        f"    print([name for name in {OF_REPORTS!r} if name in sys.modules])\n"
        "SessionLog.sample_ended = ended\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print([name for name in {OF_REPORTS!r} if name not in sys.modules])"
    )
    command = ("ruler", "--ctx", "1024", "--tasks", "niah_single_1", "--samples", "1", "--format", "json")
    done = run_python("-c", code, *command, "--model", str(tmp_path / "m"), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("[]", "[]")


def test_the_compiler_works_when_it_is_asked_for() -> None:
    code = """
import sys
from model_adapters import lean_import
lean_import.install()
import model_adapters.loading
import torch
from torch.nn.attention.varlen import varlen_attn
from transformers.masking_utils import TransformGetItemToIndex

@torch._disable_dynamo
def left_alone(x):
    return x + 1

@torch._disable_dynamo(recursive=False)
def alone(x):
    return x + 2

assert "torch._dynamo" not in sys.modules
assert left_alone(torch.ones(2)).tolist() == [2, 2] and alone(torch.ones(2)).tolist() == [3, 3]
assert torch.compiler.disable.__module__ == "torch.compiler"
with TransformGetItemToIndex() as mode:
    assert type(mode).__module__ == "torch._dynamo._trace_wrapped_higher_order_op"
assert torch._dynamo is sys.modules["torch._dynamo"]

@torch.compile(backend="eager")
def compiled(x):
    return left_alone(2 * x) + alone(x)

assert compiled(torch.ones(2)).tolist() == [6, 6]
assert torch._dynamo.utils.counters["graph_break"]
"""
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


def test_names_of_weights_are_compiled_for_the_families_that_are_loaded() -> None:
    code = """
import json, sys
from model_adapters import lean_import
if sys.argv[1] == "lean":
    lean_import.install()
import model_adapters.loading
from transformers import conversion_mapping
from transformers.core_model_loading import WeightTransform

mappings = conversion_mapping._build_checkpoint_conversion_mapping()
conversions = [each for mapping in mappings.values() for each in mapping if isinstance(each, WeightTransform)]
print(sum("_compiled" in getattr(each.compiled_sources, "__dict__", "_compiled") for each in conversions))
mixtral = conversion_mapping.get_checkpoint_conversion_mapping("mixtral")
names = [f"model.layers.0.block_sparse_moe.{name}.weight" for name in ("gate", "experts.3.w1", "experts.3.w2")]
print(json.dumps([[each.rename_source_key(name) for name in names] for each in mixtral]))
print(json.dumps([each.compiled_sources.pattern for each in conversions]))
"""
    lean, own = (run_python("-c", code, kind) for kind in ("lean", "own"))
    assert (lean.returncode, own.returncode) == (0, 0), lean.stderr + own.stderr
    (compiled, *lean_lines), (all_compiled, *own_lines) = lean.stdout.splitlines(), own.stdout.splitlines()
    assert lean_lines == own_lines
    assert compiled == "0"
    assert int(all_compiled) > 100


def test_a_library_user_has_transformers_as_it_is() -> None:
    code = """
import sys
import evalkit.cli
import model_adapters.opening
import model_adapters.replicas.ray_fleet
import model_adapters.loading
from transformers.utils import import_utils

own = {"torch._dynamo", "scipy", "torch.distributed.tensor"}
assert own <= set(sys.modules), own - set(sys.modules)
assert [finder for finder in sys.meta_path if type(finder).__module__.startswith(("evalkit", "model_adapters"))] == []
assert import_utils.is_scipy_available.__module__ == import_utils.is_torch_distributed_available.__module__
assert import_utils.is_scipy_available() and import_utils.is_torch_distributed_available()
"""
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
