"""`evalkit data`: what it prints, and how it exits."""

import sys
from pathlib import Path

import pytest

from evalkit.cache import cache_folder
from evalkit.cli import main
from tests.suites.corpora.test_fetching import Site, site, sources  # noqa: F401  # fixtures
from tests.suites.corpora.test_questions import encoded, squad

Output = tuple[int, str, str]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> Output:
    monkeypatch.setattr(sys, "argv", ["evalkit", "data", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def cells(output: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in output.splitlines() if line[0] == "│"]


def test_list_names_what_serves_each_role(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path))
    (tmp_path / "squad.json").write_bytes(encoded(squad()))
    code, out, err = run(monkeypatch, capsys, "list")
    rows = cells(out)
    assert (code, err) == (0, "")
    assert [row[:3] for row in rows] == [
        ["essays", "embedded-prose-v1/seed0", "embedded"],
        ["squad", "squad.json", "squad.json"],
        ["hotpotqa", "embedded-country-v1/seed0", "embedded"],
    ]
    assert [row[4] for row in rows] == ["part of evalkit", "taken as it is", "part of evalkit"]
    assert {len(row[3]) for row in rows} == {16}


def test_list_shortens_a_source_of_many_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path))
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text("The harbour was quiet that morning. " * 60)
    _, out, _ = run(monkeypatch, capsys, "list")
    assert cells(out)[0][1:3] == ["a.txt, b.txt, c.txt", "a.txt and 2 more"]


def test_fetch_then_verify(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sources: object,  # noqa: F811  # the fixture
) -> None:
    code, out, err = run(monkeypatch, capsys, "fetch", "--roles", "squad,essays")
    assert code == 0
    assert [line.split(": ")[:2] for line in out.splitlines()] == [["squad", "fetched"], ["essays", "fetched"]]
    assert "as published" in out.splitlines()[0]
    assert "recorded now, checked from here on" in out.splitlines()[1]
    assert "squad: " in err
    assert run(monkeypatch, capsys, "fetch", "--roles", "squad")[1].startswith("squad: already there: ")
    code, out, _ = run(monkeypatch, capsys, "verify")
    assert code == 0
    assert [(row[0], row[2]) for row in cells(out)] == [("essays", "ok"), ("squad", "ok"), ("hotpotqa", "absent")]


def test_verify_exits_2_on_a_corrupt_file(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sources: object,  # noqa: F811  # the fixture
) -> None:
    run(monkeypatch, capsys, "fetch", "--roles", "squad")
    (cache_folder() / "corpora" / "dev-v2.0.json").write_bytes(b"x")
    code, out, err = run(monkeypatch, capsys, "verify")
    assert code == 2
    assert ["squad", "corrupt"] in [[row[0], row[2]] for row in cells(out)]
    assert err == "evalkit: corrupt in the cache: squad; download again with `evalkit data fetch`\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fetch", "--roles", "hotpot"], "evalkit: unknown corpus 'hotpot'; did you mean 'hotpotqa'?\n"),
        (["fetch", "--roles", ","], "evalkit: --roles: ',' names nothing; separate names with commas\n"),
    ],
)
def test_bad_roles_exit_2_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(monkeypatch, capsys, *words) == (2, "", message)


def test_a_failed_fetch_exits_2_with_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    site: Site,  # noqa: F811  # the fixture
    sources: object,  # noqa: F811  # the fixture
) -> None:
    site.answers.clear()
    code, out, err = run(monkeypatch, capsys, "fetch", "--roles", "squad")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("evalkit: not fetched: squad: ")
    assert err.splitlines()[-1].endswith("check the network, or set EVALKIT_DATA to a folder with the files")
