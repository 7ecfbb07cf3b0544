"""Real MMLU, unpacked once."""

import tarfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_mmlu(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `test/` and `dev/` of all 57 subjects; skips if it is absent."""
    folder = tmp_path_factory.mktemp("mmlu")
    with tarfile.open(shared_data / "mmlu" / "mmlu_test_dev_csv.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder
