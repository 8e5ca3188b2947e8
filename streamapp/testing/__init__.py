"""What users and the project test with: crashes at fault points, and later an in-memory Kafka. Nothing here is for production."""

from streamapp.testing.crash import CRASH_AT, Crash, install_from, read

__all__ = ["CRASH_AT", "Crash", "install_from", "read"]
