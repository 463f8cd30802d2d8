use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kernel_base::{City, Permission, random_bytes};
use kernel_storage::{PrincipalRow, RoleRow, TokenRow};

use crate::{
    Auth, AuthError,
    authenticate::{hash_of, hex},
};

/// The role and the principal that exist from the first start.
const ADMINISTRATOR: &str = "administrator";

/// How many days a token of the administrator's lives that nobody issued over the bus. Limit: long enough to set up the others, short enough that it does not become the
/// way in.
pub const FIRST_TOKEN_DAYS: i64 = 30;

impl Auth {
    /// On a store without tokens, a token of the principal `administrator`, which the binary prints once.
    ///
    /// # Errors
    /// When the row store fails.
    pub async fn first_start(&self) -> Result<Option<String>, AuthError> {
        if self.rows.has_tokens().await? { Ok(None) } else { self.administrator_token().await.map(Some) }
    }

    /// A new token of the principal `administrator`, who is made, enabled and given all rights as far as is needed: for the first start, and for whoever has the kernel's
    /// folder and no token any more. It asks for no right, so it stands on no door.
    ///
    /// # Errors
    /// When the row store fails.
    pub async fn administrator_token(&self) -> Result<String, AuthError> {
        let now = self.clock.now_micros();
        let permissions = Permission::everything().to_string();
        self.rows.insert_role(&RoleRow { role_id: ADMINISTRATOR.to_owned(), display_name: "All rights".to_owned(), permissions }).await?;
        let administrator = PrincipalRow {
            principal_id: ADMINISTRATOR.to_owned(),
            kind: "person".to_owned(),
            display_name: "Administrator of the first start".to_owned(),
            disabled: 0,
            created_at: now,
        };
        if !self.rows.insert_principal(&administrator).await? && self.rows.principal(ADMINISTRATOR).await?.is_some_and(|row| row.disabled != 0) {
            // Who was shut out stays so: only the new token works.
            self.rows.revoke_tokens_of(ADMINISTRATOR, now).await?;
            self.rows.enable_principal(ADMINISTRATOR).await?;
        }
        self.rows.upsert_role_grant(ADMINISTRATOR, ADMINISTRATOR, &City::PROVINCE.to_string()).await?;
        let (_, secret) = self.make_token(ADMINISTRATOR, FIRST_TOKEN_DAYS * 24 * 3_600 * 1_000_000).await?;
        Ok(secret)
    }

    /// Stores a new token and gives it with its secret.
    pub(crate) async fn make_token(&self, principal_id: &str, life_micros: i64) -> Result<(TokenRow, String), AuthError> {
        let secret = format!("bp_{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()));
        let now = self.clock.now_micros();
        // Time first, so that ids sort by age; random behind it, so that none is guessed or repeated.
        let token_id = format!("{now:016x}{:016x}", u64::from_be_bytes(random_bytes()));
        let row = TokenRow {
            token_id,
            principal_id: principal_id.to_owned(),
            secret_sha256: hex(&hash_of(&secret)),
            created_at: now,
            expires_at: now.saturating_add(life_micros),
            revoked_at: None,
        };
        self.rows.insert_token(&row).await?;
        Ok((row, secret))
    }
}
