"""What the Python drivers share: running cases by name and printing one CASE line each."""

import json
import os
import sys
import time
import traceback

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def that(holds, sentence):
    if not holds:
        raise AssertionError(sentence)


def equal(want, got, what):
    if want != got:
        raise AssertionError(f"{what} is {got!r}, not {want!r}")


def eventually(seconds, what, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        that(time.monotonic() < deadline, f"this did not come about in {seconds} s: {what}")
        time.sleep(0.05)


def flights(testdata):
    with open(os.path.join(testdata, "flights.jsonl"), "rb") as f:
        return f.read().splitlines()


def origin(flight):
    return json.loads(flight)["origin"].encode()


def check_keyed(sent, got):
    """got is a list of (partition, key, value) in reading order: each key in one partition, in order."""
    equal(len(sent), len(got), "the number of flights")
    home, want, have = {}, {}, {}
    for flight in sent:
        want.setdefault(origin(flight), []).append(flight)
    for partition, key, value in got:
        equal(partition, home.setdefault(key, partition), f"the partition of {key!r}")
        have.setdefault(key, []).append(value)
    that(want == have, "the flights of an origin came back changed or in another order")
    that(len(set(home.values())) > 1, "all keys are in one partition")


def main(cases):
    bootstrap, testdata, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    failed = False
    for name in names:
        start = time.monotonic()
        try:
            detail = cases[name](bootstrap, testdata)
            status = "ok"
        except BaseException as e:
            traceback.print_exc()
            detail, status, failed = f"{type(e).__name__}: {e}", "fail", True
        ms = int((time.monotonic() - start) * 1000)
        print("CASE", name, status, ms, str(detail).replace("\n", " "), flush=True)
    sys.stdout.flush()
    # A client whose background threads hang must not hide what was printed.
    os._exit(1 if failed else 0)
