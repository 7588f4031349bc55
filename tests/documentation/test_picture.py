"""The picture in README shows what the program prints now, and asks for nothing from elsewhere."""

import re
import sys
from pathlib import Path

import pytest

from fixtures import picture, zoo

# Of the seeded source, in whose pickle torch writes addresses; of the day.
VARIES = re.compile(r"(?<=20220915-)[0-9a-f]{8}(?=\.pth)|\d{4}-\d\d-\d\d")


@pytest.mark.full_size
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere /tmp has another name")
def test_it_shows_what_is_printed_now(tmp_path: Path) -> None:
    """To the last word and digit of the result, in the same lines, on a file of the real size."""
    zoo.build(tmp_path, "tiny-gf", "openmmlab")
    kept = picture.text_of(picture.PICTURE.read_text())
    now = picture.text_of(picture.drawn(picture.recorded(tmp_path)))
    assert [VARIES.sub("…", line) for line in now] == [VARIES.sub("…", line) for line in kept]
    assert "$ " + picture.COMMANDS[0] == kept[0]


def test_it_asks_for_nothing_from_elsewhere() -> None:
    """No font, no image, no script; a namespace and a comment are not fetched."""
    text = picture.PICTURE.read_text()
    assert re.findall(r"(?:url\(|href=|src=|@import)[^#]\S*", text) == []
    assert "<script" not in text
