//! Plugins written as component text: small, deterministic, and hostile where a compiler would not be.

use kernel_host::{
    HostError,
    package::{self, Beside},
};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

/// What the guest of [`behaviours`] does, chosen by the value of field 1 of the request.
pub const ECHO: u8 = 0;
pub const TRAP: u8 = 1;
pub const LOOP: u8 = 2;
pub const ALLOCATE: u8 = 3;
pub const GARBAGE: u8 = 4;
/// Answers in field 1 how many calls this instance has answered.
pub const COUNT: u8 = 5;
/// Calls `DescribeDataset` and passes the answer on.
pub const CALL_OUT: u8 = 6;
pub const REFUSE: u8 = 7;
/// Computes for some milliseconds, then echoes.
pub const WORK: u8 = 8;
/// An error whose code gRPC does not have.
pub const BAD_CODE: u8 = 9;
/// Answers the context that the host sent.
pub const CONTEXT: u8 = 10;
pub const RECURSE: u8 = 11;
/// Calls itself over the bus.
pub const CALL_SELF: u8 = 12;

/// Calls `DescribeDataset` with the idempotency key `run-7`.
pub const CALL_KEYED: u8 = 13;

/// Reads the stream of `Query` to its end and answers in field 1 how many messages it had.
pub const READ_STREAM: u8 = 14;
/// Opens nine streams and answers the first error.
pub const OPEN_MANY: u8 = 15;
/// Opens a stream and leaves it.
pub const LEAVE_OPEN: u8 = 16;

/// Jobs, whose names are as long as the number of what the guest does: three steps, each saying how many there were.
pub const THREE_STEPS: &str = "count-up-to-three";
/// The same cursor for ever.
pub const NO_END: &str = "never-comes-to-end";
/// [`CALL_OUT`] as a job.
pub const ASKING: &str = "asking";
/// [`TRAP`] as a job.
pub const TRAPPING: &str = "t";

/// The jobs, for a manifest.
pub fn jobs() -> String {
    let job = |name| format!("[[jobs]]\nname = \"{name}\"\ntitle = {{ zh = \"任务\", en = \"Job\" }}\n");
    [THREE_STEPS, NO_END, ASKING, TRAPPING].map(job).concat()
}

/// A request for a behaviour: field 1 as a varint.
pub fn request(behaviour: u8) -> Vec<u8> {
    vec![8, behaviour]
}

/// A guest that does what the request says.
pub fn behaviours() -> String {
    component(
        r#"
        (local.set $kind (i32.load8_u offset=1 (local.get $r)))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.lt_u (local.get $rl) (i32.const 2)) (then (return (call $ok (local.get $r) (local.get $rl)))))
        (if (i32.eq (local.get $kind) (i32.const 1)) (then unreachable))
        (if (i32.eq (local.get $kind) (i32.const 2)) (then (loop $forever (br $forever))))
        (if (i32.eq (local.get $kind) (i32.const 3))
          (then (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
        (if (i32.eq (local.get $kind) (i32.const 4)) (then (return (call $ok (i32.const 64) (i32.const 4)))))
        (if (i32.eq (local.get $kind) (i32.const 5))
          (then (i32.store8 (i32.const 80) (i32.const 8)) (i32.store8 (i32.const 81) (global.get $calls)) (return (call $ok (i32.const 80) (i32.const 2)))))
        (if (i32.eq (local.get $kind) (i32.const 6))
          (then (call $bus_call (i32.const 128) (i32.const 49) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32)) (return (i32.const 32))))
        (if (i32.eq (local.get $kind) (i32.const 7)) (then (return (call $err (i32.const 5) (i32.const 96) (i32.const 12)))))
        (if (i32.eq (local.get $kind) (i32.const 8))
          (then (loop $work (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $work (i32.lt_u (local.get $n) (i32.const 5000000))))))
        (if (i32.eq (local.get $kind) (i32.const 9)) (then (return (call $err (i32.const 77) (i32.const 96) (i32.const 12)))))
        (if (i32.eq (local.get $kind) (i32.const 10)) (then (return (call $ok (local.get $c) (local.get $cl)))))
        (if (i32.eq (local.get $kind) (i32.const 11)) (then (call $recurse)))
        (if (i32.eq (local.get $kind) (i32.const 12))
          (then (call $bus_call (i32.const 192) (i32.const 16) (i32.const 0) (i32.const 0) (local.get $r) (local.get $rl) (i32.const 32)) (return (i32.const 32))))
        (if (i32.eq (local.get $kind) (i32.const 13))
          (then (call $bus_call (i32.const 128) (i32.const 49) (i32.const 224) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 32)) (return (i32.const 32))))
        (if (i32.eq (local.get $kind) (i32.const 14)) (then (return (call $read_stream))))
        (if (i32.eq (local.get $kind) (i32.const 15))
          (then
            (loop $more
              (call $query)
              (if (i32.load8_u (i32.const 32)) (then (return (i32.const 32))))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $more (i32.lt_u (local.get $n) (i32.const 9))))))
        (if (i32.eq (local.get $kind) (i32.const 16)) (then (call $query)))
        (if (i32.eq (local.get $kind) (i32.const 17))
          (then
            (if (i32.eq (global.get $calls) (i32.const 3)) (then (return (call $ok (i32.const 80) (i32.const 0)))))
            (i32.store8 (i32.const 80) (i32.const 10)) (i32.store8 (i32.const 81) (i32.const 1)) (i32.store8 (i32.const 82) (global.get $calls))
            (return (call $ok (i32.const 80) (i32.const 3)))))
        (if (i32.eq (local.get $kind) (i32.const 18))
          (then (i32.store8 (i32.const 80) (i32.const 10)) (i32.store8 (i32.const 81) (i32.const 1)) (return (call $ok (i32.const 80) (i32.const 3)))))
        (call $ok (local.get $r) (local.get $rl))"#,
        STREAMS,
    )
}

/// Opening `Query` into the result at 32, and reading what it opened.
const STREAMS: &str = r#"
    (func $query (call $bus_open (i32.const 256) (i32.const 39) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32)))
    (func $read_stream (result i32) (local $reader i32) (local $messages i32)
      (call $query)
      (if (i32.load8_u (i32.const 32)) (then (return (i32.const 32))))
      (local.set $reader (i32.load (i32.const 36)))
      (loop $more
        (call $reader_next (local.get $reader) (i32.const 32))
        (if (i32.load8_u (i32.const 32)) (then (return (i32.const 32))))
        (if (i32.load8_u (i32.const 36))
          (then (local.set $messages (i32.add (local.get $messages) (i32.const 1))) (br $more))))
      (call $reader_drop (local.get $reader))
      (i32.store8 (i32.const 80) (i32.const 8)) (i32.store8 (i32.const 81) (local.get $messages))
      (call $ok (i32.const 80) (i32.const 2)))"#;

/// A component of the world `plugin` whose `handle` is `body`; `extra` goes into its core module.
pub fn component(body: &str, extra: &str) -> String {
    format!(
        r#"(component
  (import "backplane:plugin/bus@1.0.0" (instance $bus
    (type $status_shape (record (field "code" u32) (field "message" string) (field "details" (list u8))))
    (export "status" (type $status (eq $status_shape)))
    (export "reader" (type $reader (sub resource)))
    (export "call" (func (param "method" string) (param "context" (list u8)) (param "request" (list u8)) (result (result (list u8) (error $status)))))
    (export "open" (func (param "method" string) (param "context" (list u8)) (param "request" (list u8)) (result (result (own $reader) (error $status)))))
    (export "[method]reader.next" (func (param "self" (borrow $reader)) (result (result (option (list u8)) (error $status)))))))
  (alias export $bus "status" (type $status))
  (alias export $bus "reader" (type $reader))
  (core module $memory_module
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
        (then (if (i32.eq (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))) (i32.const -1)) (then unreachable))))
      (local.get $at))
    (func (export "reset") (param i32) (global.set $next (i32.const 4096))))
  (core instance $memory (instantiate $memory_module))
  (core func $bus_call (canon lower (func $bus "call") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $bus_open (canon lower (func $bus "open") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $reader_next (canon lower (func $bus "[method]reader.next") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $reader_drop (canon resource.drop $reader))
  (core module $guest_module
    (import "memory" "memory" (memory 2))
    (import "bus" "call" (func $bus_call (param i32 i32 i32 i32 i32 i32 i32)))
    (import "bus" "open" (func $bus_open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "bus" "next" (func $reader_next (param i32 i32)))
    (import "bus" "drop" (func $reader_drop (param i32)))
    (global $calls (mut i32) (i32.const 0))
    (data (i32.const 64) "\ff\ff\ff\ff")
    (data (i32.const 96) "no such page")
    (data (i32.const 128) "/backplane.warehouse.v1.Warehouse/DescribeDataset")
    (data (i32.const 192) "/demo.v1.Demo/Do")
    (data (i32.const 224) "\12\05run-7")
    (data (i32.const 256) "/backplane.warehouse.v1.Warehouse/Query")
    (func $ok (param $at i32) (param $length i32) (result i32)
      (i32.store8 (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (local.get $at)) (i32.store (i32.const 8) (local.get $length)) (i32.const 0))
    (func $err (param $code i32) (param $at i32) (param $length i32) (result i32)
      (i32.store8 (i32.const 0) (i32.const 1)) (i32.store (i32.const 4) (local.get $code)) (i32.store (i32.const 8) (local.get $at))
      (i32.store (i32.const 12) (local.get $length)) (i32.store (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const 0)) (i32.const 0))
    (func $recurse (call $recurse) (call $recurse))
    {extra}
    (func $handle (export "handle") (param $m i32) (param $ml i32) (param $c i32) (param $cl i32) (param $r i32) (param $rl i32) (result i32)
      (local $kind i32) (local $n i32)
      {body}))
  (core instance $guest (instantiate $guest_module
    (with "memory" (instance $memory))
    (with "bus" (instance
      (export "call" (func $bus_call)) (export "open" (func $bus_open)) (export "next" (func $reader_next)) (export "drop" (func $reader_drop))))))
  (func $handle (param "method" string) (param "context" (list u8)) (param "request" (list u8)) (result (result (list u8) (error $status)))
    (canon lift (core func $guest "handle") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc")) (post-return (core func $memory "reset"))))
  (export "handle" (func $handle)))"#
    )
}

/// plugin.toml of a plugin `id` with one service; `rest` is appended.
pub fn manifest(id: &str, version: &str, rest: &str) -> String {
    let namespace = id.replace('-', "_");
    format!(
        "id = \"{id}\"\nversion = \"{version}\"\ncontract = \"1.0\"\ntitle = {{ zh = \"示例\", en = \"Demo\" }}\nservices = [\"{namespace}.v1.Demo\"]\n{rest}\n"
    )
}

/// The proto of that service: one method `Do` with these options.
pub fn proto(namespace: &str, option: &str) -> String {
    format!(
        "syntax = \"proto3\";\npackage {namespace}.v1;\nimport \"backplane/v1/access.proto\";\n\
         service Demo {{ rpc Do(Ask) returns (Ask) {{ {option} }} }}\nmessage Ask {{ uint32 behaviour = 1; string text = 2; }}\n"
    )
}

/// The usual option.
pub fn access(namespace: &str) -> String {
    format!("option (backplane.v1.access) = {{permission: \"{namespace}.read\", scope: SCOPE_CITY, effect: EFFECT_READ, data_class: DATA_CLASS_INTERNAL}};")
}

/// Encoded descriptors of one proto with its imports.
pub fn descriptors(proto: &str) -> Vec<u8> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(OneProto(proto.to_owned()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("demo.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

struct OneProto(String);

impl FileResolver for OneProto {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let ours = (name == "demo.proto").then_some(self.0.as_str());
        let kernels = backplane_proto::FILES.iter().find(|(path, _)| *path == name).map(|(_, text)| *text);
        File::from_source(name, ours.or(kernels).ok_or_else(|| protox::Error::file_not_found(name))?)
    }
}

/// A package of `text` that passes every check, as far as the code does.
pub fn package_of(text: &str, id: &str, version: &str, rest: &str) -> Vec<u8> {
    package_with(text, &manifest(id, version, rest), &proto(&id.replace('-', "_"), &access(&id.replace('-', "_"))), None)
}

/// A package of these parts.
pub fn package_with(text: &str, manifest: &str, proto: &str, schema: Option<&str>) -> Vec<u8> {
    package_with_datasets(text, manifest, proto, schema, &[]).unwrap()
}

/// The same with the contracts of datasets, by name.
pub fn package_with_datasets(text: &str, manifest: &str, proto: &str, schema: Option<&str>, datasets: &[(&str, &str)]) -> Result<Vec<u8>, HostError> {
    let datasets = datasets.iter().map(|(name, contract)| ((*name).to_owned(), (*contract).to_owned())).collect();
    let beside = Beside { manifest, descriptors: &descriptors(proto), configuration_schema: schema, datasets: &datasets };
    package::assemble(&wat::parse_str(text).unwrap(), beside)
}
