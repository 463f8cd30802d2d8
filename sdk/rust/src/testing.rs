//! Native tests of a plugin: [`FakeKernel`] answers for the kernel's services, and the plugin is called through its generated client, so that a test runs the
//! same decoding, dispatch and encoding as the component does.
//!
//! ```text
//! let kernel = FakeKernel::new().plugin::<Plugin>().on_query(|_sql, _parameters| testing::batch(&[Row { page: "/".into(), requests: 3 }]));
//! let answer = PortalTrafficClient::new(&kernel.context("440600")).get_summary(&CallOptions::default(), &request)?;
//! ```

mod answers;
mod fake_kernel;

pub use answers::batch;
pub use fake_kernel::FakeKernel;
