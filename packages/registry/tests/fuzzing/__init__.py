"""Coverage-guided fuzzing, and what it has found before.

A target takes bytes and raises when a promise is broken: see ``targets``. ``corpus``
has a folder of inputs for each. `test_corpus` replays them with all other tests;
``python -m fuzzing`` has Atheris look for more.
"""
