"""From weights to answers: exams ask a model all their questions, and return its answers as a table."""
