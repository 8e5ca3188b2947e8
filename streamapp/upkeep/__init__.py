"""What an operator changes from outside: topics, offsets, an app's state, open transactions. Each shows first what it would do."""
