"""Our hub client and huggingface_hub on one mock hub: the same bytes, and each other's cache.

    check_hub.py MOCK_HUB DATASET_FILES

The arguments are the programs `mock-hub` and `dataset_files`. Prints one line for each comparison
and exits with 1 at the first that fails.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

MOCK_HUB, DATASET_FILES = sys.argv[1:]
CONVERTED = "refs%2Fconvert%2Fparquet"
BRANCHES = {
    "main": {
        "README.md": b"---\nconfigs:\n- config_name: default\n  data_files:\n"
        b"  - split: train\n    path: data/train*\n---\n",
        "data/train-a.jsonl": b'{"text": "one"}\n',
        "data/train-b.jsonl": b'{"text": "two \xc3\xa9"}\n' * 1000,
        "other/empty.txt": b"",
    },
    CONVERTED: {"default/train/0000.parquet": os.urandom(300_000)},
}
PYTHON = """
import sys, huggingface_hub
revision, pattern = sys.argv[1:]
print(huggingface_hub.snapshot_download(
    "org/d", repo_type="dataset", revision=revision, allow_patterns=pattern))
"""
LOADED = """
import datasets
rows = datasets.load_dataset("org/d", split="train", revision="main")
print(rows.num_rows, rows[0]["text"], rows[rows.num_rows - 1]["text"])
"""


def run(command, **env):
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]}: {done.stderr[-2000:]}")
    return done.stdout.split("\n")[:-1]


def ours(spec, env):
    return [pathlib.Path(line) for line in run([DATASET_FILES, spec], **env)]


def theirs(revision, pattern, env):
    """The files that huggingface_hub finds or fetches, below their snapshot."""
    root = pathlib.Path(run([sys.executable, "-c", PYTHON, revision, pattern], **env)[-1])
    return sorted(path for path in root.rglob("*") if path.is_file() and path.match(pattern))


def compare(what, found, branch, n):
    """The files have their names' bytes of the branch."""
    wanted = BRANCHES[branch]
    for path in found:
        name = str(path).split("/snapshots/")[1].split("/", 1)[1]
        if path.read_bytes() != wanted[name]:
            sys.exit(f"{what}: {name} differs")
    if len(found) != n:
        sys.exit(f"{what}: {len(found)} files, not {n}")
    print(f"{what}: {n} {'file' if n == 1 else 'files'}, equal")


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="hub"))
    for branch, files in BRANCHES.items():
        for name, content in files.items():
            file = scratch / "root/datasets/org/d" / branch / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    hub = subprocess.Popen(
        [MOCK_HUB, scratch / "root"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    endpoint = hub.stdout.readline().strip()
    cases = [("main", "data/*.jsonl", "hub:org/d@main", "main", 2)]
    cases += [("main", "other/*", "hub:org/d/other/", "main", 1)]
    cases += [("refs/convert/parquet", "default/*/*.parquet", "hub:org/d", CONVERTED, 1)]
    for i, (revision, pattern, spec, branch, n) in enumerate(cases):
        for first in ["ours", "theirs"]:
            home = str(scratch / f"{first}-{i}")
            online = {"HF_ENDPOINT": endpoint, "HF_HOME": home, "HF_HUB_OFFLINE": "0"}
            offline = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": home, "HF_HUB_OFFLINE": "1"}
            if first == "ours":
                compare(f"{spec} fetched by us", ours(spec, online), branch, n)
                found = theirs(revision, pattern, offline)
                compare(f"{spec} read offline by huggingface_hub", found, branch, n)
            else:
                found = theirs(revision, pattern, online)
                compare(f"{spec} fetched by huggingface_hub", found, branch, n)
                compare(f"{spec} read offline by us", ours(spec, offline), branch, n)
    home = str(scratch / "loaded")
    print("load_dataset:", *run([sys.executable, "-c", LOADED], HF_ENDPOINT=endpoint, HF_HOME=home))
    hub.stdin.close()
    hub.wait(timeout=10)


main()
