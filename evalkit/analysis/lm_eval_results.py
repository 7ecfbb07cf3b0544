"""lm-eval's result JSON, of any version since 0.3."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalkit.analysis.foreign_records import ForeignResult, ForeignRow
from evalkit.records.codec import parse_json
from evalkit.statistics.intervals import Interval
from evalkit.statistics.scores import proportion_interval

# Fields that lm-eval writes in addition to `results`, which other tools write too.
_BESIDE_RESULTS = frozenset(
    ("lm_eval_version", "versions", "n-shot", "n-samples", "configs", "group_subtasks", "higher_is_better")
)
_NOT_METRICS = frozenset(("alias", "name", "sample_len", "sample_count"))
# Scores that lm-eval reports as fractions; other metrics are shown as they are.
_SCORE = re.compile(r"acc(_\w+)?|\w+_acc|exact_match|em|f1|mc[12]|pass(@|_at_)\d+|contains\w*")
# Tasks that report scores of these names as 0-100.
_PERCENT_TASKS, _PERCENT_METRICS = re.compile(r"squadv2|scrolls_\w+"), frozenset(("em", "f1"))
# Arguments of a model that name its weights, and those that select other weights under the same name.
_NAMES = ("pretrained", "model", "path", "engine")
_ADAPTERS = ("peft", "delta")
_SELECTORS = ("subfolder", "gguf_file", *_ADAPTERS)
# Settings that can distinguish two results of one model, the most likely first.
_CONFIG_DETAILS = ("limit", "gen_kwargs", "model_sha", "random_seed", "fewshot_seed")
_OWN_DETAILS = ("system_instruction", "chat_template", "fewshot_as_multiturn", "fingerprint")
_DETAIL_CHARACTERS = 40
_NORMAL_95 = 1.959964
_HUGE = 1e300
_LARGEST_EXPONENT = 700.0


def read_lm_eval(path: Path, text: str) -> ForeignResult:
    """The figures of one file; ValueError says why it is not a result of lm-eval."""
    data = parse_json(text, finite=False)
    results = data.get("results") if isinstance(data, dict) else None
    if not isinstance(results, dict) or not all(isinstance(metrics, dict) for metrics in results.values()):
        raise ValueError("it has no `results` of tasks and their metrics")
    if "config_general" in data:
        raise ValueError("it is a result of lighteval, which is not read")
    if not _BESIDE_RESULTS & data.keys():
        raise ValueError(f"it has none of the fields that lm-eval writes with it ({', '.join(_BESIDE_SHOWN)})")
    rows = tuple(row for task, metrics in results.items() for row in _rows(str(task), metrics, _samples(data, task)))
    if not rows:
        raise ValueError("its `results` hold no number")
    version = data.get("lm_eval_version") or "of an unknown version"
    return ForeignResult(str(path), f"lm-eval {version}", _model(data) or path.stem, rows, _details(data))


_BESIDE_SHOWN = ("versions", "n-shot", "lm_eval_version")


def _rows(task: str, metrics: Mapping[str, Any], n: int | None) -> Iterator[ForeignRow]:
    """Rows of one task.

    Metrics are keyed `name,filter` and their errors `name_stderr,filter`, without a filter before version 0.4. RULER's
    names are lengths, and -1 is none; `n` counts the samples of all lengths together.
    """
    lengths = sum(
        _is_length(key.partition(",")[0]) and _number(value) not in (None, -1) for key, value in metrics.items()
    )
    for key, value in metrics.items():
        name, comma, given_filter = key.partition(",")
        number = _number(value)
        if key in _NOT_METRICS or name.endswith("_stderr") or number is None:
            continue
        is_length = _is_length(name)
        if is_length and number == -1:
            continue
        is_score = (is_length or _SCORE.fullmatch(name) is not None) and 0 <= number <= 100
        is_fraction = is_score and number <= 1 and not (_PERCENT_TASKS.fullmatch(task) and name in _PERCENT_METRICS)
        scale = 100.0 if is_fraction else 1.0
        error = _number(metrics.get(f"{name}_stderr{comma}{given_filter}"))
        count = None if is_length and lengths > 1 else n
        yield ForeignRow(
            task=task,
            ctx=int(name) if is_length else None,
            metric=("score" if is_length else name)
            + (f" ({given_filter})" if given_filter not in ("", "none") else ""),
            value=scale * number,
            ci95=None if error is None else _interval(scale * number, scale * error, count, is_score=is_score),
            n=count,
        )


def _is_length(name: str) -> bool:
    return re.fullmatch(r"[0-9]{3,9}", name) is not None


def _interval(value: float, error: float, n: int | None, *, is_score: bool) -> Interval | None:
    """The 95 % interval of a standard error, None if that says nothing.

    A score's interval stays within 0-100: if the normal interval does not, it is computed on log-odds. If all samples
    are right or all wrong, the standard error is 0, and the interval is Clopper and Pearson's.
    """
    if error < 0:
        return None
    low, high = value - _NORMAL_95 * error, value + _NORMAL_95 * error
    if error == 0 or (is_score and value in (0, 100)):
        found = proportion_interval(round(value / 100 * n), n) if is_score and value in (0, 100) and n else None
        return None if found is None else (100 * found[0], 100 * found[1])
    if not is_score or (low >= 0 and high <= 100):
        return low, high
    share = value / 100
    middle = math.log(share / (1 - share))
    half = _NORMAL_95 * error / 100 / (share * (1 - share))
    return _percent(middle - half), _percent(middle + half)


def _percent(log_odds: float) -> float:
    return 100 / (1 + math.exp(-max(-_LARGEST_EXPONENT, min(_LARGEST_EXPONENT, log_odds))))


def _number(value: Any) -> float | None:
    """A finite number, or None for anything else, such as NaN or `N/A`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE
    return float(value) if is_number else None


def _samples(data: Mapping[str, Any], task: Any) -> int | None:
    counts = data.get("n-samples")
    count = counts.get(task) if isinstance(counts, dict) else None
    effective = count.get("effective") if isinstance(count, dict) else None
    return effective if isinstance(effective, int) and not isinstance(effective, bool) and effective > 0 else None


def _model(data: Mapping[str, Any]) -> str | None:
    """The model as the file names it, with the revision and the adapters that make it another one."""
    arguments, config = _model_arguments(data), _config(data)
    named = (data.get("model_name"), *(arguments.get(name) for name in _NAMES), data.get("model"), config.get("model"))
    name = next((str(text) for text in named if isinstance(text, str) and text), None)
    if name is None:
        return None
    if name in (arguments.get(adapter) for adapter in _ADAPTERS):
        # lm-eval names a model by its adapter alone.
        name = arguments.get("pretrained", name)
    revision = arguments.get("revision", "main")
    selected = ", ".join(f"{key}={arguments[key]}" for key in _SELECTORS if key in arguments)
    return name + (f"@{revision}" if revision != "main" else "") + (f" ({selected})" if selected else "")


def _details(data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Settings that can distinguish two results of one model."""
    config, shots = _config(data), data.get("n-shot")
    stated = shots.values() if isinstance(shots, dict) else (config.get("num_fewshot"),)
    details = {
        "num_fewshot": "/".join(sorted({str(number) for number in stated})),
        **{name: config[name] for name in _CONFIG_DETAILS if config.get(name) is not None},
        **_model_arguments(data),
        **{name: data[name] for name in _OWN_DETAILS if data.get(name) is not None},
    }
    return tuple((name, str(value)[:_DETAIL_CHARACTERS]) for name, value in details.items())


def _config(data: Mapping[str, Any]) -> dict[str, Any]:
    config = data.get("config")
    return config if isinstance(config, dict) else {}


def _model_arguments(data: Mapping[str, Any]) -> dict[str, str]:
    """lm-eval's `model_args`, a mapping or `pretrained=…,dtype=…`."""
    arguments = _config(data).get("model_args")
    if isinstance(arguments, dict):
        return {str(name): str(value) for name, value in arguments.items()}
    pairs = (part.partition("=") for part in arguments.split(",")) if isinstance(arguments, str) else ()
    return {name.strip(): value.strip() for name, equals, value in pairs if equals and value.strip()}
