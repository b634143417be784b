"""Every word for why something is rejected is in the list, with settings that exist."""

import ast
from pathlib import Path

import pytest

from catalog import reasons
from catalog.config import valid_keys
from catalog.parts import PartName
from catalog.reasons import OF_BODIES, REASONS
from catalog.schemas import PAIR_TERMS
from mining.config import MiningConfig
from mining.stage import Outcome, Tally, WorkUnit
from shards.build import build_shards
from shards.plan import ShardsConfig
from tests.catalog_fixture import write_catalog

TERMS = {column.name for column in PAIR_TERMS}
WORDS = {reason.word for reason in REASONS}
# before a text, but no reason
OTHERS = {"body", "hands", "left", "capture", "calibrate", "failed", "default", "none"}
FILES = sorted([*Path("mining").rglob("*.py"), *Path("shards").rglob("*.py")])


def texts(tree: ast.AST) -> set[str]:
    """The words and sentences that stand in the code, those of SQL too."""
    found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {text for text in found if isinstance(text, str)}


def given_reasons(tree: ast.AST) -> set[str]:
    """The first of every two values of which one is a word and the other a sentence, and of every
    four that begin with a word and a term of pairs, as bounds do.
    """
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Tuple) or len(node.elts) not in (2, 4):
            continue
        word, why = (getattr(element, "value", None) for element in node.elts[:2])
        is_sentence = isinstance(node.elts[1], ast.JoinedStr) or " " in str(why)
        is_reason = is_sentence if len(node.elts) == 2 else why in TERMS
        if isinstance(word, str) and word.isidentifier() and is_reason:
            found.add(word)
    return found


def test_every_word_is_given_somewhere_and_every_word_given_is_in_the_list() -> None:
    trees = [ast.parse(path.read_text()) for path in FILES]
    there = set().union(*map(texts, trees))
    of_hands = {f"body_{reason.word}" for reason in OF_BODIES}
    for word in WORDS - of_hands:
        assert word in there or any(f"'{word}'" in text for text in there), word
    unknown = set().union(*map(given_reasons, trees)) - WORDS - OTHERS
    assert not unknown, f"{unknown}: add them to catalog/reasons.py, or to OTHERS here"


def test_a_stage_has_each_word_once() -> None:
    assert len({(reason.stage, reason.word) for reason in REASONS}) == len(REASONS)


def test_the_settings_exist() -> None:
    known = {"shards": valid_keys(ShardsConfig())}
    for reason in REASONS:
        for setting in reason.settings:
            assert setting in known.get(reason.stage, valid_keys(MiningConfig())), setting


def tally(stage: str) -> Tally:
    unit = WorkUnit(
        stage="pair", name=PartName("scope", "pair", "k"), dataset="toy", payload=None,
        counted_stage=stage, counted="pairs", expected=0,
    )  # fmt: skip
    return Tally(Outcome(), unit, stage, "pairs")


@pytest.mark.parametrize("word", ["dull", "angle_bin_cap"])
def test_mining_refuses_a_word_that_its_stage_does_not_have(word: str) -> None:
    pairs = tally("pair")
    pairs.reject("p", "blurred", "sharpness 1")
    with pytest.raises(ValueError, match=rf"'{word}' is no reason .* stage pair: .*near_identical"):
        pairs.reject("p", word, "7 of 9")
    assert pairs.rejected == len(pairs.outcome.rows["rejects"]) == 1


def test_shards_refuse_a_word_that_is_not_in_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalog(str(tmp_path), num_captures=2, num_times=3)
    config = ShardsConfig(max_pairs_per_identity_per_kind=1)
    monkeypatch.setattr(reasons, "_WORDS", reasons._WORDS - {("shards", "identity_cap")})
    with pytest.raises(ValueError, match="'identity_cap' is no reason to reject in stage shards"):
        build_shards(str(tmp_path), None, None, "true", config)
