use std::{
    io::{self, Cursor, Read},
    sync::Arc,
};

use arrow_ipc::writer::StreamWriter;
use backplane_proto::ingest::v1::{QuarantinedRow, TryFeedRequest, TryFeedResponse};
use kernel_base::City;
use sha2::{Digest, Sha256};

use super::{
    Compression, FeedContract, Importer,
    file_reader::{FileReader, FileText, Origin, decompressed},
    import::{hex, signed},
    period::Period,
    session::{Sessions, with_sessions},
    slices::Slice,
    text_chunks::ChunkLimits,
};
use crate::{
    append::Quarantined,
    contracts::{FILE, checked},
    error::WarehouseError,
};

// Limit: bytes of a sample, and rows of the answer, as the contract of TryFeed says.
const SAMPLE_BYTES_MAX: usize = 1 << 20;
const ROWS_MAX: usize = 1_000;

// Limit: text of a compressed sample that is read, as the contract of TryFeed says.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Reads a sample by a contract and writes nothing.
pub(crate) async fn try_feed(importer: &Importer, request: TryFeedRequest) -> Result<TryFeedResponse, WarehouseError> {
    if request.sample.len() > SAMPLE_BYTES_MAX {
        let problem = format!("{} bytes are more than the {SAMPLE_BYTES_MAX} of a sample: send the beginning of the file", request.sample.len());
        return Err(WarehouseError::FieldInvalid { field: "sample", problem });
    }
    let feed = contract(importer, &request)?;
    let numbers = if feed.resolves_numbers() { importer.numbers().await? } else { Arc::default() };
    let (origin, visitors) = (origin(feed, &request)?, importer.visitors.clone());
    let reading = importer.engine().spawn_blocking(move || {
        let (sample, is_cut) = text(&origin, &request)?;
        let limits = ChunkLimits { bytes_max: usize::MAX, lines_max: u64::MAX };
        let mut text = FileText::new(&origin, Box::new(Cursor::new(sample)), limits)?;
        let answer = answer(FileReader::open(origin, &mut text, visitors, numbers)?, &mut text)?;
        Ok(TryFeedResponse { is_cut, ..answer })
    });
    reading.await.map_err(WarehouseError::broken)?
}

fn contract(importer: &Importer, request: &TryFeedRequest) -> Result<Arc<FeedContract>, WarehouseError> {
    match (request.feed.as_str(), request.document.as_str()) {
        (name, "") => importer.contracts.feeds().get(name).cloned(),
        ("", document) => super::read::feed(FILE, checked(document)?, &importer.contracts.datasets()).map(Arc::new),
        _ => Err(WarehouseError::FieldInvalid { field: "feed", problem: "name a feed, or send a contract, not both".to_owned() }),
    }
}

fn origin(feed: Arc<FeedContract>, request: &TryFeedRequest) -> Result<Origin, WarehouseError> {
    let named = feed.named(&request.file_name)?.unwrap_or_default();
    let asked = if request.city.is_empty() { None } else { Some(request.city.parse()?) };
    let slice = Slice { city: named.city.or(asked).unwrap_or(City::PROVINCE), period: named.period.or(Period::read(&request.period)), part: named.part };
    let sha256 = hex(&Sha256::digest(&request.sample));
    Ok(Origin { feed, slice, file_name: request.file_name.clone(), sha256, endings: 0 })
}

/// The sample's text, and whether it goes on beyond the limit. Of the beginning of a longer text the last line, which is cut off somewhere, is left out.
fn text(origin: &Origin, request: &TryFeedRequest) -> Result<(Vec<u8>, bool), WarehouseError> {
    let mut bytes = Vec::new();
    let read = decompressed(origin.feed.compression, Cursor::new(request.sample.to_vec())).take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes);
    match read {
        Err(error) if !(request.is_beginning && error.kind() == io::ErrorKind::UnexpectedEof) => {
            let problem = format!("the sample is no sound {} file ({error})", if origin.feed.compression == Compression::Gzip { "gzip" } else { "text" });
            return Err(WarehouseError::FileRefused { file_name: origin.file_name.clone(), problem });
        }
        _ => {}
    }
    let is_cut = bytes.len() as u64 > TEXT_BYTES_MAX;
    if request.is_beginning || is_cut {
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    }
    Ok((bytes, is_cut))
}

fn answer(reader: FileReader, text: &mut FileText) -> Result<TryFeedResponse, WarehouseError> {
    let Some(chunk) = text.next_chunk()? else {
        return Ok(TryFeedResponse::default());
    };
    let chunk = reader.read(&chunk)?;
    let rows = with_sessions(&reader.origin().feed, chunk.rows, &chunk.lines, Some(&mut Sessions::default()))?;
    let shown = rows.slice(0, rows.num_rows().min(ROWS_MAX));
    let mut ipc = StreamWriter::try_new(Vec::new(), &shown.schema()).map_err(WarehouseError::broken)?;
    ipc.write(&shown).map_err(WarehouseError::broken)?;
    Ok(TryFeedResponse {
        is_cut: false,
        records: signed(chunk.counts.records),
        rows_good: signed(rows.num_rows() as u64),
        ipc: ipc.into_inner().map_err(WarehouseError::broken)?.into(),
        bad: chunk.quarantined.into_iter().take(ROWS_MAX).map(|bad| bad_row(reader.origin(), bad)).collect(),
    })
}

fn bad_row(origin: &Origin, bad: Quarantined) -> QuarantinedRow {
    QuarantinedRow {
        quarantine_id: bad.quarantine_id,
        feed: origin.feed.name.clone(),
        city: origin.slice.city.to_string(),
        file_name: origin.file_name.clone(),
        line: signed(bad.line),
        column: bad.column.unwrap_or_default(),
        reason: bad.reason.to_owned(),
        message: bad.message,
        raw_text: bad.raw_text,
        replayed: false,
    }
}
