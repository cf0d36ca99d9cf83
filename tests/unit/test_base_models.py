"""Base models: found or refused with a hint, named by their bytes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.config import ModelSpec
from sluicegate.errors import ModelError
from sluicegate.models.base_models import model_files, resolve_base
from tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model") / "tiny", context=512)


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "tiny"))


def test_same_bytes_same_digest(folder: Path, built: Path, tmp_path: Path) -> None:
    """The digest is that of the bytes: the same in another folder and another cache; unrelated
    files do not count.
    """
    (folder / "README.md").write_text("notes")
    one = resolve_base(ModelSpec(path=str(folder), context=300), "tiny", tmp_path / "a")
    two = resolve_base(ModelSpec(path=str(built), context=9999), "tiny", tmp_path / "b")
    assert one.digest == two.digest
    assert (one.context, two.context) == (300, 512)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja"]
)
def test_changed_bytes_change_the_digest(folder: Path, tmp_path: Path, name: str) -> None:
    """A change in weights, tokenizer, configuration or template is seen although the digest was
    kept.
    """
    spec = ModelSpec(path=str(folder))
    before = resolve_base(spec, "tiny", tmp_path / "cache").digest
    data = bytearray((folder / name).read_bytes())
    if name == "model.safetensors":
        data[-1] ^= 1
    else:
        data += b" "
    (folder / name).write_bytes(bytes(data))
    assert resolve_base(spec, "tiny", tmp_path / "cache").digest != before


def test_digest_is_kept(folder: Path, tmp_path: Path) -> None:
    """A second call reads no weights: it trusts size and time."""
    spec = ModelSpec(path=str(folder))
    lines: list[str] = []
    first = resolve_base(spec, "tiny", tmp_path / "cache", lines.append)
    second = resolve_base(spec, "tiny", tmp_path / "cache", lines.append)
    assert first == second
    assert len([line for line in lines if line.startswith("Hashing")]) == 1


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    """A folder with pickled weights only is refused and says why."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \.safetensors") as caught:
        resolve_base(ModelSpec(path=str(folder)), "tiny", tmp_path / "cache")
    assert "never loaded" in caught.value.hint


@pytest.mark.parametrize("broken", ["{", "[]", ""])
def test_broken_configuration(folder: Path, tmp_path: Path, broken: str) -> None:
    """A config.json that is not an object is a model error that names the file."""
    (folder / "config.json").write_text(broken)
    with pytest.raises(ModelError, match=r"config\.json"):
        resolve_base(ModelSpec(path=str(folder)), "tiny", tmp_path / "cache")


def test_absent_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent package, path or hub model is an error with a line that helps."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for spec in (
        ModelSpec(package="no_such_package"),
        ModelSpec(path=str(tmp_path / "x")),
        ModelSpec(hub="nobody/nothing"),
    ):
        with pytest.raises(ModelError, match="base model b") as caught:
            resolve_base(spec, "b", tmp_path / "cache")
        assert caught.value.hint


def test_broken_gguf_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose GGUF file is damaged is a model error; no half-made folder stays in the
    cache.
    """
    package = tmp_path / "site" / "broken_gguf_model"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must never be imported')")
    (package / "weights.gguf").write_bytes(b"GGUF" + os.urandom(2000))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(ModelError):
        resolve_base(ModelSpec(package="broken_gguf_model"), "broken", tmp_path / "cache")
    assert [path for path in (tmp_path / "cache" / "bases").iterdir() if path.is_dir()] == []


def test_only_deciding_files_are_listed(folder: Path) -> None:
    """Weights, configuration and tokenizer are listed; code and pickles that lie beside them are
    not.
    """
    for name in ("modeling_x.py", "optimizer.pt", "pytorch_model.bin"):
        (folder / name).write_text("x")
    assert set(model_files(folder)) <= {path.name for path in folder.iterdir()} - {
        "modeling_x.py",
        "optimizer.pt",
        "pytorch_model.bin",
    }
    assert json.loads((folder / "config.json").read_text())["model_type"] == "llama"
