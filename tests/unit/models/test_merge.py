import resource

import pytest
import tiny
import torch

from unsee.cli import main
from unsee.models.vlm import VLM
from unsee.training.train import Scorer


def scores(vlm):
    with torch.no_grad():
        return Scorer(vlm)(tiny.make_batch(vlm)).logits_UV


@pytest.fixture
def base(tmp_path):
    return tiny.save_model(tmp_path / "base")


def test_adapters_one_on_the_other_become_a_whole_model(base, tmp_path, capsys):
    vlm = VLM.load(str(base))
    for name in ("target", "npo"):
        with torch.no_grad():
            for parameter in vlm.add_lora(4, 8):
                parameter += 0.1
        vlm.save(tmp_path / name)
    out = tmp_path / "merged"
    assert main(["models", "merge", str(base), str(tmp_path / "target"), str(tmp_path / "npo"), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    torch.testing.assert_close(scores(VLM.load(str(out))), scores(vlm))


def test_what_is_no_adapter_and_a_folder_in_use_are_refused(base, tmp_path, capsys):
    assert main(["models", "merge", str(base), str(base), "--out", str(tmp_path / "out")]) == 2
    assert "holds no adapter" in capsys.readouterr().err
    assert main(["models", "merge", str(base), str(base), "--out", str(base)]) == 2
    assert "already exists and is not empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing_and_the_next_try_works(base, tmp_path, capsys):
    vlm = VLM.load(str(base))
    vlm.add_lora(2, 4)
    vlm.save(tmp_path / "lora")
    out = tmp_path / "out"
    command = ["models", "merge", str(base), str(tmp_path / "lora"), "--out", str(out)]
    before = set(tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))  # bytes of one file
    try:
        assert main(command) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"unsee: {out}: cannot be written: the file would be larger than allowed" in capsys.readouterr().err
    assert set(tmp_path.iterdir()) == before
    assert main(command) == 0
    assert VLM.load(str(out)).id == str(out)
