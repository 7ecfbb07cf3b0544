"""Small corpora in the formats in which they are published."""

import json
from typing import Any

PROSE = "The harbour was quiet that morning, and nobody spoke of the storm. " * 40


def squad() -> dict[str, Any]:
    answers = [{"text": "Ida", "answer_start": 0}, {"text": "Ida"}, {"text": "Ida Moor"}]
    return {
        "version": "v2.0",
        "data": [
            {
                "title": "Hills",
                "paragraphs": [
                    {
                        "context": "Ida Moor lives here.",
                        "qas": [
                            {"question": "Who lives here?", "answers": answers, "is_impossible": False},
                            {"question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": []},
                        ],
                    },
                    {
                        "context": "The hill is 90 m high.",
                        "qas": [{"question": "How high?", "answers": [{"text": "90 m"}]}],
                    },
                ],
            },
            {"title": "Seas", "paragraphs": [{"context": "The sea\nis flat.", "qas": []}]},
        ],
    }


def hotpot() -> list[dict[str, Any]]:
    def document(title: str) -> list[Any]:
        return [title, [f"{title} is here.", f" {title} is old."]]

    return [
        {
            "_id": None,
            "question": "Is A older than B?",
            "answer": "yes",
            "supporting_facts": [["A", 0], ["B", 1], ["A", 1]],
            "context": [document("C"), document("A"), document("B")],
        },
        {
            "question": "What is C?",
            "answer": "old",
            "supporting_facts": [["C", 1]],
            "context": [document("D"), document("C")],
        },
    ]


def encoded(tree: Any) -> bytes:
    return json.dumps(tree).encode()
