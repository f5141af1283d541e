"""The built-in corpus: short stories whose exact entropy is known. Plots and words are plain text beside this."""

from aeattn.data.tales.stories import (
    STREAMS,
    Story,
    collision_bound,
    entropy_rate,
    generate,
    grammar,
    log_probability,
    stories,
)

__all__ = [
    "STREAMS",
    "Story",
    "collision_bound",
    "entropy_rate",
    "generate",
    "grammar",
    "log_probability",
    "stories",
]
