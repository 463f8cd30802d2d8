use backplane_proto::auth::v1::{CreateRoleRequest, ListRolesRequest, ListRolesResponse, Role};
use clap::{Args, Subcommand};

use crate::{
    client::{Connection, PAGE_SIZE, all_pages},
    output,
    user::auth,
};

#[derive(Subcommand)]
pub(crate) enum RoleCommand {
    /// Make a role out of permissions, such as warehouse.query dataset.read:interaction
    Create(CreateArguments),
    /// List roles and their permissions
    List(Connection),
}

#[derive(Args)]
pub(crate) struct CreateArguments {
    id: String,
    #[arg(required = true)]
    permissions: Vec<String>,
    #[arg(long, default_value = "")]
    name: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(command: RoleCommand) -> anyhow::Result<()> {
    match command {
        RoleCommand::Create(arguments) => {
            let role = Role { role_id: arguments.id, display_name: arguments.name, permissions: arguments.permissions };
            let role = auth(&arguments.connection).await?.create_role(CreateRoleRequest { role: Some(role) }).await?.into_inner();
            if arguments.connection.json {
                return output::json("backplane.auth.v1.Role", &role);
            }
            print(vec![role]);
            Ok(())
        }
        RoleCommand::List(connection) => list(&connection).await,
    }
}

async fn list(connection: &Connection) -> anyhow::Result<()> {
    let mut client = auth(connection).await?;
    let all = all_pages(async |page_token| {
        let page = client.list_roles(ListRolesRequest { page_size: PAGE_SIZE, page_token }).await?.into_inner();
        Ok((page.roles, page.next_page_token))
    })
    .await?;
    if connection.json {
        return output::json("backplane.auth.v1.ListRolesResponse", &ListRolesResponse { roles: all, next_page_token: String::new() });
    }
    print(all);
    Ok(())
}

fn print(roles: Vec<Role>) {
    output::table(&["id", "name", "permissions"], roles.into_iter().map(|role| vec![role.role_id, role.display_name, role.permissions.join("\n")]));
}
