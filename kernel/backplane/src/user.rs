use anyhow::Context;
use backplane_proto::auth::v1::{
    CreatePrincipalRequest, DisablePrincipalRequest, GrantRoleRequest, ListPrincipalsRequest, ListPrincipalsResponse, Principal, PrincipalKind,
    RevokeRoleRequest, WhoAmIRequest, auth_client::AuthClient,
};
use clap::{Args, Subcommand};

use crate::{
    client::{Channeled, Connection, PAGE_SIZE, all_pages},
    output,
};

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Make a person, or with --service a service account
    Create(CreateArguments),
    /// List principals and their roles
    List(Connection),
    /// Make every token of a principal useless
    Disable(OneArguments),
    /// Give a role in cities, or in 440000 for the province
    Grant(GrantArguments),
    /// Take a role away
    Revoke(RevokeArguments),
    /// Show who the token belongs to and what it may do
    Whoami(Connection),
}

#[derive(Args)]
pub(crate) struct CreateArguments {
    id: String,
    #[arg(long, default_value = "")]
    name: String,
    /// A service account and not a person
    #[arg(long)]
    service: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct OneArguments {
    id: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct GrantArguments {
    id: String,
    role: String,
    /// City codes with commas
    #[arg(long = "in", value_delimiter = ',', required = true)]
    cities: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct RevokeArguments {
    id: String,
    role: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Create(arguments) => {
            let kind = if arguments.service { PrincipalKind::Service } else { PrincipalKind::Person };
            let request = CreatePrincipalRequest { principal_id: arguments.id, kind: kind.into(), display_name: arguments.name };
            let principal = auth(&arguments.connection).await?.create_principal(request).await?.into_inner();
            show(&arguments.connection, principal)
        }
        UserCommand::List(connection) => list(&connection).await,
        UserCommand::Disable(arguments) => {
            let request = DisablePrincipalRequest { principal_id: arguments.id };
            show(&arguments.connection, auth(&arguments.connection).await?.disable_principal(request).await?.into_inner())
        }
        UserCommand::Grant(arguments) => {
            let request = GrantRoleRequest { principal_id: arguments.id, role_id: arguments.role, cities: arguments.cities };
            show(&arguments.connection, auth(&arguments.connection).await?.grant_role(request).await?.into_inner())
        }
        UserCommand::Revoke(arguments) => {
            let request = RevokeRoleRequest { principal_id: arguments.id, role_id: arguments.role };
            show(&arguments.connection, auth(&arguments.connection).await?.revoke_role(request).await?.into_inner())
        }
        UserCommand::Whoami(connection) => whoami(&connection).await,
    }
}

pub(crate) async fn auth(connection: &Connection) -> anyhow::Result<AuthClient<Channeled>> {
    Ok(AuthClient::new(connection.open().await?))
}

fn show(connection: &Connection, principal: Principal) -> anyhow::Result<()> {
    if connection.json {
        return output::json("backplane.auth.v1.Principal", &principal);
    }
    print(vec![principal]);
    Ok(())
}

async fn list(connection: &Connection) -> anyhow::Result<()> {
    let mut client = auth(connection).await?;
    let all = all_pages(async |page_token| {
        let page = client.list_principals(ListPrincipalsRequest { page_size: PAGE_SIZE, page_token }).await?.into_inner();
        Ok((page.principals, page.next_page_token))
    })
    .await?;
    if connection.json {
        return output::json("backplane.auth.v1.ListPrincipalsResponse", &ListPrincipalsResponse { principals: all, next_page_token: String::new() });
    }
    print(all);
    Ok(())
}

async fn whoami(connection: &Connection) -> anyhow::Result<()> {
    let answer = auth(connection).await?.who_am_i(WhoAmIRequest {}).await?.into_inner();
    if connection.json {
        return output::json("backplane.auth.v1.WhoAmIResponse", &answer);
    }
    print(vec![answer.principal.context("the kernel named no principal")?]);
    output::table(&["permission", "cities"], answer.permissions.into_iter().map(|held| vec![held.permission, held.cities.join(",")]));
    Ok(())
}

fn print(principals: Vec<Principal>) {
    output::table(
        &["id", "kind", "name", "roles", "created", "state"],
        principals.into_iter().map(|principal| {
            let kind = principal.kind().as_str_name().trim_start_matches("PRINCIPAL_KIND_").to_lowercase();
            let roles = principal.roles.iter().map(|role| format!("{} in {}", role.role_id, role.cities.join(","))).collect::<Vec<_>>().join("\n");
            let created = output::instant(principal.created_at.as_ref());
            let state = if principal.disabled { "disabled" } else { "enabled" };
            vec![principal.principal_id, kind, principal.display_name, roles, created, state.to_owned()]
        }),
    );
}
