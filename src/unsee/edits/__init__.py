"""Editing a model: what an edit is, and the parts that edit methods are made of.

`edit.py` the result and the way back; `sheet.py` privacy pairs as packed rows; `above.py` the part of the model that an
edit can change, run alone; `tune.py` gradient steps on some matrices; `vectors.py` a vector at some tokens and the
gate made of it; `carry.py` how far an edit carries over; `keys.py` what a matrix is given and should
give, for closed forms.
"""
