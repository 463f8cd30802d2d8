//! The map tells the truth about the territory.

use backplane_tests::repository;

#[test]
fn every_path_that_architecture_names_exists() {
    let text = std::fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    assert!(text.lines().count() < 500);
    let paths: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|code| is_path(code)).collect();
    assert!(paths.len() > 30, "only {} paths were found", paths.len());
    let missing: Vec<_> = paths.into_iter().filter(|path| !repository().join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Code that names a file or folder of the repository: it has a slash, no spaces, and begins with a folder of the root.
fn is_path(code: &str) -> bool {
    let roots = ["proto", "kernel", "sdk", "plugins", "tests", "examples", "deploy"];
    !code.contains([' ', '{', '<', '(']) && code.contains('/') && !code.contains("NAME") && roots.iter().any(|root| code.starts_with(&format!("{root}/")))
}
