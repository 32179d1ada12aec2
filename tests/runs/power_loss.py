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
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

Names = dict[tuple[int, str], int | None]
"""Node by the node of its folder and its name; None if there is none."""
Contents = dict[int, list[bytes]]
"""Contents of files by their node: the synced one, and those that were written since."""
NAMING = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "link")
MAX_PER_MOMENT = 48
"""Maximum number of states at one system call, half of them drawn at random."""
ROOT = 0


class State(NamedTuple):
    """What is on the disk: the content of each file by its path, None of a folder; and the last mark of the program."""

    files: dict[str, bytes | None]
    mark: Any

    def write(self, folder: Path) -> None:
        """Write the state into a folder, which is new or empty."""
        folder.mkdir(exist_ok=True)
        for path, content in self.files.items():  # folders come before what is in them
            if content is None:
                (folder / path).mkdir()
            else:
                (folder / path).write_bytes(content)


class PowerLoss:
    """The states of `root`; a context manager, inside which a program writes there."""

    def __init__(self, root: Path) -> None:
        self._root, self._mark = root, None
        self._moments: list[tuple[list[Names], Names, Contents, Any]] = []  # before each system call
        self._names: Names = {}
        self._durable: Names = {}  # synced
        self._pending: list[Names] = []  # not synced
        self._contents: Contents = {}
        self._nodes: dict[int, int] = {}  # by inode
        self._new_nodes = itertools.count(ROOT + 1)
        self._patches = [patch.object(os, name, self._following(getattr(os, name))) for name in NAMING]
        self._patches.append(patch.object(os, "fsync", self._following(os.fsync, self._sync)))

    def __enter__(self) -> "PowerLoss":
        self._look()
        self._durable, self._pending = self._names, []
        self._contents = {node: versions[-1:] for node, versions in self._contents.items()}
        for each in self._patches:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._patches:
            each.stop()
        self._remember()

    def mark(self, value: Any) -> None:
        """Note what the program has promised by now: states from here on have this mark."""
        self._look()
        self._mark = value

    def states(self) -> Iterator[State]:
        """Yield each state once, in the order of the system calls."""
        seen = set()
        for number, (pending, durable, contents, mark) in enumerate(self._moments):
            for kept, chosen in _choices(pending, contents, random.Random(number)):
                files = dict(_tree(durable, kept, chosen))
                digest = hashlib.sha256(repr((files, mark)).encode()).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield State(files, mark)

    def _following(self, call: Callable[..., Any], then: Callable[..., None] | None = None) -> Callable[..., Any]:
        def follow(*arguments: Any, **keywords: Any) -> Any:
            self._remember()
            result = call(*arguments, **keywords)
            (then or self._look_at_one)(*arguments)
            return result

        return follow

    def _sync(self, descriptor: int) -> None:
        node = self._nodes.get(os.fstat(descriptor).st_ino)
        if node in self._contents:
            self._contents[node] = self._contents[node][-1:]
        for names in [each for each in self._pending if any(folder == node for folder, _ in each)]:
            self._durable = self._durable | names
            self._pending.remove(names)

    def _remember(self) -> None:
        self._look()
        named = {node for names in (self._durable, *self._pending) for node in names.values()}
        contents = {node: list(versions) for node, versions in self._contents.items() if node in named}
        self._moments.append((list(self._pending), self._durable, contents, self._mark))

    def _look_at_one(self, *_: object) -> None:
        """Find the names that one system call has changed together."""
        if changes := self._find_changes():
            self._pending.append(changes)

    def _look(self) -> None:
        """Find what has changed since the last look."""
        self._pending += [{key: node} for key, node in self._find_changes().items()]

    def _find_changes(self) -> Names:
        found: Names = {}
        nodes = {self._root.stat().st_ino: ROOT}
        for folder, _, _ in os.walk(self._root):
            for entry in os.scandir(folder):
                inode = entry.inode()
                node = nodes[inode] = nodes.get(inode) or self._nodes.get(inode) or next(self._new_nodes)
                found[nodes[Path(folder).stat().st_ino], entry.name] = node
                if entry.is_file():
                    versions = self._contents.setdefault(node, [b""])
                    content = Path(entry.path).read_bytes()
                    if content != versions[-1]:
                        versions.append(content)
        before, self._names, self._nodes = self._names, found, nodes  # the inodes of others may be used again
        return {key: found.get(key) for key in {**before, **found} if found.get(key) != before.get(key)}


def _choices(
    pending: list[Names], contents: Contents, rng: random.Random
) -> Iterator[tuple[list[Names], dict[int, bytes]]]:
    """Yield names that are on the disk, and the content of each file: the likely ones first, then some at random."""
    versions = {node: _versions(each, rng) for node, each in contents.items()}
    old, new = ({node: each[at] for node, each in versions.items()} for at in (0, -1))
    yield from itertools.product(([], pending), (old, new))
    changed = [node for node, each in versions.items() if len(each) > 1]
    one = [{**base, node: content} for base in (old, new) for node in changed for content in versions[node]]
    subsets = itertools.chain(*(itertools.combinations(pending, size) for size in range(len(pending) + 1)))
    some_names = [list(names) for names in itertools.islice(subsets, 64)]
    rng.shuffle(one)
    rng.shuffle(some_names)
    yield from ((pending, content) for content in one[: MAX_PER_MOMENT // 4])
    yield from ((names, new) for names in some_names[: MAX_PER_MOMENT // 4])
    for _ in range(MAX_PER_MOMENT // 2 if changed or pending else 0):
        names = [each for each in pending if rng.random() < 0.6]
        yield names, {node: rng.choice(each) for node, each in versions.items()}


def _versions(contents: list[bytes], rng: random.Random) -> list[bytes]:
    """Return what a file may hold, from its synced content to its last one."""
    found = list(contents)
    for before, after in itertools.pairwise(contents):
        begin = len([*itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))])
        middle, rest = (begin + len(after)) // 2, len(after) - begin
        if rest > 0:
            torn = [after[:middle], after[:begin] + bytes(middle - begin) + after[middle:]]
            found[-1:-1] = [*torn, after[:begin] + bytes(rest), after[:begin] + rng.randbytes(rest)]
    return found


def _tree(durable: Names, kept: list[Names], contents: dict[int, bytes]) -> Iterator[tuple[str, bytes | None]]:
    """Yield path and content of what can be reached from the root, folders before what is in them."""
    names = dict(durable)
    for each in kept:
        names |= each
    folders = [(ROOT, "")]
    for parent, prefix in folders:  # grows
        for (folder, name), node in sorted(names.items()):
            if folder == parent and node is not None:
                yield prefix + name, contents.get(node)
                if node not in contents:
                    folders.append((node, f"{prefix}{name}/"))
