"""The registry's values, and the decisions that follow from them. No I/O."""
