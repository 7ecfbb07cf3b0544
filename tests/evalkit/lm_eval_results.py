"""A file of results as lm-eval writes it."""

from typing import Any

LM_EVAL: dict[str, Any] = {
    "results": {
        "mmlu": {"alias": "mmlu", "acc,none": 0.5178, "acc_stderr,none": 0.0041},
        "gsm8k": {
            "alias": "gsm8k",
            "exact_match,strict-match": 0.25,
            "exact_match_stderr,strict-match": 0.01,
            "exact_match,flexible-extract": 0.3,
            "exact_match_stderr,flexible-extract": "N/A",
        },
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 12.5, "word_perplexity_stderr,none": "N/A"},
        "niah_single_1": {"alias": "niah_single_1", "4096,none": 0.98, "4096_stderr,none": "N/A", "8192,none": -1},
    },
    "n-samples": {"mmlu": {"original": 14042, "effective": 570}},
    "config": {"model": "hf", "model_args": "pretrained=./checkpoint,dtype=bfloat16"},
    "lm_eval_version": "0.4.13",
}
