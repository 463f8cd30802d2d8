use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use kernel_base::{Clock, Permission, Principal, PrincipalKind, Rights, Scope};
use kernel_storage::{RoleGrantRow, RowStore};
use sha2::{Digest, Sha256};

use crate::AuthError;

// Limit: tokens kept in memory, about 1 kB each. Above it the memory is cleared and filled again from the row store.
const TOKENS_CACHED_MAX: usize = 10_000;

/// The authority: turns tokens into callers and keeps principals, roles and tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    pub(crate) rows: RowStore,
    pub(crate) clock: Clock,
    /// What tokens proved to be, by hash of the secret. Cleared by every change to rights, so that a change holds from the next call on.
    /// Invariant: this process is the only writer of the row store (one kernel, DESIGN 3.6).
    proven: Arc<RwLock<Proven>>,
}

#[derive(Default)]
struct Proven {
    by_hash: HashMap<TokenHash, Arc<Authenticated>>,
    /// Grows with every change to rights: what was read before a change must not be kept after it.
    generation: u64,
}

/// A principal and what it may do.
#[derive(Debug)]
pub struct Authenticated {
    pub principal: Principal,
    pub rights: Arc<Rights>,
    expires_at: i64,
}

impl Auth {
    pub fn new(rows: RowStore, clock: Clock) -> Auth {
        Auth { rows, clock, proven: Arc::default() }
    }

    /// The principal that a bearer token belongs to.
    ///
    /// # Errors
    /// TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_REVOKED or PRINCIPAL_DISABLED.
    pub async fn authenticate(&self, secret: &str) -> Result<Arc<Authenticated>, AuthError> {
        let hash = hash_of(secret);
        let known = self.proven.read().unwrap_or_else(PoisonError::into_inner).by_hash.get(&hash).cloned();
        let authenticated = match known {
            Some(authenticated) => authenticated,
            // Apart, since it is large and rare: every call would carry the room for it.
            None => Box::pin(self.prove(hash)).await?,
        };
        if authenticated.expires_at <= self.clock.now_micros() {
            return Err(AuthError::TokenExpired);
        }
        Ok(authenticated)
    }

    async fn prove(&self, hash: TokenHash) -> Result<Arc<Authenticated>, AuthError> {
        let generation = self.proven.read().unwrap_or_else(PoisonError::into_inner).generation;
        let token = self.rows.token_by_secret(&hex(&hash)).await?.ok_or(AuthError::TokenInvalid)?;
        if token.revoked_at.is_some() {
            return Err(AuthError::TokenRevoked);
        }
        let principal = self.rows.principal(&token.principal_id).await?.ok_or(AuthError::TokenInvalid)?;
        if principal.disabled != 0 {
            return Err(AuthError::PrincipalDisabled { principal: principal.principal_id });
        }
        let rights = rights_of(&self.rows.role_grants(&principal.principal_id).await?)?;
        let authenticated = Arc::new(Authenticated {
            principal: Principal { id: principal.principal_id.parse().map_err(AuthError::PrincipalId)?, kind: kind_of(&principal.kind) },
            rights: Arc::new(rights),
            expires_at: token.expires_at,
        });
        let mut proven = self.proven.write().unwrap_or_else(PoisonError::into_inner);
        if proven.by_hash.len() >= TOKENS_CACHED_MAX {
            proven.by_hash.clear();
        }
        if proven.generation == generation {
            proven.by_hash.insert(hash, Arc::clone(&authenticated));
        }
        Ok(authenticated)
    }

    /// Makes the next call of everyone read the row store again.
    pub(crate) fn forget_proven(&self) {
        let mut proven = self.proven.write().unwrap_or_else(PoisonError::into_inner);
        proven.by_hash.clear();
        proven.generation += 1;
    }
}

/// SHA-256 of a token's secret.
pub(crate) type TokenHash = [u8; 32];

pub(crate) fn hash_of(secret: &str) -> TokenHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Lower-case hex, as the row store keeps it.
pub(crate) fn hex(hash: &TokenHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn kind_of(kind: &str) -> PrincipalKind {
    match kind {
        "person" => PrincipalKind::Person,
        "plugin" => PrincipalKind::Plugin,
        _ => PrincipalKind::Service,
    }
}

/// The union of the permissions of all roles, each in the scope of its grant.
pub(crate) fn rights_of(grants: &[RoleGrantRow]) -> Result<Rights, AuthError> {
    let mut rights = Vec::new();
    for grant in grants {
        let scope = scope_of(grant.cities.split(','))?;
        for line in grant.permissions.lines() {
            rights.push((line.parse::<Permission>()?, scope.clone()));
        }
    }
    Ok(Rights::new(rights))
}

/// City codes as a scope.
pub(crate) fn scope_of<'a>(cities: impl Iterator<Item = &'a str>) -> Result<Scope, AuthError> {
    Ok(cities.map(str::parse).collect::<Result<Vec<_>, _>>()?.into_iter().collect())
}
