"""Bytes, numbers and words that are not as they should be: functions of a seeded generator."""

import random
import string
from pathlib import Path

NUMBERS = [
    "0", "-1", "1e-300", "1e300", "-1e300", "1e38", "1e-45", "nan", "inf", "-inf", "9223372036854775807",
    "9223372036854775808", "-9223372036854775809", "1" * 400, "0.5", "1", "3", "2147483648", "1_000", "0x10", "1e400",
]  # fmt: skip
WORDS = [
    "", " ", "~", "~nosuchuser/x", "~nosuchuser/x.toml", "a\0b", "/" + "x" * 300, "/" + "d/" * 3000, "x" * 10_000, "..",
    "/", "/dev/null", "/proc/self/mem", "npz:", "folder:", "shards:", "npz:~nosuchuser/x.npz", "folder:/", "\ud800",
    "\udcff", "\u202e", "<script>", "\x1b[2J", "é" * 200, "true", "false", "[]", "{}", "[[]]", "'", '"', "\n",
    "{a = 1}", "timm:", "timm:hf_hub:", "timm:nosuch", "None", "null", "=1", "%s%n", "{0}", "a/b", "a.b.c", "*", "--",
]  # fmt: skip


def word(r: random.Random) -> str:
    kind = r.randrange(6)
    if kind == 0:
        return r.choice(NUMBERS)
    if kind <= 3:
        return r.choice(WORDS)
    if kind == 4:
        return "".join(r.choice(string.printable) for _ in range(r.choice([1, 3, 30])))
    return "[" + ", ".join(r.choice(NUMBERS) for _ in range(r.choice([1, 2, 3, 20]))) + "]"


def damaged(content: bytes, r: random.Random) -> bytes:
    """Cut, flipped, overwritten, doubled or replaced in a place or some."""
    if not content:
        return r.randbytes(10)
    kind, place = r.randrange(8), r.randrange(len(content))
    end = min(len(content), place + r.choice([1, 2, 8, 64, 4096]))
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + content[end:]
    if kind == 2:
        return content[:place] + r.randbytes(end - place) + content[end:]
    if kind == 3:
        return content[:place] + bytes([r.choice([0, 255])]) * (end - place) + content[end:]
    if kind == 4:
        return content[:end] + content[place:]
    if kind == 5:
        return r.choice([b"", b"\0", b"{}", b"[]", b"null", b"\xff\xfe", b"PK\x03\x04", r.randbytes(100)])
    changed = bytearray(content)
    for _ in range(r.choice([1, 1, 4, 32])):
        changed[r.randrange(len(changed))] ^= 1 << r.randrange(8)
    return bytes(changed)


def damage(path: Path, r: random.Random) -> None:
    """A file, damaged in its place."""
    path.write_bytes(damaged(path.read_bytes(), r))


def text(content: str, r: random.Random) -> str:
    """A text file (TOML, JSON) with a value, a line or some bytes changed."""
    lines = content.splitlines()
    if not lines or r.random() < 0.2:
        return damaged(content.encode("utf-8", "surrogatepass"), r).decode("utf-8", "surrogateescape")
    at = r.randrange(len(lines))
    kind = r.randrange(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[r.randrange(len(lines))])
    elif kind == 2:
        lines[at] = word(r)
    else:
        for separator in (" = ", ": "):
            key, found, _ = lines[at].partition(separator)
            if found:
                lines[at] = f"{key}{separator}{word(r)}"
                break
    return "\n".join(lines)
