"""Processors are saved whole, and read as older versions of transformers saved them."""

import importlib.util
import json

import families
import pytest
import tiny
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.video_processing_utils import BaseVideoProcessor

from unsee.models.processor import load_processor
from unsee.models.vlm import VLM

pytestmark = pytest.mark.slow

VIDEO = [name for name in families.MAKE if "video" in str(families.make_vlm(name).processor.to_dict().keys())]
SEES_VIDEOS = importlib.util.find_spec("torchvision") is not None


@pytest.mark.parametrize("name", families.MAKE)
def test_a_saved_model_is_loaded_by_the_classes_of_transformers(name, tmp_path):
    vlm = families.make_vlm(name)
    vlm.save(tmp_path)
    assert type(AutoModelForImageTextToText.from_pretrained(tmp_path)) is type(vlm.model)
    assert (name in VIDEO) == ("video_processor" in PROCESSOR_MAPPING[type(vlm.model.config)].get_attributes())
    if name in VIDEO and not SEES_VIDEOS:  # its video part needs what nothing here uses; its settings are there
        with pytest.raises((ImportError, ValueError), match="torchvision"):
            AutoProcessor.from_pretrained(tmp_path)
    else:
        processor = AutoProcessor.from_pretrained(tmp_path)
        assert type(processor).__name__ == type(vlm.processor).__name__
        assert processor.chat_template == vlm.processor.chat_template


@pytest.mark.parametrize("name", VIDEO)
@pytest.mark.parametrize(
    "place", ["video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json"]
)
def test_settings_of_videos_outlive_loading_and_saving(name, place, tmp_path):
    folder = families.save_model(name, tmp_path / "model")
    path = folder / "processor_config.json"
    settings = json.loads(path.read_text())
    videos = settings.pop("video_processor") | {"video_processor_type": "SomeVideoProcessor", "fps": 3}
    if place == "processor_config.json":
        settings["video_processor"] = videos
    else:
        if place == "preprocessor_config.json":
            images = settings.pop("image_processor")
            videos = images | {"fps": 3}  # older versions have one file for both
        (folder / place).write_text(json.dumps(videos))
    path.write_text(json.dumps(settings))
    config = families.make_vlm(name).model.config
    for saved in ("once", "twice"):
        load_processor(str(folder), config).save_pretrained(tmp_path / saved)
        folder = tmp_path / saved
        assert BaseVideoProcessor.get_video_processor_dict(folder)[0]["fps"] == 3


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("llava", ("patch_size", "num_additional_image_tokens", "vision_feature_select_strategy")),
        ("llava", ("num_additional_image_tokens",)),
        ("llava_onevision", ("num_image_tokens", "vision_feature_select_strategy")),
    ],
)
def test_what_an_older_version_did_not_save_comes_from_the_models_configuration(name, lost, tmp_path):
    vlm = families.make_vlm(name)
    vlm.save(tmp_path)
    path = tmp_path / "processor_config.json"
    settings = json.loads(path.read_text())
    assert all(settings.pop(key) is not None for key in lost)
    path.write_text(json.dumps(settings))
    loaded = VLM.load(str(tmp_path))
    mine, theirs = (tiny.picture_of(one) for one in (vlm, loaded))
    assert (mine.text, mine.runs) == (theirs.text, theirs.runs)
    assert all(torch.equal(value, theirs.inputs[key]) for key, value in mine.inputs.items())
