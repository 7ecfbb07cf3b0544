"""The report of a comparison holds what a report of a fault needs."""

from collections.abc import Callable
from dataclasses import replace

from evalkit.analysis.agreement.records import Agreement, AnswerGroup, Difference, GapGroup
from evalkit.records import EngineDescription, Environment, ModelIdentity, PositionScheme
from reports.agreement_report import MOST_DIFFERENCES, agreement_report
from reports.markdown import render

DIFFERENCE = Difference("vt/4096/0/42", 3968, "alone", 2, " 7", "(end of the answer)", 3.25, False)
RESULT = Agreement(
    verdict="differs",
    findings=("at 4,096: log-probabilities depart from position 2,048 on",),
    model=ModelIdentity(
        path="./x",
        family="olmo_hybrid",
        fingerprint="sha256:12",
        tokenizer="sha256:34",
        dtype="bfloat16",
        positions=PositionScheme("none", "no positions"),
        trained_length=65_536,
        parameters=7,
    ),
    reference=EngineDescription("evalkit", "cuda:0", "bfloat16", "flash", "triton", 8192),
    server="http://localhost:8000",
    served_model="ORG/NAME",
    engine="server (vllm 0.26.0)",
    takes_token_ids=True,
    answers=(AnswerGroup("alone", "whole prompts", 4, 2, 1, 1, 0), AnswerGroup("under load", "all", 16, 15, 0, 0, 1)),
    differences=(DIFFERENCE, replace(DIFFERENCE, found="\x1b[0m|", margin=0.01, by_rounding=True)),
    gaps=(GapGroup(4096, "all positions", 15_868, 0.31, 0.04, 12.5, 2049, False),),
    margin_bound=0.125,
    rounding="transformers' own code in bfloat16 is 1.0e-02 nats off",
    sampling={"temperature": 0.0, "max_tokens": 32},
    concurrency=16,
    failures=("HTTP 500: no (2 times)",),
    command="evalkit agree --model ./x --server http://localhost:8000 --ctx 4096",
    environment=Environment(evalkit="1.0", cpu="a CPU", libraries={"torch": "2.11", "lm-eval": None}),
    started_at="2026-11-29T10:00:00+00:00",
)


def test_the_whole_report(check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/agreement.md", render(agreement_report(RESULT)))


def test_only_the_first_differences_are_listed() -> None:
    report = agreement_report(replace(RESULT, differences=(DIFFERENCE,) * 30, findings=("off",) * 20))
    (table,) = [table for table in report.tables if table.title.startswith("First differing")]
    assert (len(table.rows), table.title) == (MOST_DIFFERENCES, "First differing token, 24 of 30")
    assert "… and 12 more like these" in report.notices


def test_a_server_without_log_probabilities_is_said_to_have_none() -> None:
    facts = dict(agreement_report(replace(RESULT, gaps=(), takes_token_ids=False)).facts)
    assert facts["log-probabilities"].startswith("not compared")
    assert "text (the server takes no token ids)" in facts["requests"]
