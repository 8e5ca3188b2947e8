"""A quantile out of a histogram."""

from __future__ import annotations

from streamapp.pipeline.facts import Distribution


def quantile(of: Distribution, share: float) -> float | None:
    """Return the value below which `share` of what was seen lies, None where nothing was seen.

    Within its bucket values are taken to be spread evenly; what lies beyond the last bound is told as that bound.
    """
    count = sum(of.counts)
    if count == 0:
        return None
    rank, seen, low = share * count, 0, 0.0
    for bound, here in zip(of.bounds, of.counts, strict=False):
        if seen + here >= rank:
            return low + (bound - low) * (rank - seen) / here if here else bound
        seen, low = seen + here, bound
    return low


__all__ = ["quantile"]
