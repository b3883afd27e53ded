from dataclasses import replace as changed

import privacy
import pytest
import tiny
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from unsee.core.errors import DataError
from unsee.data.pairs import PrivacyPair
from unsee.edits.pair_rows import PLAIN, Query, answered, group_pictures, make_pair_rows, queries, subject_tokens
from unsee.models.vlm import VLM
from unsee.nano.language import make_processor
from unsee.training.train import Scorer

TEMPLATES = (
    "What is the {} of the {}?", "In the {1} here: {0}?", "Tell me the {} of the {}", "{1}: its {0}.",
    "Describe the {} on this {}, please.", "How would you describe the {} of the {} in the photo?",
)  # fmt: skip
SUBJECTS = ("Passport", "military vehicles", "document", "Student ID", "phone number")


def metaspace_tokenizer():
    """Tokens with the space before a word in them, as Llama's."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<image>"]
    words = [template.format("number", subject) for template in TEMPLATES for subject in SUBJECTS]
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(vocab_size=150, special_tokens=special))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", unk_token="<unk>",
        additional_special_tokens=special[3:6], extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip


@pytest.fixture(scope="module", params=["bytes", "metaspace"])
def vlm(request):
    vlm = tiny.make_vlm()
    if request.param == "bytes":
        return vlm
    return VLM(vlm.model, make_processor(metaspace_tokenizer()), "tiny")


def about(subject, question):
    pair = PrivacyPair(
        image=tiny.png(), subject=subject, sensitive=question, benign=question, refusal="No", category="", case="0"
    )
    return Query(pair, question, "No", True)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_tokens_of_the_subject_decode_to_the_subject(vlm, template, subject):
    picture = tiny.picture_of(vlm)
    question = template.format("serial number", subject)
    (tokens,) = subject_tokens(vlm, [about(subject, question)], picture)
    (prompt,) = vlm.prompt_ids([question], picture=picture)
    read = vlm.processor.tokenizer.decode([prompt[-k] for k in tokens])
    assert subject in read
    assert len(read.strip()) <= len(subject) + 2  # a token may hold the sign after it
    assert tokens == list(range(tokens[0], tokens[-1] - 1, -1))


def test_the_last_mention_is_the_subject_or_the_first_as_published(vlm):
    question = "What are the relevant political documents of the document?"
    query = about("document", question)
    picture = tiny.picture_of(vlm)
    (prompt,) = vlm.prompt_ids([question], picture=picture)
    rests = {}
    for occurrence in ("last", "first"):
        (tokens,) = subject_tokens(vlm, [query], picture, occurrence)
        rests[occurrence] = vlm.processor.tokenizer.decode([prompt[-k] for k in range(tokens[-1], 0, -1)])
    assert "of the" in rests["first"]
    assert "of the" not in rests["last"]


def test_a_subject_that_is_not_in_the_question_is_an_error(vlm):
    query = changed(about("Passport", "The Passport?"), question="The ticket?")
    with pytest.raises(DataError, match="the subject 'Passport' is not in the question 'The ticket\\?'"):
        subject_tokens(vlm, [query], None)


@pytest.fixture
def tiny_vlm():
    return tiny.make_vlm()


def test_packed_rows_score_every_answer_as_if_it_were_alone(tiny_vlm):
    asked = [queries([privacy.make_pair(0), privacy.make_pair(0, 1)], contexts=("{}", "Job? {}"))]
    asked.append(queries([privacy.make_pair(1, 2)]))
    rows = make_pair_rows(tiny_vlm, asked)
    with torch.no_grad():
        scored = Scorer(tiny_vlm)(rows.batch)
    flat = [(row, query) for row, several in enumerate(asked) for query in several]
    for item, (row, query) in enumerate(flat):
        picture = tiny.picture_of(tiny_vlm, row)
        (prompt,) = tiny_vlm.prompt_ids([query.question], picture=picture)
        (answer,) = tiny_vlm.answer_ids([query.answer], end=query.whole)
        alone = tiny.plain_log_probability(tiny_vlm, prompt, answer, picture)
        assert float(scored.log_probability_I[item]) == pytest.approx(alone, abs=1e-3)
        assert rows.sensitive_I[item] == query.sensitive
        assert rows.row_I[item] == row


def test_the_loss_is_the_mean_refusal_loss_plus_the_weighted_benign_one(tiny_vlm):
    rows = make_pair_rows(tiny_vlm, [queries(privacy.make_pairs(1, 3)), queries(privacy.make_pairs(2, 1)[1:])])
    with torch.no_grad():
        scored = Scorer(tiny_vlm)(rows.batch)
    per_token = (-scored.log_probability_I / scored.length_I).tolist()
    expected = sum(per_token[:6:2]) / 3 + 1.25 * sum(per_token[1:6:2]) / 3
    loss_B = rows.loss_B(scored, 1.25)
    assert loss_B[0].item() == pytest.approx(expected, rel=1e-5)
    assert loss_B[1].item() == pytest.approx(per_token[6] + 1.25 * per_token[7], rel=1e-5)


def test_each_scope_contains_the_one_before_it(tiny_vlm):
    rows = make_pair_rows(tiny_vlm, [queries(privacy.make_pairs(1, 2)), queries(privacy.make_pairs(2, 1)[1:])])
    last, subject, text, every = (rows.scopes[scope] for scope in ("subject_last", "subject", "text", "every"))
    assert not (last & ~subject).any() and not (subject & ~text).any() and not (text & ~every).any()
    assert last.sum() < text.sum() < every.sum()
    ids = rows.batch.inputs["input_ids"]
    assert (ids[every & ~text] == tiny_vlm.family.image_token).all()
    assert torch.equal(last.flatten().nonzero()[:, 0], rows.last_I.unique())


def test_queries_insert_the_question_into_contexts_and_cut_the_benign_answer():
    pair = changed(privacy.make_pair(), benign_answer="one two three")
    asked = queries([pair], contexts=(*PLAIN, "So. {}"), benign_words=2)
    assert [query.question for query in asked] == [pair.sensitive, f"So. {pair.sensitive}", pair.benign]
    assert [query.answer for query in asked] == ["I do not", "I do not", "one two"]
    assert [query.whole for query in asked] == [False, False, False]
    assert queries([pair])[-1].whole


def test_a_missing_benign_answer_is_an_error_until_the_model_has_answered(tiny_vlm):
    pairs = [privacy.make_pair(answer=None), privacy.make_pair(1)]
    with pytest.raises(DataError, match="case 0: has no benign answer"):
        queries(pairs)
    done = answered(tiny_vlm, pairs, max_new_tokens=3)
    assert done[1] == pairs[1]
    assert done[0].benign_answer
    assert done == answered(tiny_vlm, pairs, max_new_tokens=3)


def test_an_answer_without_tokens_is_an_error():
    deaf = tiny.deaf(tiny.make_vlm())
    mute = changed(privacy.make_pair(), refusal="拒绝")
    with pytest.raises(DataError, match="case 0: the refusal '拒绝' tokenizes to nothing"):
        make_pair_rows(deaf, [queries([mute])])
    with pytest.raises(DataError, match="case 0: the benign answer '红' tokenizes to nothing"):
        make_pair_rows(deaf, [queries([privacy.make_pair(answer="红")], benign_words=5)])
    make_pair_rows(deaf, [queries([changed(mute, refusal="No 拒绝")])])


def test_shuffled_pictures_keep_their_pairs_together():
    pairs = privacy.make_pairs(5, 2)
    groups = group_pictures(pairs, 2, 3)
    assert [len(group) for group in groups] == [2, 2, 1]
    assert all(len({pair.case for pair in case}) == 1 and len(case) == 2 for group in groups for case in group)
    assert groups == group_pictures(pairs, 2, 3)
    assert groups != group_pictures(pairs, 2, 4)
