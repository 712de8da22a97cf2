"""What is written of the results: text, JSON, plots, and docs/benchmarks.md."""
