"""Edits: changes of a model's weights that can be undone, and the parts that edit methods share.

edit.py             the result of a method: its file, how it is applied and taken back
pair_rows.py        privacy pairs as packed rows
partial_forward.py  forward passes through the upper layers alone
tune.py             gradient steps on some matrices
layer_search.py     the layer whose edit generalises best
steering.py         vectors that multiply hidden states or are added to them
gate_vectors.py     the vectors of Neural Gate
gates.py            the gates that are cut from them
keys.py             closed-form edits
"""
