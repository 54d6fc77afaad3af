package bench

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// coldVersions are the APIs that a raw server advertises. Produce and Fetch
// stop at the last version that names topics.
var coldVersions = []kmsg.ApiVersionsResponseApiKey{
	{ApiKey: keyProduce, MinVersion: oldestProduceVersion, MaxVersion: newestProduceVersion},
	{ApiKey: keyFetch, MinVersion: oldestFetchVersion, MaxVersion: newestFetchVersion},
	{ApiKey: int16(kmsg.ListOffsets), MinVersion: 1, MaxVersion: 7},
	{ApiKey: int16(kmsg.Metadata), MinVersion: 0, MaxVersion: 12},
	{ApiKey: int16(kmsg.ApiVersions), MinVersion: 0, MaxVersion: 3},
	{ApiKey: int16(kmsg.CreateTopics), MinVersion: 2, MaxVersion: 7},
	{ApiKey: int16(kmsg.DeleteTopics), MinVersion: 1, MaxVersion: 6},
}

// handleCold answers the requests that set a run up. body starts after the
// client id.
func (c *rawServerConn) handleCold(h requestHeader, body []byte) error {
	req := kmsg.RequestForKey(h.key)
	if req == nil {
		return fmt.Errorf("API key %d is unknown", h.key)
	}
	supported := false
	for _, k := range coldVersions {
		supported = supported || k.ApiKey == h.key && k.MinVersion <= h.version && h.version <= k.MaxVersion
	}
	if !supported {
		if h.key == int16(kmsg.ApiVersions) {
			resp := kmsg.NewPtrApiVersionsResponse()
			resp.ErrorCode = 35 // UNSUPPORTED_VERSION, answered in version 0
			resp.ApiKeys = coldVersions
			return c.sendResponse(h.correlation, resp)
		}
		return fmt.Errorf("the floor does not serve %s v%d", kmsg.NameForKey(h.key), h.version)
	}
	req.SetVersion(h.version)
	cur := newCursor(body)
	cur.tags(req.IsFlexible())
	if err := req.ReadFrom(body[cur.at:]); err != nil {
		return fmt.Errorf("cannot read a %s request: %w", kmsg.NameForKey(h.key), err)
	}
	resp := req.ResponseKind()
	switch req := req.(type) {
	case *kmsg.ApiVersionsRequest:
		resp.(*kmsg.ApiVersionsResponse).ApiKeys = coldVersions
	case *kmsg.MetadataRequest:
		c.server.metadata(req, resp.(*kmsg.MetadataResponse))
	case *kmsg.CreateTopicsRequest:
		c.server.createTopics(req, resp.(*kmsg.CreateTopicsResponse))
	case *kmsg.DeleteTopicsRequest:
		c.server.deleteTopics(req, resp.(*kmsg.DeleteTopicsResponse))
	case *kmsg.ListOffsetsRequest:
		c.server.listOffsets(req, resp.(*kmsg.ListOffsetsResponse))
	}
	return c.sendResponse(h.correlation, resp)
}

// sendResponse frames and sends a response; ApiVersions never has tags in its
// header (KIP-511).
func (c *rawServerConn) sendResponse(correlation int32, resp kmsg.Response) error {
	out := binary.BigEndian.AppendUint32(c.out[:0], 0)
	out = binary.BigEndian.AppendUint32(out, uint32(correlation))
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		out = append(out, 0)
	}
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	c.out = out
	return c.sendBytes(out)
}

func (s *rawServer) metadata(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = 1, s.host, s.port
	resp.Brokers = append(resp.Brokers, broker)
	resp.ControllerID = 1
	cluster := "freshet-bench-floor"
	resp.ClusterID = &cluster
	describe := func(name string, id [16]byte) {
		rt := kmsg.NewMetadataResponseTopic()
		rt.Topic = kmsg.StringPtr(name)
		for candidate, t := range s.topics {
			if t.id == id && id != [16]byte{} {
				rt.Topic, name = kmsg.StringPtr(candidate), candidate
			}
		}
		t := s.topics[name]
		if t == nil {
			rt.ErrorCode = codeUnknownTopic
		} else {
			rt.TopicID = t.id
			for i := range t.partitions {
				rp := kmsg.NewMetadataResponseTopicPartition()
				rp.Partition, rp.Leader, rp.Replicas, rp.ISR = int32(i), 1, []int32{1}, []int32{1}
				rt.Partitions = append(rt.Partitions, rp)
			}
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if req.Topics == nil {
		for name := range s.topics {
			describe(name, [16]byte{})
		}
	}
	for _, t := range req.Topics {
		name := ""
		if t.Topic != nil {
			name = *t.Topic
		}
		describe(name, t.TopicID)
	}
}

func (s *rawServer) createTopics(req *kmsg.CreateTopicsRequest, resp *kmsg.CreateTopicsResponse) {
	for _, t := range req.Topics {
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic = t.Topic
		rt.NumPartitions = max(t.NumPartitions, 1)
		rt.ReplicationFactor = 1
		err := s.createTopic(t.Topic, int(rt.NumPartitions))
		switch {
		case errors.Is(err, errTopicExists):
			rt.ErrorCode = codeTopicExists
		case err != nil:
			rt.ErrorCode = codeStorageError
			rt.ErrorMessage = kmsg.StringPtr(err.Error())
		}
		resp.Topics = append(resp.Topics, rt)
	}
}

func (s *rawServer) deleteTopics(req *kmsg.DeleteTopicsRequest, resp *kmsg.DeleteTopicsResponse) {
	names := req.TopicNames
	for _, t := range req.Topics {
		if t.Topic != nil {
			names = append(names, *t.Topic)
		}
	}
	for _, name := range names {
		rt := kmsg.NewDeleteTopicsResponseTopic()
		rt.Topic = kmsg.StringPtr(name)
		if !s.deleteTopic(name) {
			rt.ErrorCode = codeUnknownTopic
		}
		resp.Topics = append(resp.Topics, rt)
	}
}

func (s *rawServer) listOffsets(req *kmsg.ListOffsetsRequest, resp *kmsg.ListOffsetsResponse) {
	for _, t := range req.Topics {
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		for _, part := range t.Partitions {
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition = part.Partition
			p := s.partition([]byte(t.Topic), part.Partition)
			switch {
			case p == nil:
				rp.ErrorCode = codeUnknownTopic
			case part.Timestamp == -1:
				p.mu.Lock()
				rp.Offset = p.next
				p.mu.Unlock()
			default:
				rp.Offset = 0
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
}
