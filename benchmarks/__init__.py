"""Benchmarks of unsee against the published way of doing the same work, side by side (docs/benchmarks.md).

material    the model and the data that both sides work on
published/  the published way, written from the protocols with transformers alone
ours        the same works done by unsee
works       the works, and the rule by which the answers of both sides count as the same
measure     one side of one work in a process of its own: seconds, memory, tokens
limit       the speed of this machine's matrix product
growth      growth of the cost with people, questions, image tokens and model size
gpu         large models with random weights: tokens per second, utilisation, memory
memory      computed peak memory of LoRA training of large models
modes       seconds of both modes of Neural Gate
"""
