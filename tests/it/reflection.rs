//! An independent client finds and calls native and plugin methods knowing nothing but reflection, and sees only what it may call.

use backplane_tests::{DONGGUAN, FOSHAN, Kernel, excerpt, portal_traffic, python, repository};

#[tokio::test]
async fn python_calls_native_and_plugin_methods_through_reflection() {
    // Built first: a connection does not wait for that.
    let plugin = portal_traffic();
    let kernel = Kernel::start().await;
    kernel.cli_ok(&["feed", "import", "portal.access", excerpt().to_str().unwrap(), "--city", FOSHAN]);
    let version = kernel.install(&std::fs::read(plugin).unwrap()).await.unwrap();
    kernel.enable(&version, FOSHAN).await.unwrap();
    let permissions = ["portal_traffic.read", "warehouse.query", "dataset.read:interaction"];
    let foshan = kernel.account("foshan", &permissions, &[FOSHAN]).await;
    let dongguan = kernel.account("dongguan", &permissions, &[DONGGUAN]).await;

    let script = repository().join("tests/python/independent_client.py");
    let address = kernel.address.trim_start_matches("http://");
    let output = python().arg(script).args([address, &foshan, &dongguan]).output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}
