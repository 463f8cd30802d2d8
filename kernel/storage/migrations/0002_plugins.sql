-- The bytes of installed plugins, named by their SHA-256. Apart from the versions, so that a list does not read megabytes.
create table plugin_package (
    digest text primary key,
    bytes  blob not null
);

-- Immutable: a version number is never used for other bytes.
create table plugin_version (
    plugin_id            text not null,
    version              text not null,
    digest               text not null references plugin_package (digest),
    -- plugin.toml as it stands in the package.
    manifest             text not null,
    -- JSON Schema; empty when the plugin takes no configuration.
    configuration_schema text not null,
    installed_at         bigint not null,
    installed_by         text not null,
    primary key (plugin_id, version)
);

-- One row per plugin and city, kept when it is disabled so that the revision goes on growing.
create table plugin_deployment (
    plugin_id     text not null,
    -- 440000 is the province.
    city          text not null,
    version       text not null,
    digest        text not null,
    revision      bigint not null,
    -- A permission per line.
    granted       text not null,
    -- A JSON object.
    configuration text not null,
    enabled       bigint not null,
    enabled_at    bigint not null,
    enabled_by    text not null,
    primary key (plugin_id, city),
    foreign key (plugin_id, version) references plugin_version (plugin_id, version)
);
