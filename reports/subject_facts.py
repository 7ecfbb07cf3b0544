"""What a run is about, in lines that can be shown before its first sample: the model and the corpora."""

import hashlib
from collections.abc import Sequence

from evalkit.records import SERVED, UNKNOWN, CorpusUse, ModelIdentity


def corpus_facts(corpora: Sequence[CorpusUse]) -> list[tuple[str, str]]:
    """One line per corpus; corpora of one kind, such as mmlu/anatomy and mmlu/virology, share a line."""
    kinds: dict[str, list[CorpusUse]] = {}
    for corpus in corpora:
        kinds.setdefault(corpus.role.partition("/")[0], []).append(corpus)
    facts = []
    for kind, here in kinds.items():
        if len(here) == 1:
            (corpus,) = here
            described = f"{corpus.name} ({short_source(corpus.source)}, sha256 {_digest(corpus.sha256)})"
            facts.append((f"corpus: {corpus.role}", described))
        else:
            sources = ", ".join(dict.fromkeys(corpus.source for corpus in here))
            listed = "".join(f"{corpus.role} {corpus.sha256}\n" for corpus in here)
            digest = hashlib.sha256(listed.encode()).hexdigest()
            facts.append((f"corpus: {kind}", f"{len(here)} parts ({sources}, sha256 of them all {_digest(digest)})"))
    return facts


def short_source(source: str) -> str:
    """The source of a corpus, shortened to the first file if it lists several, each with its sha256."""
    first, *others = (part.rpartition(" sha256:")[0] for part in source.split("; "))
    return f"{first} and {len(others)} more" if first and all(others) and others else source


def describe_model(model: ModelIdentity) -> str:
    """A model in one line: family, size, dtype and quantization, trained length, base, commit, fingerprint."""
    length = "no stated trained length" if model.trained_length is None else f"trained to {model.trained_length:,}"
    if model.fingerprint.startswith(SERVED):
        return f"{model.path} on a server, which does not show its weights"
    if model.family == UNKNOWN:
        return f"unknown, fingerprint of its answers {_digest(model.fingerprint)}"
    size = f"{model.parameters / 1e6:,.1f}M parameters"
    dtype = model.dtype if model.quantization is None else f"{model.dtype} ({model.quantization})"
    merged = "" if model.base is None else f"an adapter merged into {model.base}, "
    commit = "" if model.commit is None else f"commit {model.commit[:12]}, "
    return f"{model.family}, {size}, {dtype}, {length}, {merged}{commit}fingerprint {_digest(model.fingerprint)}"


def _digest(sha256: str) -> str:
    return sha256.removeprefix("sha256:")[:12]
