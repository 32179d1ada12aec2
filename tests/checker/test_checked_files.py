"""The counts in the docs are those of the list of files that were judged by reading."""

import json
from typing import Any

from tools.tutorials import DOCS

FILES = json.loads((DOCS / "measurements" / "checked_files.json").read_text(encoding="utf-8"))["files"]


def row(label: str, half: str, key: str) -> str:
    files = [each for each in FILES if each["half"] == half and each["judgment"] in ("right", "wrong")]
    lstms, gans = ([each for each in files if each["network"] == network] for network in ("lstm", "gan"))

    def verdicts(each: dict[str, Any]) -> list[str]:
        return list(each[key].values())

    def is_true(each: dict[str, Any]) -> bool:
        return key != "checker_first" or not each.get("false_first")

    def is_accused(each: dict[str, Any]) -> bool:
        return any(verdict.startswith("wrong") for verdict in verdicts(each))

    right, wrong = ([each for each in lstms if each["judgment"] == judgment] for judgment in ("right", "wrong"))
    agreed = sum(set(verdicts(each)) == {"right"} for each in right)
    agreed += sum(is_accused(each) and is_true(each) for each in wrong)
    named = sum(any(v.startswith("wrong: ") for v in verdicts(each)) and is_true(each) for each in wrong)
    pieces = [verdict for each in gans for verdict in verdicts(each)]
    understood = sum(verdict.startswith(("right", "wrong")) for verdict in pieces)
    false = sum(is_accused(each) and (each["judgment"] == "right" or not is_true(each)) for each in gans)
    accused = sum(map(is_accused, right))
    of_gans = (f"{understood} of {len(pieces)}", false) if gans else ("–", "–")
    cells = (f"{agreed} of {len(lstms)}", f"{named} of {len(wrong)}", accused, *of_gans)
    return f"| {label} | {' | '.join(map(str, cells))} |"


def test_the_counts_stand_in_the_docs() -> None:
    text = (DOCS / "how-to" / "check-an-assignment.md").read_text(encoding="utf-8")
    assert row("built on", "built on", "checker") in text
    assert row("held out, measured once", "held out", "checker_first") in text
    assert row("the same, mended", "held out", "checker") in text
    assert row("second sample, measured once", "second sample", "checker_first") in text
    assert row("the same, mended later", "second sample", "checker") in text
    assert row("fourth sample, another course, measured once", "fourth sample", "checker_first") in text
    for half in (f"{name} sample, {half}" for name in ("third", "fifth", "sixth") for half in ("built on", "held out")):
        assert row(f"{half}, measured once", half, "checker_first") in text
        assert row("the same, mended", half, "checker") in text

    once = [line.split("|")[2:5] for line in text.splitlines() if "measured once |" in line]
    agreed, number = (sum(int(cells[0].split(" of ")[part]) for cells in once) for part in (0, 1))
    accused = sum(int(cells[2]) for cells in once)
    assert f"agree for {agreed} of {number}, with {accused} accusations of right ones" in " ".join(text.split())


def test_the_list_has_hashes_and_no_names() -> None:
    allowed = "course year sha256 network half judgment note checker checker_first false_first"
    assert all(key in allowed.split() for each in FILES for key in each)
    divided = [each for each in FILES if each["half"] not in ("second sample", "fourth sample")]
    assert all(each["half"].endswith("built on") == (int(each["sha256"][0], 16) % 2 == 0) for each in divided)
    assert len({each["sha256"] for each in FILES}) == len(FILES)
