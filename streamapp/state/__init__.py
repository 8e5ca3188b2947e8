"""Table partitions on disk and in memory, and their restore from changelogs. The only importer of rocksdict."""
