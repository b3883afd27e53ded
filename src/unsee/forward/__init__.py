"""One pass over a model: from prompts to answers, scores and losses."""
