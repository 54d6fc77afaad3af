package group

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Requests that name several groups are split by partition, and their answers
// put together in the order of the request.

// gather calls done when all of n parts have arrived. Parts run one at a time.
type gather struct {
	mu   sync.Mutex
	left int
	done func()
}

func (g *gather) part(take func()) {
	g.mu.Lock()
	take()
	g.left--
	last := g.left == 0
	g.mu.Unlock()
	if last {
		g.done()
	}
}

// split groups the indexes of ids by partition, in order of first use.
func (c *Coordinator) split(n int, id func(i int) string) (partitions []int32, indexes map[int32][]int) {
	indexes = map[int32][]int{}
	for i := range n {
		p := c.PartitionFor(id(i))
		if indexes[p] == nil {
			partitions = append(partitions, p)
		}
		indexes[p] = append(indexes[p], i)
	}
	return partitions, indexes
}

func (c *Coordinator) describeGroups(req *kmsg.DescribeGroupsRequest, answer func(kmsg.Response)) {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	partitions, indexes := c.split(len(req.Groups), func(i int) string { return req.Groups[i] })
	g := gather{left: len(partitions), done: func() { answer(resp) }}
	if g.left == 0 {
		g.done()
	}
	for _, p := range partitions {
		sub := &kmsg.DescribeGroupsRequest{Version: req.Version}
		for _, i := range indexes[p] {
			sub.Groups = append(sub.Groups, req.Groups[i])
		}
		c.shards[p].submit(Request{Body: sub}, func(r kmsg.Response) {
			g.part(func() {
				for j, i := range indexes[p] {
					resp.Groups[i] = r.(*kmsg.DescribeGroupsResponse).Groups[j]
				}
			})
		})
	}
}

func (c *Coordinator) deleteGroups(req *kmsg.DeleteGroupsRequest, answer func(kmsg.Response)) {
	var ids []string
	seen := map[string]bool{}
	for _, id := range req.Groups {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(ids))
	partitions, indexes := c.split(len(ids), func(i int) string { return ids[i] })
	g := gather{left: len(partitions), done: func() { answer(resp) }}
	if g.left == 0 {
		g.done()
	}
	for _, p := range partitions {
		sub := &kmsg.DeleteGroupsRequest{Version: req.Version}
		for _, i := range indexes[p] {
			sub.Groups = append(sub.Groups, ids[i])
		}
		c.shards[p].submit(Request{Body: sub}, func(r kmsg.Response) {
			g.part(func() {
				for j, i := range indexes[p] {
					resp.Groups[i] = r.(*kmsg.DeleteGroupsResponse).Groups[j]
				}
			})
		})
	}
}

// listGroups asks every partition that this broker leads. Partitions of other
// brokers are left out; any other error is the answer, so that a list is never
// silently short.
func (c *Coordinator) listGroups(req *kmsg.ListGroupsRequest, answer func(kmsg.Response)) {
	resp := kmsg.NewPtrListGroupsResponse()
	parts := make([][]kmsg.ListGroupsResponseGroup, len(c.shards))
	g := gather{left: len(c.shards)}
	g.done = func() {
		if resp.ErrorCode == none {
			for _, part := range parts {
				resp.Groups = append(resp.Groups, part...)
			}
		}
		answer(resp)
	}
	for p, s := range c.shards {
		s.submit(Request{Body: req}, func(r kmsg.Response) {
			g.part(func() {
				part := r.(*kmsg.ListGroupsResponse)
				parts[p] = part.Groups
				if part.ErrorCode != none && part.ErrorCode != notCoordinator {
					resp.ErrorCode = part.ErrorCode
				}
			})
		})
	}
}

// batchedFetchVersion is the first OffsetFetch version with several groups.
const batchedFetchVersion = 8

// offsetFetch turns any version into the form with Groups, and the answers
// back into the request's.
func (c *Coordinator) offsetFetch(req *kmsg.OffsetFetchRequest, answer func(kmsg.Response)) {
	groups := fetchGroups(req)
	results := make([]kmsg.OffsetFetchResponseGroup, len(groups))
	partitions, indexes := c.split(len(groups), func(i int) string { return groups[i].Group })
	g := gather{left: len(partitions), done: func() { answer(fetchResponse(req, groups, results)) }}
	if g.left == 0 {
		g.done()
	}
	for _, p := range partitions {
		sub := &kmsg.OffsetFetchRequest{Version: max(req.Version, batchedFetchVersion), RequireStable: req.RequireStable}
		for _, i := range indexes[p] {
			sub.Groups = append(sub.Groups, groups[i])
		}
		c.shards[p].submit(Request{Body: sub}, func(r kmsg.Response) {
			g.part(func() {
				for j, i := range indexes[p] {
					results[i] = r.(*kmsg.OffsetFetchResponse).Groups[j]
				}
			})
		})
	}
}

// refuseOffsetFetch answers every group of req with COORDINATOR_NOT_AVAILABLE.
func (c *Coordinator) refuseOffsetFetch(req *kmsg.OffsetFetchRequest, answer func(kmsg.Response)) {
	groups := fetchGroups(req)
	sub := &kmsg.OffsetFetchRequest{Version: max(req.Version, batchedFetchVersion), Groups: groups}
	answer(fetchResponse(req, groups, fetchError(sub, coordinatorNotAvailable).Groups))
}

func fetchGroups(req *kmsg.OffsetFetchRequest) []kmsg.OffsetFetchRequestGroup {
	if req.Version >= batchedFetchVersion {
		return req.Groups
	}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = req.Group
	if req.Topics != nil {
		g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(req.Topics))
		for i := range req.Topics {
			g.Topics[i].Topic, g.Topics[i].Partitions = req.Topics[i].Topic, req.Topics[i].Partitions
		}
	}
	return []kmsg.OffsetFetchRequestGroup{g}
}

func fetchResponse(req *kmsg.OffsetFetchRequest, groups []kmsg.OffsetFetchRequestGroup, results []kmsg.OffsetFetchResponseGroup) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	if req.Version >= batchedFetchVersion {
		resp.Groups = results
		return resp
	}
	result := &results[0]
	if result.ErrorCode != none && req.Version < 2 {
		// No place for a group's error yet: every partition carries it.
		for i := range groups[0].Topics {
			t := &groups[0].Topics[i]
			rt := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				rp := fetched(p, nil, [16]byte{}, false)
				rp.ErrorCode = result.ErrorCode
				rt.Partitions = append(rt.Partitions, rp)
			}
			result.Topics = append(result.Topics, rt)
		}
	}
	resp.ErrorCode = result.ErrorCode
	for i := range result.Topics {
		t := &result.Topics[i]
		rt := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			rt.Partitions = append(rt.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
