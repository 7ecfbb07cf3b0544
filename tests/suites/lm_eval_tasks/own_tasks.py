"""Small tasks of every lm-eval kind, as YAML files with local JSON data, so that no network is needed."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

KINDS = ("colours", "weather", "pronoun", "last_word", "prose", "sums")
"""multiple_choice with drawn examples and with mutual information, several contexts, loglikelihood, rolling, open."""

_COLOURS = ("red", "green", "blue", "yellow")
_THINGS = ("sky", "grass", "rose", "sun", "sea", "leaf", "lemon", "brick", "frog", "ink")


def write_tasks(folder: Path) -> Path:
    """Write YAML files and data into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = [
        {"question": f"What is the colour of thing {n}, a {thing}?", "choices": list(_COLOURS), "answer": n % 4}
        for n, thing in enumerate(_THINGS)
    ]
    write_task(
        folder,
        "colours",
        {"test": colours[:7], "dev": colours[4:]},
        fewshot_split="dev",
        num_fewshot=2,
        output_type="multiple_choice",
        description="Colours of things.\n\n",
        doc_to_text="{{question}}\nAnswer:",
        doc_to_choice="choices",
        doc_to_target="answer",
        metric_list=[
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
        ],
    )
    write_task(
        folder,
        "weather",
        {"test": colours[:4]},
        output_type="multiple_choice",
        doc_to_text="{{question}} ",
        doc_to_choice="choices",
        doc_to_target="answer",
        metric_list=[
            {"metric": "acc_mutual_info", "aggregation": "mean", "higher_is_better": True},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    )
    pronouns = [
        {"start": f"The {first} did not fit into the {second} because the", "options": [first, second], "label": n % 2,
         "rest": "was too large."}
        for n, (first, second) in enumerate(pairwise(_THINGS))
    ]  # fmt: skip
    write_task(
        folder,
        "pronoun",
        {"test": pronouns[:5]},
        output_type="multiple_choice",
        doc_to_text="label",
        doc_to_choice="{{[start + ' ' + options[0], start + ' ' + options[1]]}}",
        doc_to_target="rest",
        metric_list=[{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    )
    write_task(
        folder,
        "last_word",
        {"test": [{"text": f"The {thing} is as {thing} as a"} | {"word": thing} for thing in _THINGS[:5]]},
        output_type="loglikelihood",
        doc_to_text="text",
        doc_to_target=" {{word}}",
        metric_list=[
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    )
    write_task(
        folder,
        "prose",
        {
            "test": [
                {"page": f"The {thing} was seen again on day {n}. " * (3 + 9 * n)}
                for n, thing in enumerate(_THINGS[:4])
            ]
        },
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="page",
        metric_list=[
            {"metric": "word_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False},
            {"metric": "byte_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False},
            {"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False},
        ],
    )
    write_task(
        folder,
        "sums",
        {"test": [{"question": f"{n} + {n} =", "answer": str(2 * n)} for n in range(5)]},
        output_type="generate_until",
        doc_to_text="{{question}}",
        doc_to_target="{{answer}}",
        generation_kwargs={"until": ["e", "\n"], "max_gen_toks": 12},
        metric_list=[{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        filter_list=[
            {"name": "as-is", "filter": [{"function": "take_first"}]},
            {
                "name": "digits",
                "filter": [{"function": "regex", "regex_pattern": "([0-9]+)"}, {"function": "take_first"}],
            },
        ],
    )
    group = {"group": "things", "task": ["colours", "pronoun"],
             "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}]}  # fmt: skip
    (folder / "things.yaml").write_text(yaml.safe_dump(group))
    return folder


def write_task(folder: Path, name: str, splits: dict[str, list[dict[str, Any]]], **config: Any) -> None:
    files = {}
    for split, rows in splits.items():
        path = folder / f"{name}_{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files[split] = str(path)
    data = {"data_files": files, "cache_dir": str(folder / "cache")}
    (folder / f"{name}.yaml").write_text(
        yaml.safe_dump({"task": name, "dataset_path": "json", "dataset_kwargs": data, "test_split": "test", **config})
    )
