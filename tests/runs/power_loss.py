"""The states in which a loss of power may leave a folder.

`PowerLoss` follows the system calls of a program and replays what POSIX allows, as ALICE (Pillai et al., OSDI 2014) and
SQLite's test6 do. Of a file that was not synced, each write may be missing, torn, full of zeros or of garbage, and later
ones may be there without earlier ones. Of a folder that was not synced, each name that was made, renamed or removed may
be as before, in any combination. A rename is atomic, but may be there without the data of its file.
"""

import hashlib
import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

Names = dict[tuple[int, str], int | None]
"""Node by the node of its folder and its name; None if there is none."""
NAMING = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "link")
MAX_PER_MOMENT = 48
"""Maximum number of states at one system call, half of them drawn at random."""
ROOT = 0


@dataclass(frozen=True)
class State:
    """What is on the disk: the content of each file by its path, None of a folder; and the last mark of the program."""

    files: dict[str, bytes | None]
    mark: Any

    def write(self, folder: Path) -> None:
        """Write the state into a new folder."""
        folder.mkdir()
        for path, content in self.files.items():  # folders come before what is in them
            if content is None:
                (folder / path).mkdir()
            else:
                (folder / path).write_bytes(content)


@dataclass
class PowerLoss:
    """The states of `root`; a context manager, inside which a program writes there."""

    root: Path
    moments: list[tuple[list[Names], Names, dict[int, list[bytes]], Any]] = field(default_factory=list)
    """Before each system call: names that are not synced, those that are, contents of files since the last sync, mark."""
    _mark: Any = None
    _names: Names = field(default_factory=dict)
    _pending: list[Names] = field(default_factory=list)
    _contents: dict[int, list[bytes]] = field(default_factory=dict)
    _nodes: dict[int, int] = field(default_factory=dict)
    _new_nodes: Iterator[int] = field(default_factory=lambda: itertools.count(ROOT + 1))

    def __enter__(self) -> "PowerLoss":
        self._look(is_one=False)
        self._durable = dict(self._names)
        self._pending = []
        self._contents = {node: versions[-1:] for node, versions in self._contents.items()}
        self._patches = [patch.object(os, name, self._following(getattr(os, name))) for name in NAMING]
        self._patches.append(patch.object(os, "fsync", self._syncing(os.fsync)))
        for each in self._patches:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._patches:
            each.stop()
        self._look(is_one=False)
        self._remember()

    def mark(self, value: Any) -> None:
        """Note what the program has promised by now: states from here on have this mark."""
        self._look(is_one=False)
        self._mark = value

    def states(self) -> Iterator[State]:
        """Yield each state once, in the order of the system calls."""
        seen = set()
        for number, (pending, durable, contents, mark) in enumerate(self.moments):
            for kept, chosen in _choices(pending, contents, random.Random(number)):
                files = dict(_tree(durable, kept, chosen))
                digest = hashlib.sha256(repr((files, mark)).encode()).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield State(files, mark)

    def _following(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def follow(*arguments: Any, **keywords: Any) -> Any:
            self._look(is_one=False)
            self._remember()
            result = call(*arguments, **keywords)
            self._look(is_one=True)
            return result

        return follow

    def _syncing(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            self._look(is_one=False)
            self._remember()
            call(descriptor)
            node = self._nodes.get(os.fstat(descriptor).st_ino)
            if node in self._contents:
                self._contents[node] = self._contents[node][-1:]
            for names in [each for each in self._pending if any(folder == node for folder, _ in each)]:
                self._durable |= names
                self._pending.remove(names)

        return sync

    def _remember(self) -> None:
        named = {node for names in (self._durable, *self._pending) for node in names.values()}
        contents = {node: list(versions) for node, versions in self._contents.items() if node in named}
        self.moments.append((list(self._pending), dict(self._durable), contents, self._mark))

    def _look(self, *, is_one: bool) -> None:
        """Find what has changed since the last look: new names and contents, or with `is_one` the names of one call."""
        found: Names = {}
        inodes = {self.root.stat().st_ino}
        self._nodes.setdefault(*inodes, ROOT)
        for folder, _, _ in os.walk(self.root):
            for entry in os.scandir(folder):
                inode = entry.inode()
                inodes.add(inode)
                if inode not in self._nodes:
                    self._nodes[inode] = next(self._new_nodes)
                node = self._nodes[inode]
                found[self._nodes[Path(folder).stat().st_ino], entry.name] = node
                if entry.is_file():
                    versions = self._contents.setdefault(node, [b""])
                    content = Path(entry.path).read_bytes()
                    if content != versions[-1]:
                        versions.append(content)
        self._nodes = {
            inode: node for inode, node in self._nodes.items() if inode in inodes
        }  # others may be used again
        changes = {key: found.get(key) for key in {**self._names, **found} if found.get(key) != self._names.get(key)}
        self._pending += ([changes] if changes else []) if is_one else [{key: node} for key, node in changes.items()]
        self._names = found


def _choices(
    pending: list[Names], contents: dict[int, list[bytes]], rng: random.Random
) -> Iterator[tuple[list[Names], dict[int, bytes]]]:
    """Yield names that are on the disk, and the content of each file: the likely ones first, then some at random."""
    versions = {node: _versions(each, rng) for node, each in contents.items()}
    changed = [node for node, each in versions.items() if len(each) > 1]
    old, new = ({node: each[at] for node, each in versions.items()} for at in (0, -1))
    one = [{**base, node: content} for base in (old, new) for node in changed for content in versions[node]]
    all_names = [list(names) for size in range(len(pending) + 1) for names in itertools.combinations(pending, size)][
        :64
    ]
    for names in ([], pending):
        for content in (old, new):
            yield names, content
    rng.shuffle(one)
    for content in one[: MAX_PER_MOMENT // 4]:
        yield pending, content
    rng.shuffle(all_names)
    for names in all_names[: MAX_PER_MOMENT // 4]:
        yield names, new
    for _ in range(MAX_PER_MOMENT // 2 if changed or pending else 0):
        names = [each for each in pending if rng.random() < 0.6]
        yield names, {node: rng.choice(each) for node, each in versions.items()}


def _versions(contents: list[bytes], rng: random.Random) -> list[bytes]:
    """Return what a file may hold, from its synced content to its last one."""
    found = list(contents)
    for before, after in itertools.pairwise(contents):
        begin = next(
            (at for at, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), min(len(before), len(after))
        )
        middle, rest = (begin + len(after)) // 2, len(after) - begin
        if rest > 0:
            torn = [after[:middle], after[:begin] + bytes(middle - begin) + after[middle:]]
            found[-1:-1] = [*torn, after[:begin] + bytes(rest), after[:begin] + rng.randbytes(rest)]
    return found


def _tree(durable: Names, kept: list[Names], contents: dict[int, bytes]) -> Iterator[tuple[str, bytes | None]]:
    """Yield path and content of what can be reached from the root."""
    names = dict(durable)
    for each in kept:
        names |= each
    inside: dict[int, list[tuple[str, int]]] = {}
    for (folder, name), node in sorted(names.items()):
        if node is not None:
            inside.setdefault(folder, []).append((name, node))
    folders = [(ROOT, "")]
    for folder, prefix in folders:  # grows
        for name, node in inside.get(folder, ()):
            yield prefix + name, contents.get(node)
            if node not in contents:
                folders.append((node, f"{prefix}{name}/"))
