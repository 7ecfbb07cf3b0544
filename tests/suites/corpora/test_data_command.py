"""Output and exit codes of `evalkit data`."""

from pathlib import Path

import pytest

from evalkit.cache import cache_folder
from tests.suites.corpora.conftest import Site
from tests.suites.corpora.published import encoded, squad
from tests.support import Evalkit


def cells(output: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in output.splitlines() if line[0] == "│"]


def test_list_names_what_serves_each_role(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path))
    (tmp_path / "squad.json").write_bytes(encoded(squad()))
    shown = evalkit("data list")
    rows = cells(shown.out)
    assert shown.err == ""
    assert [row[:3] for row in rows] == [
        ["essays", "embedded-prose-v1/seed0", "embedded"],
        ["squad", "squad.json", "squad.json"],
        ["hotpotqa", "embedded-country-v1/seed0", "embedded"],
    ]
    assert [row[4] for row in rows] == ["part of evalkit", "taken as it is", "part of evalkit"]
    assert {len(row[3]) for row in rows} == {16}


def test_list_shortens_a_source_of_many_files(
    evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path))
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text("The harbour was quiet that morning. " * 60)
    assert cells(evalkit("data list").out)[0][1:3] == ["a.txt, b.txt, c.txt", "a.txt and 2 more"]


@pytest.mark.usefixtures("sources")
def test_fetch_then_verify(evalkit: Evalkit) -> None:
    shown = evalkit("data fetch --roles squad,essays")
    first, second = shown.out.splitlines()
    assert first.startswith("squad: fetched: ")
    assert "as published" in first
    assert second.startswith("essays: fetched: ")
    assert "recorded now, checked from now on" in second
    assert "squad: " in shown.err
    assert evalkit("data fetch --roles squad").out.startswith("squad: already there: ")
    rows = cells(evalkit("data verify").out)
    assert [(row[0], row[2]) for row in rows] == [("essays", "ok"), ("squad", "ok"), ("hotpotqa", "absent")]


@pytest.mark.usefixtures("sources")
def test_verify_exits_2_on_a_corrupt_file(evalkit: Evalkit) -> None:
    evalkit("data fetch --roles squad")
    (cache_folder() / "corpora" / "dev-v2.0.json").write_bytes(b"x")
    shown = evalkit("data verify", code=2)
    assert ["squad", "corrupt"] in [[row[0], row[2]] for row in cells(shown.out)]
    assert shown.err == "evalkit: corrupt in the cache: squad; download again with `evalkit data fetch`\n"


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ("hotpot", "unknown corpus 'hotpot'; did you mean 'hotpotqa'?"),
        (",", "--roles: ',' names nothing; separate names with commas"),
    ],
)
def test_bad_roles_exit_2_with_one_line(evalkit: Evalkit, roles: str, message: str) -> None:
    assert evalkit.refuses("data fetch --roles", roles) == message


@pytest.mark.usefixtures("sources")
def test_a_failed_fetch_exits_2_with_one_line(evalkit: Evalkit, site: Site) -> None:
    site.answers.clear()
    refusal = evalkit.refuses("data fetch --roles squad")
    assert refusal.startswith("not fetched: squad: ")
    assert refusal.endswith("check the network, or set EVALKIT_DATA to a folder with the files")
