#!/usr/bin/env python3
"""The figures of portal-traffic, computed from an access log by other means: no SQL, no code shared with the plugin.

Written from the definitions in plugins/portal-traffic/proto/portal_traffic/v1/portal_traffic.proto and, for sessions, from DATA-MODEL (address + agent, a gap of
more than 30 minutes). Needs only Python's standard library. Lists are complete and in the order that the proto states; configuration is the default one.

    portal_traffic.py access.log --from 2015-05-17T00:00:00Z --to 2015-05-21T00:00:00Z [--pages-only]
"""

import argparse
import collections
import datetime
import json
import re
import sys

LINE = re.compile(
    r'(?P<address>[^ ]+) .*? \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}|-) (?P<bytes>\d+|-)'
    r' "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"(?: (?P<micros>\d+|-))? *'
)
REQUEST = re.compile(r"[A-Z_-]{1,20} (?P<target>.+?)(?: HTTP/\S*)?")
GAP = 30 * 60
SHANGHAI = datetime.timezone(datetime.timedelta(hours=8))
ASSETS = tuple(
    ".css .js .mjs .map .png .jpg .jpeg .gif .svg .ico .webp .avif .bmp .woff .woff2 .ttf .otf .eot .mp3 .mp4 .webm".split()
)
ROBOT_WORDS = (
    "bot crawl spider slurp feed rss fetch monitor archiver scrap phantom headless curl wget python libwww httpclient http-client okhttp go-http java/"
    " checker validator mediapartners externalhit embedly ezooms siteexplorer"
).split()
BROWSER_WORDS = "mozilla/ opera/ webkit/ safari/ midp wap ucweb ucbrowser micromessenger dalvik".split()

Request = collections.namedtuple("Request", "seconds visitor session page status bytes latency_ms referrer agent")


def read(path):
    """All requests of the log with their sessions, and the numbers of the lines that are no requests."""
    parsed, unread = [], []
    with open(path, encoding="utf-8", errors="replace") as log:
        for number, line in enumerate(log, 1):
            match = LINE.fullmatch(line.rstrip("\r\n"))
            page = page_of(match) if match else None
            if page is None:
                unread.append(number)
                continue
            seconds = datetime.datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
            parsed.append((seconds, number, match, page))

    visitor_to_requests = collections.defaultdict(list)
    for entry in parsed:
        visitor_to_requests[(entry[2]["address"], entry[2]["agent"])].append(entry)
    requests = []
    for visitor, entries in visitor_to_requests.items():
        entries.sort(key=lambda entry: entry[:2])
        session, before = 0, None
        for seconds, _, match, page in entries:
            if before is not None and seconds - before > GAP:
                session += 1
            before = seconds
            # A row without a status is no request; its session counts on.
            if match["status"] != "-":
                size = 0 if match["bytes"] == "-" else int(match["bytes"])
                referrer, agent = plain(match["referrer"]), plain(match["agent"])
                # The log has microseconds, a row the whole milliseconds of them.
                latency_ms = None if match["micros"] in (None, "-") else int(match["micros"]) // 1000
                requests.append(Request(seconds, visitor, (visitor, session), page, int(match["status"]), size, latency_ms, referrer, agent))
    return requests, unread


def page_of(match):
    """The path of a request without its query; "-" when the server could not read the request and said so; None for a line that makes no sense."""
    request = REQUEST.fullmatch(plain(match["request"]))
    if not request or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in request["target"]):
        return "-" if match["status"][0] in "45" else None
    path = re.split(r"[?#]", re.sub(r"^[A-Za-z]+://[^/]*", "", request["target"]))[0]
    return path or "/"


def plain(quoted):
    """A quoted field with its escaped quotes and backslashes undone."""
    return re.sub(r'\\(["\\])', r"\1", quoted)


def is_asset(page):
    return page.lower().endswith(ASSETS)


def text(value):
    """Order of UTF-8 bytes."""
    return value.encode("utf-8", "surrogateescape")


def counts(requests):
    return {
        "requests": len(requests),
        "visitors": len({request.visitor for request in requests}),
        "sessions": len({request.session for request in requests}),
        "errors": sum(request.status >= 400 for request in requests),
        "bytes": sum(request.bytes for request in requests),
    }


def grouped(requests, key):
    groups = collections.defaultdict(list)
    for request in requests:
        groups[key(request)].append(request)
    return groups


def page_hours(requests):
    rows = []
    for (hour, page), group in grouped(requests, lambda request: (int(request.seconds // 3600 * 3600), request.page)).items():
        instant = datetime.datetime.fromtimestamp(hour, datetime.timezone.utc)
        local_hour = instant.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M")
        rows.append({"page": page, "hour": instant.strftime("%Y-%m-%dT%H:%M:%SZ"), "local_hour": local_hour, **counts(group)})
    rows.sort(key=lambda row: (row["hour"], -row["requests"], text(row["page"])))
    return rows


def landing_pages(requests):
    rows = collections.defaultdict(lambda: {"sessions": 0, "single_request_sessions": 0})
    for group in grouped(requests, lambda request: request.session).values():
        first = min(group, key=lambda request: (request.seconds, text(request.page)))
        rows[first.page]["sessions"] += 1
        rows[first.page]["single_request_sessions"] += len(group) == 1
    rows = [{"page": page, **row} for page, row in rows.items()]
    rows.sort(key=lambda row: (-row["sessions"], text(row["page"])))
    return rows


def failing_pages(requests):
    rows = []
    for page, group in grouped(requests, lambda request: request.page).items():
        errors = sum(request.status >= 400 for request in group)
        server_errors = sum(request.status >= 500 for request in group)
        if errors:
            share = errors / len(group)
            rows.append(
                {"page": page, "requests": len(group), "errors": errors, "share": share, "client_errors": errors - server_errors, "server_errors": server_errors}
            )
    rows.sort(key=lambda row: (-row["errors"], text(row["page"])))
    return rows


def slow_pages(requests):
    known = [request for request in requests if request.latency_ms is not None]
    rows = []
    for page, group in grouped(known, lambda request: request.page).items():
        times = sorted(request.latency_ms for request in group)
        # The plugin approximates: its figure lies between the times around the 95th of 100, one rank away on either side and 2 % of the requests more.
        rank, off = 95 * len(times) // 100, 1 + len(times) // 50
        between = [times[max(rank - off, 0)], times[min(rank + off, len(times) - 1)]]
        rows.append({"page": page, "requests": len(times), "mean_ms": sum(times) / len(times), "p95_ms_between": between})
    rows.sort(key=lambda row: (-row["mean_ms"], text(row["page"])))
    return {"slow_pages": rows, "latency_known_requests": len(known), "requests": len(requests)}


def host_of(referrer):
    """The host that a referrer names, None when it names none, "" when there is no referrer."""
    referrer = referrer.strip()
    if referrer in ("", "-"):
        return ""
    match = re.match(r"([A-Za-z0-9+.-]+)://([^/?#]*)", referrer)
    if not match:
        return None
    address = match[2].rpartition("@")[2]
    bracketed = re.match(r"(\[[^\]]*\])", address)
    if bracketed:
        return ascii_lower(bracketed[1])
    host = ascii_lower(address.partition(":")[0])
    host = host[:-1] if host.endswith(".") else host
    host = host[4:] if host.startswith("www.") else host
    return host if re.fullmatch(r"[a-z0-9._\-\u0080-\U0010ffff]+", host) else None


def referrers(requests):
    hosts = collections.Counter(host_of(request.referrer) for request in requests)
    direct, unreadable = hosts.pop("", 0), hosts.pop(None, 0)
    own = min(hosts, key=lambda host: (-hosts[host], text(host)), default=None)
    is_own = lambda host: own is not None and (host == own or host.endswith("." + own))
    sessions = collections.Counter()
    for group in grouped(requests, lambda request: request.session).values():
        # A log writes "-" for no referrer, and no referrer is the empty text.
        order = lambda request: (request.seconds, text(request.page), text("" if request.referrer == "-" else request.referrer))
        sessions[host_of(min(group, key=order).referrer)] += 1
    rows = [{"host": host, "requests": number, "sessions": sessions[host]} for host, number in hosts.items() if not is_own(host)]
    rows.sort(key=lambda row: (-row["requests"], text(row["host"])))
    return {
        "referrers": rows,
        "own_hosts": [] if own is None else [own],
        "own_requests": sum(number for host, number in hosts.items() if is_own(host)),
        "direct_requests": direct,
        "unreadable_requests": unreadable,
    }


def ascii_lower(value):
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in value)


def kind_of(agent):
    agent = ascii_lower(agent.strip())
    if agent in ("", "-"):
        return "UNKNOWN"
    without_phone = agent.replace("cubot", "")
    if any(word in without_phone for word in ROBOT_WORDS):
        return "ROBOTS"
    if any(mark in agent for mark in ("http://", "https://", "@")):
        return "ROBOTS"
    return "PEOPLE" if any(word in agent for word in BROWSER_WORDS) else "ROBOTS"


def family_of(agent):
    words = re.findall(r"[a-z0-9._-]+", ascii_lower(agent).replace("cubot", ""))
    telling = [word for word in words if any(robot.rstrip("/") in word for robot in ROBOT_WORDS)]
    return (telling + words + [""])[0]


def audience(requests):
    by_kind = grouped(requests, lambda request: kind_of(request.agent))
    groups = [{"kind": kind, **counts(by_kind[kind])} for kind in ("PEOPLE", "ROBOTS", "UNKNOWN")]
    families = [{"name": name, **counts(group)} for name, group in grouped(by_kind["ROBOTS"], lambda request: family_of(request.agent)).items()]
    families.sort(key=lambda row: (-row["requests"], text(row["name"])))
    for row in groups:
        del row["errors"]
    for row in families:
        del row["errors"], row["bytes"]
    return {"groups": groups, "robot_families": families[:20]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    parser.add_argument("--from", dest="start", required=True, help="first instant, RFC 3339")
    parser.add_argument("--to", dest="end", required=True, help="the instant after the last, RFC 3339")
    parser.add_argument("--pages-only", action="store_true")
    arguments = parser.parse_args()
    instant = lambda given: datetime.datetime.fromisoformat(given.replace("Z", "+00:00")).timestamp()
    start, end = instant(arguments.start), instant(arguments.end)

    requests, unread = read(arguments.log)
    chosen = [request for request in requests if start <= request.seconds < end and not (arguments.pages_only and is_asset(request.page))]
    answer = {
        "requests_read": len(requests),
        "unread_lines": unread,
        "summary": counts(chosen),
        "page_hours": page_hours(chosen),
        "landing_pages": landing_pages(chosen),
        "slow_pages": slow_pages(chosen),
        "failing_pages": failing_pages(chosen),
        "referrers": referrers(chosen),
        "audience": audience(chosen),
    }
    json.dump(answer, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
