"""The built-in corpus: short stories whose exact entropy is known. Plots and words are plain text beside this."""

from aeattn.data.tales.stories import STREAMS, Story, generate, stories

__all__ = ["STREAMS", "Story", "generate", "stories"]
