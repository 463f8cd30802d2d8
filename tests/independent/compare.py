"""Asks a running kernel for everything that portal-traffic answers, and compares it with portal_traffic.py over the same log.

Arguments: address (http://host:port), token, city, the log. Exits with 1 and the first difference of each list.
"""

import json
import pathlib
import subprocess
import sys
import urllib.request

address, token, city, log = sys.argv[1:]
PERIODS = [("2015-05-01T00:00:00Z", "2015-06-01T00:00:00Z"), ("2015-05-18T01:30:00Z", "2015-05-19T13:05:07Z")]
# Small, so that lists have many pages.
PAGE_SIZE = 50


def ask(method, body):
    request = urllib.request.Request(
        f"{address}/portal_traffic.v1.PortalTraffic/{method}",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {token}", "backplane-city": city},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def pages(method, body, rows):
    """All rows over all pages, and the last answer."""
    body, all_rows, snapshots = dict(body, pageSize=PAGE_SIZE), [], set()
    while True:
        answer = ask(method, body)
        all_rows += answer[rows]
        snapshots.add(answer["snapshotId"])
        if not answer["nextPageToken"]:
            assert len(snapshots) == 1, f"{method}: pages of several snapshots {snapshots}"
            return all_rows, answer
        body["pageToken"] = answer["nextPageToken"]


def snake(name):
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def plain(row):
    """A row of the answer with the script's names and numbers."""
    plain_row = {}
    for name, value in row.items():
        if isinstance(value, str) and value.lstrip("-").isdigit() and name not in ("page", "host", "name"):
            value = int(value)
        if name == "kind":
            value = value.removeprefix("AUDIENCE_KIND_")
        plain_row[snake(name)] = value
    return plain_row


differences = []


def compare(what, ours, theirs):
    if ours != theirs:
        pairs = zip(ours, theirs) if isinstance(ours, list) else [(ours, theirs)]
        first = next(((a, b) for a, b in pairs if a != b), (len(ours), len(theirs)))
        differences.append(f"{what}: the plugin answers {first[0]}, the script {first[1]}")


def keep(rows, like):
    """The fields of our rows that the script has as well."""
    names = set(like[0]) if like else set()
    return [{name: value for name, value in plain(row).items() if not names or name in names} for row in rows]


for start, end in PERIODS:
    for pages_only in (False, True):
        script = [sys.executable, str(pathlib.Path(__file__).with_name("portal_traffic.py")), log, "--from", start, "--to", end]
        script += ["--pages-only"] if pages_only else []
        expected = json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout)
        body = {"from": start, "to": end, "pagesOnly": pages_only}
        where = f"{start} to {end}{', pages only' if pages_only else ''}"

        summary = plain(ask("GetSummary", body))
        compare(f"summary, {where}", {name: summary[name] for name in expected["summary"]}, expected["summary"])
        for method, rows, name in [
            ("ListPageHours", "pageHours", "page_hours"),
            ("ListLandingPages", "landingPages", "landing_pages"),
            ("ListFailingPages", "failingPages", "failing_pages"),
        ]:
            ours, _ = pages(method, body, rows)
            compare(f"{name}, {where}", keep(ours, expected[name]), expected[name])
        ours, last = pages("ListReferrers", body, "referrers")
        theirs = expected["referrers"]
        compare(f"referrers, {where}", keep(ours, theirs["referrers"]), theirs["referrers"])
        for name in ("own_hosts", "own_requests", "direct_requests", "unreadable_requests"):
            compare(f"{name}, {where}", plain(last)[name], theirs[name])
        audience = ask("GetAudience", body)
        for name in ("groups", "robot_families"):
            field = {"groups": "groups", "robot_families": "robotFamilies"}[name]
            compare(f"audience {name}, {where}", keep(audience[field], expected["audience"][name]), expected["audience"][name])
        ours, last = pages("ListSlowPages", body, "slowPages")
        theirs = expected["slow_pages"]
        bounds = [row.pop("p95_ms_between") for row in theirs["slow_pages"]]
        compare(f"slow pages, {where}", keep(ours, theirs["slow_pages"]), theirs["slow_pages"])
        for row, (low, high) in zip(ours, bounds):
            if not low <= row["p95Ms"] <= high:
                differences.append(f"slow pages, {where}: 95 of 100 requests of {row['page']} within {row['p95Ms']} ms, the script has {low} to {high}")
        for name in ("latency_known_requests", "requests"):
            compare(f"{name} of slow pages, {where}", plain(last)[name], theirs[name])

if differences:
    print("\n".join(differences))
    sys.exit(1)
print("equal")
