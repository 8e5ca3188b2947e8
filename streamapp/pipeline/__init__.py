"""The record path: lanes, savepoints, the unit of work and its commit. No client library, no Faust."""
