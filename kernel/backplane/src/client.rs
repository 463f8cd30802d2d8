use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use kernel_base::{City, limits::MESSAGE_BYTES_MAX};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

// Limit: answers that the command line takes. A message of the bus is at most MESSAGE_BYTES_MAX; the rest is room for what frames it.
pub(crate) const ANSWER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// How a command reaches a kernel. Each option can stand in the environment.
#[derive(Args, Clone)]
pub(crate) struct Connection {
    /// Address of the kernel
    #[arg(long, env = "BACKPLANE_ADDRESS", default_value = "http://127.0.0.1:50051")]
    pub(crate) address: String,
    /// Token to call with
    #[arg(long, env = "BACKPLANE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// City to hold the call to, such as 440600
    #[arg(long, env = "BACKPLANE_CITY")]
    pub(crate) city: Option<City>,
    /// Seconds after which the call is given up
    #[arg(long, default_value_t = 30)]
    pub(crate) timeout_seconds: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A channel whose calls carry the token, the city and the deadline.
pub(crate) type Channeled = InterceptedService<Channel, Credentials>;

impl Connection {
    /// Connects to the kernel.
    ///
    /// # Errors
    /// When nothing answers there.
    pub(crate) async fn open(&self) -> anyhow::Result<Channeled> {
        let endpoint = Endpoint::from_shared(self.address.clone()).with_context(|| format!("'{}' is not an address: write http://host:port", self.address))?;
        let channel = endpoint.connect_timeout(Duration::from_secs(10)).connect().await;
        let channel = channel
            .with_context(|| format!("no kernel answers on {}: start one with 'backplane serve' or 'backplane demo', or give --address", self.address))?;
        Ok(InterceptedService::new(channel, self.credentials()?))
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        let authorization = match &self.token {
            None => None,
            Some(token) => match format!("Bearer {}", token.trim()).parse() {
                Ok(value) => Some(value),
                Err(_) => bail!("the token has characters that no token has: check that it was copied whole"),
            },
        };
        let city = match self.city {
            None => None,
            Some(city) => Some(city.to_string().parse()?),
        };
        Ok(Credentials { authorization, city, timeout: Duration::from_secs(self.timeout_seconds) })
    }
}

/// Puts token, city and deadline on each call.
#[derive(Clone)]
pub(crate) struct Credentials {
    authorization: Option<MetadataValue<Ascii>>,
    city: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        if let Some(city) = &self.city {
            request.metadata_mut().insert("backplane-city", city.clone());
        }
        request.set_timeout(self.timeout);
        Ok(request)
    }
}

// Limit: rows of a page; the kernel gives no more (AIP-158).
pub(crate) const PAGE_SIZE: i32 = 1_000;

/// The rows of all pages: `page` takes a page token and gives rows with the next token.
///
/// # Errors
/// When a page cannot be had.
pub(crate) async fn all_pages<Row>(mut page: impl AsyncFnMut(String) -> Result<(Vec<Row>, String), Status>) -> anyhow::Result<Vec<Row>> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let (rows, next) = page(page_token).await?;
        all.extend(rows);
        if next.is_empty() {
            return Ok(all);
        }
        page_token = next;
    }
}
