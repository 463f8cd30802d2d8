#!/usr/bin/env python3
"""Attaches a kernel's catalog in DuckDB, which knows nothing of Backplane, and compares what it reads with what the kernel answered.

    duckdb_reads.py <folder of the warehouse> <folder of answers>

An answer is a Parquet file named <schema>.<table>@<snapshot>.parquet: rows of the table at that snapshot, of some or all of its columns. Then tries to write, which
has to be refused. Exits with 1 and what differs. The kernel may run meanwhile: DuckDB is given a copy of the catalog, since it reads a table of SQLite in pieces, of
which some may be of before a commit and some of after it.
"""

import importlib.resources
import pathlib
import sqlite3
import sys
import tempfile

import duckdb

WRITES = [
    "INSERT INTO {table} SELECT * FROM {table}",
    "DELETE FROM {table}",
    # One row, which DuckDB would write into the catalog itself.
    "DELETE FROM {table} WHERE rowid = (SELECT min(rowid) FROM {table})",
    "CREATE TABLE lake.main.of_another (a INTEGER)",
    "CREATE VIEW lake.main.of_another AS SELECT 1 AS a",
    "DROP TABLE {table}",
    "CALL ducklake_expire_snapshots('lake', older_than => now())",
]

warehouse, answers = map(pathlib.Path, sys.argv[1:])
database = duckdb.connect(config={"allow_unsigned_extensions": "true"})
for extension in ["sqlite_scanner", "ducklake"]:
    [file] = importlib.resources.files(f"duckdb_extension_{extension}").glob("**/*.duckdb_extension")
    database.execute(f"LOAD '{file}'")
folder = tempfile.TemporaryDirectory()
copy = pathlib.Path(folder.name) / "catalog.db"
with sqlite3.connect(warehouse / "catalog.db") as catalog:
    catalog.execute("VACUUM INTO ?", (str(copy),))
attach = f"ATTACH 'ducklake:sqlite:{copy}' AS lake"
database.execute(f"{attach} (READ_ONLY)")
problems, rows = [], 0


def columns(source):
    return [(name, kind) for name, kind, *_ in database.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]


def quoted(*names):
    return ".".join(f'"{name}"' for name in names)


files = sorted(answers.glob("*.parquet"))
for file in files:
    table, snapshot = file.stem.split("@")
    answer, here = f"read_parquet('{file}')", f"lake.{quoted(*table.split('.'))} AT (VERSION => {snapshot})"
    there = columns(here)
    for column in columns(answer):
        if column not in there:
            problems.append(f"{file.stem}: the kernel has {column}, DuckDB has {there}")
    names = ", ".join(quoted(name) for name, _ in columns(answer))
    for one, other, of in [(answer, here, "kernel's"), (here, answer, "DuckDB's")]:
        of_one = f"SELECT {names} FROM {one} EXCEPT ALL SELECT {names} FROM {other}"
        # As text: for instants DuckDB wants another package.
        lacking = database.execute(f"SELECT CAST(lacking AS VARCHAR) FROM ({of_one}) AS lacking").fetchall()
        if lacking:
            problems.append(f"{file.stem}: {len(lacking)} of the {of} rows are not the other's, such as {lacking[0][0]}")
    rows += database.execute(f"SELECT count(*) FROM {answer}").fetchone()[0]

database.execute("DETACH lake")
database.execute(attach)
table = "lake." + quoted(*files[0].stem.split("@")[0].split("."))
for write in WRITES:
    try:
        database.execute(write.format(table=table))
        problems.append(f"a writer other than the kernel was not refused: {write}")
    except duckdb.Error as error:
        if "belongs to a kernel of Backplane" not in str(error):
            problems.append(f"{write}: {error}")

print("\n".join(problems) or f"{len(files)} answers with {rows} rows are DuckDB's as well")
sys.exit(1 if problems or not files else 0)
