use crate::Status;

/// The other side of the connector: whoever answers the calls that a plugin makes.
pub trait Kernel {
    /// Calls a unary method, "/package.Service/Method"; `options` is an encoded [`CallOptions`](crate::CallOptions).
    ///
    /// # Errors
    /// Whatever the method answers, and what the bus refuses.
    fn call(&self, method: &str, options: &[u8], request: &[u8]) -> Result<Vec<u8>, Status>;

    /// Calls a server-streaming method.
    ///
    /// # Errors
    /// As [`call`](Self::call); errors after the first message come from [`Messages::next`].
    fn open(&self, method: &str, options: &[u8], request: &[u8]) -> Result<Box<dyn Messages>, Status>;
}

/// The encoded answers of a server-streaming call, in order. Dropping it ends the call.
pub trait Messages {
    /// The next message, `None` after the last.
    ///
    /// # Errors
    /// How the call failed; there is nothing after it.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Status>;
}
