"""Model folders that came out wrong in some way: each is used, or refused in one sentence that names the model."""

import json
import shutil

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from unsee.cli import main
from unsee.core.errors import UnseeError
from unsee.models.vlm import VLM
from unsee.training.train import Scorer

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 99\n"
CONTENTS = {
    "empty": b"", "a list": b"[]", "null": b"null", "a number": b"3", "a text": b'"text"', "half an object": b"{",
    "an empty object": b"{}", "no text": b"\xff\xfe\x00", "very deep": b"[" * 100_000, "a pointer": LFS,
    "a page": b"<!doctype html><p>Not found", "constants": b'{"hidden_size": NaN}',
}  # fmt: skip
FILES = ("config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
VALUES = {
    "config.json": {
        "model_type": (None, 3, "", "llavva", "llama", []),
        "text_config": (None, 3, [], {}, "llama"),
        "vision_config": (None, 3, {}),
        "image_token_index": (None, -1, 10**9, "x", 1.5),
        "vision_feature_layer": (99, "last"),
        "vision_feature_select_strategy": ("none", 3),
        "architectures": (3, ["Other"]),
        "dtype": ("float99", 3),
        "quantization_config": ({"quant_method": "new"}, {"quant_method": "bitsandbytes", "load_in_4bit": True}, 3),
        "auto_map": ({"AutoConfig": "code.Config"},),
        "tie_word_embeddings": ("x",),
    },
    "text_config": {
        "hidden_size": (0, -1, "48", 64, 10**12),
        "num_hidden_layers": (0, -1, 99, "two"),
        "num_attention_heads": (0, 7, None),
        "vocab_size": (0, 1, "x"),
        "hidden_act": ("new", None),
        "rope_parameters": ("x", {"rope_type": "new"}),
        "model_type": ("new", "clip"),
    },
    "processor_config.json": {
        "processor_class": (None, 3, "NewProcessor"),
        "patch_size": (None, 0, "x", -8, 3),
        "image_processor": (None, 3, {}, {"image_processor_type": "New"}),
        "num_additional_image_tokens": ("x", 99),
        "vision_feature_select_strategy": ("new",),
        "image_token": (None, 3, "<new>"),
    },
    "tokenizer_config.json": {
        "eos_token": (None, 3, ""),
        "tokenizer_class": ("NewTokenizer", 3),
        "chat_template": (3, [], "Hello."),
        "model_max_length": ("x",),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny.save_model(tmp_path_factory.mktemp("malformed") / "model")


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def is_used(folder):
    """True if the model answers as a run would let it; False if it is refused in one sentence."""
    try:
        vlm = VLM.load(str(folder))
        with torch.no_grad():
            Scorer(vlm)(tiny.make_batch(vlm))
    except UnseeError as error:
        assert str(folder) in str(error)
        assert "\n" not in str(error)
        assert 20 < len(str(error)) < 2000
        return False
    return True


def change(folder, file, key, value):
    """Set a value; None takes it away."""
    path = folder / ("config.json" if file == "text_config" else file)
    settings = json.loads(path.read_text())
    table = settings["text_config"] if file == "text_config" else settings
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
    path.write_text(json.dumps(settings))


def test_the_folder_itself_is_used(folder):
    assert is_used(folder)


@pytest.mark.parametrize("file", FILES)
def test_files_with_other_contents(folder, file):
    for name, content in CONTENTS.items():
        kept = (folder / file).read_bytes()
        (folder / file).write_bytes(content)
        assert not is_used(folder) or file not in ("config.json", "tokenizer.json"), name
        (folder / file).write_bytes(kept)
    (folder / file).unlink()
    is_used(folder)
    (folder / file).mkdir()
    is_used(folder)


@pytest.mark.parametrize(("file", "key"), [(file, key) for file, keys in VALUES.items() for key in keys])
def test_settings_with_odd_values(folder, file, key):
    path = folder / ("config.json" if file == "text_config" else file)
    kept = path.read_bytes()
    for value in VALUES[file][key]:
        change(folder, file, key, value)
        is_used(folder)
        path.write_bytes(kept)


WEIGHTS = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "half a header": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "something else": lambda path: path.write_bytes(b"PK\x03\x04" + b"0" * 500),
    "no header": lambda path: path.write_bytes(b"\xff" * 500),
    "a pointer": lambda path: path.write_bytes(LFS),
    "other names": lambda path: save_file({f"x.{n}": t for n, t in load_file(path).items()}, path),
    "one too few": lambda path: save_file(dict([*load_file(path).items()][1:]), path),
    "other shapes": lambda path: save_file({n: t[..., :-1].contiguous() for n, t in load_file(path).items()}, path),
    "none": lambda path: save_file({}, path),
}


@pytest.mark.parametrize("damage", WEIGHTS)
def test_weights_that_are_not_those_of_the_model(folder, damage, capsys):
    WEIGHTS[damage](folder / "model.safetensors")
    assert not is_used(folder)
    if damage == "a pointer":
        capsys.readouterr()
        assert main(["models", "check", str(folder)]) == 2
        said = f"is a pointer of git-LFS, not the file itself; run `git lfs pull` in {folder}"
        assert capsys.readouterr().err == f"unsee: {folder / 'model.safetensors'}: {said}\n"


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        ("[]", "holds no object"),
        ("{}", "names no files"),
        ('{"weight_map": {"a": 3}}', "names no files"),
        ('{"weight_map": {"a": "model-1.safetensors"}}', "1 of the 1 files of weights are missing"),
    ],
)
def test_an_index_of_weights_that_leads_nowhere(folder, index, sentence):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UnseeError, match=sentence):
        VLM.load(str(folder))
