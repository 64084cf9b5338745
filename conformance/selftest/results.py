# SPDX-License-Identifier: MIT
"""What is known of each bug: the score, and what of an earlier one still stands."""

import glob
import hashlib
import json
import os

from tree import PROGRAMS, files_below

# What of conformance/ is not the suite, or is kept apart.
NOT_SUITE = ("selftest/bugs/", "bench/", "live/", "test-vm/", "nomem/", "soak/", "faults/", "vfio-faults/", "vfio-matrix/")


def digest(*texts):
    h = hashlib.sha256()
    for text in texts:
        h.update(text if isinstance(text, bytes) else text.encode())
        h.update(b"\0")
    return h.hexdigest()[:16]


def digest_of_files(root, names):
    h = hashlib.sha256()
    for name in sorted(names):
        path = os.path.join(root, name)
        if os.path.isfile(path):
            with open(path, "rb") as f:
                h.update(digest(name, f.read()).encode())
    return h.hexdigest()[:16]


def cases_below(root):
    """Digest of each case by its id, a vector's octets included."""
    vectors, out = {}, {}
    for path in glob.glob(os.path.join(root, "conformance/vectors/*.json")):
        with open(path, encoding="utf-8") as f:
            found = json.load(f)
        for v in found if isinstance(found, list) else []:
            vectors[os.path.basename(path), v.get("id")] = json.dumps(v, sort_keys=True)
    for path in glob.glob(os.path.join(root, "conformance/cases/*/*.json")):
        with open(path, encoding="utf-8") as f:
            for case in json.load(f):
                where = case.get("vector", {})
                of_vector = vectors.get((where.get("file"), where.get("id")), "")
                out[case["id"]] = digest(json.dumps(case, sort_keys=True), of_vector)
    return out


class Evidence:
    """What a result rests on. A catch stands while the file with the bug and the case that caught it are
    as they were; that nothing did, while the whole suite is."""

    def __init__(self, root):
        names = list(files_below(root))
        suite = [n for n in names if n.startswith("conformance/")
                 and not n[len("conformance/"):].startswith(NOT_SUITE)]
        self.cases, self.suite = cases_below(root), digest_of_files(root, suite)
        own = "conformance/selftest/"
        self.tree = digest_of_files(root, [n for n in names if not n.startswith(own) or n == own + "profile.json"])
        self.root = root

    def planted(self, bug):
        with open(os.path.join(self.root, bug.file), encoding="utf-8") as f:
            return digest(bug.file, bug.planted(f.read()))

    def proof(self, result):
        by = result.get("by", "")
        return self.cases.get(by.split("/")[0], self.suite) if by not in PROGRAMS else self.suite

    def stands(self, bug, result):
        return ("error" not in result and result.get("planted") == self.planted(bug)
                and result.get("proof") == self.proof(result))


def read(path):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (FileNotFoundError, ValueError):
        return {}


def write(path, score):
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(score, f, indent=1)
        f.write("\n")
    os.replace(path + ".new", path)


def score(results, listed, baseline):
    caught = sum(r["caught"] for r in results)
    areas = {}
    for r in results:
        a = areas.setdefault(r["area"], {"planted": 0, "caught": 0})
        a["planted"] += 1
        a["caught"] += r["caught"]
    return {
        "listed": listed, "planted": len(results), "caught": caught,
        "percent": round(100 * caught / len(results), 1) if results else 0,
        "errors": sum("error" in r for r in results),
        "baseline": baseline, "areas": dict(sorted(areas.items())),
        "bugs": sorted(results, key=lambda r: r["id"]),
    }
