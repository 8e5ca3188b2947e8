"""What users and the project test with: fault points, and later an in-memory Kafka."""
