"""Small random models of families beyond those of `small_models`, by the recipes of all families.

OTHER_FAMILIES: Qwen 3.5, Kimi Linear, Mamba-2 and its hybrids. UNUSUAL_FAMILIES each do something that a cache or an
attention function could get wrong. REFUSED_FAMILIES compute what the engine does not.
"""

from dataclasses import replace

from transformers import PreTrainedModel

from model_adapters.preflight import Subject
from model_adapters.scripted import SCRIPTED_IDENTITY
from model_adapters.tokenizer import HfTokenizer
from tests.model_adapters.families.recipes import build
from tests.model_adapters.small_models import byte_tokenizer

OTHER_FAMILIES = ("qwen3_5_text", "kimi_linear", "mamba2", "bamba", "granitemoehybrid")
UNUSUAL_FAMILIES = (
    # They transform what the cache returns: repeated heads, halves of heads, latent vectors.
    *("jetmoe", "diffllama", "deepseek_v3"),
    # Their decoder layers do not pass keyword arguments on.
    *("nemotron", "stablelm"),
    # Their layers run several times or are not where they usually are.
    *("hrm_text", "bert", "modernbert-decoder"),
    # Layers share keys, or have heads of different sizes.
    *("gemma3n_text", "gemma4_text"),
    # Layers have keys and a state, or neither.
    *("falcon_h1", "nemotron_h"),
    # Scores have caps or sinks, or attention is chunked.
    *("gemma2", "gpt_oss", "llama4_text"),
    # It requires a cache class of its own.
    "minimax",
    # They continue from a state one token at a time only.
    *("mamba", "jamba"),
)
REFUSED_FAMILIES = ("doge", "xlstm", "bloom")


def other_model(family: str) -> PreTrainedModel:
    """A random model of `family` in fp32 and evaluation mode, the same each time."""
    return build(family)


def other_subject(family: str) -> Subject:
    """The same model for preflight, with a byte tokenizer."""
    identity = replace(SCRIPTED_IDENTITY, path=family, family=family, trained_length=4096)
    return Subject(other_model(family), HfTokenizer(byte_tokenizer().backend_tokenizer, name="bytes"), identity)
