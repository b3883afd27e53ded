"""From weights to answers: what a model is asked, and how its answers are written down."""
