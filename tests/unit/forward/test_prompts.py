import families
import pytest
import tiny

from unsee.config.recipe import EvaluationConfig
from unsee.data.schema import LETTERS, Question
from unsee.forward.prompts import (
    BLANK,
    INSTRUCTIONS,
    LETTER,
    SHORT,
    answer_ids,
    clean_question,
    cut_answer,
    lesson_answer_ids,
    opening_ids,
    read_letter,
    render,
    render_lesson,
)
from unsee.models import MODELS
from unsee.models.vlm import VLM

PUBLISHED = {"protocol": "published"}


def question(task, **fields):
    whole = {"task": task, "input": "image", "question": "Where was she born, in __?", "answer": "Lima"} | fields
    return Question(**whole)


CHOICE = question("classification", options=("Oslo", "Lima", "Cairo", "Perth"))


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


@pytest.mark.parametrize("task", ["train", "generation"])
def test_open_questions_are_asked_as_they_are(task):
    assert clean_question(question(task)) == clean_question(question(task), "letter") == "Where was she born, in __?"


def test_blanks_and_choices_say_what_is_wanted():
    assert clean_question(question("cloze")) == f"Where was she born, in __? {BLANK}"
    assert clean_question(question("cloze"), fill="few_words") == f"Where was she born, in __? {BLANK} {SHORT}"
    assert clean_question(CHOICE) == f"Where was she born, in __? {SHORT}"
    assert (
        clean_question(CHOICE, "letter")
        == f"Where was she born, in __?\nA: Oslo\nB: Lima\nC: Cairo\nD: Perth\n{LETTER}"
    )


def test_a_recipe_asks_for_few_words_in_a_blank(vlm):
    texts = [render(vlm, question("cloze"), EvaluationConfig(fill=fill)) for fill in ("blank", "few_words")]
    assert [SHORT in text for text in texts] == [False, True]


def test_by_likelihood_the_options_are_not_shown():
    assert "Cairo" not in clean_question(CHOICE)


@pytest.mark.parametrize("instruction", INSTRUCTIONS)
@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_each_instruction_can_ask_for_the_letter_in_either_protocol(vlm, protocol, instruction):
    config = EvaluationConfig(protocol=protocol, choice="letter", instruction=instruction)
    assert [text in render(vlm, CHOICE, config) for text in INSTRUCTIONS.values()] == [
        name == instruction for name in INSTRUCTIONS
    ]


@pytest.mark.parametrize(
    ("blank", "gap", "shown"),
    [
        ("marker_per_pair", "__", "[Blank]"),
        ("marker_per_pair", "____", "[Blank][Blank]"),
        ("marker_per_pair", "___", "[Blank]_"),
        ("marker", "__", "[Blank]"),
        ("marker", "_______", "[Blank]"),
    ],
)
def test_a_gap_is_marked_once_or_for_each_pair(vlm, blank, gap, shown):
    config = EvaluationConfig(protocol="published", blank=blank)
    gapped = question("cloze", question=f"In {gap} it was.")
    assert f"In {shown} it was." in render(vlm, gapped, config)
    assert f"In {shown} it was." in render(vlm, CHOICE, config, shots=[gapped])
    assert f"In {gap} it was." in render(vlm, gapped, EvaluationConfig())


def test_only_gaps_of_blanks_are_marked(vlm):
    assert "in __?" in render(vlm, CHOICE, EvaluationConfig(**PUBLISHED))


def test_a_system_prompt_comes_first_and_shots_before_the_question(vlm):
    config = EvaluationConfig(**PUBLISHED)
    shot = question("classification", question="Shown?", options=CHOICE.options)
    text = render(vlm, CHOICE, config, shots=[shot, shot], system="Say nothing.")
    assert text.startswith("Say nothing. USER: <image>\nQuestion: Shown?\n")
    assert text.index("Shown?") < text.index("Where was she born")
    assert text.count("<image>") == 3
    assert text.count("Correct Answer: B\n") == 2


def test_published_answers_follow_a_space_and_have_no_end(vlm):
    (ids,) = answer_ids(vlm, ["Oslo, Norway"], "published")
    whole = vlm.text_ids("ASSISTANT: Oslo, Norway")
    assert vlm.text_ids("ASSISTANT:") + ids == whole
    assert answer_ids(vlm, ["Oslo"], "clean") == vlm.answer_ids(["Oslo"])
    assert ids[-1] not in vlm.end_tokens


TASKS = ("classification", "cloze", "generation")


@pytest.mark.parametrize("kind", ["image", "text"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", ["llava", "idefics2"])
def test_the_published_families_are_asked_in_the_plain_form(family, task, kind):
    vlm = families.make_vlm(family)
    options = CHOICE.options if task == "classification" else ()
    asked = question(task, input=kind, question="Where was she born?", options=options)
    shots = [asked] if task != "generation" else []
    text = render(vlm, asked, EvaluationConfig(**PUBLISHED), shots=shots)
    start = {"image": "USER: <image>\n", "text": "USER: " if task == "generation" else "USER:\n"}[kind]
    assert text[text.rindex("USER:") :].startswith(f"{start}Where was she born?\n")
    assert text.rstrip(" ").endswith("\nASSISTANT:")
    images = [tiny.photo(number) for number in range(len(shots) + 1)] if kind == "image" else []
    read = vlm.processor(images=[images] if images else None, text=[text], return_tensors="pt")["input_ids"][0].tolist()
    assert vlm.text_ids(text, [vlm.picture(image) for image in images]) == read


def test_a_llava_with_chatml_is_asked_and_taught_in_its_own_chat():
    vlm = tiny.make_vlm()
    asked = question("generation", input="text")
    assert "USER:" in render(vlm, asked, EvaluationConfig(**PUBLISHED))
    vlm.processor.chat_template = "{{ '<|im_start|>' }}" + vlm.processor.chat_template
    chat = VLM(vlm.model, vlm.processor, "chat")
    assert render(chat, asked, EvaluationConfig(**PUBLISHED)).startswith("<|im_start|><|user|>Where was she born")
    assert render_lesson(chat, question("train"), "published") == render_lesson(chat, question("train"), "clean")
    assert answer_ids(chat, ["Oslo"], "published") == chat.answer_ids(["Oslo"])


def test_idefics2_is_asked_in_the_plain_form_and_taught_in_its_chat_template():
    vlm = families.make_vlm("idefics2")
    assert answer_ids(vlm, ["Oslo"], "published")[0][-1] not in vlm.end_tokens
    assert lesson_answer_ids(vlm, ["Oslo"], "published") == vlm.answer_ids(["Oslo"])
    assert render_lesson(vlm, question("train"), "published") == render_lesson(vlm, question("train"), "clean")


@pytest.mark.parametrize(
    ("written", "cut"),
    [
        ("Oslo.", "Oslo."),
        ("B USER: Next?\nASSISTANT: C", "B USER: Next?"),
        ("ASSISTANT: Oslo", ""),
        ("Oslo ASSISTANT: Lima ASSISTANT: Cairo", "Oslo"),
        ("An assistant: yes", "An assistant: yes"),
    ],
)
def test_a_published_answer_ends_where_the_model_begins_another_turn(written, cut):
    assert cut_answer(written, "published") == cut
    assert cut_answer(written, "clean") == written


DIFFICULT = {
    "B": ("B", "B"),
    "b": (None, "B"),
    "B.": ("B", "B"),
    "A:": ("A", "A"),
    " (C).": ("C", None),
    "(b)": (None, None),
    "**D**": ("D", None),
    "As an AI": (None, "A"),
    "can't": (None, "C"),
    "Doctor": (None, "D"),
    "Actor": (None, "A"),
    "A or B": (None, "A"),
    "AB": (None, "A"),
    "The answer is C": (None, None),
    "Option B": (None, None),
    "E": (None, None),
    "I don't know": (None, None),
    "1": (None, None),
    "": (None, None),
    "\n": (None, None),
    "\nD": ("D", "D"),
    "\u0410": (None, None),
}


@pytest.mark.parametrize("text", DIFFICULT)
def test_difficult_answers(text):
    strict, first = DIFFICULT[text]
    assert read_letter(text, "strict") == strict
    assert read_letter(text, "first_letter") == first


@pytest.mark.parametrize("letter", LETTERS)
def test_answers_that_state_a_letter_are_parsed(letter):
    assert read_letter(letter, "strict") == read_letter(letter, "first_letter") == letter


TURNS = [("Said first?", "Answered first."), ("Said then?", "Answered then.")]


@pytest.mark.parametrize("family", MODELS.names())
@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_a_system_prompt_and_earlier_turns_stand_once_and_in_order_before_photo_and_question(family, protocol):
    vlm = families.make_vlm(family)
    for kind in ("image", "text"):
        asked = question("generation", input=kind, question="Where was she born?")
        text = render(vlm, asked, EvaluationConfig(protocol=protocol), system="Say nothing.", turns=TURNS)
        said = ["Say nothing.", *TURNS[0], *TURNS[1], *[vlm.family.placeholder] * (kind == "image"), asked.question]
        assert [text.count(part) for part in said] == [1] * len(said)
        places = [text.index(part) for part in said]
        assert places == sorted(places)
        plain = render(vlm, asked, EvaluationConfig(protocol=protocol))
        assert text.endswith(plain[plain.index(vlm.family.placeholder if kind == "image" else asked.question) :])


def test_a_turn_of_the_published_plain_form_is_written_as_the_question_is(vlm):
    shot = question("classification", question="Shown?", options=CHOICE.options)
    text = render(vlm, CHOICE, EvaluationConfig(**PUBLISHED), shots=[shot], system="Say nothing.", turns=TURNS[:1])
    assert text.startswith(
        "Say nothing. USER: Said first?\nASSISTANT: Answered first.\nUSER: <image>\nQuestion: Shown?\n"
    )
    assert text.count("<image>") == 2


@pytest.mark.parametrize("family", MODELS.names())
@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_an_opening_is_the_beginning_of_an_answer_without_its_end(family, protocol):
    vlm = families.make_vlm(family)
    given = opening_ids(vlm, "It is Oslo,", protocol)
    (whole,) = answer_ids(vlm, ["It is Oslo, Norway"], protocol)
    assert 0 < len(given) < len(whole) and given[-1] not in vlm.end_tokens
    assert vlm.decode([given]) == ["It is Oslo,"]
    assert opening_ids(vlm, "", protocol) == []
