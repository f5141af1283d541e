"""What the measures of a distribution are called; for those who read figures without computing any."""

TOP = (1, 4, 16)
MEASURES = ("entropy_share", "effective_chars", "gini", *(f"top{k}" for k in TOP), "mean_distance")
