-- Contracts of datasets and feeds, every revision of each; the newest is in force.
create table contract (
    kind text not null,
    name text not null,
    revision bigint not null,
    -- YAML as it was written.
    document text not null,
    written_at bigint not null,
    written_by text not null,
    primary key (kind, name, revision)
);
