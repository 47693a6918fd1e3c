"""README's layout is the tree of rooms, and nothing else."""

import re

from arg_utils.files import ROOT


def test_the_layout_names_every_module_once_in_its_room():
    layout = (ROOT / "README.md").read_text(encoding="utf-8").split("## Layout")[1].split("```")[1]
    drawn = {}
    for line in layout.splitlines():
        if found := re.match(r"  (\S+)\s+(.*)", line):
            drawn[found[1]] = sorted(re.findall(r"\b(?!csrc)\w+\b", found[2]))
    package, rooms = ROOT / "arg_utils", {}
    for path in package.rglob("*.py"):
        room = path.parent.relative_to(package).as_posix()
        if path.stem not in ("__init__", "__main__"):
            rooms.setdefault("(ground)" if room == "." else f"{room}/", []).append(path.stem)
    drawn.pop("__main__")
    assert drawn == {room: sorted(modules) for room, modules in rooms.items()}
