"""The list of files that were judged by reading says which halves they are in, and of whom they are it does not say."""

import json

from tools.tutorials import DOCS

FILES = json.loads((DOCS / "measurements" / "checked_files.json").read_text(encoding="utf-8"))["files"]


def test_the_list_has_hashes_and_no_names() -> None:
    allowed = "course year sha256 network half judgment note related checker checker_first false_first"
    assert all(key in allowed.split() for each in FILES for key in each)
    whole = (
        "second sample",
        "fourth sample",
        "twelfth sample",
        "fourteenth sample",
        "fifteenth sample",
        "sixteenth sample",
    )  # not divided
    divided = [each for each in FILES if not each["half"].startswith(whole)]
    assert all(each["half"].endswith("built on") == (int(each["sha256"][0], 16) % 2 == 0) for each in divided)
    assert len({each["sha256"] for each in FILES}) == len(FILES)
