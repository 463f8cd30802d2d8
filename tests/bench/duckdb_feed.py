"""Reads a file of a feed into a table of a database on disk, as a peer of the kernel's import, and prints the seconds that it took and the rows.

    duckdb_feed.py CONTRACTS FEED FILE NUMBERS DATABASE THREADS

What the peer does is made from the feed's contract (CONTRACTS/feeds, CONTRACTS/datasets): the same columns with the same types, texts trimmed, bad values and lines
left out, service numbers resolved as of the day from NUMBERS, a file of boss.number, and duplicates of a key dropped where the contract drops them. It reads UTF-8: a
file in GB18030 is written anew before the clock starts. Of an access log it takes the fields with one expression, and makes visitors (an MD5 without a key) and sessions. Starting Python, opening the database and reading the numbers are not counted; the timing ends when the
checkpoint is on disk.
"""

import gzip
import pathlib
import sys
import time

import duckdb
import yaml

contracts, feed, path, numbers, database, threads = sys.argv[1:]
folder = pathlib.Path(contracts)
contract = yaml.safe_load((folder / "feeds" / f"{feed}.yaml").read_text())
dataset = yaml.safe_load((folder / "datasets" / f"{contract['dataset']}.yaml").read_text())
types = {"text": "VARCHAR", "integer": "BIGINT", "real": "DOUBLE", "boolean": "BOOLEAN", "instant": "TIMESTAMP", "day": "DATE"}


def utf8(name, encoding):
    """The file as it is when it is in UTF-8, or one beside it that is."""
    if encoding != "gb18030":
        return name
    target = pathlib.Path(database).with_suffix("." + pathlib.Path(name).name)
    opened = gzip.open if name.endswith(".gz") else open
    with opened(name, "rb") as read, opened(target, "wb") as written:
        written.write(read.read().decode("gb18030", errors="replace").encode())
    return str(target)


def text(field):
    return f"nullif(trim(f.{field}), '')"


def instant(rule, field):
    if rule == "epoch_millis":
        return f"epoch_ms(try_cast({text(field)} as bigint))"
    form = {"compact_time": "%Y%m%d%H%M%S", "local_time": "%Y-%m-%d %H:%M:%S"}[rule]
    return f"try_strptime({text(field)}, '{form}') - interval 8 hour"


def day(rule, field):
    match rule:
        case "compact_day":
            return f"try_strptime({text(field)}, '%Y%m%d')::date"
        case "compact_month":
            return f"try_strptime({text(field)} || '01', '%Y%m%d')::date"
        case "compact_time_day":
            return f"try_strptime({text(field)}, '%Y%m%d%H%M%S')::date"
        case "epoch_millis_day":
            return f"(epoch_ms(try_cast({text(field)} as bigint)) + interval 8 hour)::date"
        case "iso_day":
            return f"try_cast({text(field)} as date)"


def value(column):
    """The SQL of a column, by its rule."""
    rule, field = column["rule"], column.get("from")
    match rule:
        case "text" | "city":
            return text(field)
        case "integer" | "real":
            return f"try_cast({text(field)} as {'bigint' if rule == 'integer' else 'double'})"
        case "boolean":
            return f"case {text(field)} when '1' then true when 'true' then true when 'Y' then true when '0' then false when 'false' then false when 'N' then false end"
        case "yuan":
            return f"cast(try_cast({text(field)} as decimal(18, 2)) * 100 as bigint)"
        case "one_of":
            return f"case {text(field)} " + " ".join(f"when '{key}' then '{name}'" for key, name in column["values"].items()) + " end"
        case "constant":
            return f"'{column['value']}'"
        case "customer_of_number":
            return "n.customer_id"
        case "epoch_millis" | "compact_time" | "local_time":
            return instant(rule, field)
        case _:
            return day(rule, field)


# Apache's combined format, with the microseconds after it where they are there.
ACCESS = r'^(\S+) \S+ \S+ \[([^\]]+)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\S+) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"(?: (\d+))?'
ACCESS_FIELDS = ["address", "time", "request", "status", "bytes", "referrer", "agent", "micros"]


def select_access(name):
    """The rows of an access log: every rule of its feed, in the order of the contract's columns."""
    lines = f"read_csv('{name}', header = false, columns = {{'line': 'VARCHAR'}}, delim = '\x01', quote = '', escape = '', auto_detect = false, max_line_size = 1000000)"
    fields = f"select row_number() over () as number, regexp_extract(line, '{ACCESS}', {ACCESS_FIELDS}) as f from {lines}"
    requests = f"""
        select number, f, strptime(f.time, '%d/%b/%Y:%H:%M:%S %z') at time zone 'UTC' as "at", md5(f.address || f.agent) as visitor_id,
               split_part(f.request, ' ', 1) as method, split_part(split_part(f.request, ' ', 2), '?', 1) as page, try_cast(f.status as bigint) as status
        from ({fields}) where f.status <> ''"""
    begins = f"""select *, case when "at" - lag("at") over (partition by visitor_id order by number) <= interval 30 minute then 0 else 1 end as begins from ({requests})"""
    return f"""
        select '440100' as city, '{pathlib.Path(name).stem}-' || number as event_id, "at", ("at" + interval 8 hour)::date as day,
               visitor_id || '-' || sum(begins) over (partition by visitor_id order by number) as session_id, visitor_id, 'web' as channel_id, method, page,
               case method when 'POST' then 'submit' else 'view' end as action, status, status < 400 as ok, try_cast(f.bytes as bigint) as bytes,
               try_cast(f.micros as bigint) // 1000 as latency_ms, nullif(f.referrer, '-') as referrer, nullif(f.agent, '-') as user_agent, f.address as client_address
        from ({begins})"""


def read(spec, name):
    if spec["format"] == "json_lines":
        fields = {column["from"]: "VARCHAR" for column in spec["columns"] if "from" in column}
        return f"read_json('{name}', format = 'newline_delimited', columns = {fields}, ignore_errors = true)"
    common = "all_varchar = true, ignore_errors = true, strict_mode = false, max_line_size = 1000000"
    if spec["format"] == "csv":
        return f"read_csv('{name}', header = true, delim = ',', quote = '\"', escape = '\"', {common})"
    names = ", ".join(f"'{field}'" for field in spec["fields"])
    return f"read_csv('{name}', header = false, delim = '{spec['separator']}', quote = '', escape = '', nullstr = '\\N', names = [{names}], {common})"


def select(spec, described, name):
    if spec["format"] == "combined_log":
        return select_access(name)
    columns = {column["column"]: value(column) for column in spec["columns"]}
    needed = [column["name"] for column in described["columns"] if not column["nullable"] and column["name"] in columns]
    listed = ", ".join(f'{sql} as "{column}"' for column, sql in columns.items())
    if "at" in columns:
        listed += f", ({columns['at']} + interval 8 hour)::date as \"day\""
    resolved = next((column for column in spec["columns"] if column["rule"] == "customer_of_number"), None)
    source = f"{read(spec, name)} f"
    if resolved:
        as_of = columns[resolved["as_of"]] if resolved["as_of"] != "at" else f"({columns['at']} + interval 8 hour)::date"
        source += f" join numbers n on right({text(resolved['from'])}, 11) = n.msisdn and {as_of} >= n.valid_from and ({as_of} < n.valid_to or n.valid_to is null)"
    rows = f"select '440100' as city, {listed} from {source}"
    rows = f"select * from ({rows}) where " + " and ".join(f'"{column}" is not null' for column in needed)
    if spec.get("drops_duplicates") or described["mode"] == "latest":
        key = ", ".join(f'"{name}"' for name in described["key"])
        rows = f"select distinct on ({key}) * from ({rows})"
    return rows


connection = duckdb.connect(database, config={"threads": int(threads)})
number = yaml.safe_load((folder / "feeds" / "boss.number.yaml").read_text())
assignment = yaml.safe_load((folder / "datasets" / "number_assignment.yaml").read_text())
connection.execute(f"create table numbers as {select(number, assignment, utf8(numbers, number.get('encoding')))}")
statement = f"create table taken as {select(contract, dataset, utf8(path, contract.get('encoding')))}"
start = time.monotonic()
connection.execute(statement)
connection.execute("checkpoint")
taken = time.monotonic() - start
print(taken, connection.execute("select count(*) from taken").fetchone()[0])
