use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use arrow_array::{Array, cast::AsArray, types::Int64Type};
use backplane_proto::{
    auth::v1::{CreatePrincipalRequest, CreateRoleRequest, GrantRoleRequest, IssueTokenRequest, PrincipalKind, Role},
    warehouse::v1::QueryRequest,
};
use kernel_base::City;
use tonic::Code;

use super::split::split;
use crate::{client::Connection, feed, output::say, plugin, query, user::auth};

/// What may be done with the plugin's figures: its own permission, and what it reads on the caller's behalf.
const ANALYST: (&str, &[&str]) = ("portal-analyst", &["portal_traffic.read", "warehouse.query", "dataset.read:interaction", "dataset.read:city"]);
/// The same of marketing packages.
const PACKAGE_ANALYST: (&str, &[&str]) = (
    "package-analyst",
    &[
        "package_monitor.read",
        "package_monitor.check",
        "warehouse.query",
        "dataset.read:package",
        "dataset.read:package_relation",
        "dataset.read:enrolment",
        "dataset.read:subscriber",
        "dataset.read:charge",
        "dataset.read:package_monitor.*",
    ],
);
/// May ask SQL and no plugin.
const READER: (&str, &[&str]) = ("warehouse-reader", &["warehouse.query", "dataset.read:interaction"]);

// Limit: life of the demo's tokens. The demo issues new ones when they are over.
const TOKEN_LIFE_SECONDS: i64 = 30 * 24 * 3_600;

/// A service account of the demo: id, role, city.
pub(super) struct Account {
    pub(super) id: &'static str,
    roles: &'static [&'static str],
    pub(super) city: &'static str,
}

pub(super) const FOSHAN: Account = Account { id: "foshan-service", roles: &[ANALYST.0, PACKAGE_ANALYST.0], city: "440600" };
pub(super) const DONGGUAN: Account = Account { id: "dongguan-service", roles: &[ANALYST.0, PACKAGE_ANALYST.0], city: "441900" };
pub(super) const WITHOUT_RIGHT: Account = Account { id: "foshan-reader", roles: &[READER.0], city: "440600" };

/// The demo's kernel as its administrator sees it, and the tokens that a rerun uses again.
pub(super) struct Setup {
    pub(super) administrator: Connection,
    file: PathBuf,
    dir: PathBuf,
    tokens: Tokens,
    /// How the ids of the log's events begin.
    log_events: Vec<String>,
}

struct Tokens {
    administrator: String,
    by_account: BTreeMap<String, String>,
}

impl Setup {
    /// Reads the tokens of an earlier run; the administrator's is a new one in every run, since an old one may be over.
    ///
    /// # Errors
    /// When the tokens of an earlier run cannot be read.
    pub(super) fn load(dir: &Path, address: &str, administrator: String) -> anyhow::Result<Setup> {
        let file = dir.join("tokens.json");
        let by_account = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} cannot be read: remove it and start again", file.display()))?,
            Err(_) => BTreeMap::new(),
        };
        let tokens = Tokens { administrator, by_account };
        let administrator = Connection { address: address.to_owned(), token: Some(tokens.administrator.clone()), city: None, timeout_seconds: 60, json: false };
        let setup = Setup { administrator, file, dir: dir.to_owned(), tokens, log_events: Vec::new() };
        setup.save()?;
        Ok(setup)
    }

    fn save(&self) -> anyhow::Result<()> {
        // Tokens are for the owner of the folder alone.
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&self.file)?;
        file.write_all(&serde_json::to_vec_pretty(&self.tokens.by_account)?)?;
        Ok(())
    }

    /// Imports the province's files, and the log as two cities' files.
    pub(super) async fn import(&mut self, province: &Path, log: &Path) -> anyhow::Result<()> {
        feed::print_loaded(&feed::load_folder(&self.administrator, province).await?);
        for (city, path) in split(log, [FOSHAN.city.parse()?, DONGGUAN.city.parse()?], &self.dir)? {
            let taken = feed::import(&self.in_city(&city.to_string())?, "portal.access", &path, "").await?;
            say(format!("    {}", feed::describe(&taken)));
            // The id of an event is the file's digest, 32 characters of it, and the line.
            self.log_events.push(taken.sha256.chars().take(32).collect());
        }
        Ok(())
    }

    pub(super) async fn enable_plugin(&self, wasm: &Path) -> anyhow::Result<()> {
        let rebuilt = || format!("if the plugin has changed since the last demo, remove {} and start again", self.dir.display());
        let version = plugin::install(&self.administrator, wasm).await.with_context(rebuilt)?;
        for city in [FOSHAN.city, DONGGUAN.city] {
            let city: City = city.parse()?;
            if version.deployments.iter().any(|deployment| deployment.city == city.to_string() && deployment.digest == version.digest) {
                continue;
            }
            plugin::enable(&self.administrator, &version.plugin_id, &version.version, city, &version.capabilities, "").await?;
        }
        Ok(())
    }

    /// Has package-monitor value what is not valued yet.
    pub(super) async fn value_months(&self) -> anyhow::Result<()> {
        for city in [FOSHAN.city, DONGGUAN.city] {
            let outcome = plugin::run_job(&self.administrator, "package-monitor", "value-months", "", city.parse()?).await?;
            say(format!("    {city}: {}", outcome.message));
        }
        Ok(())
    }

    /// Makes the accounts with their roles, and tokens where an earlier run's are gone or over.
    pub(super) async fn issue_tokens(&mut self) -> anyhow::Result<()> {
        let mut client = auth(&self.administrator).await?;
        for (role_id, permissions) in [ANALYST, PACKAGE_ANALYST, READER] {
            let permissions = permissions.iter().map(|permission| (*permission).to_owned()).collect();
            let role = Role { role_id: role_id.to_owned(), display_name: String::new(), permissions };
            existing_is_fine(client.create_role(CreateRoleRequest { role: Some(role) }).await)?;
        }
        for account in [FOSHAN, DONGGUAN, WITHOUT_RIGHT] {
            let id = account.id.to_owned();
            let request = CreatePrincipalRequest { principal_id: id.clone(), kind: PrincipalKind::Service.into(), display_name: String::new() };
            existing_is_fine(client.create_principal(request).await)?;
            for role in account.roles {
                let cities = vec![account.city.to_owned()];
                client.grant_role(GrantRoleRequest { principal_id: id.clone(), role_id: (*role).to_owned(), cities }).await?;
            }
            let mine = Connection { token: self.tokens.by_account.get(&id).cloned(), ..self.administrator.clone() };
            let still_good = mine.token.is_some() && auth(&mine).await?.who_am_i(backplane_proto::auth::v1::WhoAmIRequest {}).await.is_ok();
            if !still_good {
                let issued = client.issue_token(IssueTokenRequest { principal_id: id.clone(), life_seconds: TOKEN_LIFE_SECONDS }).await?.into_inner();
                self.tokens.by_account.insert(id, issued.secret);
            }
        }
        self.save()
    }

    pub(super) fn token(&self, account: &Account) -> &str {
        self.tokens.by_account.get(account.id).map_or("", String::as_str)
    }

    /// The whole days, UTC, that the imported log covers: RFC 3339, the end exclusive.
    pub(super) async fn period(&self) -> anyhow::Result<(String, String)> {
        let of_log: Vec<String> = self.log_events.iter().map(|file| format!("event_id like '{file}-%'")).collect();
        let sql = format!("select cast(min(at) as bigint), cast(max(at) as bigint) from interaction where {}", of_log.join(" or "));
        let answer = query::ask(&self.administrator, QueryRequest { sql, ..QueryRequest::default() }).await?;
        let batch = answer.batches.iter().find(|batch| batch.num_rows() == 1).context("the log left no rows")?;
        let edge = |column: usize| batch.column(column).as_primitive_opt::<Int64Type>().filter(|values| !values.is_null(0)).map(|values| values.value(0));
        let (Some(first), Some(last)) = (edge(0), edge(1)) else {
            bail!("no line of the log could be read: 'backplane feed quarantine portal.access' shows why");
        };
        Ok((day_start(first, 0)?, day_start(last, 1)?))
    }

    fn in_city(&self, city: &str) -> anyhow::Result<Connection> {
        Ok(Connection { city: Some(city.parse()?), ..self.administrator.clone() })
    }
}

fn day_start(micros: i64, days_later: i64) -> anyhow::Result<String> {
    const DAY_SECONDS: i64 = 24 * 3_600;
    let day = micros.div_euclid(DAY_SECONDS * 1_000_000) + days_later;
    Ok(jiff::Timestamp::from_second(day * DAY_SECONDS)?.to_string())
}

fn existing_is_fine<T>(made: Result<T, tonic::Status>) -> Result<(), tonic::Status> {
    match made {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(status),
    }
}
