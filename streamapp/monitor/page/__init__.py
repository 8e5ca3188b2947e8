"""The operator's page: a status document in, HTML out. No clock, no I/O beyond its own files, no client library."""
