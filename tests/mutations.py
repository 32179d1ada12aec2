"""Damage to files, for tests of the readers of files that are not trusted."""


def mutated(content: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    """Apply edits, each a place, what to do there, and the bytes to do it with."""
    result = bytearray(content)
    for place, kind, data in edits:
        start = place % (len(result) + 1)
        match kind:
            case "overwrite":
                result[start : start + len(data)] = data
            case "insert":
                result[start:start] = data
            case "delete":
                del result[start : start + 4 * len(data)]
            case "cut":
                del result[start:]
    return bytes(result)
