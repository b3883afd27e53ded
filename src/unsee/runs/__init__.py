"""One file per request, top to bottom: a run about people or documents, a deletion request, an edit, a check."""
