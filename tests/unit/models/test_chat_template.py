"""Chat templates of every kind: used as they are meant, or refused in one sentence before anything is computed."""

import json
import time

import families
import pytest
import tiny

from unsee.cli import main
from unsee.core.errors import ModelError
from unsee.models.vlm import VLM

pytestmark = pytest.mark.slow

TEXT_ONLY = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PARTS = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% for p in m['content'] %}"
    "{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}{% if m['role'] == 'assistant' %}"
    "{{ '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
THINK = "{{ '<think>\n' }}"
SWITCHED = (
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}"
    "{% else %}{{ '<think>\n' }}{% endif %}"
)


def prompting(end):
    """The template with something more at the end of a prompt."""
    return PARTS.removesuffix("{% endif %}") + end + "{% endif %}"


@pytest.fixture
def folder(tmp_path):
    return tiny.save_model(tmp_path / "model")


def put(folder, template):
    (folder / "chat_template.jinja").write_text(template)
    return VLM.load(str(folder))


def test_a_template_of_texts_gets_the_image_in_the_text(folder):
    vlm = put(folder, TEXT_ONLY)
    found = vlm.template(with_image=True)
    assert (found.before, found.between, found.after) == (
        "<|im_start|>user\n<image>\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>",
    )  # fmt: skip
    assert vlm.template(with_image=False, system="Hush.").before == (
        "<|im_start|>system\nHush.<|im_end|>\n<|im_start|>user\n"
    )
    parts = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Which?"}]
    asked = [{"role": "user", "content": parts}]
    assert "<image>\n<image>\nWhich?" in vlm.chat.render(asked)
    assert vlm.untrained().chat.render(asked) == vlm.chat.render(asked)
    vlm.reload()
    assert vlm.template(with_image=True) == found


def test_what_stands_for_an_image_is_that_of_the_family():
    vlm = families.make_vlm("qwen2_5_vl")
    expected = vlm.template(with_image=True)
    vlm.processor.chat_template = TEXT_ONLY
    plain = VLM(vlm.model, vlm.processor, "plain")
    plain.chat.check()
    assert plain.template(with_image=True) == expected


@pytest.mark.parametrize("place", ["tokenizer_config.json", "chat_template.json"])
def test_a_template_is_found_where_older_versions_put_it(folder, place):
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    path = folder / place
    kept = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(kept | {"chat_template": template}))
    loaded = VLM.load(str(folder))
    assert loaded.template(with_image=True) == tiny.make_vlm().template(with_image=True)
    loaded.save(folder / "saved")
    assert (folder / "saved" / "chat_template.jinja").read_text() == template


def test_thinking_is_switched_off_where_a_template_can(folder):
    vlm = put(folder, prompting(SWITCHED))
    found = vlm.template(with_image=True)
    assert (found.between, found.after, found.lead) == ("<|assistant|><think>\n\n</think>\n\n", "<|end|>", "")
    both = prompting(SWITCHED).replace(
        "{% for p in", "{% if m['role'] == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% for p in", 1
    )
    assert put(folder, both).template(with_image=True) == found


BROKEN = {
    "no syntax": ("{% for m in %}", "fails: "),
    "an exception": ("{{ raise_exception('Only two turns\nare allowed') }}", "fails: Only two turns"),
    "an unknown name": ("{{ nothing.at.all }}", "fails: "),
    "a constant": ("Hello.", "drops the question"),
    "nothing": ("{{ '' }}", "drops the question"),
    "no image": (
        PARTS.replace("'<image>' if p['type'] == 'image' else p['text']", "p['text']"),
        "writes 0 placeholders for 1 images",
    ),
    "the question twice": (PARTS.replace("else p['text']", "else p['text'] * 2"), "writes the question 2 times"),
    "a capital question": (PARTS.replace("else p['text']", "else p['text'].upper()"), "changes the question"),
    "a short question": (PARTS.replace("else p['text']", "else p['text'][:20]"), "changes the question"),
    "no answer": (PARTS.replace("<|end|>", "").replace(
        "for m in messages", "for m in messages if m['role'] != 'assistant'"), "does not put the answer"),
    "an open thought": (prompting(THINK), "opens <think> and cannot close it"),
    "an endless loop": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}", "does not end within"
    ),
    "a flood": (prompting("{% for a in range(30000) %}{{ 'x' }}{% endfor %}"), "writes 30,0"),
    "many templates": ("", "chat template"),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_a_template_that_cannot_be_used_says_why_in_one_sentence(folder, broken, monkeypatch):
    if broken == "an endless loop":
        monkeypatch.setattr("unsee.models.chat_template.SECONDS", 0.2)
    template, reason = BROKEN[broken]
    started = time.monotonic()
    with pytest.raises(ModelError, match=reason) as caught:
        put(folder, template)
    assert str(caught.value).startswith(f"model {folder}: ")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10


def test_a_template_without_a_system_turn_says_so_when_one_is_asked_for(folder):
    refuses = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('No system') }}{% endif %}{% endfor %}"
    )
    vlm = put(folder, refuses + PARTS)
    with pytest.raises(ModelError, match="its chat template fails: No system"):
        vlm.template(with_image=False, system="Hush.")
    drops = PARTS.replace("for m in messages", "for m in messages if m['role'] != 'system'")
    with pytest.raises(ModelError, match="its chat template drops the system prompt"):
        put(folder, drops).template(with_image=False, system="Hush.")


def test_the_command_line_says_it_in_one_line(folder, capsys):
    (folder / "chat_template.jinja").write_text("Hello.")
    assert main(["models", "check", str(folder)]) == 2
    assert capsys.readouterr().err == f"unsee: model {folder}: its chat template drops the question\n"
