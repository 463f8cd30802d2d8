"""An independent gRPC client: grpcio with reflection, without any generated code of ours.

Arguments: address, a token for Foshan, a token for Dongguan. Exits with a traceback on the first surprise.
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

address, foshan, dongguan = sys.argv[1:]


class Client:
    def __init__(self, token):
        self.metadata = [("authorization", f"Bearer {token}")]
        self.channel = grpc.intercept_channel(grpc.insecure_channel(address), WithMetadata(self.metadata))
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = DescriptorPool(self.database)

    def call(self, service, method, request, **options):
        descriptor = self.pool.FindServiceByName(service).FindMethodByName(method)
        kind = self.channel.unary_stream if descriptor.server_streaming else self.channel.unary_unary
        stub = kind(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        message = ParseDict(request, GetMessageClass(descriptor.input_type)())
        answer = stub(message, **options)
        if descriptor.server_streaming:
            return [MessageToDict(part) for part in answer]
        return MessageToDict(answer, always_print_fields_with_no_presence=True)


class WithMetadata(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    def __init__(self, metadata):
        self.metadata = metadata

    def _details(self, details):
        extended = list(details.metadata or []) + self.metadata
        return details._replace(metadata=extended)

    def intercept_unary_unary(self, proceed, details, request):
        return proceed(self._details(details), request)

    def intercept_unary_stream(self, proceed, details, request):
        return proceed(self._details(details), request)

    def intercept_stream_stream(self, proceed, details, requests):
        return proceed(self._details(details), requests)


client = Client(foshan)
services = client.database.get_services()
assert "portal_traffic.v1.PortalTraffic" in services, services
assert "backplane.warehouse.v1.Warehouse" in services, services
# Reflection shows what this caller may call: installing is not among it.
assert "backplane.plugin.v1.Plugins" not in services, services

# The same over the first version of reflection, which has the messages of the alpha; newer clients ask for it first.
reflect = client.channel.stream_stream(
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    request_serializer=lambda message: message.SerializeToString(),
    response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
)
listed = next(reflect(iter([reflection_pb2.ServerReflectionRequest(list_services="")])))
assert sorted(service.name for service in listed.list_services_response.service) == sorted(services), listed

who = client.call("backplane.auth.v1.Auth", "WhoAmI", {})
assert who["principal"]["principalId"] == "foshan", who

parts = client.call("backplane.warehouse.v1.Warehouse", "Query", {"sql": "select count(*) from interaction"})
assert int(parts[0]["snapshotId"]) > 0 and parts[-1]["statistics"]["rows"] == "1", parts

period = {"from": "2015-05-01T00:00:00Z", "to": "2015-06-01T00:00:00Z"}
summary = client.call("portal_traffic.v1.PortalTraffic", "GetSummary", period)
assert int(summary["snapshotId"]) > 0, summary

try:
    client.call("portal_traffic.v1.PortalTraffic", "GetSummary", period, timeout=1e-6)
    raise AssertionError("a deadline of a microsecond was kept")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error

try:
    Client(dongguan).call("portal_traffic.v1.PortalTraffic", "GetSummary", period, metadata=[("backplane-city", "440600")])
    raise AssertionError("Dongguan's token was served in Foshan")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error
    assert "portal_traffic.read" in error.details(), error.details()

print("ok")
