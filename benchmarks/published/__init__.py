"""The published way: one prompt after another, nothing kept from one to the next, transformers as it comes.

Written from the descriptions in the papers of MLLMU-Bench and Neural Gate and of how their code is run: evaluation one
question at a time with all photos of its prompt, training in padded batches of four with a second model as reference,
editing with the whole model in every step. Greedy search keeps keys and values while it writes one answer, as
transformers does by itself. No lever that the protocols themselves pull is left out.
"""
