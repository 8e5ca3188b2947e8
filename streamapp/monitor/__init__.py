"""What operators see: lag and what it means, the worker's status, metrics. Listens; changes nothing."""
