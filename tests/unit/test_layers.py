from pathlib import Path

from importlinter.cli import lint_imports


def test_imports_only_go_down():
    assert lint_imports(config_filename=str(Path(__file__).parents[2] / "pyproject.toml"), no_cache=True) == 0
