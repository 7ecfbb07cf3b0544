"""The command that completes a light install uses the source that evalkit was installed from."""

import importlib.metadata
import json
from pathlib import Path

import pytest

from evalkit.installation import install_command, light_install_error

CHECKOUT = "pip install '.[models]' in a checkout of evalkit"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The metadata folder of an installed evalkit."""
    info = tmp_path / "evalkit-0.1.0.dist-info"
    info.mkdir()
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: importlib.metadata.Distribution.at(info))
    return info


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        ({"url": "file:///", "dir_info": {"editable": True}}, "pip install -e '/[models]'"),
        ({"url": "file:///", "dir_info": {}}, "pip install '/[models]'"),
        ({"url": "file:///gone/evalkit-0.1.0-py3-none-any.whl", "archive_info": {}}, CHECKOUT),
        ({"url": "https://example.org/e.whl", "archive_info": {}},
         "pip install 'evalkit[models] @ https://example.org/e.whl'"),
        ({"url": "https://example.org/e.git", "vcs_info": {"vcs": "git", "commit_id": "1a2b"}},
         "pip install 'evalkit[models] @ git+https://example.org/e.git@1a2b'"),
    ],
)  # fmt: skip
def test_the_origin_that_pip_recorded_is_installed_again(installed: Path, origin: object, command: str) -> None:
    (installed / "direct_url.json").write_text(json.dumps(origin))
    assert install_command() == command


def test_a_path_with_spaces_is_quoted(installed: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "my wheels" / "evalkit.whl"
    wheel.parent.mkdir()
    wheel.touch()
    (installed / "direct_url.json").write_text(json.dumps({"url": wheel.as_uri(), "archive_info": {}}))
    assert install_command() == f"pip install '{wheel}[models]'"


def test_an_unknown_origin_names_a_checkout(installed: Path) -> None:
    assert install_command() == CHECKOUT


def test_only_modules_of_the_extra_are_explained() -> None:
    assert "transformers is not installed" in str(light_install_error(ModuleNotFoundError(name="transformers.models")))
    assert light_install_error(ModuleNotFoundError(name="my_module")) is None
    assert light_install_error(ModuleNotFoundError("unnamed")) is None
