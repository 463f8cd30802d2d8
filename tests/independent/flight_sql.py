"""An independent client of Flight SQL: ADBC's driver, as tools for analysts load it. Knows nothing of ours but the standard.

Arguments: address, a token for Foshan that sees customers masked, a token for the province, the number of rows of `interaction` in Foshan and in the province.
Exits with a traceback on the first surprise.
"""

import sys

import adbc_driver_flightsql.dbapi as flight_sql
import pyarrow
from adbc_driver_flightsql import DatabaseOptions

address, foshan, province, in_foshan, in_province = sys.argv[1:]


def connect(token, **headers):
    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}"}
    options |= {f"{DatabaseOptions.RPC_CALL_HEADER_PREFIX.value}{name}": value for name, value in headers.items()}
    # Nothing is written here, so there is no transaction to begin.
    return flight_sql.connect(f"grpc+tcp://{address}", db_kwargs=options, autocommit=True)


def rows(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def refusal(connection, sql, values=None):
    try:
        rows(connection, sql, values)
    except flight_sql.Error as error:
        return str(error)
    raise AssertionError(f"{sql} was answered")


def tables(connection):
    found = {}
    for catalog in connection.adbc_get_objects(depth="columns").read_all().to_pylist():
        for schema in catalog["catalog_db_schemas"]:
            for table in schema["db_schema_tables"]:
                name = (catalog["catalog_name"], schema["db_schema_name"], table["table_name"])
                found[name] = [column["column_name"] for column in table["table_columns"]]
    return found


city, everywhere = connect(foshan), connect(province)

# The catalog is that of the token.
assert set(tables(city)) == {("backplane", "public", "interaction"), ("backplane", "public", "city")}, tables(city)
assert ("backplane", "public", "subscriber") in tables(everywhere), tables(everywhere)
assert city.adbc_get_table_types() == ["TABLE"]
assert city.adbc_get_info()["vendor_name"] == "Backplane", city.adbc_get_info()

# Columns have the types that rows have, and say what the contract says.
schema = city.adbc_get_table_schema("interaction", db_schema_filter="public")
assert schema.field("at").type == pyarrow.timestamp("us", tz="UTC"), schema
assert schema.field("bytes").metadata[b"ARROW:FLIGHT:SQL:REMARKS"] == b"Size of the answer (byte)", schema.field("bytes").metadata
with city.cursor() as cursor:
    cursor.execute("select * from interaction limit 5")
    answered = cursor.fetch_arrow_table()
assert answered.num_rows == 5 and answered.schema.types == schema.types and answered.schema.names == schema.names, answered.schema

# Rows are those of the token's cities, or of the one that the connection is narrowed to.
count = "select count(*) from interaction"
assert rows(city, count) == [(int(in_foshan),)], rows(city, count)
assert rows(everywhere, count) == [(int(in_province),)], rows(everywhere, count)
assert rows(connect(province, **{"backplane-city": "440600"}), count) == [(int(in_foshan),)]
# Quoted whole, as tools write it.
assert rows(city, 'select count(*) from "backplane"."public"."interaction"') == [(int(in_foshan),)]

# Prepared, with values; the statement may be run again with others.
by_status = "select count(*) from interaction where status = ?"
with city.cursor() as cursor:
    counted = {}
    for status in [200, 404]:
        cursor.execute(by_status, (status,))
        counted[status] = cursor.fetchone()[0]
assert counted == dict(rows(city, "select status, count(*) from interaction where status in (200, 404) group by 1")), counted
assert rows(city, "select count(*) from interaction where status = $2 and page <> $1", ("", 200)) == [(counted[200],)]
with city.cursor() as cursor:
    cursor.adbc_prepare("select ? as name, 1 as one")
    cursor.execute("select ? as name, 1 as one", ("佛山",))
    assert cursor.fetchall() == [("佛山", 1)]
typed = rows(city, "select cast(? as bigint), cast(? as double), ?, ?", (7, 2.5, True, "x"))
assert typed == [(7, 2.5, True, "x")], typed

# The columns that were told first are those that come, also where the plan knows more of them than the statement.
assert rows(city, "select 1 as n union all select 2.5 order by 1") == [(1.0,), (2.5,)]
joined = "select distinct c.name_zh from interaction i left join city c on c.city = i.city where c.name_zh <> ''"
assert len(rows(city, joined)) <= 1, rows(city, joined)

# Many rows come whole, in messages that a client takes.
with everywhere.cursor() as cursor:
    cursor.execute("select a.* from interaction a cross join (values (1), (2), (3), (4), (5)) as five (n)")
    assert cursor.fetch_arrow_table().num_rows == 5 * int(in_province)

# What is refused says why.
def refuses(connection, sql, *words, values=None):
    said = refusal(connection, sql, values)
    assert all(word in said for word in words), said


refuses(city, "insert into city values ('440600')", "only SELECT")
refuses(city, "select\n  nothing from interaction", "No field named nothing")
refuses(city, by_status, "$1 is null", values=(None,))
refuses(city, "select count(*) from interaction where status = ? and page = $2", "not both", values=(200, "x"))
refuses(city, by_status, "0 values were sent")
assert refusal(city, "select * from subscriber").replace("subscriber", "nowhere") == refusal(city, "select * from nowhere")
refuses(city, by_status, "one row of values", values=pyarrow.record_batch([[200, 404]], names=["1"]))
with city.cursor() as cursor:
    try:
        cursor.executemany("insert into city values (?)", [("440600",)])
        raise AssertionError("rows were taken")
    except flight_sql.Error as error:
        assert "only SELECT" in str(error), error
try:
    connect("bp_nobody").cursor().execute("select 1")
    raise AssertionError("a token that nobody has was taken")
except flight_sql.Error as error:
    assert "the token is not known" in str(error), error
