"""How much faster unsee is than the published way to do the same work, measured side by side (docs/benchmarks.md).

material    what both sides work on
published/  the published way, written from the protocols with transformers alone
ours        the same works done by unsee
works       which works there are, and when two sides gave the same answers
measure     one side of one work in a process of its own: seconds, memory, tokens
limit       how fast this machine could be
growth      how cost grows with people, questions, image tokens and model size
gpu         large models with random weights: tokens per second, utilisation, memory
"""
