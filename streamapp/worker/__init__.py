"""Faust on our engine: what users declare, as the engine runs it; the only floor but the app that knows Faust."""
