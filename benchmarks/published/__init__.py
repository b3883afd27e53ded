"""The published way: one prompt after another with plain transformers, and nothing reused between prompts.

It follows the papers of MLLMU-Bench and Neural Gate and the way their code is run. Evaluation asks one question at a
time, with all photos of its prompt. Training uses padded batches of four and a second model as reference. Editing runs
the whole model in every step. Greedy search caches keys and values within one answer, as transformers does by default.
Every speed-up that the protocols themselves use is included.
"""
