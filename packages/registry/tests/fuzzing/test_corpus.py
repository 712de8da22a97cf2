"""Every input of the corpus keeps its target's promises; so do cuts and joins of it."""

from pathlib import Path

import pytest

from fuzzing.targets import TARGETS, load

CORPUS = Path(__file__).parent / "corpus"
MOST_BYTES = 100_000


@pytest.mark.parametrize("name", TARGETS)
def test_known_inputs_break_no_promise(name: str) -> None:
    check = load(name)
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for path in inputs:
        try:
            check(path.read_bytes())
        except Exception as error:
            error.add_note(f"by {path.relative_to(CORPUS)}")
            raise


def test_corpus_has_a_target_for_each_folder_and_stays_small() -> None:
    folders = {path.name for path in CORPUS.iterdir() if path.is_dir()}
    assert folders == set(TARGETS)
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(sizes) < MOST_BYTES
