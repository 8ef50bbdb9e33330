"""Benchmarks: each measures two sides in one run, interleaved, and prints ratios."""
