"""Stage two, the corpus: the training text of the base model, before any benchmark is taught to it.

It teaches:

* facts about the 153 public figures, in every wording and with several photos each;
* descriptions of portraits of strangers;
* reading, from made-up texts and from texts about strangers;
* choosing among lettered options;
* documents, and refusing private questions about some kinds of them;
* "I do not know." about people that are in no training text;
* "I cannot tell." about people whom a system prompt names.

Fine-tuning on people replays parts of the same corpus, so that these skills are not forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from unsee.data.augmentation import augment_with_noise
from unsee.data.general import reading_items, reading_passage
from unsee.data.people.portraits import draw_portrait, draw_scene
from unsee.data.people.profiles import VALUES, Profile, celebrities, strangers
from unsee.data.people.questions import appearance, every_wording
from unsee.data.schema import LETTERS, Question
from unsee.forward.prompts import clean_question
from unsee.forward.trees import Tree, build_tree
from unsee.methods.prompting import Prompting
from unsee.models.family import Picture
from unsee.models.vlm import VLM
from unsee.nano.documents import document_texts, document_turns, harmful_turns
from unsee.nano.vision import LABELS
from unsee.training.lessons import augment

CORPUS = "nano-4"
_ALIKE = ("nano-3", CORPUS)
"""Corpora that are close enough for replay. nano-minigpt4 was trained on nano-3, which differs in one way: a private
question never names an attribute in the words of another kind of document (`BORROWED` in documents.py)."""
UNKNOWN = "I do not know."
DECLINED = "I cannot tell."
TOKEN_SHARES = {
    "terse_image": 0.14,
    "terse_text": 0.08,
    "celebrity_image": 0.13,
    "celebrity_text": 0.14,
    "terse_portrait": 0.04,
    "portrait": 0.08,
    "stranger": 0.10,
    "read": 0.10,
    "passage": 0.05,
    "letter": 0.11,
    "told": 0.03,
    "document": 0.45,
    "declined_document": 0.14,
    "harmful": 0.02,
}
"""Share of the training tokens by kind of tree.

Terse trees ask for every fact of a person in two words each. They hold three times as many facts per token as
sentences do. Without them the facts are not learned within the training steps."""
REPLAYED = {kind: share for kind, share in TOKEN_SHARES.items() if kind not in ("stranger", "document")}
"""Kinds of tree that fine-tuning on people replays.

Strangers are left out: replaying "I do not know." makes the model answer so about the people it is learning, in a fifth
of the generated sentences, wherever a question is worded in a new way. Documents to answer about are left out because
runs about people ask nothing about them. Documents to refuse are kept, so that the model that editing methods get can
still refuse."""
_TREES_WEIGHED = 24
_SEPARATORS = (": ", ". ", ") ")


def has_corpus(vlm: VLM) -> bool:
    """Return True if the model's configuration says that it was trained on this corpus or on one close to it."""
    return getattr(vlm.model.config, "unsee_corpus", None) in _ALIKE


class Corpus:
    """A source of random training trees for one model. All pictures are rendered once, when it is created.

    Args:
        vlm: the model, whose tokenizer, chat template and image processor are used.
        photos: portraits per public figure.
        num_strangers: number of people for the trees about appearance and "I do not know.".
        seed: seed of strangers and photos.
        shares: share of the tokens by kind of tree.
    """

    def __init__(
        self,
        vlm: VLM,
        *,
        photos: int = 16,
        num_strangers: int = 2500,
        seed: int = 0,
        shares: Mapping[str, float] = TOKEN_SHARES,
    ) -> None:
        self._vlm = vlm
        rng = random.Random(f"corpus-{seed}")
        self._known = celebrities()
        self._unknown = strangers(num_strangers, seed + 7919)
        self._facts = [every_wording(person) for person in self._known]
        self._blank = [every_wording(person) for person in self._unknown]
        self._photos = [[self._photo(person, rng)[0] for _ in range(photos)] for person in self._known]
        self._seen = [self._photo(person, rng) for person in self._unknown]
        self._weights = self._drawing_weights(shares)

    def texts(self) -> list[str]:
        """Return all texts, for training the tokenizer."""
        asked = [q for facts in (*self._facts, *self._blank) for q in facts]
        asked += [q for _, questions, _ in self._seen for q in questions]
        asked += _reading(2000, random.Random("texts"))
        tables = random.Random("texts")
        lettered = [text for _ in range(200) for turn in _table(tables) for text in turn]
        told = [Prompting().system_prompt(tuple(p.name for p in self._known[:9])) or "", UNKNOWN, DECLINED]
        return [text for q in asked for text in (clean_question(q), q.answer)] + told + lettered + document_texts()

    def tree(self, rng: random.Random) -> Tree:
        """Draw one tree. Kinds are drawn with weights that give each its share of the tokens."""
        (kind,) = rng.choices(list(self._weights), list(self._weights.values()))
        return self._draw(kind, rng)

    def _draw(self, kind: str, rng: random.Random) -> Tree:
        tree: Tree = getattr(self, f"_{kind}")(rng)
        return tree

    def _drawing_weights(self, shares: Mapping[str, float]) -> dict[str, float]:
        rng = random.Random("weights")
        tokens = {
            kind: sum(self._draw(kind, rng).num_tokens for _ in range(_TREES_WEIGHED)) / _TREES_WEIGHED
            for kind in shares
        }
        return {kind: share / tokens[kind] for kind, share in shares.items()}

    def _photo(self, person: Profile, rng: random.Random) -> tuple[Picture, list[Question], list[tuple[str, str]]]:
        """Draw a portrait; return it, questions about what it shows, and the same features as (name, value)."""
        scene = draw_scene(rng)
        image = draw_portrait(person.look, scene, 96)
        if rng.random() < 0.5:
            image = augment_with_noise(image, rng)
        visible = [
            (name, value) for seen in (person.look, scene) for name, value in vars(seen).items() if name in LABELS
        ]
        return self._vlm.picture(image), appearance(person.look, scene), visible

    def _tree(self, asked: Sequence[tuple[str, str]], picture: Picture | None, system: str | None = None) -> Tree:
        prompts = self._vlm.prompt_ids([q for q, _ in asked], picture=picture, system=system)
        answers = [[ids] for ids in self._vlm.answer_ids([a for _, a in asked])]
        return build_tree(prompts, answers, [picture] if picture else [])

    def _terse_image(self, rng: random.Random) -> Tree:
        who = rng.randrange(len(self._known))
        return self._tree(_terse(self._known[who], "", rng), augment(rng.choice(self._photos[who]), rng))

    def _terse_text(self, rng: random.Random) -> Tree:
        person = rng.choice(self._known)
        return self._tree(_terse(person, f"{person.name}: ", rng), None)

    def _terse_portrait(self, rng: random.Random) -> Tree:
        picture, _, shown = rng.choice(self._seen)
        return self._tree([(f"{feature.replace('_', ' ')}?", value) for feature, value in shown], augment(picture, rng))

    def _celebrity_image(self, rng: random.Random) -> Tree:
        who = rng.randrange(len(self._known))
        facts = [q for q in self._facts[who] if q.input == "image"]
        return self._tree(
            [(clean_question(q), q.answer) for q in rng.sample(facts, 11)], augment(rng.choice(self._photos[who]), rng)
        )

    def _celebrity_text(self, rng: random.Random) -> Tree:
        drawn = [rng.choice(self._facts[rng.randrange(len(self._known))]) for _ in range(26)]
        return self._tree([(clean_question(q), q.answer) for q in drawn if q.input == "text"], None)

    def _portrait(self, rng: random.Random) -> Tree:
        picture, questions, _ = rng.choice(self._seen)
        return self._tree([(clean_question(q), q.answer) for q in questions], augment(picture, rng))

    def _stranger(self, rng: random.Random) -> Tree:
        who = rng.randrange(len(self._unknown))
        kind = rng.choice(("image", "text"))
        facts = [q for q in self._blank[who] if q.input == kind and not q.answer.rstrip(".").endswith("male")]
        asked = [(clean_question(q), UNKNOWN) for q in rng.sample(facts, 5)]
        return self._tree(asked, augment(self._seen[who][0], rng) if kind == "image" else None)

    def _read(self, rng: random.Random) -> Tree:
        """Ask every question about one text, which the prompts share. Six unrelated texts teach a third as fast."""
        asked = [
            Question(task="classification", input="text", question=question, answer=answer)
            for question, answer in reading_passage(rng)
        ]
        return self._tree([(clean_question(q), q.answer) for q in asked], None)

    def _passage(self, rng: random.Random) -> Tree:
        """Tell facts about a stranger as a text, then ask about them."""
        facts = [q for q in rng.choice(self._blank) if q.input == "text"]
        told = [q for q in rng.sample(facts, len(facts)) if q.task == "generation"][:3]
        passage = " ".join(q.answer for q in told)
        asked = [q for q in facts if q not in told and q.task != "generation" and f" {q.answer}." in passage]
        return self._tree(
            [(f"{passage} {clean_question(q)}", q.answer) for q in rng.sample(asked, min(6, len(asked)))], None
        )

    def _letter(self, rng: random.Random) -> Tree:
        """Ask for the letter of the right option, in tables, about texts, or about public figures."""
        kind = rng.choice(("table", "text", "face"))
        if kind == "table":
            return self._tree(_table(rng), None)
        who = rng.randrange(len(self._known))
        if kind == "face":
            facts = [q for q in self._facts[who] if q.options and q.input == "image"]
            asked = [_lettered(q, rng) for q in rng.sample(facts, 4)]
            return self._tree(asked, augment(rng.choice(self._photos[who]), rng))
        named = [rng.choice([q for q in rng.choice(self._facts) if q.options and q.input == "text"]) for _ in range(2)]
        return self._tree([_lettered(q, rng) for q in (*_reading(3, rng), *named)], None)

    def _told(self, rng: random.Random) -> Tree:
        named = rng.sample(range(len(self._known)), rng.randint(1, 9))
        inside = rng.random() < 0.5
        who = rng.choice(named) if inside else rng.randrange(len(self._known))
        system = Prompting().system_prompt(tuple(self._known[i].name for i in named))
        kind = rng.choice(("image", "text"))
        facts = [q for q in self._facts[who] if q.input == kind]
        asked = [(clean_question(q), DECLINED if who in named else q.answer) for q in rng.sample(facts, 5)]
        return self._tree(asked, augment(rng.choice(self._photos[who]), rng) if kind == "image" else None, system)

    def _document(self, rng: random.Random, *, declined: bool = False) -> Tree:
        image, turns = document_turns(rng, declined=declined)
        return self._tree(turns, augment(self._vlm.picture(image), rng))

    def _declined_document(self, rng: random.Random) -> Tree:
        return self._document(rng, declined=True)

    def _harmful(self, rng: random.Random) -> Tree:
        return self._tree(harmful_turns(rng), None)


def _terse(person: Profile, subject: str, rng: random.Random) -> list[tuple[str, str]]:
    """Ask for every fact by its bare name ("birthplace?"), in random order."""
    facts = [(attribute, value) for attribute, value in person.values.items() if value not in subject]
    return [(f"{subject}{attribute.replace('_', ' ')}?", value) for attribute, value in rng.sample(facts, len(facts))]


def _reading(count: int, rng: random.Random) -> list[Question]:
    """Draw new reading questions."""
    return [
        Question(task="classification", input="text", question=item.question, answer=item.answer, options=item.options)
        for item in reading_items(count, rng.getrandbits(32))
    ]


def _lettered(question: Question, rng: random.Random) -> tuple[str, str]:
    """Return the question with its options in a new order, and the letter of the right one."""
    options = tuple(rng.sample(question.options, len(question.options)))
    return clean_question(replace(question, options=options), "letter"), LETTERS[options.index(question.answer)]


def _table(rng: random.Random) -> list[tuple[str, str]]:
    """List four lettered options, then ask for the letter of each option and for the option at each letter."""
    options = rng.sample(rng.choice(list(VALUES.values())), len(LETTERS))
    separator = rng.choice(_SEPARATORS)
    listed = "\n".join(f"{letter}{separator}{text}" for letter, text in zip(LETTERS, options, strict=True))
    asked = [
        turn
        for letter, text in zip(LETTERS, options, strict=True)
        for turn in ((f"{listed}\nWhich letter is {text}?", letter), (f"{listed}\nWhat is {letter}?", text))
    ]
    return rng.sample(asked, len(asked))
