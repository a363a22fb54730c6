"""Pure arithmetic on arrivals and times: the worst sliding window, the use of the limit, percentiles."""

from collections.abc import Sequence


def worst_window(times_ns: Sequence[int], *, window_ns: int = 1_000_000_000) -> int:
    """Most arrivals in any window `[t, t + window)`."""
    ordered = sorted(times_ns)
    worst = start = 0
    for end, time_ns in enumerate(ordered):
        while time_ns - ordered[start] >= window_ns:
            start += 1
        worst = max(worst, end - start + 1)
    return worst


def tightest_seconds(times_ns: Sequence[int], *, count: int) -> float:
    """Shortest time that any `count` consecutive arrivals span, in seconds."""
    ordered = sorted(times_ns)
    return min((b - a) / 1e9 for a, b in zip(ordered, ordered[count - 1 :], strict=False))


def use_of_limit(times_ns: Sequence[int], *, rate: int = 10) -> float:
    """Share of the allowed calls that were made: (N - rate) / (rate * (t_N - t_rate))."""
    ordered = sorted(times_ns)
    span_seconds = (ordered[-1] - ordered[rate - 1]) / 1e9
    return (len(ordered) - rate) / (rate * span_seconds)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)]
