//! Principals, roles and tokens through the doors and the command line.

use backplane_proto::auth::v1::{CreateRoleRequest, GrantRoleRequest, IssueTokenRequest, ListPrincipalsRequest, ListRolesRequest, Role};
use backplane_tests::{FOSHAN, Kernel, reason};
use tonic::Code;

#[tokio::test]
async fn lists_are_paged_and_whole() {
    let kernel = Kernel::start().await;
    for id in ["b", "a", "c"] {
        kernel.account(id, &["warehouse.query"], &[FOSHAN]).await;
    }
    let mut auth = kernel.call.auth();
    let (mut principals, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = auth.list_principals(ListPrincipalsRequest { page_size: 2, page_token }).await.unwrap().into_inner();
        assert!(page.principals.len() <= 2);
        principals.extend(page.principals.into_iter().map(|principal| principal.principal_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(principals, ["a", "administrator", "b", "c"]);
    let roles = auth.list_roles(ListRolesRequest::default()).await.unwrap().into_inner().roles;
    assert_eq!(roles.iter().map(|role| role.role_id.as_str()).collect::<Vec<_>>(), ["administrator", "role-a", "role-b", "role-c"]);

    let status = auth.list_roles(ListRolesRequest { page_size: -1, page_token: String::new() }).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "PAGE_TOKEN_INVALID"));
    let status = auth.list_roles(ListRolesRequest { page_size: 0, page_token: "made up".to_owned() }).await.unwrap_err();
    assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn bad_requests_name_the_field_and_change_nothing() {
    let kernel = Kernel::start().await;
    let mut auth = kernel.call.auth();
    let role = |permission: &str| CreateRoleRequest {
        role: Some(Role { role_id: "r".to_owned(), display_name: String::new(), permissions: vec![permission.to_owned()] }),
    };
    let status = auth.create_role(role("Not A Permission")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
    auth.create_role(role("warehouse.query")).await.unwrap();
    let status = auth.create_role(role("warehouse.query")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::AlreadyExists, "RESOURCE_EXISTS"));
    let grant = |cities: &[&str]| GrantRoleRequest {
        principal_id: "administrator".to_owned(),
        role_id: "r".to_owned(),
        cities: cities.iter().map(|city| (*city).to_owned()).collect(),
    };
    for (cities, expected) in [(&["123456"][..], "CITY_UNKNOWN"), (&[][..], "FIELD_INVALID")] {
        assert_eq!(reason(&auth.grant_role(grant(cities)).await.unwrap_err()), expected);
    }
    let issue = |principal_id: &str, life_seconds| IssueTokenRequest { principal_id: principal_id.to_owned(), life_seconds };
    for (request, expected) in
        [(issue("administrator", 0), "FIELD_INVALID"), (issue("administrator", 367 * 24 * 3_600), "FIELD_INVALID"), (issue("nobody", 60), "RESOURCE_NOT_FOUND")]
    {
        assert_eq!(reason(&auth.issue_token(request).await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn the_command_line_sets_up_a_service_account() {
    let kernel = Kernel::start().await;
    kernel.cli_ok(&["role", "create", "reader", "warehouse.query", "dataset.read:interaction(at,page)"]);
    kernel.cli_ok(&["user", "create", "portal", "--service", "--name", "Portal"]);
    kernel.cli_ok(&["user", "grant", "portal", "reader", "--in", "440600,441900"]);
    let issued: serde_json::Value = serde_json::from_str(&kernel.cli_ok(&["token", "issue", "portal", "--days", "1", "--json"])).unwrap();
    let secret = issued["secret"].as_str().unwrap();
    let whoami = kernel.cli_ok(&["user", "whoami", "--token", secret]);
    assert!(whoami.contains("dataset.read:interaction(at,page)") && whoami.contains("440600,441900"), "{whoami}");
    assert!(kernel.cli_ok(&["user", "list"]).contains("portal") && kernel.cli_ok(&["role", "list"]).contains("reader"));
    let refusal = kernel.cli_err(&["user", "list", "--token", secret]);
    assert!(refusal.contains("auth.read") && refusal.contains("PERMISSION_MISSING"), "{refusal}");
    kernel.cli_ok(&["user", "revoke", "portal", "reader"]);
    let refusal = kernel.cli_err(&["query", "select 1", "--token", secret]);
    assert!(refusal.contains("warehouse.query"), "{refusal}");
}
