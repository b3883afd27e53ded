import pytest
import tiny

from unsee.config.recipe import ModelConfig
from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.runs.stages import Stages


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(params=["full", "lora"])
def stages(request, model, tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / "cache"))
    record = Record.create(tmp_path / "run", 'name = "stages"\n')
    return Stages(tiny.load(model), ModelConfig(trainable=request.param, lora_rank=4), record, Silent())
