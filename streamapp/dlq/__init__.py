"""Dead letters as operators see them: read from their topics, joined with what became of them, chosen by filters."""
