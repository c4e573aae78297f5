"""All requests that are spoken here, as a table."""

from dataclasses import dataclass

from engines.wire import kafka_group_messages as g
from engines.wire import kafka_messages as m
from engines.wire.kafka_protocol import Request


@dataclass(frozen=True, slots=True)
class Api:
    """A kind of request. `key` and `version` are what stands in its header."""

    key: int
    version: int
    name: str
    request: type[Request[object]]
    response: type[object]


APIS: tuple[Api, ...] = (
    Api(0, 3, "Produce", m.ProduceRequest, m.ProduceResponse),
    Api(1, 4, "Fetch", m.FetchRequest, m.FetchResponse),
    Api(2, 1, "ListOffsets", m.ListOffsetsRequest, m.ListOffsetsResponse),
    Api(3, 1, "Metadata", m.MetadataRequest, m.MetadataResponse),
    Api(8, 2, "OffsetCommit", g.OffsetCommitRequest, g.OffsetCommitResponse),
    Api(9, 1, "OffsetFetch", g.OffsetFetchRequest, g.OffsetFetchResponse),
    Api(10, 0, "FindCoordinator", g.FindCoordinatorRequest, g.FindCoordinatorResponse),
    Api(11, 2, "JoinGroup", g.JoinGroupRequest, g.JoinGroupResponse),
    Api(12, 0, "Heartbeat", g.HeartbeatRequest, g.HeartbeatResponse),
    Api(13, 0, "LeaveGroup", g.LeaveGroupRequest, g.LeaveGroupResponse),
    Api(14, 0, "SyncGroup", g.SyncGroupRequest, g.SyncGroupResponse),
    Api(18, 0, "ApiVersions", m.ApiVersionsRequest, m.ApiVersionsResponse),
    Api(22, 0, "InitProducerId", m.InitProducerIdRequest, m.InitProducerIdResponse),
)
API_BY_KEY: dict[int, Api] = {api.key: api for api in APIS}
API_OF: dict[type[object], Api] = {api.request: api for api in APIS}
