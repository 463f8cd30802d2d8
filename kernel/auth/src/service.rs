use backplane_proto::auth::v1::{
    CreatePrincipalRequest, CreateRoleRequest, DisablePrincipalRequest, GrantRoleRequest, HeldPermission, IssueTokenRequest, IssueTokenResponse,
    ListPrincipalsRequest, ListPrincipalsResponse, ListRolesRequest, ListRolesResponse, ListTokensRequest, ListTokensResponse, Principal, PrincipalKind,
    RevokeRoleRequest, RevokeTokenRequest, Role, RoleGrant, Token, WhoAmIRequest, WhoAmIResponse, auth_server,
};
use kernel_base::{Caller, Page, Permission, PrincipalId, context_of};
use kernel_storage::{PrincipalRow, RoleRow, StorageError, TokenRow};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use crate::{Auth, AuthError, authenticate::scope_of};

// Limit: how long a token may live. A year and a day, so that a yearly rotation has a margin.
const TOKEN_LIFE_MAX_SECONDS: i64 = 366 * 24 * 3_600;

#[tonic::async_trait]
impl auth_server::Auth for Auth {
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let context = context_of(&request)?;
        let principal = match &context.caller {
            Caller::Known(principal) => self.describe(principal.id.as_str()).await?,
            Caller::Anonymous => return Err(AuthError::TokenInvalid.into()),
        };
        let permissions =
            context.rights.grants().iter().map(|(permission, scope)| HeldPermission { permission: permission.to_string(), cities: scope.codes() }).collect();
        Ok(Response::new(WhoAmIResponse { principal: Some(principal), permissions }))
    }

    async fn create_principal(&self, request: Request<CreatePrincipalRequest>) -> Result<Response<Principal>, Status> {
        let request = request.into_inner();
        let kind = match request.kind() {
            PrincipalKind::Person => "person",
            PrincipalKind::Service => "service",
            PrincipalKind::Plugin | PrincipalKind::Unspecified => {
                let problem = "must be PRINCIPAL_KIND_PERSON or PRINCIPAL_KIND_SERVICE: a plugin has its account, `plugin/<plugin>/<city>`, by being enabled, and no token".to_owned();
                return Err(AuthError::Field { field: "kind", problem }.into());
            }
        };
        let id: PrincipalId = request.principal_id.parse().map_err(AuthError::PrincipalId)?;
        let row = PrincipalRow {
            principal_id: id.to_string(),
            kind: kind.to_owned(),
            display_name: request.display_name,
            disabled: 0,
            created_at: self.clock.now_micros(),
        };
        if !self.rows.insert_principal(&row).await.map_err(AuthError::from)? {
            return Err(AuthError::Exists { what: "principal", id: id.to_string() }.into());
        }
        Ok(Response::new(self.describe(id.as_str()).await?))
    }

    async fn list_principals(&self, request: Request<ListPrincipalsRequest>) -> Result<Response<ListPrincipalsResponse>, Status> {
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token).map_err(AuthError::from)?;
        let mut rows = self.rows.principals(page.after.as_deref().unwrap_or(""), rows_and_one(&page)).await.map_err(AuthError::from)?;
        let next_page_token = page.finish(&mut rows, |row| row.principal_id.clone());
        let mut principals = Vec::with_capacity(rows.len());
        for row in rows {
            principals.push(self.with_roles(row).await?);
        }
        Ok(Response::new(ListPrincipalsResponse { principals, next_page_token }))
    }

    async fn disable_principal(&self, request: Request<DisablePrincipalRequest>) -> Result<Response<Principal>, Status> {
        let id = request.into_inner().principal_id;
        let rows = self.rows.clone();
        let disabled = id.clone();
        let found = self.change(async move { rows.disable_principal(&disabled).await }).await?;
        if !found {
            return Err(AuthError::NotFound { what: "principal", id }.into());
        }
        Ok(Response::new(self.describe(&id).await?))
    }

    async fn create_role(&self, request: Request<CreateRoleRequest>) -> Result<Response<Role>, Status> {
        let missing = || AuthError::Field { field: "role", problem: "is missing".to_owned() };
        let role = request.into_inner().role.ok_or_else(missing)?;
        role.role_id.parse::<PrincipalId>().map_err(|error| AuthError::Field { field: "role.role_id", problem: error.to_string() })?;
        let permissions = role.permissions.iter().map(|text| text.parse::<Permission>()).collect::<Result<Vec<_>, _>>().map_err(AuthError::from)?;
        let row = RoleRow {
            role_id: role.role_id.clone(),
            display_name: role.display_name.clone(),
            permissions: permissions.iter().map(Permission::to_string).collect::<Vec<_>>().join("\n"),
        };
        if !self.rows.insert_role(&row).await.map_err(AuthError::from)? {
            return Err(AuthError::Exists { what: "role", id: role.role_id }.into());
        }
        Ok(Response::new(wire_role(row)))
    }

    async fn list_roles(&self, request: Request<ListRolesRequest>) -> Result<Response<ListRolesResponse>, Status> {
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token).map_err(AuthError::from)?;
        let mut rows = self.rows.roles(page.after.as_deref().unwrap_or(""), rows_and_one(&page)).await.map_err(AuthError::from)?;
        let next_page_token = page.finish(&mut rows, |row| row.role_id.clone());
        Ok(Response::new(ListRolesResponse { roles: rows.into_iter().map(wire_role).collect(), next_page_token }))
    }

    async fn grant_role(&self, request: Request<GrantRoleRequest>) -> Result<Response<Principal>, Status> {
        let request = request.into_inner();
        self.describe(&request.principal_id).await?;
        if self.rows.role(&request.role_id).await.map_err(AuthError::from)?.is_none() {
            return Err(AuthError::NotFound { what: "role", id: request.role_id }.into());
        }
        let scope = scope_of(request.cities.iter().map(String::as_str))?;
        if scope.is_nowhere() {
            let problem = "name at least one city code, or 440000 for the province".to_owned();
            return Err(AuthError::Field { field: "cities", problem }.into());
        }
        let (rows, principal_id) = (self.rows.clone(), request.principal_id.clone());
        self.change(async move { rows.upsert_role_grant(&request.principal_id, &request.role_id, &scope.to_string()).await }).await?;
        Ok(Response::new(self.describe(&principal_id).await?))
    }

    async fn revoke_role(&self, request: Request<RevokeRoleRequest>) -> Result<Response<Principal>, Status> {
        let request = request.into_inner();
        let (rows, principal_id) = (self.rows.clone(), request.principal_id.clone());
        self.change(async move { rows.delete_role_grant(&request.principal_id, &request.role_id).await }).await?;
        Ok(Response::new(self.describe(&principal_id).await?))
    }

    async fn issue_token(&self, request: Request<IssueTokenRequest>) -> Result<Response<IssueTokenResponse>, Status> {
        let request = request.into_inner();
        if !(1..=TOKEN_LIFE_MAX_SECONDS).contains(&request.life_seconds) {
            let problem = format!("must be 1 to {TOKEN_LIFE_MAX_SECONDS} (366 days)");
            return Err(AuthError::Field { field: "life_seconds", problem }.into());
        }
        self.describe(&request.principal_id).await?;
        let (row, secret) = self.make_token(&request.principal_id, request.life_seconds * 1_000_000).await?;
        Ok(Response::new(IssueTokenResponse { token: Some(wire_token(row)), secret }))
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token).map_err(AuthError::from)?;
        let after = page.after.as_deref().unwrap_or("");
        let mut rows = self.rows.tokens(&request.principal_id, after, rows_and_one(&page)).await.map_err(AuthError::from)?;
        let next_page_token = page.finish(&mut rows, |row| row.token_id.clone());
        Ok(Response::new(ListTokensResponse { tokens: rows.into_iter().map(wire_token).collect(), next_page_token }))
    }

    async fn revoke_token(&self, request: Request<RevokeTokenRequest>) -> Result<Response<Token>, Status> {
        let id = request.into_inner().token_id;
        let (rows, token_id, now) = (self.rows.clone(), id.clone(), self.clock.now_micros());
        let row = self.change(async move { rows.revoke_token(&token_id, now).await }).await?;
        let row = row.ok_or(AuthError::NotFound { what: "token", id })?;
        Ok(Response::new(wire_token(row)))
    }
}

impl Auth {
    /// Writes a change to rights and makes the next calls read it, even when the caller hangs up between the two.
    async fn change<T: Send + 'static>(&self, write: impl Future<Output = Result<T, StorageError>> + Send + 'static) -> Result<T, AuthError> {
        let auth = self.clone();
        let written = tokio::spawn(async move {
            let written = write.await;
            auth.forget_proven();
            written
        });
        Ok(written.await.map_err(|_| AuthError::Interrupted)??)
    }

    async fn describe(&self, principal_id: &str) -> Result<Principal, AuthError> {
        let row = self.rows.principal(principal_id).await?;
        let row = row.ok_or_else(|| AuthError::NotFound { what: "principal", id: principal_id.chars().take(80).collect() })?;
        self.with_roles(row).await
    }

    async fn with_roles(&self, row: PrincipalRow) -> Result<Principal, AuthError> {
        let grants = self.rows.role_grants(&row.principal_id).await?;
        let roles =
            grants.into_iter().map(|grant| RoleGrant { role_id: grant.role_id, cities: grant.cities.split(',').map(str::to_owned).collect() }).collect();
        let kind = match row.kind.as_str() {
            "person" => PrincipalKind::Person,
            "plugin" => PrincipalKind::Plugin,
            _ => PrincipalKind::Service,
        };
        Ok(Principal {
            principal_id: row.principal_id,
            kind: kind.into(),
            display_name: row.display_name,
            disabled: row.disabled != 0,
            roles,
            created_at: Some(timestamp(row.created_at)),
        })
    }
}

fn rows_and_one(page: &Page) -> i64 {
    i64::try_from(page.size + 1).unwrap_or(i64::MAX)
}

fn wire_role(row: RoleRow) -> Role {
    Role { role_id: row.role_id, display_name: row.display_name, permissions: row.permissions.lines().map(str::to_owned).collect() }
}

fn wire_token(row: TokenRow) -> Token {
    Token {
        token_id: row.token_id,
        principal_id: row.principal_id,
        created_at: Some(timestamp(row.created_at)),
        expires_at: Some(timestamp(row.expires_at)),
        revoked_at: row.revoked_at.map(timestamp),
    }
}

fn timestamp(micros: i64) -> Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}
