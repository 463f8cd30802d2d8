"""Reads a feed's text into a table of a database on disk, as a peer of the kernel's import, and prints the seconds that it took.

    duckdb_read.py FILE DATABASE THREADS

Both keep typed columns durably: the timing ends when the checkpoint is on disk. Starting Python and opening the database are not counted.
"""

import sys
import time

import duckdb

path, database, threads = sys.argv[1:]
connection = duckdb.connect(database, config={"threads": int(threads)})
columns = {
    "customer_id": "BIGINT",
    "product_id": "VARCHAR",
    "day": "DATE",
    "events": "BIGINT",
    "quantity": "BIGINT",
    "seconds": "BIGINT",
    "kb": "BIGINT",
    "fee": "DECIMAL(18, 2)",
    "ok_events": "BIGINT",
    "failed_events": "BIGINT",
}
start = time.monotonic()
connection.execute(
    """create table usage as select '440600' as city, customer_id, product_id, day, 'bench.usage' as source_feed, events, quantity, seconds, kb,
        cast(fee * 100 as bigint) as fee_fen, ok_events, failed_events
    from read_csv($path, delim = '|', header = false, quote = '', escape = '', columns = $columns, dateformat = '%Y%m%d')""",
    {"path": path, "columns": columns},
)
connection.execute("checkpoint")
print(time.monotonic() - start)
