-- Who may call. Names are kept for ever: a principal is disabled, never deleted, so that the audit log stays readable.
create table principal (
    principal_id text primary key,
    kind         text not null,
    display_name text not null,
    disabled     bigint not null default 0,
    created_at   bigint not null
);

create table role (
    role_id      text primary key,
    display_name text not null,
    -- A permission per line.
    permissions  text not null
);

create table role_grant (
    principal_id text not null references principal (principal_id),
    role_id      text not null references role (role_id),
    -- City codes with commas; 440000 alone is the province.
    cities       text not null,
    primary key (principal_id, role_id)
);

create table token (
    token_id      text primary key,
    principal_id  text not null references principal (principal_id),
    -- Lower-case hex of the SHA-256 of the secret. The secret is 256 random bits, so a slow hash would add nothing.
    secret_sha256 text not null unique,
    created_at    bigint not null,
    expires_at    bigint not null,
    revoked_at    bigint
);

create index token_by_principal on token (principal_id, token_id);
