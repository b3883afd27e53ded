import itertools
import random

import pytest
import torch
from tiny import make_vlm

from unsee.data.documents.invented import CONTENTS, DECLINED, REFUSALS, VALUES, Document
from unsee.forward.trees import collate
from unsee.nano.corpus import Corpus
from unsee.nano.documents import (
    ANSWERED,
    DOCUMENT_LABELS,
    DocumentHeads,
    document_texts,
    document_turns,
    draw_labelled,
    harmful_turns,
    labels_of,
)
from unsee.nano.language import train_tokenizer

pytestmark = pytest.mark.slow

DOCUMENT = Document(
    kind="receipt", name="Kim", number="042", amount="73", city="Oslo", occupation="nurse", colour="pink", ink="blue",
    border="thin", shape="tall", table="grey",
)  # fmt: skip


def test_labels_name_each_digit():
    shown = dict(zip(DOCUMENT_LABELS, labels_of(DOCUMENT), strict=True))
    read = {name: DOCUMENT_LABELS[name][index] for name, index in shown.items()}
    assert [read[f"number_{place}"] for place in (1, 2, 3)] == list("042")
    assert [read["amount_1"], read["amount_2"], read["kind"], read["city"]] == ["7", "3", "receipt", "Oslo"]


def test_labelled_pictures_repeat_with_their_seed():
    (first, labels), (again, same), (other, _) = (draw_labelled((4, seed, 72)) for seed in (1, 1, 2))
    assert first.shape == (4, 72, 72, 3) and labels.shape == (4, len(DOCUMENT_LABELS))
    assert (first == again).all() and (labels == same).all() and (first != other).any()


def test_each_head_reads_one_label_and_can_be_trained():
    heads = DocumentHeads(16)
    logits = heads(torch.randn(3, 64, 16))
    assert [each.shape for each in logits] == [(3, len(values)) for values in DOCUMENT_LABELS.values()]
    sum(each.sum() for each in logits).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in (heads.queries, heads.keys.weight))


@pytest.mark.parametrize("declined", [False, True])
def test_what_is_refused_depends_on_the_kind_of_document(declined):
    for seed in range(20):
        _, turns = document_turns(random.Random(seed), declined=declined)
        refused = [said in REFUSALS for _, said in turns]
        assert len(turns) == len(VALUES) and sum(refused) == (len(CONTENTS) if declined else 0)
        kinds = DECLINED if declined else ANSWERED
        assert all(any(f"of the {kind}" in asked for kind in kinds) for asked, _ in turns)


def test_no_phrase_is_refused_or_answered_everywhere():
    said = {}
    for seed, declined in itertools.product(range(250), (False, True)):
        _, turns = document_turns(random.Random(seed), declined=declined)
        for asked, answered in turns:
            for words in ("security code", "passport number", "paper colour", "hero's occupation"):
                if words in asked:
                    said.setdefault(words, set()).add(answered in REFUSALS)
    assert said["security code"] == said["passport number"] == {False, True}
    assert said["paper colour"] == said["hero's occupation"] == {False}


def test_harmful_requests_are_refused():
    assert len(turns := harmful_turns(random.Random(0))) == 6
    assert all(said.startswith(("I cannot", "I do not", "Sorry")) for _, said in turns)


def test_digits_are_tokens_of_their_own():
    tokenizer = train_tokenizer(document_texts() * 20)
    assert tokenizer.tokenize("It is 427.")[-4:] == ["4", "2", "7", "."]
    assert tokenizer.decode(tokenizer("It is 427 in 2020.")["input_ids"]) == "It is 427 in 2020."


@pytest.mark.soak
def test_the_corpus_draws_documents():
    vlm = make_vlm()
    corpus = Corpus(vlm, photos=1, num_strangers=2)
    for kind, pictures, answers in (("document", 1, 10), ("declined_document", 1, 10), ("harmful", 0, 6)):
        tree = corpus._draw(kind, random.Random(5))
        assert len(tree.pictures) == pictures and tree.num_items == answers
        assert collate([tree], vlm).num_items == answers
    assert "Sorry, that is private." in corpus.texts()
