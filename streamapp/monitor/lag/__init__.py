"""Lag that says what will happen: `evaluate` and `explain`, without clock, I/O or client library."""
