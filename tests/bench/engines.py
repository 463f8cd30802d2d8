"""Answers SQL with the kernel's peers, on rows that it computes as `queries.rs` does.

    engines.py FOLDER ROWS THREADS

Makes DuckDB's Parquet and table of the rows, says so in a line of JSON, and then answers each line of its input, a JSON object with `engine` and `sql`, with a line:
the seconds until the answer is there as Arrow, and a digest of its rows. As many threads each as the kernel has.
"""

import hashlib
import json
import sys
import time

import chdb.session
import duckdb
import pyarrow

CITIES = [
    "440100", "440200", "440300", "440400", "440500", "440600", "440700", "440800", "440900", "441200", "441300",
    "441400", "441500", "441600", "441700", "441800", "441900", "442000", "445100", "445200", "445300",
]  # fmt: skip
DAYS = 90
CUSTOMERS_OF_CITY = 47_619
ENROLMENTS = 400_000

folder, rows, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
of_city_day = rows // (DAYS * len(CITIES))
TABLES = {
    "usage": f"""
        select {CITIES}[c + 1] as city, {len(CITIES)} * (m % {CUSTOMERS_OF_CITY}) + c as customer_id,
            format('P{{:02}}', least(m // 65536 % 20, m // 2097152 % 20)) as product_id, date '2026-01-01' + d::int as day, 'bench' as source_feed,
            1 + m % 7 as events, m % 11 as quantity, m % 3600 as seconds, m % 50000 as kb, m % 5 * 10 as fee_fen,
            1 + m % 7 - (m % 13 = 0)::bigint as ok_events, (m % 13 = 0)::bigint as failed_events
        from (
            select n * 2654435761 % 4294967296 as m, n // {of_city_day} % {len(CITIES)} as c, n // ({of_city_day} * {len(CITIES)}) as d
            from range({of_city_day} * {DAYS * len(CITIES)}) t(n)
        )""",
    "enrolment": f"""
        select {CITIES}[c % {len(CITIES)} + 1] as city, format('E{{}}', e) as enrolment_id, c as customer_id, format('K{{:03}}', e % 50) as package_id,
            date '2025-12-01' + (e % 100)::int as starts_on
        from (select e, (e * 7919 + 13) % {CUSTOMERS_OF_CITY * len(CITIES)} as c from range({ENROLMENTS}) t(e))""",
    "package_component": """
        select format('C{}-{}', p, k) as component_id, format('K{:03}', p) as package_id, format('P{:02}', (p * 3 + k * 7) % 20) as product_id
        from range(50) t(p), range(3) u(k)""",
    "subscriber": f"""
        select {CITIES}[i % {len(CITIES)} + 1] as city, i as customer_id, ['gotone', 'easyown', 'mzone'][i % 3 + 1] as brand,
            ['diamond', 'gold', 'silver', 'standard'][i // 3 % 4 + 1] as value_tier
        from range({CUSTOMERS_OF_CITY * len(CITIES)}) t(i)""",
}


def duckdb_of_tables():
    connection = duckdb.connect(f"{folder}/tables.duckdb", config={"threads": threads})
    for name, select in TABLES.items():
        connection.execute(f"create table {name} as {select}")
    connection.execute("checkpoint")
    return connection


def duckdb_of_parquet(tables):
    connection = duckdb.connect(config={"threads": threads})
    for name in TABLES:
        tables.execute(f"copy {name} to '{folder}/{name}.parquet' (format parquet)")
        connection.execute(f"create view {name} as select * from '{folder}/{name}.parquet'")
    return connection


def chdb_of_parquet():
    session = chdb.session.Session()
    session.query(f"set max_threads = {threads}")
    for name in TABLES:
        session.query(f"create view {name} as select * from file('{folder}/{name}.parquet', 'Parquet')")
    return session


tables = duckdb_of_tables()
parquet = duckdb_of_parquet(tables)
clickhouse = chdb_of_parquet()


def arrow(engine, sql):
    if engine == "chdb":
        return pyarrow.ipc.open_stream(clickhouse.query(sql, "ArrowStream").bytes()).read_all()
    return {"duckdb": parquet, "duckdb tables": tables}[engine].sql(sql).to_arrow_table()


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    start = time.monotonic()
    table = arrow(request["engine"], request["sql"])
    seconds = time.monotonic() - start
    lines = sorted("|".join(text(value) for value in row) for row in zip(*(column.to_pylist() for column in table.columns)))
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    print(json.dumps({"seconds": seconds, "rows": len(lines), "digest": digest}), flush=True)
