"""A text classifier small enough for a test, whose weights say "refusal" wherever the word "sorry" stands."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast


def save_classifier(folder: Path) -> Path:
    """A folder in the hub's format."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(["sorry it is red"], trainers.WordLevelTrainer(special_tokens=special))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(fast), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        id2label={0: "answers", 1: "refuses"}, label2id={"answers": 0, "refuses": 1},
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    examples = fast(["it is red", "sorry", "it sorry is", "red is"], padding=True, return_tensors="pt")
    labels = torch.tensor([0, 1, 1, 0])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-2)
    for _ in range(60):
        optimiser.zero_grad()
        model(**examples, labels=labels).loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    return folder
