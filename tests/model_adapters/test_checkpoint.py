"""Values of --model, and every reason why a folder is not a checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from model_adapters import hub, reference
from model_adapters.checkpoint import GGUF_REMEDY, Checkpoint, Sidecar, open_checkpoint


def open_(model: str | Path) -> Checkpoint:
    return open_checkpoint(str(model), trust_remote_code=False)


def refusal(model: str | Path) -> str:
    with pytest.raises(UsageError) as raised:
        open_(model)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "hidden_size": 64}')
    return folder


def test_a_folder_is_read_as_it_is(folder: Path) -> None:
    checkpoint = open_(folder)
    assert checkpoint.name == str(folder)
    assert checkpoint.folder == folder
    assert checkpoint.config == {"model_type": "llama", "hidden_size": 64}
    assert checkpoint.family == "llama"
    assert checkpoint.sidecar == Sidecar(trained=True, tokens_seen=None, note="")


def test_a_tilde_is_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert open_("~/checkpoint").folder == folder


def test_a_reference_name_is_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "folder", lambda name: folder.parent / name)
    assert open_("reference:checkpoint").folder == folder
    assert refusal("reference:gone") == (
        "reference:gone: its files are missing from this installation; install evalkit again"
    )


def test_an_unknown_reference_name_has_a_suggestion() -> None:
    assert refusal("reference:hybird") == "unknown reference model 'hybird'; did you mean 'hybrid'?"


def test_a_reference_name_without_its_prefix_has_a_suggestion() -> None:
    assert refusal("hybrid") == "hybrid: no such directory; did you mean 'reference:hybrid'?"


@pytest.mark.parametrize("model", ["org/Name-7B", "gpt2", "org/name@main", "org/name@refs/pr/1", "gpt2@v1.0"])
def test_what_looks_like_a_hub_id_is_requested_from_the_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    snapshot = hub.HubSnapshot(model, "org/name", "c" * 40, folder)
    monkeypatch.setattr(hub, "download_definition", lambda name, *, trust_remote_code: snapshot)
    assert open_(model) == replace(open_(folder), name=model, snapshot=snapshot)
    assert (open_(model).commit, open_(folder).commit) == ("c" * 40, None)


@pytest.mark.parametrize(
    "model",
    [
        "./missing",
        "a/b/c",
        "/nowhere",
        "../up",
        "org/",
        "reference/",
        "",
        " ",
        "a b",
        "org/name@",
        "@main",
        "a@b@c",
        "org/name@a b",
    ],
)
def test_what_can_only_be_a_directory_must_exist(model: str) -> None:
    expected = (
        f"{model!r}: no such directory; name a checkpoint folder, a hub id, ORG/NAME@REVISION or reference:hybrid"
    )
    assert refusal(model) == expected


def test_a_file_is_refused(folder: Path) -> None:
    file = folder / "config.json"
    assert refusal(file) == f"{file}: is a file; name the folder that holds it"
    gguf = folder / "model-Q4_K_M.gguf"
    gguf.write_bytes(b"GGUF")
    assert refusal(gguf) == f"{gguf}: is a file; {GGUF_REMEDY}"


def test_a_folder_with_gguf_alone_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    assert refusal(folder) == f"{folder}: holds model-Q4_K_M.gguf, and {GGUF_REMEDY}"


def test_a_path_that_cannot_be_looked_at_is_refused() -> None:
    model = "x/" * 3000
    assert refusal(model) == f"{model}: cannot be read (File name too long); check the path and its permissions"


def test_a_home_folder_of_nobody_is_refused() -> None:
    model = "~nobody-of-this-name/checkpoint"
    assert refusal(model) == f"{model}: there is no such user's home folder; write the path in full"


def test_a_folder_without_configuration_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert refusal(folder) == f"{folder}: has no config.json; name the folder that save_pretrained wrote"


def test_an_unreadable_configuration_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert refusal(folder) == f"{folder}: config.json cannot be read (Is a directory); check its permissions"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b'{"model_type": ',
            "config.json is not JSON: Expecting value: line 1 column 16 (char 15); restore or repair it",
        ),
        (
            b"\xff\xfe",
            "config.json is not UTF-8 (byte 0); restore or repair it",
        ),
        (
            b"[" * 100_000 + b"]" * 100_000,
            "config.json is nested more than 200 levels deep; restore or repair it",
        ),
        (b"[1, 2]", "config.json holds a list, not an object; restore or repair it"),
        (b"{}", "config.json has no model_type; add the name transformers has for the architecture"),
        (
            b'{"model_type": null}',
            "config.json has no model_type; add the name transformers has for the architecture",
        ),
    ],
)
def test_a_malformed_configuration_is_refused(folder: Path, content: bytes, problem: str) -> None:
    (folder / "config.json").write_bytes(content)
    assert refusal(folder) == f"{folder}: {problem}"


def test_a_sidecar_is_read(folder: Path) -> None:
    values = {"trained": False, "tokens_seen": 145_000_000, "note": "random weights"}
    (folder / "evalkit.json").write_text(json.dumps(values))
    assert open_(folder).sidecar == Sidecar(**values)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "nonsense",
            "evalkit.json is not JSON: Expecting value: line 1 column 1 (char 0); restore or repair it",
        ),
        ("true", "evalkit.json holds a bool, not an object; restore or repair it"),
        ('{"tokens": 5}', "evalkit.json has an unknown key 'tokens'; it may have trained, tokens_seen, note"),
        ('{"trained": "yes"}', 'evalkit.json has trained = "yes"; write true or false'),
        ('{"trained": 1}', "evalkit.json has trained = 1; write true or false"),
        ('{"tokens_seen": -1}', "evalkit.json has tokens_seen = -1; write a whole number of tokens, 0 or more"),
        (
            '{"tokens_seen": 1e9}',
            "evalkit.json has tokens_seen = 1000000000.0; write a whole number of tokens, 0 or more",
        ),
        ('{"tokens_seen": true}', "evalkit.json has tokens_seen = true; write a whole number of tokens, 0 or more"),
        ('{"note": null}', "evalkit.json has note = null; write a text"),
    ],
)
def test_a_malformed_sidecar_is_refused(folder: Path, content: str, problem: str) -> None:
    (folder / "evalkit.json").write_text(content)
    assert refusal(folder) == f"{folder}: {problem}"
