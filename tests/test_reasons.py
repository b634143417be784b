"""Every word for why something is rejected is in the list, with settings that exist."""

import ast
from pathlib import Path

from catalog.config import valid_keys
from catalog.reasons import OF_BODIES, REASONS
from catalog.schemas import PAIR_TERMS
from mining.config import MiningConfig
from shards.plan import ShardsConfig

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
    """The first of every two values of which one is a word and the other a sentence, the second of
    every three of which the third is a sentence or worked out, as sources list what they leave out,
    and the first of every four that begin with a word and a term of pairs, as bounds do.
    """
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Tuple) or len(node.elts) not in (2, 3, 4):
            continue
        elements = node.elts[1:] if len(node.elts) == 3 else node.elts
        word, why = (getattr(element, "value", None) for element in elements[:2])
        is_sentence = isinstance(elements[1], ast.JoinedStr) or " " in str(why)
        if len(node.elts) == 3:
            is_sentence |= isinstance(elements[1], ast.Name) and isinstance(node.elts[0], ast.Name)
        is_reason = why in TERMS if len(node.elts) == 4 else is_sentence
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
