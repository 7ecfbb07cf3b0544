"""FLA is imported when a model is to run on it, and not with the model."""

import importlib.metadata
import sys

import pytest
from transformers import OlmoHybridConfig

from model_adapters import modeling_code
from model_adapters.modeling_code import FLA, import_modeling_code
from tests.support import run_python

SCRIPT = """
import inspect, sys
from model_adapters.bench import shapes
from model_adapters.engine.fast_modules import choose
from tests.model_adapters.small_models import _CONFIGS

def implementation():
    rule = getattr(code, "torch_chunk_gated_delta_rule")
    return inspect.getclosurevars(rule).nonlocals.get("implementation", rule).__module__.partition(".")[0]

shapes.SHAPES["small"] = _CONFIGS["olmo_hybrid"]
model = shapes.build_shape("small", device="cpu", dtype="float32", seed=0)
code = sys.modules[type(model).__module__]
choose.choose_kernels(model, "torch")
print("fla" in sys.modules, implementation())
choose._set_rules(model, library=True)
print("fla" in sys.modules, implementation())
choose._set_rules(model, library=False)
print("fla" in sys.modules, implementation())
"""


def _has_fla() -> bool:
    try:
        return bool(importlib.metadata.version("flash-linear-attention"))
    except importlib.metadata.PackageNotFoundError:
        return False


def test_fla_comes_only_when_it_is_asked_for() -> None:
    done = run_python("-W", "ignore", "-c", SCRIPT)
    library = "True fla" if _has_fla() else "False transformers"
    after = "True transformers" if _has_fla() else "False transformers"
    assert done.stdout.splitlines() == ["False transformers", library, after], done.stderr[-2000:]


def test_the_import_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, FLA)
    hidden = []
    monkeypatch.setattr(modeling_code.importlib, "import_module", lambda name: hidden.append((name, sys.modules[FLA])))
    import_modeling_code(OlmoHybridConfig())
    assert hidden == [("transformers.models.olmo_hybrid.modeling_olmo_hybrid", None)]
    assert FLA not in sys.modules
