use prost::Message;

/// One change of a file or a folder, after it succeeded. Paths are absolute, files have a number of their own for ever.
#[derive(Clone, PartialEq, Message)]
pub struct Operation {
    #[prost(enumeration = "OperationKind", tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub path: String,
    /// The new path of what is renamed or linked.
    #[prost(string, tag = "3")]
    pub to: String,
    #[prost(uint64, tag = "4")]
    pub file: u64,
    /// Where bytes were written, or how long the file is now.
    #[prost(uint64, tag = "5")]
    pub offset: u64,
    #[prost(bytes = "vec", tag = "6")]
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum OperationKind {
    Unknown = 0,
    CreateFile = 1,
    Write = 2,
    Truncate = 3,
    SyncFile = 4,
    MakeFolder = 5,
    SyncFolder = 6,
    Rename = 7,
    Link = 8,
    /// Of a file or an empty folder.
    Remove = 9,
    /// A sync that failed: what was written since the last one may never be on disk, whatever is synced later.
    FailSync = 10,
}

/// The operations of a record, each with the length of the record up to its end. A last one that is cut off is left out.
pub fn operations(record: &[u8]) -> Vec<(usize, Operation)> {
    let (mut rest, mut operations) = (record, Vec::new());
    while let Ok(operation) = Operation::decode_length_delimited(&mut rest) {
        operations.push((record.len() - rest.len(), operation));
        if rest.is_empty() {
            break;
        }
    }
    operations
}
