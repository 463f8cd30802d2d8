//! Tokens over time, with a clock that the test moves; and the access table's refusals.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use backplane_proto::auth::v1::{IssueTokenRequest, RevokeRoleRequest, auth_server::Auth as _};
use kernel_auth::{AccessTable, Auth, AuthError, MethodAccess, Owner, Refused, read_access};
use kernel_base::{CallContext, Caller, City, Clock, Fault, PluginId, Reason, TraceId};
use kernel_storage::RowStore;
use prost_reflect::DescriptorPool;
use tonic::Request;

const HOUR_MICROS: i64 = 3_600 * 1_000_000;

async fn auth(clock: &Clock) -> Auth {
    Auth::new(RowStore::in_memory().await.unwrap(), clock.clone())
}

fn table() -> AccessTable {
    AccessTable::new(&DescriptorPool::decode(backplane_proto::DESCRIPTOR_SET).unwrap(), &[]).unwrap()
}

async fn context(auth: &Auth, secret: &str, city: Option<&str>) -> CallContext {
    let proven = auth.authenticate(secret).await.unwrap();
    CallContext {
        caller: Caller::Known(proven.principal.clone()),
        actor: None,
        rights: Arc::clone(&proven.rights),
        city: city.map(|city| city.parse().unwrap()),
        deadline: Instant::now(),
        trace: TraceId([0; 16]),
        chain: Vec::new(),
    }
}

#[tokio::test]
async fn a_token_ends_at_its_time_even_when_it_was_just_used() {
    let clock = Clock::set_to(1_000_000);
    let auth = auth(&clock).await;
    auth.first_start().await.unwrap().unwrap();
    let request = IssueTokenRequest { principal_id: "administrator".to_owned(), life_seconds: 3_600 };
    let secret = auth.issue_token(Request::new(request)).await.unwrap().into_inner().secret;
    clock.advance(HOUR_MICROS - 1);
    auth.authenticate(&secret).await.unwrap();
    clock.advance(1);
    let expired = auth.authenticate(&secret).await.unwrap_err();
    assert!(matches!(expired, AuthError::TokenExpired));
    assert_eq!(expired.reason(), Reason::TokenExpired);
}

#[tokio::test]
async fn only_the_first_start_gives_a_token() {
    let auth = auth(&Clock::set_to(0)).await;
    let secret = auth.first_start().await.unwrap().unwrap();
    assert_eq!((secret.len(), &secret[..3]), (46, "bp_"));
    assert_eq!(auth.first_start().await.unwrap(), None);
}

#[tokio::test]
async fn a_role_that_is_taken_away_is_gone_with_the_next_call() {
    let auth = auth(&Clock::set_to(0)).await;
    let secret = auth.first_start().await.unwrap().unwrap();
    assert!(auth.authenticate(&secret).await.unwrap().rights.scope_of("auth.write", None).is_province());
    let request = RevokeRoleRequest { principal_id: "administrator".to_owned(), role_id: "administrator".to_owned() };
    auth.revoke_role(Request::new(request)).await.unwrap();
    assert!(auth.authenticate(&secret).await.unwrap().rights.grants().is_empty());
}

#[tokio::test]
async fn a_plugins_method_is_found_by_the_city_of_the_call_and_else_by_the_province() {
    let auth = auth(&Clock::set_to(0)).await;
    let secret = auth.first_start().await.unwrap().unwrap();
    let table = table();
    let plugin: PluginId = "some-plugin".parse().unwrap();
    // A kernel service stands in for the plugin's own descriptors; only the path differs.
    let pool = DescriptorPool::decode(backplane_proto::DESCRIPTOR_SET).unwrap();
    let methods: Vec<MethodAccess> = read_access(&pool, "backplane.auth.v1.Auth", &Owner::Plugin(plugin.clone()))
        .unwrap()
        .into_iter()
        .filter(|method| method.path.ends_with("WhoAmI"))
        .map(|method| MethodAccess { path: "/some_plugin.v1.Some/Do".to_owned(), ..method })
        .collect();
    let foshan: City = "440600".parse().unwrap();
    let reason = |refused: Result<_, Refused>| refused.map(|_: kernel_auth::Admitted| ()).unwrap_err().reason();
    let path = "/some_plugin.v1.Some/Do";

    assert_eq!(reason(table.admit(path, &context(&auth, &secret, Some("440600")).await)), Reason::MethodUnknown);
    table.deploy(&plugin, foshan, methods.clone());
    assert_eq!(table.admit(path, &context(&auth, &secret, Some("440600")).await).unwrap().context.city, Some(foshan));
    assert_eq!(reason(table.admit(path, &context(&auth, &secret, Some("441900")).await)), Reason::PluginNotEnabled);
    assert_eq!(reason(table.admit(path, &context(&auth, &secret, None).await)), Reason::CityRequired);
    table.deploy(&plugin, City::PROVINCE, methods);
    table.admit(path, &context(&auth, &secret, Some("441900")).await).unwrap();
    assert_eq!(table.admit(path, &context(&auth, &secret, None).await).unwrap().context.city, Some(City::PROVINCE));
    table.withdraw(&plugin, foshan);
    table.withdraw(&plugin, City::PROVINCE);
    assert_eq!(reason(table.admit(path, &context(&auth, &secret, Some("440600")).await)), Reason::MethodUnknown);
}

#[tokio::test]
async fn a_change_of_rights_is_completed_when_its_caller_hangs_up() {
    let auth = auth(&Clock::set_to(0)).await;
    let secret = auth.first_start().await.unwrap().unwrap();
    auth.authenticate(&secret).await.unwrap();
    let request = RevokeRoleRequest { principal_id: "administrator".to_owned(), role_id: "administrator".to_owned() };
    let mut call = auth.revoke_role(Request::new(request));
    let begun = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(begun.is_pending(), "the caller hangs up before the answer");
    drop(call);
    let until = Instant::now() + Duration::from_secs(10);
    while !auth.authenticate(&secret).await.unwrap().rights.grants().is_empty() {
        assert!(Instant::now() < until, "the role is still there");
        tokio::task::yield_now().await;
    }
}
