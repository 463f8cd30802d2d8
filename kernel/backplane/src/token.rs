use std::path::PathBuf;

use anyhow::Context;
use backplane_proto::auth::v1::{IssueTokenRequest, ListTokensRequest, ListTokensResponse, RevokeTokenRequest, Token};
use clap::{Args, Subcommand};
use kernel_auth::FIRST_TOKEN_DAYS;

use crate::{
    client::{Connection, PAGE_SIZE, all_pages},
    kernel,
    output::{self, say},
    serve::DEFAULT_DIR,
    user::auth,
};

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Issue a token; its secret is printed this once
    Issue(IssueArguments),
    /// List the tokens of a principal, without their secrets
    List(OneArguments),
    /// End a token at once
    Revoke(OneArguments),
    /// Make a token of the administrator's from the folder of a kernel that does not run: for when every other one is over or lost
    Recover(RecoverArguments),
}

#[derive(Args)]
pub(crate) struct RecoverArguments {
    /// Where the kernel keeps everything
    #[arg(long, env = "BACKPLANE_DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
}

#[derive(Args)]
pub(crate) struct IssueArguments {
    principal: String,
    /// Days that it lives, at most 366
    #[arg(long, default_value_t = 90)]
    days: i64,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct OneArguments {
    /// Principal for `list`, token id for `revoke`
    id: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Issue(arguments) => {
            let request = IssueTokenRequest { principal_id: arguments.principal, life_seconds: arguments.days.saturating_mul(24 * 3_600) };
            let answer = auth(&arguments.connection).await?.issue_token(request).await?.into_inner();
            if arguments.connection.json {
                return output::json("backplane.auth.v1.IssueTokenResponse", &answer);
            }
            print(vec![answer.token.context("the kernel issued no token")?]);
            say(format!("The secret, shown only now: {}", answer.secret));
            Ok(())
        }
        TokenCommand::List(arguments) => list(arguments).await,
        TokenCommand::Recover(arguments) => {
            let secret = kernel::recover(&arguments.dir).await?;
            say(format!("The token of 'administrator', good for {FIRST_TOKEN_DAYS} days and shown only now: {secret}"));
            Ok(())
        }
        TokenCommand::Revoke(arguments) => {
            let token = auth(&arguments.connection).await?.revoke_token(RevokeTokenRequest { token_id: arguments.id }).await?.into_inner();
            if arguments.connection.json {
                return output::json("backplane.auth.v1.Token", &token);
            }
            print(vec![token]);
            Ok(())
        }
    }
}

async fn list(arguments: OneArguments) -> anyhow::Result<()> {
    let mut client = auth(&arguments.connection).await?;
    let all = all_pages(async |page_token| {
        let request = ListTokensRequest { principal_id: arguments.id.clone(), page_size: PAGE_SIZE, page_token };
        let page = client.list_tokens(request).await?.into_inner();
        Ok((page.tokens, page.next_page_token))
    })
    .await?;
    if arguments.connection.json {
        return output::json("backplane.auth.v1.ListTokensResponse", &ListTokensResponse { tokens: all, next_page_token: String::new() });
    }
    print(all);
    Ok(())
}

fn print(tokens: Vec<Token>) {
    output::table(
        &["id", "principal", "created", "expires", "revoked"],
        tokens.into_iter().map(|token| {
            let at = |at: &Option<prost_types::Timestamp>| output::instant(at.as_ref());
            vec![token.token_id.clone(), token.principal_id.clone(), at(&token.created_at), at(&token.expires_at), at(&token.revoked_at)]
        }),
    );
}
